"""Runs of the same prompts, side by side."""
