"""A GGUF in, a run out; runs compared, gated and reported."""
