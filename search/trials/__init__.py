"""A worker's way: trials claimed, built, run, stopped when they have lost."""
