"""Browser: the completions of a baseline and its candidates, ready to be read side by side.

Runs and their comparisons in, one plain object out, which the page's script shows. Knows which
prompt is worth reading first and what to leave out where a page has no room for all; nothing of
HTML.
"""

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from harness.comparison.records import Comparison
from harness.prompts import Instruction, Prompt
from harness.report.marks import Changes, Span, compare_texts, mark
from harness.report.subject import Matter
from harness.runs import Completion, Run, RunHeader, Score
from harness.scoring import answer
from metrics.lexicon import Lexicon

LEAST_COMMON = 0.2
"""Texts that share less than this are different texts: marking everything would say nothing."""
RATES = ("H", "slop", "rep3g", "contrast", "rhythm", "diversity", "openers", "word_count")
"""Figures of a prose answer that are shown beside it."""

Key = tuple[str, str, int]
"""Task, prompt id, sample."""


class Said(NamedTuple):
    """One answer with its score."""

    completion: Completion
    score: Score


@dataclass(frozen=True)
class Exchange:
    """One prompt and what every run answered."""

    key: Key
    entry: dict[str, Any]
    """As the page's script reads it."""

    @property
    def weight(self) -> float:
        """How much any candidate differs on it: what is kept where there is no room for all."""
        return max(self.entry["weights"], default=0.0)


def exchanges(matter: Matter, lexicon: Lexicon | None) -> list[Exchange]:
    """Every prompt of the baseline with all answers, those that differ most first.

    Args:
        matter: The runs and their comparisons.
        lexicon: What is marked as slop; None marks none.
    """
    baseline = matter.baseline.run
    headers = [subject.run.header() for subject in matter.subjects]
    said = [_said(subject.run) for subject in matter.subjects]
    moved = [_moves(comparison) for comparison in matter.comparisons]
    found = []
    for prompts in baseline.prompt_sets():
        by_id = {prompt.id: prompt for prompt in prompts.prompts}
        for key in said[0]:
            if key[0] == prompts.name:
                prompt = by_id[key[1]]
                answers = [one.get(key) for one in said]
                found.append(Exchange(key, _entry(key, prompt, answers, headers, moved, lexicon)))
    return sorted(found, key=lambda exchange: -exchange.weight)


def pack(runs: Sequence[str], found: Sequence[Exchange], *, limit_bytes: int) -> tuple[str, int]:
    """The browser's data as text that is safe in any place of a page: base64 of gzip of JSON.

    Args:
        runs: Names, the baseline's first.
        found: From the most to the least telling.
        limit_bytes: Most that the text may take.

    Returns:
        The text, and how many of the exchanges are in it.
    """
    n_kept = len(found)
    packed = _packed(runs, found)
    while len(packed) > limit_bytes and n_kept > 0:
        # nearly proportional, so this ends after a few turns
        n_kept = min(n_kept - 1, n_kept * limit_bytes // len(packed))
        packed = _packed(runs, found[:n_kept])
    return packed, n_kept


def _packed(runs: Sequence[str], found: Sequence[Exchange]) -> str:
    shown = {"runs": list(runs), "exchanges": [exchange.entry for exchange in found]}
    text = json.dumps(shown, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    # no time in the header: the same runs make the same page
    return base64.b64encode(gzip.compress(text.encode(), mtime=0)).decode("ascii")


def _said(run: Run) -> dict[Key, Said]:
    pairs = zip(run.completions(), run.scores(), strict=True)
    return {(s.task, s.prompt_id, s.sample): Said(c, s) for c, s in pairs}


def _moves(comparison: Comparison) -> dict[Key, dict[str, Any]]:
    """What the comparison says of single prompts: who gained, who lost, and why."""
    found: dict[Key, dict[str, Any]] = {}
    for flip in comparison.flips:
        key = (flip.task, flip.prompt_id, flip.sample)
        found[key] = {"outcome": "gained" if flip.won else "lost", "loose_too": flip.loose_too}
    for mover in comparison.movers:
        key = (mover.task, mover.prompt_id, mover.sample)
        moved = round(mover.difference, 2)
        parts = {name: round(part, 2) for name, part in mover.parts.items() if round(part, 2)}
        found[key] = {
            "outcome": "gained" if moved > 0 else "lost" if moved < 0 else "same",
            "moved": moved,
            "parts": dict(sorted(parts.items(), key=lambda item: -abs(item[1]))),
        }
    return found


def _entry(
    key: Key,
    prompt: Prompt,
    answers: Sequence[Said | None],
    headers: Sequence[RunHeader],
    moved: Sequence[Mapping[Key, dict[str, Any]]],
    lexicon: Lexicon | None,
) -> dict[str, Any]:
    """One exchange for the page's script."""
    texts = [
        None if said is None else answer(header, said.completion).text
        for said, header in zip(answers, headers, strict=True)
    ]
    first, score = texts[0], answers[0].score if answers[0] else None
    assert first is not None
    assert score is not None
    changes: list[Any] = []
    outcomes: list[Any] = []
    weights: list[float] = []
    for text, said, moves in zip(texts[1:], answers[1:], moved, strict=True):
        if text is None or said is None:
            changes.append(None)
            outcomes.append(None)
            weights.append(0.0)
            continue
        changed = compare_texts(first, text)
        changes.append(_changes(changed))
        outcome = moves.get(key) or {"outcome": _both(score)}
        outcomes.append(outcome)
        weights.append(round(_weight(outcome, changed), 4))
    return {
        "task": key[0],
        "id": key[1],
        "sample": key[2],
        "messages": [[message.role, message.content] for message in prompt.messages],
        "instructions": [[i.id, _arguments(i)] for i in prompt.instructions],
        "answers": [
            None if said is None or text is None else _answer(text, said, lexicon)
            for text, said in zip(texts, answers, strict=True)
        ],
        "changes": changes,
        "outcomes": outcomes,
        "weights": weights,
    }


def _answer(text: str, said: Said, lexicon: Lexicon | None) -> dict[str, Any]:
    marks = mark(text, lexicon)
    completion, score = said
    shown: dict[str, Any] = {
        "text": text,
        "tokens": completion.n_tokens,
        "stop": completion.stop_reason,
        "thought": len(completion.text) > len(text),
        "unclosed": score.unclosed_thought,
        "slop": _flat(marks.slop),
        "repeated": _flat(marks.repeated),
    }
    if score.ifeval is not None:
        shown |= {"strict": list(score.ifeval.strict), "loose": list(score.ifeval.loose)}
    if score.prose is not None:
        rates = {name: getattr(score.prose, name) for name in RATES}
        shown["rates"] = {k: None if v is None else round(v, 3) for k, v in rates.items()}
    return shown


def _both(score: Score) -> str:
    """The outcome of a prompt that did not move."""
    if score.ifeval is None:
        return "same"
    return "both pass" if score.ifeval.prompt_strict else "both fail"


def _weight(outcome: Mapping[str, Any], changed: Changes) -> float:
    """0 for equal answers; a flip counts more than any move of H, and that more than words."""
    if "moved" in outcome:
        return 1 + abs(float(outcome["moved"]))
    return {"lost": 201.0, "gained": 200.0}.get(outcome["outcome"], 1 - changed.common)


def _changes(changed: Changes) -> dict[str, Any] | None:
    """The spans, or None where the texts are so different that marking says nothing."""
    if changed.common < LEAST_COMMON:
        return None
    return {"baseline": _flat(changed.baseline), "candidate": _flat(changed.candidate)}


def _flat(spans: Sequence[Span]) -> list[int]:
    return [end for span in spans for end in span]


def _arguments(instruction: Instruction) -> str:
    """An instruction's arguments in words: `keywords: snow, ice`."""
    return "; ".join(
        f"{name.replace('_', ' ')}: {', '.join(value) if isinstance(value, list) else value}"
        for name, value in instruction.kwargs.items()
        if name != "prompt_to_repeat"
    )
