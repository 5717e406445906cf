"""Numbers that the golden values were made with."""

T = 0.3
WEIGHTS = (0.7, 0.5)
DENSITY = 0.6
