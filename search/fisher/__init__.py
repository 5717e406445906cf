"""How much each weight matters to the instruct model."""
