"""Leases: which process works on what, and when it must end."""
