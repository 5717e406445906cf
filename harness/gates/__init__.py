"""A candidate against the limits that it must keep to."""
