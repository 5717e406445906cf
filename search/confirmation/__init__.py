"""What a search has chosen, run on the prompts that it did not see."""
