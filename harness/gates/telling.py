"""Telling prompts: the three that show best why a gate is broken.

A gate and paired runs in, excerpts out. Which prompts tell most follows from what each adds to the
gated figure; knows nothing of how a gate is judged.
"""

from collections.abc import Mapping

from harness.comparison.compare import PairedRuns
from harness.comparison.movers import find_movers
from harness.comparison.paired_metrics import by_task
from harness.comparison.pairing import Pair
from harness.comparison.records import H_DELTA
from harness.comparison.sanity import COUNTERS
from harness.comparison.tables import why
from harness.divergence import DivergenceReport
from harness.gates.figures import plain_name, sample_named
from harness.gates.gates import Gate, Telling
from harness.prompts import Prompt
from harness.runs import Run
from harness.tables import UNDEFINED, label, number

N_TELLING = 3
PROMPT_CHARS = 100
ANSWER_CHARS = 120

Shown = tuple[float | None, float | None]
"""What a prompt shows of the baseline and of the candidate."""


def telling_prompts(gate: Gate, runs: PairedRuns) -> tuple[Telling, ...]:
    """The prompts that do most to break a gate, worst first.

    Args:
        gate: A broken one, on a figure of the answers; others have no prompts.
        runs: The runs, or what there is of the candidate's.
    """
    sample = sample_named(runs, plain_name(gate))
    if sample is None:
        return ()
    task = next(t for t in by_task(runs.pairs) if gate.metric.startswith(f"{t}."))
    shown = dict(zip(sample.prompts, zip(*sample.by_prompt(), strict=True), strict=True))
    worst = _worst(gate, shown)[:N_TELLING]
    pairs = {p.prompt_id: p for p in reversed(runs.pairs) if p.task == task}
    prompts = {p.id: p for s in runs.prompt_sets if s.name == task for p in s.prompts}
    return tuple(
        Telling(
            task=task,
            prompt_id=prompt_id,
            sample=pairs[prompt_id].candidate.sample,
            why=_reason(gate, runs, pairs[prompt_id], prompts[prompt_id])
            or _moved(gate.metric, shown[prompt_id]),
            prompt=_beginning(prompts[prompt_id].text, PROMPT_CHARS),
            answer=_excerpt(gate, runs.texts[1][pairs[prompt_id].key]),
        )
        for prompt_id in worst
    )


def telling_texts(divergence: DivergenceReport, baseline: Run) -> tuple[Telling, ...]:
    """The texts on which a candidate's predictions are furthest from the baseline's.

    Args:
        divergence: Measured on the baseline's own answers.
        baseline: The run that was read.
    """
    prompts = {(s.name, p.id): p for s in baseline.prompt_sets() for p in s.prompts}
    worst = sorted(divergence.texts, key=lambda text: -text.mean)[:N_TELLING]
    return tuple(
        Telling(
            task=text.task,
            prompt_id=text.prompt_id,
            sample=text.sample,
            why=f"KL {text.mean:.4g} nats a token over the baseline's answer",
            prompt=_beginning(prompts[text.task, text.prompt_id].text, PROMPT_CHARS),
            answer="",
        )
        for text in worst
    )


def _worst(gate: Gate, shown: Mapping[str, Shown]) -> list[str]:
    """Prompts from the one that does most to break the gate; those that do nothing are left out."""
    sign = 1 if gate.side == "min" else -1
    ranked = []
    for prompt_id, (old, new) in shown.items():
        if new is None:
            continue
        moved = 0.0 if old is None else sign * (new - old)
        value = sign * new
        if gate.of == "value":
            # the worst answers break it, whether they changed or not
            ranked.append((value, moved, prompt_id))
        elif moved < 0:
            ranked.append((moved, value, prompt_id))
    return [prompt_id for _, _, prompt_id in sorted(ranked)]


def _reason(gate: Gate, runs: PairedRuns, pair: Pair, prompt: Prompt) -> str | None:
    """What is wrong with an answer, where more can be said than two numbers."""
    name = gate.metric.rpartition(".")[2]
    if name in COUNTERS:
        return name.replace("_", " ")
    before, after = pair.baseline.ifeval, pair.candidate.ifeval
    if before is not None and after is not None:
        way = "loose" if "loose" in gate.metric else "strict"
        was, now = getattr(before, way), getattr(after, way)
        lost = [i.id for i, a, b in zip(prompt.instructions, was, now, strict=True) if a and not b]
        never = [i.id for i, b in zip(prompt.instructions, now, strict=True) if not b]
        if lost:
            return "no longer follows " + ", ".join(lost)
        return "does not follow " + ", ".join(never) if never else None
    if name in ("H", H_DELTA):
        (mover,) = find_movers([pair], runs.texts, length_gate=runs.length_gate)
        return f"H {mover.baseline:.1f} -> {mover.candidate:.1f}: {why(mover)}"
    return None


def _moved(metric: str, shown: Shown) -> str:
    """Two numbers and their name."""
    old, new = (UNDEFINED if value is None else number(metric, value) for value in shown)
    return f"{label(metric.rpartition('.')[2])} {old} -> {new}"


def _excerpt(gate: Gate, text: str) -> str:
    """The part of an answer that shows it: the end of one that does not end, else the beginning."""
    if gate.metric.endswith((".looping", ".cut_off")):
        flat = " ".join(text.split())
        return flat if len(flat) <= ANSWER_CHARS else "..." + flat[-ANSWER_CHARS:]
    return _beginning(text, ANSWER_CHARS)


def _beginning(text: str, n_chars: int) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= n_chars else flat[:n_chars] + "..."
