"""A study as it is kept: its trials, what it is bound to, how it is looked at."""
