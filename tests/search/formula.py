"""A study whose trials cost nothing: real storage, claims and sampler, a formula for a model.

Also a program, so that tests can start and kill processes that work on such a study.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from search.leases.interrupt import Interrupt
from search.leases.lease import Owner, Pulse, this_process
from search.recipe import Number, Recipe
from search.study.study import Study, TrialRow, default_url, load_study, open_study
from search.trials.work import Assignment, Outcome, run_trials

QUICK = Pulse(beat_s=0.1, grace_s=0.6, settle_s=0.03)
STEADY = Pulse(beat_s=0.3, grace_s=3.0, settle_s=0.2)
"""For processes that share two busy cores."""

LIMIT = "ifeval.prompt_level_strict_acc >= baseline - 0.05"
PARTS = {"it": "sha256 " + "1" * 64}


def recipe(**search: Any) -> Recipe:
    space = {"s": [0.0, 1.0], "alpha": [0.0, 0.6]}
    return Recipe.model_validate(
        {
            "it": "it",
            "baseline": "it.gguf",
            "adapters": ["a"],
            "heal": {"adapter": "h"},
            "merge": {"s": 0.3, "alpha": 0.3},
            "search": {"space": space, "subject_to": [LIMIT], **search},
        }
    )


class Formula:
    """A bench whose builds are points: H peaks at s = 0.6, and IFEval falls by 0.1 s."""

    def __init__(self, then: Callable[[Assignment], None] = lambda _given: None) -> None:
        self.then = then
        self.weighed: list[int] = []

    def build_name(self, numbers: Mapping[str, Number]) -> str:
        return "-".join(f"{name}{value}" for name, value in numbers.items())

    def weigh_trial(self, given: Assignment) -> Outcome:
        self.weighed.append(given.number)
        self.then(given)
        given.check()
        s = float(given.numbers["s"])
        alpha = float(given.numbers.get("alpha", 0.0))
        return Outcome(
            values=(5.0 - 10 * (s - 0.6) ** 2 - alpha,),
            violations={LIMIT: 0.1 * s - 0.05},
            sha256="0" * 64,
            run=given.build,
            n_tokens=100,
        )


def opened(
    folder: Path,
    n: int = 6,
    *,
    parts: Mapping[str, str] = PARTS,
    url: str | None = None,
    accept: bool = False,
    artifacts: str | None = None,
    **search: Any,
) -> Study:
    folder.mkdir(exist_ok=True)
    return open_study(
        recipe(**search),
        name="demo",
        storage=url or default_url(folder),
        parts=dict(parts),
        n_trials=n,
        default_storage=url is None,
        accept=accept,
        artifacts=artifacts,
    )


def worked(
    study: Study, bench: Formula | None = None, *, me: Owner | None = None, pulse: Pulse = QUICK
) -> list[TrialRow]:
    with Interrupt() as interrupt:
        trials = run_trials(
            study,
            bench or Formula(),
            me=me or this_process(),
            interrupt=interrupt,
            pulse=pulse,
        )
        return list(trials)


def finished(folder: Path, n: int, **search: Any) -> list[TrialRow]:
    study = opened(folder, n, **search)
    worked(study)
    return study.rows()


def _die_at_commit(study: Study, count: int) -> None:
    """Kill this process when its storage is about to commit for the `count`-th time from now."""
    from sqlalchemy import event

    left = count

    def commit(_connection: Any) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(study.storage._backend.engine, "commit", commit)  # type: ignore[attr-defined]


def _chain(folder: Path, n: int, sampler: str, steps: list[int]) -> None:
    """A study in `whole`, and the same in `killed`, in processes that die after so many commits."""
    finished(folder / "whole", n, sampler=sampler)
    n_killed = 0
    while True:
        child = os.fork()
        if child == 0:
            study = opened(folder / "killed", n, sampler=sampler)
            _die_at_commit(study, steps[n_killed % len(steps)])
            worked(study)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            break
        n_killed += 1
    print(n_killed, os.WEXITSTATUS(status))


def _worker(url: str, log: Path, seconds: float, host: str) -> None:
    """Work on a study that exists; each trial takes a while, and its begin and end are logged.

    Under another host's name, so that other processes cannot see whether this one lives.
    """

    def tell(word: str, given: Assignment) -> None:
        with log.open("a") as file:
            file.write(f"{word} {given.number} {os.getpid()}\n")

    def then(given: Assignment) -> None:
        tell("begin", given)
        time.sleep(seconds)
        given.check()
        tell("end", given)

    me = this_process().model_copy(update={"host": host})
    worked(load_study("demo", url), Formula(then), me=me, pulse=STEADY)


if __name__ == "__main__":
    if sys.argv[1] == "chain":
        _chain(Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4], [int(n) for n in sys.argv[5:]])
    else:
        _worker(sys.argv[2], Path(sys.argv[3]), float(sys.argv[4]), sys.argv[5])
