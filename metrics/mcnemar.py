"""McNemar: whether two runs pass different shares of the same prompts.

Counts in, probabilities and counts out; knows nothing of models, files or what passing means.
Source: McNemar 1947, in its exact binomial form, which scipy computes.
"""

from metrics.errors import WeighinError
from metrics.stats import ALPHA


def mcnemar_exact(only_first: int, only_second: int) -> float:
    """Two-sided exact McNemar p-value for paired passes.

    Args:
        only_first, only_second: Prompts that only this run passed.

    Returns:
        p in (0, 1]; 1.0 when no prompt is discordant, since then nothing speaks for a difference.
    """
    n_discordant = only_first + only_second
    if n_discordant == 0:
        return 1.0
    from scipy.stats import binomtest

    return float(binomtest(only_first, n_discordant, 0.5).pvalue)


def most_discordant(first: int, second: int, n: int, *, alpha: float = ALPHA) -> int | None:
    """How many prompts two runs may disagree on for their difference to be significant.

    Two published pass counts do not say which prompts differ, and the more the runs disagree on,
    the less a given difference means.

    Args:
        first, second: Passes of the two runs, each out of the same n prompts.
        n: Prompts.
        alpha: Two-sided significance level.

    Returns:
        The largest number of discordant prompts with p < alpha; None where even complete
        one-sidedness is not significant.

    Raises:
        WeighinError: a count lies outside 0 to n.
    """
    for count in (first, second):
        if not 0 <= count <= n:
            raise WeighinError(f"{count} passes out of {n} prompts cannot be: expected 0 to {n}")
    difference = abs(first - second)
    # Both-passed >= 0 and both-failed >= 0 bound how many prompts only one run can have passed.
    most_one_sided = min(first, second, n - max(first, second))
    found = None
    for fewer in range(most_one_sided + 1):
        if mcnemar_exact(difference + fewer, fewer) >= alpha:
            break
        found = difference + 2 * fewer
    return found


def smallest_pass_difference(n_discordant: int, n: int, *, alpha: float = ALPHA) -> float | None:
    """Smallest difference in pass rate that n prompts could have shown, given the disagreements.

    Args:
        n_discordant: Prompts that exactly one of the two runs passed.
        n: Prompts.
        alpha: Two-sided significance level of exact McNemar.

    Returns:
        A fraction of n in (0, 1]; None where even all disagreements on one side are not
        significant (fewer than 6 at alpha 0.05).
    """
    for fewer in range(n_discordant // 2, -1, -1):
        if mcnemar_exact(n_discordant - fewer, fewer) < alpha:
            return (n_discordant - 2 * fewer) / n
    return None
