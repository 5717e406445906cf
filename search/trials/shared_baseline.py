"""Shared baseline: the one run of a study that every trial is held against, made once by one.

A study, its bench and this process in, the run out.
"""

from harness.runs import Run
from search.leases.checks import Check
from search.leases.interrupt import Interrupt
from search.leases.lease import Owner, Pulse, StudyJob
from search.leases.once import once
from search.study.study import Study
from search.trials.bench import BASELINE, Bench

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
    job = StudyJob(study.storage, study.id, BASELINE)
    wanted = [bench.ready.template_sha256, bench.questions]

    def found() -> Run | None:
        done = job.attributes().get(DONE)
        if done is None or done["of"] != wanted:
            return None
        if bench.baseline_if_whole() is None:
            bench.fetch(BASELINE, done["files"], f"the baseline on {done['host']}")
        return bench.baseline_run()

    def make(check: Check, _dead: Owner | None) -> Run:
        run = bench.make_baseline_run(check)
        files = bench.keep(run, study)
        job.set(DONE, {"of": wanted, "host": me.host, "files": files})
        return run

    return once(job, me=me, interrupt=interrupt, found=found, make=make, pulse=pulse)
