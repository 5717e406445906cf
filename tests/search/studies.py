"""A study worked on by the real loop, whose runs are written from scripted answers.

Of five trials one leads, one is stopped, one fails, one breaks the limit. Also a program that works
on it as `weighin search` does, so that tests can look at its terminal.
"""

import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.console import note
from harness.progress import RunProgress
from harness.runs import Usage
from search.board import live
from search.board.live import LiveBoard
from search.errors import BuildError
from search.leases.interrupt import Interrupt
from search.leases.lease import StudyJob, this_process
from search.study.artifacts import artifacts_at
from search.study.study import Study, load_study
from search.trials.bench import BASELINE
from search.trials.shared_baseline import DONE
from search.trials.work import Assignment, Outcome, run_trials
from tests.harness.report.conftest import BASELINE as SAID
from tests.harness.report.conftest import CANDIDATE, make_run
from tests.harness.test_runs import header

from .formula import QUICK, Formula, opened, worked

POINTS = [0.1, 0.3, 0.5, 0.7, 0.9]
"""Values of `s`, a trial each; by the formula 0.6 is best and 0.5 the last that keeps the limit."""
STOPPED, FAILED = 2, 3
WHY_STOPPED = "cannot reach trial 1"
WHY_FAILED = "tensor blk.0 has no shape"
N_ANSWERS, ANSWER_S = 4, 0.3
"""Of a trial that is looked at."""
RUN_COST = Usage(n_prompt_tokens=50, n_tokens=1000, seconds=60.0)
BASELINE_COST = Usage(n_prompt_tokens=50, n_tokens=800, seconds=40.0)


class Scripted(Formula):
    """A bench that leaves a run for every trial, in the folder and in the store."""

    def __init__(self, study: Study, folder: Path) -> None:
        super().__init__()
        self.study = study
        self.folder = folder

    def weigh_trial(self, given: Assignment) -> Outcome:
        name = f"{given.build}-asked"
        place = self.folder / "runs" / name
        if given.number == FAILED:
            write_run(place, Usage(n_tokens=300, seconds=20.0))
            raise BuildError(WHY_FAILED)
        write_run(place, RUN_COST)
        found = super().weigh_trial(given)
        trial = self.study.storage.get_trial(given.trial_id)
        store = artifacts_at(self.study.record.artifacts, self.folder)
        files = store.keep(place, trial, self.study.storage)
        is_stopped = given.number == STOPPED
        return replace(
            found,
            run=name,
            stopped=WHY_STOPPED if is_stopped else None,
            n_tokens=400 if is_stopped else RUN_COST.n_tokens,
            seconds=25.0 if is_stopped else RUN_COST.seconds,
            files=files,
        )


def write_run(folder: Path, usage: Usage) -> None:
    """A whole run that cost so much."""
    run = make_run(folder, SAID if folder.name == BASELINE else CANDIDATE)
    run.write_header(run.header().model_copy(update={"usage": usage}))


def make_study(folder: Path, n: int = len(POINTS), **search: Any) -> Study:
    """The study, its baseline and its first `n` trials, in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    search.setdefault("space", {"s": {"choices": POINTS}})
    study = opened(folder, n, sampler="grid", **search)
    study.record.write(folder)
    write_run(folder / BASELINE, BASELINE_COST)
    store = artifacts_at(study.record.artifacts, folder)
    files = store.keep(folder / BASELINE, study.optuna_study(), study.storage)
    StudyJob(study.storage, study.id, BASELINE).set(DONE, {"of": [], "host": "h", "files": files})
    worked(study, Scripted(study, folder))
    return load_study(folder)


class Slow(Scripted):
    """Takes a while over every trial, and shows a run's own progress meanwhile."""

    def weigh_trial(self, given: Assignment) -> Outcome:
        with RunProgress(f"trial {given.number}") as progress:
            progress.watcher.starting(header(), N_ANSWERS)
            for n in range(N_ANSWERS):
                time.sleep(ANSWER_S)
                progress.watcher.step(1, 10)
                progress.watcher.wave(n + 1, 10)
            return super().weigh_trial(given)


def _show(folder: Path) -> None:
    """Work on the study, its board live."""
    live.LOOK_S = ANSWER_S
    study = make_study(folder, 0)
    study.set("n_trials", len(POINTS))
    with Interrupt() as interrupt, LiveBoard(study, folder):
        bench = Slow(study, folder)
        for row in run_trials(study, bench, me=this_process(), interrupt=interrupt, pulse=QUICK):
            note(f"trial {row.number} has ended")


if __name__ == "__main__":
    _show(Path(sys.argv[1]))
