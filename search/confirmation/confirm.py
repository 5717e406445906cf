"""Confirm: runs the search's choice on the prompts that were held back, once.

A study whose search is over and its bench in, a confirmation out. Every run is kept under its
build's name in `confirm/` and never made twice; one that was stopped goes on at a wave's edge. Of
several processes one confirms and the others wait for it. Knows the order of these steps; what the
figures come to is told by `search.confirmation.figures`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from harness.comparison.compare import PairedRuns
from harness.console import note
from harness.runs import Run, write_whole
from metrics.stats import CONFIDENCE
from search.confirmation.confirmation import (
    DONE,
    FILE,
    FOLDER,
    JOB,
    Asked,
    Candidate,
    Confirmation,
    judged,
    kept_confirmation,
)
from search.confirmation.figures import Halves, baseline_of, bound_of, gains_of, level_of
from search.confirmation.runners_up import Choice, Chosen, choose, eligible, is_comparable
from search.confirmation.winner import scored_build
from search.errors import StudyError
from search.leases.checks import Check
from search.leases.interrupt import Interrupt
from search.leases.lease import Owner, Pulse, StudyJob
from search.leases.once import once
from search.study.study import Study, TrialRow
from search.trials.bench import BASELINE, Bench

HELD_BACK = "held-back prompts"
"""What a run is said to be on."""

Files = Mapping[str, Mapping[str, tuple[str, str]]]
"""Files in the artifact store, by run and name."""


def confirm_study(
    study: Study,
    bench: Bench,
    *,
    me: Owner,
    interrupt: Interrupt,
    after_run: Callable[[], object] = lambda: None,
    pulse: Pulse | None = None,
) -> Confirmation | None:
    """A study's confirmation, as its storage has it or made now; written beside the study as well.

    Args:
        study: Its search is over; where trials still run, whoever ends the last of them confirms.
        bench: The study's.
        me: This process.
        interrupt: Asked between two waves.
        after_run: Called when a build is needed no more.
        pulse: Of the lease.

    Returns:
        None where there is nothing to confirm, nothing was held back, trials still run, or the user
        asked for an end.

    Raises:
        WeighinError: A build or a run failed; what is whole on disk stays.
    """
    if not bench.held_back or not eligible(study, bench.questions):
        return None
    if any(row.state == "running" for row in study.rows()):
        note("trials still run; whoever ends the last of them confirms")
        return None
    asked = replace(bench, tasks=bench.held_back, held_back=(), folder=bench.folder / FOLDER)
    what = Asked(
        baseline_sha256=bench.ready.template_sha256,
        questions=asked.questions,
        n_trials=len(study.ranked()),
        runners_up=study.recipe.search.runners_up,
    )
    job = StudyJob(study.storage, study.id, JOB)

    def found() -> Confirmation | None:
        kept = kept_confirmation(study)
        return kept if kept is not None and kept.asked == what else None

    def make(check: Check, dead: Owner | None) -> Confirmation:
        before = kept_confirmation(study)
        if before is not None and not before.asked.same_questions(what):
            before = None
        files = job.attributes()[DONE]["files"] if before is not None else {}
        work = _Work(study, bench, asked, check, dead, before, files)
        record, files = work.confirm(what, after_run)
        job.set(DONE, {"record": record.model_dump(mode="json"), "files": files, "host": me.host})
        return record

    record = once(job, me=me, interrupt=interrupt, found=found, make=make, pulse=pulse)
    if record is not None:
        write_whole(bench.folder / FILE, record.model_dump_json(indent=2) + "\n")
    return record


@dataclass(frozen=True)
class _Work:
    """What one process does to confirm."""

    study: Study
    bench: Bench
    asked: Bench
    """The same, with the prompts that were held back, in a folder of its own."""
    check: Check
    dead: Owner | None
    before: Confirmation | None
    """An earlier one, on the same prompts, before trials were added."""
    kept: Files
    """Of the runs that it made."""

    def confirm(
        self, what: Asked, after_run: Callable[[], object]
    ) -> tuple[Confirmation, dict[str, Mapping[str, tuple[str, str]]]]:
        """Run what is to be run, and say what it comes to; with the runs' files in the store."""
        rows = eligible(self.study, self.bench.questions)
        choice = choose(self.study, rows, what.runners_up, self.bench.run_of)
        chosen = [*choice.chosen, *self._earlier(choice.chosen)]
        note(
            f"confirming {len(chosen)} build{'s' if len(chosen) != 1 else ''} and the baseline on "
            f"prompts that the search has not seen: {self._asked_text()}"
        )
        baseline = self._baseline()
        runs = []
        for one in chosen:
            runs.append(self._run(one))
            after_run()
        record = self._told(what, choice, chosen, baseline, runs)
        return record, {run.name: self._in_store(run) for run in (baseline, *runs)}

    def _earlier(self, chosen: Sequence[Chosen]) -> list[Chosen]:
        """Builds that were run on these prompts before; they count for the correction as well."""
        if self.before is None:
            return []
        rows = {row.number: row for row in self.study.rows()}
        known = {one.row.build for one in chosen}
        return [
            Chosen(rows[c.trial], ("confirmed before",))
            for c in self.before.candidates
            if c.build not in known
        ]

    def _baseline(self) -> Run:
        if self.asked.baseline_if_whole() is None and BASELINE in self.kept:
            self.asked.fetch(BASELINE, self.kept[BASELINE], f"the baseline, {HELD_BACK}")
        return self.asked.make_baseline_run(self.check, f"{BASELINE}, {HELD_BACK}")

    def _run(self, one: Chosen) -> Run:
        row = one.row
        assert row.build is not None
        name = self.asked.run_name(row.build)
        folder = self.asked.run_folder(name)
        whole = (folder / "summary.json").is_file()
        if not whole and name in self.kept:
            self.asked.fetch(name, self.kept[name], f"trial {row.number}, {HELD_BACK}")
        elif not whole:
            self.check()
            path = self.bench.build_path(row.build)
            gguf = scored_build(self.bench.ready, row, path, dead=self.dead)
            self.check()
            self.asked.weigh(
                gguf,
                folder,
                f"trial {row.number}, {HELD_BACK}",
                after_wave=lambda _run, _completions: self.check(),
            )
        run = Run.open(folder)
        if run.header().model.sha256 != row.sha256:
            raise StudyError(
                f"{folder}: is a run of another file than trial {row.number} scored; move it away"
            )
        return run

    def _told(
        self,
        what: Asked,
        choice: Choice,
        chosen: Sequence[Chosen],
        baseline: Run,
        runs: Sequence[Run],
    ) -> Confirmation:
        searched = self.bench.baseline_run()
        halves = [
            Halves(self._searched(one.row), PairedRuns(baseline, run))
            for one, run in zip(chosen, runs, strict=True)
        ]
        n_claims = len(halves) * len(self.study.objectives)
        gains = gains_of(halves, self.study.objectives)
        candidates = tuple(
            Candidate(
                trial=one.row.number,
                roles=one.roles,
                params=one.row.params,
                build=one.row.build or "",
                sha256=one.row.sha256 or "",
                run=run.name,
                kept_in_search=one.row.whole and one.row.feasible,
                p_leader=one.p_leader,
                gains=own,
                bounds=tuple(
                    bound_of(both.confirm, limit, level_of(n_claims))
                    for limit in self.study.constraints
                ),
            )
            for one, run, both, own in zip(chosen, runs, halves, gains, strict=True)
        )
        itself = PairedRuns(searched, searched), PairedRuns(baseline, baseline)
        outcome, winner = judged(candidates)
        return Confirmation(
            asked=what,
            n_prompts={t.prompts.name: len(t.prompts.prompts) for t in self.asked.tasks},
            confidence=CONFIDENCE,
            n_claims=n_claims,
            leader=choice.leader.number,
            baseline=tuple(baseline_of(*itself, o) for o in self.study.objectives),
            candidates=candidates,
            n_left_out=choice.n_left_out,
            outcome=outcome,
            winner=winner,
            n_tokens=sum(run.header().usage.n_tokens for run in (baseline, *runs)),
        )

    def _searched(self, row: TrialRow) -> PairedRuns | None:
        """The trial's run in the search; None where it was stopped, or asked something else."""
        if not row.whole or not is_comparable(row, self.bench.questions):
            return None
        return PairedRuns(self.bench.baseline_run(), self.bench.run_of(row))

    def _in_store(self, run: Run) -> Mapping[str, tuple[str, str]]:
        """The run's files in the artifact store, put there once."""
        return self.kept.get(run.name) or self.asked.keep(run, self.study)

    def _asked_text(self) -> str:
        return ", ".join(f"{len(t.prompts.prompts)} of {t.prompts.name}" for t in self.asked.tasks)
