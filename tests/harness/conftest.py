"""Small random models, as GGUFs by llama.cpp's converter; the merge's tests make them too."""

from tests.search.conftest import baseline_of, checkpoint_of, converter

__all__ = ["baseline_of", "checkpoint_of", "converter"]
