"""A study as the report's page tells it."""
