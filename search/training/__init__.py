"""LoRA adapters that leave those directions alone."""
