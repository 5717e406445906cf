"""Confirmation in words: the table and the sentences that `weighin search` ends with.

A record in, a grid and lines out; the HTML report says it in `search.report.confirm`.
"""

from typing import TYPE_CHECKING

from harness.comparison.grids import Grid, Tone, rich_table
from harness.tables import UNDEFINED, figure, label, number
from metrics.stats import Estimate
from search.board.board import number_text
from search.confirmation.confirmation import (
    Bound,
    Candidate,
    Confirmation,
    Gain,
    is_current,
    kept_confirmation,
)
from search.study.study import Study

if TYPE_CHECKING:
    from rich.table import Table


def confirmation_grid(record: Confirmation) -> Grid:
    """Every build on both halves, with the drop and how sure it is."""
    rows: list[tuple[str, ...]] = []
    tones: list[Tone | None] = []
    for candidate in record.candidates:
        for index, gain in enumerate(candidate.gains):
            first = index == 0
            rows.append(
                (
                    f"trial {candidate.trial}" if first else "",
                    ", ".join(candidate.roles) if first else "",
                    gain.metric,
                    _signed(gain, gain.search),
                    _signed(gain, gain.confirmed),
                    _signed(gain, gain.drop),
                    UNDEFINED if gain.p_holm is None else f"{gain.p_holm:.2g}",
                    _limits(candidate) if first else "",
                )
            )
            tones.append(gain.shown)
    for own in record.baseline:
        ends = (figure(own.metric, own.search), figure(own.metric, own.confirmed))
        rows.append(("baseline", "", label(own.metric), *ends, UNDEFINED, UNDEFINED, ""))
        tones.append(None)
    n_builds = len(record.candidates)
    return Grid(
        "difference to the baseline on prompts that the search has not seen "
        f"({_asked(record)}); intervals hold together at {record.confidence:.0%} for "
        f"{n_builds} build{'s' if n_builds != 1 else ''}",
        ("build", "is", "figure", "in the search", "confirmed", "drop", "p (Holm)", "limits"),
        tuple(rows),
        tones=tuple(tones),
        n_text=3,
    )


def confirmation_parts(study: Study) -> "list[Table]":
    """The table for a terminal, of a study that was confirmed."""
    record = kept_confirmation(study)
    return [] if record is None else [rich_table(confirmation_grid(record))]


def confirmation_lines(study: Study) -> list[str]:
    """What a study's confirmation comes to, or why there is none."""
    record = kept_confirmation(study)
    if record is None:
        return [_why_none(study)]
    lines = [verdict_on(record)]
    if record.n_left_out:
        lines.append(
            f"{record.n_left_out} more cannot be told from the leader and were not run "
            f"(search.runners_up: {record.asked.runners_up})"
        )
    if not is_current(record, study.ranked()):
        n = record.asked.n_trials
        lines.append(
            f"that was after {n} whole trial{'s' if n != 1 else ''}; {len(study.ranked())} have "
            "ended by now"
        )
    return lines


def verdict_on(record: Confirmation) -> str:
    """The answer in a sentence, and what it rests on."""
    winner = record.of_trial(record.winner)
    if winner is None:
        return (
            "nothing beats the baseline on prompts that the search has not seen: ship the "
            f"baseline{_leader_text(record)}"
        )
    at = ", ".join(f"{name}={number_text(value)}" for name, value in winner.params.items())
    told = "; ".join([*map(gain_text, winner.gains), *map(bound_text, winner.bounds)])
    if record.outcome == "shown":
        return (
            f"confirmed: trial {winner.trial} ({at}) beats the baseline on prompts that the "
            f"search has not seen: {told}"
        )
    return (
        "not confirmed: no build is shown to beat the baseline on prompts that the search has "
        f"not seen; nearest is trial {winner.trial} ({at}): {told}"
    )


def gain_text(gain: Gain) -> str:
    """One figure on both halves, with the drop."""
    found = f"{gain.metric} {_signed(gain, gain.confirmed)}"
    if gain.drop.value is None:
        return found
    change = "a drop of" if gain.drop.value >= 0 else "more by"
    moved = number(gain.metric, abs(gain.drop.value))
    return f"{found}, after {_signed(gain, gain.search)} in the search, {change} {moved}"


def bound_text(bound: Bound) -> str:
    """One limit: kept or broken, by chance or beyond it."""
    word = "keeps" if bound.kept else "breaks"
    sure = "" if bound.sure else ", within chance"
    told = figure(bound.metric, bound.confirmed, signed=bound.relative)
    return f"{word} {bound.text} ({told}{sure})"


def _leader_text(record: Confirmation) -> str:
    """What became of the search's leader."""
    leader = record.of_trial(record.leader)
    if leader is None:
        return ", which leads in the search as well"
    broken = [bound_text(bound) for bound in leader.bounds if not bound.kept]
    told = "; ".join([*map(gain_text, leader.gains), *broken])
    return f" (the search's leader, trial {leader.trial}: {told})"


def _why_none(study: Study) -> str:
    if not study.recipe.evaluate.confirm:
        return (
            "nothing is confirmed: `evaluate.confirm` is false, so the search saw every prompt and "
            "nothing was held back; its best is likely to do worse on others"
        )
    if study.ranked() and study.best() is None:
        return "nothing is confirmed: no trial keeps the constraints"
    return "nothing is confirmed yet: weighin search does that once every trial has ended"


def _limits(candidate: Candidate) -> str:
    if not candidate.kept_in_search:
        return "not kept in the search"
    broken = [bound for bound in candidate.bounds if not bound.kept]
    if broken:
        return "broken" if any(bound.sure for bound in broken) else "broken, within chance"
    if not candidate.bounds:
        return UNDEFINED
    return "kept" if all(bound.sure for bound in candidate.bounds) else "kept, within chance"


def _signed(gain: Gain, estimate: Estimate) -> str:
    return figure(gain.metric, estimate, signed=True)


def _asked(record: Confirmation) -> str:
    return ", ".join(f"{n} of {task}" for task, n in record.n_prompts.items())
