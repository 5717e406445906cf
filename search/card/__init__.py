"""A study as a model card tells it, and what is published with it."""
