"""Checkpoints read and written tensor by tensor, and what a tensor is called."""
