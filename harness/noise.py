"""Noise: what moves between two runs of one file when only the schedule changes.

llama.cpp's outputs depend on what shares the batch, so a difference between two models below this
one says nothing. Two runs in, counts and differences out.
"""

from harness.comparison.compare import compare_runs
from harness.noise_floor import Noise
from harness.runs import Run


def noise_between(first: Run, second: Run) -> Noise:
    """Count what moved between two scored runs of one file.

    Raises:
        PairingError: They were not asked the same.
    """
    texts = {(c.task, c.prompt_id, c.sample): c.text for c in first.completions()}
    scores = {(s.task, s.prompt_id, s.sample): s for s in first.scores()}
    moved = [c for c in second.completions() if texts[c.task, c.prompt_id, c.sample] != c.text]
    changed = [s for s in second.scores() if scores[s.task, s.prompt_id, s.sample] != s]
    return Noise(
        n_completions=len(texts),
        n_texts_moved=len(moved),
        n_scores_moved=len(changed),
        comparison=compare_runs(first, second),
    )
