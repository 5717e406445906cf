"""The model card: what a build is, what was measured of it, and what was not."""
