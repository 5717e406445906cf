"""What the rungs' test costs and how often it errs, against other tests that allow repeated looks.

    python benchmarks/sequential.py [--grid results/demo-grid]

Each row is a population of paired differences whose mean lies a number of standard errors of a
whole run below the claim: at 0 the claim just holds, and `given_up` is the error rate. `share` is
the mean share of answers that were seen. The tests:

`pocock`    `metrics.sequential`, the one that is used
`betting`   a betting martingale for sampling without replacement: no assumption but the range, and
            it may be looked at after every answer (Waudby-Smith and Ramdas 2024,
            https://doi.org/10.1093/jrsssb/qkad009, section 5)
`wilcoxon`  what Optuna's WilcoxonPruner (5.0.0) does, at the p-value that Pocock's bound stands
            for, as its documentation advises

With `--grid` the populations are the differences to the baseline of every build that was recorded,
passes and H, brought to a mean of 0; a row is the mean over the builds.
"""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from grid import Grid, scores_of
from numpy.typing import NDArray

from harness.runs import Score
from metrics.sequential import claim_z, pocock_bound
from search.trials.rungs import LOOKS

Array = NDArray[np.float64]
Test = Callable[[Array, Sequence[int], float, tuple[float, float]], int]
"""Numbers in the order seen, looks, error rate and range; answers seen when it was given up."""

GAPS = (0.0, 2.0, 4.0, 8.0)
"""How far below the claim, in standard errors of a whole run."""
SLOW = 5
"""The other tests are slow, and get so many times fewer random orders."""
MOST_BET = 0.5
"""Share of what a bet could lose at most, as its authors advise."""


def pocock(numbers: Array, looks: Sequence[int], error_rate: float, _range: object) -> int:
    """The project's own; a whole run is taken to have shown the numbers' spread."""
    bound = pocock_bound(tuple(looks), len(numbers), error_rate)
    spread = float(numbers.var())
    for n in looks:
        z = claim_z(numbers[:n], len(numbers), spread)
        if z is not None and z < -bound:
            return n
    return len(numbers)


def betting(
    numbers: Array, looks: Sequence[int], error_rate: float, span: tuple[float, float]
) -> int:
    """Bets that the next number is below what is needed on average of those that are left."""
    low, high = span
    x = (numbers - low) / (high - low)
    needed_in_all = len(x) * -low / (high - low)
    wealth, total, squares = 0.0, 0.0, 0.0
    claim = guess = -low / (high - low)
    variance = 0.25
    for i, value in enumerate(x):
        needed = (needed_in_all - total) / (len(x) - i)
        if needed > 1 and i in looks:
            return i
        gap = max(0.0, needed - guess)
        bet = min(gap / (variance + gap * gap), MOST_BET / max(1e-9, 1 - needed))
        wealth += math.log(max(1e-12, 1 - bet * (value - needed)))
        total += value
        guess = (claim + total) / (i + 2)
        squares += (value - guess) ** 2
        variance = (0.25 + squares) / (i + 2)
        if wealth >= -math.log(error_rate) and i + 1 in looks:
            return i + 1
    return len(x)


def wilcoxon(numbers: Array, looks: Sequence[int], error_rate: float, _range: object) -> int:
    """As optuna.pruners.WilcoxonPruner, at a p-value for repeated looks."""
    from scipy.stats import norm
    from scipy.stats import wilcoxon as signed_rank

    threshold = norm.sf(pocock_bound(tuple(looks), len(numbers), error_rate))
    for n in looks:
        if n < 2 or numbers[:n].mean() >= 0:
            continue
        p = signed_rank(numbers[:n], alternative="less", zero_method="zsplit").pvalue
        if p < threshold:
            return n
    return len(numbers)


TESTS: dict[str, Test] = {"pocock": pocock, "betting": betting, "wilcoxon": wilcoxon}


def populations(gap: float) -> dict[str, list[Array]]:
    """Made-up ones, of the kinds that runs show, so many standard errors below a mean of 0."""
    rng = np.random.default_rng(0)
    gated = np.where(rng.random(128) < 0.15, rng.normal(-45, 10, 128), rng.normal(8, 12, 128))
    rare = np.array([1.0] * 10 + [0.0] * 118)
    return {
        "passes, 256 prompts, 12 % differ": [_passes(32, 256, gap)],
        "passes, 256 prompts, 35 % differ": [_passes(90, 256, gap)],
        "passes, 48 prompts, 25 % differ": [_passes(12, 48, gap)],
        "passes, 128 prompts, 10 of them, unpaired": [_moved(rare, gap)],
        "H, 64 prompts": [_moved(rng.normal(0, 25, 64), gap)],
        "H, 128 prompts, a gate shuts on some": [_moved(gated, gap)],
        "H, 128 prompts, a gate opens on some": [_moved(-gated, gap)],
    }


def recorded(folder: Path) -> dict[str, list[Array]]:
    """Differences to the baseline, brought to a mean of 0, by figure, one array a build."""
    grid = Grid(folder)
    base = scores_of(grid.header, grid.baseline)
    rng = np.random.default_rng(0)
    found: dict[str, list[Array]] = {}
    for build in grid.points:
        for own, before in zip(scores_of(grid.header, build), base, strict=True):
            differences = np.array(
                [_number(a) - _number(b) for a, b in zip(own, before, strict=True)]
            )
            if not differences.any():
                continue
            if own[0].ifeval is None:
                found.setdefault(f"{own[0].task}: H", []).append(_moved(differences, 0.0))
            else:
                kind = f"{own[0].task}: passes"
                found.setdefault(kind, []).append(_balanced(differences, rng))
    return found


def measure(values: Array, test: Test, error_rate: float, n_draws: int) -> tuple[float, float]:
    """How often a claim is given up, and the mean share of answers seen.

    Args:
        values: A population.
        test: Which.
        error_rate: As stated to the test.
        n_draws: Random orders.
    """
    n = len(values)
    looks = sorted({max(1, round(share * n)) for share in LOOKS})
    # H is in 0 to 100, so two of them differ by no more
    biggest = 1.0 if np.abs(values).max() <= 1 else 100.0 + abs(float(values.mean()))
    span = (-biggest, biggest)
    rng = np.random.default_rng(1)
    ended = np.array(
        [test(rng.permutation(values), looks, error_rate, span) for _ in range(n_draws)]
    )
    return float((ended < n).mean()), float(ended.mean() / n)


def main(
    grid: Annotated[Path | None, typer.Option(help="A recorded grid.")] = None,
    error_rate: Annotated[float, typer.Option(help="As stated to the tests.")] = 0.05,
    draws: Annotated[int, typer.Option(help="Random orders of each population.")] = 2000,
) -> None:
    """Compare the tests; one JSON line a row."""
    for gap in (0.0,) if grid is not None else GAPS:
        kinds = populations(gap) if grid is None else recorded(grid)
        for kind, arrays in kinds.items():
            row: dict[str, object] = {"population": kind, "gap": gap}
            for name, test in TESTS.items():
                n_each = max(20, draws // len(arrays) // (1 if test is pocock else SLOW))
                found = [measure(values, test, error_rate, n_each) for values in arrays]
                given_up, share = np.mean(found, axis=0)
                row[name] = {"given_up": round(float(given_up), 3), "share": round(float(share), 3)}
            typer.echo(json.dumps(row))


def _number(score: Score) -> float:
    if score.ifeval is not None:
        return float(score.ifeval.prompt_strict)
    assert score.prose is not None
    return score.prose.H


def _passes(n_differ: int, n: int, gap: float) -> Array:
    """Passes lost and won, with about so many more lost."""
    more = round(gap * math.sqrt(n_differ))
    lost = min(n, (n_differ + more) // 2)
    won = max(0, lost - more)
    return np.array([-1.0] * lost + [1.0] * won + [0.0] * (n - lost - won))


def _moved(values: Array, gap: float) -> Array:
    return values - values.mean() - gap * values.std(ddof=1) / math.sqrt(len(values))


def _balanced(values: Array, rng: np.random.Generator) -> Array:
    """Passes with as many won as lost: of those there are more of, some no longer differ."""
    balanced = values.copy()
    surplus = round(float(values.sum()))
    of_them = np.flatnonzero(values == math.copysign(1, surplus))
    balanced[rng.permutation(of_them)[: abs(surplus)]] = 0.0
    return balanced


if __name__ == "__main__":
    typer.run(main)
