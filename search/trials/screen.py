"""Screen: how far a build's predictions are from the baseline's, before it generates anything.

Two GGUFs and the baseline's run in, one figure and a verdict out. Both models read what the
baseline said, in one pass; a build beyond the recipe's limit is not run. Knows nothing of trials.
"""

from dataclasses import dataclass
from pathlib import Path

from harness.divergence import RunTexts, measure_divergence
from harness.runs import Run
from harness.settings import EngineSettings
from search.recipe import Screen


@dataclass(frozen=True)
class Screened:
    """What became of a build."""

    kld: float
    """Mean divergence from the baseline per token, in nats."""
    limit: float
    """The largest that the recipe allows."""
    n_tokens: int
    """Tokens that both models read."""

    @property
    def text(self) -> str:
        """The limit as a constraint."""
        return f"screen.kld <= {self.limit:g}"

    @property
    def violation(self) -> float:
        """How far the build is beyond the limit; 0 or less passes."""
        return self.kld - self.limit

    @property
    def reason(self) -> str:
        """Why a build beyond the limit is not run."""
        return (
            f"screened: {self.kld:.3g} nats a token from the baseline, more than {self.limit:g} "
            f"(over {self.n_tokens} tokens that it read)"
        )


def screen(
    baseline_run: Run, baseline: Path, build: Path, limits: Screen, settings: EngineSettings
) -> Screened:
    """Let a build and the baseline read the baseline's completions.

    Args:
        baseline_run: A run of the baseline; `limits.limit` of its completions are read, spread over
            the run.
        baseline: Its GGUF.
        build: The GGUF under test.
        limits: The recipe's.
        settings: Of the engine, for both.

    Raises:
        DivergenceError: The run is not the baseline's, or holds nothing to read.
        EngineError: llama.cpp cannot load or run one of them.
    """
    report = measure_divergence(
        baseline, build, RunTexts(baseline_run, limits.limit), settings=settings
    )
    kld = report.metrics["kld.mean"].value
    assert kld is not None
    return Screened(kld, limits.kld, report.n_tokens)
