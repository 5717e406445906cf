"""The directions that instruction tuning moved."""
