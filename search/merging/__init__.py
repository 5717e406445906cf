"""Several adapters' deltas become one tensor's change: the formulas of the recipe."""
