"""Shared baseline: the one run of a study that every trial is held against, made once by one.

A study, its bench and this process in, the run out; whoever comes first makes it, the others wait
for it, and take over where the first one died.
"""

import time
from collections.abc import Callable

from harness.console import note
from harness.runs import Run
from search.artifacts import Artifacts
from search.bench import BASELINE, Bench
from search.interrupt import Interrupt
from search.lease import DeathWatch, Lease, Owner, Pulse, StudyJob, give_back, owner_of, take
from search.study import Study
from search.work import POLL_S, Lost, Stopping

DONE = "done"
"""Attribute of the job: what was run on which questions, by whom, and its files."""


def shared_baseline(
    study: Study, bench: Bench, *, me: Owner, interrupt: Interrupt, pulse: Pulse | None = None
) -> Run | None:
    """The baseline's run.

    Returns:
        None where the user asked for an end before it was whole.

    Raises:
        StudyError: Another machine has it, and this one cannot get it.
        WeighinError: It could not be made.
    """
    pulse = pulse or Pulse()
    job = StudyJob(study.storage, study.id, BASELINE)
    watch = DeathWatch(pulse)
    wanted = [bench.ready.template_sha256, bench.questions]
    waited = False
    while not interrupt.asked:
        attributes = job.attributes()
        done = attributes.get(DONE)
        run = bench.baseline_if_whole()
        if done is not None and done["of"] == wanted:
            if run is None:
                bench.fetch(BASELINE, done["files"], f"the baseline on {done['host']}")
            return bench.baseline_run()
        owner = owner_of(attributes)
        if owner is None or watch.is_dead(0, attributes):
            if take(job, me, pulse, owner):
                made = _make(study, bench, job, me, interrupt, pulse)
                if made is not None:
                    job.set(DONE, {"of": wanted, "host": me.host, "files": made[1]})
                    return made[0]
            continue
        if not waited:
            note(f"waiting for the baseline's run on {owner.host}")
        waited = True
        time.sleep(min(POLL_S, pulse.settle_s))
    return None


def _make(
    study: Study, bench: Bench, job: StudyJob, me: Owner, interrupt: Interrupt, pulse: Pulse
) -> "tuple[Run, dict[str, tuple[str, str]]] | None":
    with Lease(job, me, pulse) as lease:
        try:
            run = bench.make_baseline_run(_check(lease, interrupt))
        except Stopping:
            give_back(job)
            return None
        except Lost:
            return None
        return run, _keep(study, bench.artifacts, run)


def _keep(study: Study, artifacts: Artifacts | None, run: Run) -> dict[str, tuple[str, str]]:
    if artifacts is None:
        return {}
    return artifacts.keep(run.folder, study.optuna_study(), study.storage)


def _check(lease: Lease, interrupt: Interrupt) -> Callable[[], None]:
    def check() -> None:
        if lease.lost:
            raise Lost
        if interrupt.asked:
            raise Stopping

    return check
