"""Checkpoints and adapters in, a GGUF out, and the study around it."""
