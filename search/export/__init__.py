"""Merged rows to the GGUF that ships: types, bytes, proof."""
