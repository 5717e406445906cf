"""McNemar's test against a published example, binomial sums and counts by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.errors import WeighinError
from metrics.mcnemar import mcnemar_exact, most_discordant, smallest_pass_difference


def test_mcnemar_gives_the_published_airway_example() -> None:
    # Fagerland, Lydersen and Laake 2013, BMC Med. Res. Methodol. 13:91, table 1: 1 against 7
    # discordant, exact conditional p = 0.070; by hand 2 (1 + 8) / 2^8.
    assert mcnemar_exact(1, 7) == pytest.approx(18 / 256)


@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_is_twice_the_smaller_binomial_tail(first: int, second: int) -> None:
    n = first + second
    tail = sum(math.comb(n, k) for k in range(min(first, second) + 1)) / 2**n
    assert mcnemar_exact(first, second) == pytest.approx(min(1.0, 2 * tail))
    assert mcnemar_exact(first, second) == mcnemar_exact(second, first)


def test_the_cards_pair_needs_at_most_nine_discordant_prompts() -> None:
    # 465 and 458 of 541: 8 against 1 gives p = 20 / 512, 9 against 2 gives 134 / 2048.
    assert most_discordant(465, 458, 541) == 9
    assert mcnemar_exact(8, 1) == pytest.approx(20 / 512)
    assert mcnemar_exact(9, 2) == pytest.approx(134 / 2048)


def test_most_discordant_knows_what_the_counts_allow() -> None:
    assert most_discordant(5, 0, 10) is None  # five one-sided prompts: p = 1/16
    assert most_discordant(6, 0, 6) == 6  # p = 1/32, and no prompt is left to disagree on
    assert most_discordant(20, 20, 40) is None  # no difference is never significant
    with pytest.raises(WeighinError, match="12 passes out of 10"):
        most_discordant(12, 3, 10)


@pytest.mark.parametrize(
    ("n_discordant", "smallest"),
    # by hand: 6 : 0 is 1/32; 7 : 0 is 1/64 and 6 : 1 is 1/8; 8 : 1 is 20/512; 9 : 2 is 134/2048
    [(0, None), (5, None), (6, 6 / 541), (7, 7 / 541), (9, 7 / 541), (11, 9 / 541)],
)
def test_smallest_pass_difference_by_hand(n_discordant: int, smallest: float | None) -> None:
    assert smallest_pass_difference(n_discordant, 541) == smallest
