"""Openers by hand."""

from metrics.openers import openers


def test_share_of_neighbours() -> None:
    # he he she he: one of three neighbours begins alike
    sentences = [("he", "ran"), ("he", "sat"), ("she",), ("he", "ran")]
    assert openers(sentences) == 1 / 3


def test_one_sentence_has_no_neighbour() -> None:
    assert openers([("he",)]) is None
    assert openers([]) is None
