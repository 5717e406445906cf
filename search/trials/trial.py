"""One trial: numbers -> build -> screen -> run -> comparison with the baseline.

Knows the order of these steps; nothing of how numbers are proposed, of how tensors are merged or
how texts are scored. Every step leaves its outcome on disk or with the trial, so that one that was
interrupted goes on where it was.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from harness.runs import Completion, Run
from metrics.errors import WeighinError
from search.cache import file_sha256
from search.recipe import Number
from search.study.study import TrialRow
from search.trials.bench import BASELINE, Bench
from search.trials.builds import remove_parts
from search.trials.work import Assignment, Outcome

if TYPE_CHECKING:
    import optuna

SCREENED = "screened"
"""Attribute of a trial: what its screening said."""

BUILD_TRIES = 2
"""Another worker may sweep a build away just before it is read; it is then made again."""


@dataclass(frozen=True)
class TrialWeigher:
    """Weighs the trials of a study on its bench."""

    bench: Bench
    storage: "optuna.storages.BaseStorage"
    """The study's."""

    def build_name(self, numbers: Mapping[str, Number]) -> str:
        """A name that equal builds share."""
        return self.bench.build_name(numbers)

    def weigh_trial(self, given: Assignment) -> Outcome:
        """Build what the numbers say, run it, and compare it with the baseline.

        Raises:
            WeighinError: The build or the run failed; what is whole on disk stays.
        """
        if given.build == BASELINE:
            baseline = self.bench.baseline_run()
            return self._outcome(baseline, cost=(0, 0.0))
        folder = self.bench.run_folder(self.bench.run_name(given.build))
        for left in reversed(range(BUILD_TRIES)):
            gguf = self.bench.build_path(given.build)
            try:
                return self._weigh_build(given, gguf, folder)
            except WeighinError:
                if not left or gguf.is_file():
                    raise
        raise AssertionError("unreachable")

    def _weigh_build(self, given: Assignment, gguf: Path, folder: Path) -> Outcome:
        whole = (folder / "summary.json").is_file()
        began = time.monotonic()
        if not whole or self._wants_screen(given):
            self._build(given, gguf)
        build_s = time.monotonic() - began
        given.check()
        screened = self._screen(given, gguf)
        if screened is not None and screened[1] > 0:
            text, violation, reason = screened
            return Outcome(
                values=None,
                violations={text: violation},
                sha256=file_sha256(gguf),
                run=None,
                stopped=reason,
                seconds=build_s,
            )
        outcome = (
            self._outcome(Run.open(folder)) if whole else self._run(given, gguf, folder, build_s)
        )
        if screened is not None:
            outcome = replace(outcome, violations={screened[0]: screened[1], **outcome.violations})
        return self._kept(given, outcome)

    def _build(self, given: Assignment, gguf: Path) -> None:
        from search.build import build

        gguf.parent.mkdir(parents=True, exist_ok=True)
        if given.dead is not None:
            remove_parts(gguf, given.dead)
        if not gguf.is_file():
            build(self.bench.ready, given.numbers, gguf)

    def _wants_screen(self, given: Assignment) -> bool:
        return self.bench.recipe.search.screen is not None and self._screened(given) is None

    def _screened(self, given: Assignment) -> tuple[str, float, str] | None:
        """What the trial's screening said, if it was screened before it was interrupted."""
        found = self.storage.get_trial(given.trial_id).user_attrs.get(SCREENED)
        return None if found is None else (found[0], found[1], found[2])

    def _screen(self, given: Assignment, gguf: Path) -> tuple[str, float, str] | None:
        """How far a build is from the baseline: the limit's text, the violation and its reason."""
        limits = self.bench.recipe.search.screen
        if limits is None:
            return None
        known = self._screened(given)
        if known is not None:
            return known
        from search.trials.screen import screen

        found = screen(
            self.bench.baseline_run(),
            self.bench.baseline_gguf,
            gguf,
            limits,
            self.bench.settings_of_baseline(),
        )
        self.storage.set_trial_user_attr(
            given.trial_id, SCREENED, [found.text, found.violation, found.reason]
        )
        return found.text, found.violation, found.reason

    def _run(self, given: Assignment, gguf: Path, folder: Path, build_s: float) -> Outcome:
        from search.trials.rungs import Rungs, score_wave

        rungs = Rungs(
            self.bench.objectives,
            self.bench.constraints,
            self.bench.reference(self.bench.baseline_run()),
            [self.bench.reference(run) for run in self._to_beat(given.leaders)],
            others=[
                self.bench.reference(self.bench.run_of(row))
                for row in self._comparable(given.references)
            ],
            looks=self.bench.settings.looks,
            error_rate=self.bench.recipe.search.error_rate,
        )
        reason: str | None = None

        def after_wave(run: Run, completions: Sequence[Completion]) -> str | None:
            nonlocal reason
            reason = rungs.see(score_wave(run, completions))
            if reason is None:
                given.check()
            return reason

        run = self.bench.weigh(
            gguf, folder, f"trial {given.number}", after_wave=after_wave, turn=rungs.ask_next
        )
        header = run.header()
        cost = (header.usage.n_tokens, header.usage.seconds + build_s)
        if reason is None:
            return self._outcome(run, cost=cost)
        told = rungs.told
        return Outcome(
            values=told.values,
            violations=told.violations,
            sha256=header.model.sha256,
            run=run.name,
            stopped=reason,
            n_tokens=cost[0],
            seconds=cost[1],
        )

    def _to_beat(self, leaders: Sequence[TrialRow]) -> list[Run]:
        """The leaders' runs, and the baseline's where none of them beats it."""
        baseline = self.bench.baseline_run()
        itself = self.bench.compare(baseline)
        own = [objective.value(itself) for objective in self.bench.objectives]
        signs = [
            1 if objective.direction == "maximize" else -1 for objective in self.bench.objectives
        ]
        rows = self._comparable(leaders)
        beaten = any(
            row.values is not None
            and all(s * v > s * o for s, v, o in zip(signs, row.values, own, strict=True))
            for row in rows
        )
        runs = [self.bench.run_of(row) for row in rows]
        if len(self.bench.objectives) == 1:
            return runs if beaten else [baseline]
        return runs if beaten else [*runs, baseline]

    def _comparable(self, rows: Sequence[TrialRow]) -> list[TrialRow]:
        """Rows with a run of their own on these very questions."""
        return [row for row in rows if (row.run or "").endswith(f"-{self.bench.questions}")]

    def _outcome(self, run: Run, *, cost: tuple[int, float] | None = None) -> Outcome:
        """A whole run's figures."""
        comparison = self.bench.compare(run)
        header = run.header()
        n_tokens, seconds = cost or (header.usage.n_tokens, header.usage.seconds)
        return Outcome(
            values=tuple(objective.value(comparison) for objective in self.bench.objectives),
            violations={c.text: c.violation(comparison) for c in self.bench.constraints},
            sha256=header.model.sha256,
            run=run.name,
            n_tokens=n_tokens,
            seconds=seconds,
        )

    def _kept(self, given: Assignment, outcome: Outcome) -> Outcome:
        """The outcome, its run in the artifact store."""
        if self.bench.artifacts is None or outcome.run is None:
            return outcome
        trial = self.storage.get_trial(given.trial_id)
        files = self.bench.artifacts.keep(self.bench.run_folder(outcome.run), trial, self.storage)
        return replace(outcome, files=files)
