"""The numbers of the next trial."""
