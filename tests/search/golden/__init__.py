"""Golden values and how they were made."""
