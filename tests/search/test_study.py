"""The study with Optuna and SQLite for real; only the weighing is a formula."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from metrics.errors import WeighinError
from search.errors import BuildError, DiskFullError, RecipeError, StorageError, StudyError
from search.leases.lease import BEAT, Owner, Pulse, TrialJob, give_back, own, take, this_process
from search.study.record import read_record
from search.study.storage import open_storage, storage_errors, without_password
from search.study.study import default_url, load_study
from search.trials.builds import parse_keep, sweep_builds
from search.trials.claims import Claims
from search.trials.failures import failure_of
from search.trials.proposal import propose
from search.trials.work import Assignment

from .formula import PARTS, QUICK, Formula, finished, opened, worked


def test_the_recipes_own_point_comes_first_then_the_baselines(tmp_path: Path) -> None:
    first, second = finished(tmp_path, 2)
    assert first.params == {"s": 0.3, "alpha": 0.3}
    assert second.params == {"s": 0.0, "alpha": 0.0}


def test_more_trials_continue_the_same_study(tmp_path: Path) -> None:
    few = finished(tmp_path, 3)
    more = finished(tmp_path, 6)
    assert more[:3] == few
    assert [r.number for r in more] == list(range(6))
    assert finished(tmp_path, 6) == more


# Killed and stopped


@pytest.mark.parametrize(("sampler", "n", "steps"), [("tpe", 13, [61]), ("nsga2", 8, [47, 71, 90])])
def test_killed_at_any_commit_a_study_records_what_an_unstopped_one_does(
    tmp_path: Path, sampler: str, n: int, steps: list[int]
) -> None:
    # real processes; each dies by SIGKILL when its storage is about to commit for the k-th time
    command = [sys.executable, "-m", "tests.search.formula", "chain", str(tmp_path), str(n)]
    done = subprocess.run(
        [*command, sampler, *(str(k) for k in steps)], capture_output=True, text=True, check=True
    )
    n_killed, exit_code = done.stdout.split()
    assert int(n_killed) >= 5, "too few kills to show anything"
    assert exit_code == "0"
    whole, killed = (opened(tmp_path / x, n, sampler=sampler) for x in ("whole", "killed"))
    assert killed.rows() == whole.rows()
    assert [row.number for row in killed.rows() if row.state == "complete"] == list(range(n))


@pytest.mark.parametrize("after", ["s", "alpha"])
def test_no_number_hangs_on_whether_another_was_stored_before_a_kill(
    tmp_path: Path, after: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import optuna

    whole = finished(tmp_path / "whole", 4)
    study = opened(tmp_path / "killed", 4)
    store = optuna.Trial._suggest

    def suggest(trial: optuna.Trial, name: str, distribution: Any) -> Any:
        value = store(trial, name, distribution)
        if trial.number == 3 and name == after:
            raise Killed
        return value

    with monkeypatch.context() as patched:
        patched.setattr(optuna.Trial, "_suggest", suggest)
        with pytest.raises(Killed):
            worked(study, me=dead_process())
    assert after in study.trials()[3].params
    assert finished(tmp_path / "killed", 4) == whole


class Killed(BaseException):
    """Stands for the end of a process."""


def dead_process() -> Owner:
    """An owner on this machine whose process is no more."""
    return this_process().model_copy(update={"id": "dead", "pid": 2**22 + 1})


def elsewhere(name: str) -> Owner:
    """An owner on a machine whose processes cannot be seen from here."""
    return this_process().model_copy(update={"id": name, "host": name})


def test_ctrl_c_ends_after_the_step_in_hand(tmp_path: Path) -> None:
    def interrupt(given: Assignment) -> None:
        if given.number == 2:
            os.kill(os.getpid(), signal.SIGINT)

    study = opened(tmp_path / "stopped", 4)
    rows = worked(study, Formula(interrupt))
    assert [row.number for row in rows] == [0, 1]
    assert study.rows()[2].state == "running"
    # it was given back, so that even another machine need not wait for beats to stop
    bench = Formula()
    worked(study, bench, me=elsewhere("b"))
    assert bench.weighed == [2, 3]
    assert [r.values for r in study.rows()] == [r.values for r in finished(tmp_path / "whole", 4)]


def test_a_second_ctrl_c_ends_at_once(tmp_path: Path) -> None:
    def twice(_given: Assignment) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("still here")

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        worked(opened(tmp_path), Formula(twice))
    assert signal.getsignal(signal.SIGINT) is before


def test_a_build_that_ctrl_c_broke_is_no_failure(tmp_path: Path) -> None:
    def broken(_given: Assignment) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        raise BuildError("llama.cpp cannot load the build: stopped by signal 2")

    study = opened(tmp_path)
    assert worked(study, Formula(broken)) == []
    assert [row.state for row in study.rows()] == ["running"]


# Several processes


def test_a_trial_of_a_dead_worker_elsewhere_is_tried_again(tmp_path: Path) -> None:
    study = opened(tmp_path, 2)
    lost = Claims(study, elsewhere("a"), QUICK).next()
    assert lost is not None
    bench = Formula()
    worked(study, bench)
    # the other trial first: only after a while without a beat does the owner count as dead
    assert bench.weighed == [1, 0]
    assert [row.state for row in study.rows()] == ["complete", "complete"]


def test_a_worker_that_beats_keeps_its_trial(tmp_path: Path) -> None:
    study = opened(tmp_path, 2)
    slow = Claims(study, elsewhere("a"), QUICK).next()
    assert slow is not None
    done = threading.Event()

    def beat() -> None:
        for count in range(8):
            slow.job.set(BEAT, count)
            time.sleep(QUICK.grace_s / 4)
        done.set()

    thread = threading.Thread(target=beat)
    thread.start()
    bench = Formula()
    worked(study, bench)
    thread.join()
    assert done.is_set()
    assert bench.weighed == [1, 0], "only once the beats had stopped"


def test_who_lost_a_trial_leaves_it_alone(tmp_path: Path) -> None:
    study = opened(tmp_path, 3)

    def stolen(given: Assignment) -> None:
        if given.number == 1 and bench.weighed.count(1) == 1:
            own(TrialJob(study.storage, given.trial_id), elsewhere("thief"))
            time.sleep(3 * QUICK.beat_s)

    bench = Formula(stolen)
    rows = worked(study, bench)
    assert bench.weighed == [0, 1, 2, 1], "given up, and taken back when the thief did not beat"
    assert [row.number for row in rows] == [0, 2, 1]


def test_of_two_that_take_a_trial_over_one_gets_it(tmp_path: Path) -> None:
    study = opened(tmp_path, 1)
    claim = Claims(study, dead_process(), QUICK).next()
    assert claim is not None
    got: list[bool] = []

    def taker(name: str) -> None:
        own_storage = load_study("demo", study.url)
        job = TrialJob(own_storage.storage, claim.job.trial_id)
        got.append(take(job, elsewhere(name), QUICK, dead_process()))

    threads = [threading.Thread(target=taker, args=(name,)) for name in "abc"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(got) == [False, False, True]


def test_no_trial_is_claimed_twice_and_none_beyond_the_budget(tmp_path: Path) -> None:
    study = opened(tmp_path, 12)
    claimed: list[int] = []

    def claimer(name: str) -> None:
        claims = Claims(load_study("demo", study.url), elsewhere(name), Pulse())
        while (claim := claims.next()) is not None and len(claimed) < 40:
            claimed.append(claim.number)

    threads = [threading.Thread(target=claimer, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(claimed) == list(range(12))


def test_a_process_that_ended_is_gone_and_this_one_is_not() -> None:
    assert dead_process().gone
    assert not this_process().gone
    assert not elsewhere("a").gone
    recycled = this_process().model_copy(update={"started": 0.0})
    assert recycled.gone, "another process has the number now"


# What is proposed


def test_a_build_that_was_weighed_is_not_weighed_again(tmp_path: Path) -> None:
    space = {"s": {"choices": [0.3, 0.6]}, "alpha": {"choices": [0.0, 0.3]}}
    study = opened(tmp_path, 99, space=space)
    bench = Formula()
    worked(study, bench)
    rows = study.rows()
    whole = [row for row in rows if row.whole]
    assert len({row.build for row in whole}) == len(whole) == 4 == len(bench.weighed)
    repeated = [row for row in rows if row.repeats is not None]
    assert all(rows[row.repeats or 0].build == row.build for row in repeated)
    assert {row.state for row in repeated} <= {"fail"}


def test_repeats_are_no_part_of_the_budget(tmp_path: Path) -> None:
    space = {"s": {"choices": [0.3, 0.6]}, "alpha": {"choices": [0.0, 0.2, 0.3]}}
    rows = finished(tmp_path, 5, space=space)
    assert sum(row.whole for row in rows) == 5


def test_two_that_propose_one_build_at_once_weigh_it_once(tmp_path: Path) -> None:
    study = opened(tmp_path, 2, space={"s": {"choices": [0.3]}})
    first = Claims(study, elsewhere("a"), QUICK).next()
    assert first is not None
    proposed = propose(study, 0, first.job.trial_id, lambda _point: False)
    assert proposed is not None
    first.job.set("build", Formula().build_name(proposed[1]))
    bench = Formula()
    worked(study, bench)
    # trial 1 yields to 0, which is taken over when its owner proves dead
    assert bench.weighed == [0]
    assert study.rows()[1].repeats == 0


def test_a_grid_is_walked_once(tmp_path: Path) -> None:
    space = {"s": {"low": 0, "high": 1, "step": 0.5}, "alpha": {"choices": [0.0, 0.6]}}
    rows = finished(tmp_path, 99, space=space, sampler="grid")
    assert [tuple(r.params.values()) for r in rows] == [
        (s, alpha) for s in (0.0, 0.5, 1.0) for alpha in (0.0, 0.6)
    ]


def test_a_grid_without_steps_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"search\.space\.s: a grid needs a step"):
        opened(tmp_path, sampler="grid")


def test_an_empty_space_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="nothing to search"):
        opened(tmp_path, space={})


# Who leads


def test_best_is_the_best_that_keeps_the_constraint(tmp_path: Path) -> None:
    study = opened(tmp_path, 2, space={"s": {"choices": [0.4, 0.6]}}, sampler="grid")
    worked(study)
    best = study.best()
    # 0.6 has the higher H but loses 0.06 of the 0.05 that are allowed
    assert best is not None
    assert best.params["s"] == 0.4
    assert sorted(r.feasible for r in study.rows()) == [False, True]


def test_no_best_where_nothing_is_feasible(tmp_path: Path) -> None:
    study = opened(tmp_path, 1, space={"s": {"choices": [0.9]}}, sampler="grid")
    worked(study)
    assert study.best() is None
    assert study.leaders() == []


def test_a_trial_is_given_the_leaders_of_its_beginning_also_after_a_kill(tmp_path: Path) -> None:
    study = opened(tmp_path, 4)

    def kill(given: Assignment) -> None:
        if given.number == 2:
            raise Killed

    with pytest.raises(Killed):
        worked(study, Formula(kill), me=dead_process())
    begun = study.rows()[2]
    seen: list[tuple[int, ...]] = []
    worked(study, Formula(lambda given: seen.append(tuple(r.number for r in given.leaders))))
    assert seen[0] == begun.leaders


@pytest.mark.parametrize(
    ("keep", "left"),
    [("best", {"b2"}), (2, {"b2", "b3", "b1"}), ("all", {f"b{i}" for i in range(6)})],
)
def test_builds_are_swept_but_for_leaders_and_those_in_use(
    tmp_path: Path, keep: str | int, left: set[str]
) -> None:
    # H is best at 0.6 and 0.55, but only 0.45 and below keep the constraint
    grid = [0.1, 0.55, 0.45, 0.6, 0.0]
    study = opened(tmp_path, 5, space={"s": {"choices": grid}}, sampler="grid")
    bench = Formula()
    bench.build_name = lambda numbers: f"b{grid.index(float(numbers['s']))}"  # type: ignore[method-assign]
    worked(study, bench)
    folder = tmp_path / "builds"
    folder.mkdir()
    for index in range(6):
        (folder / f"b{index}.gguf").write_bytes(b"GGUF")
    (folder / ".b9.gguf.part.1").write_bytes(b"GG")
    wider = opened(tmp_path, 6, space={"s": {"choices": [*grid, 0.7]}}, sampler="grid")
    running = Claims(wider, elsewhere("a"), QUICK).next()
    assert running is not None
    running.job.set("build", "b5")
    sweep_builds(folder, study, keep)
    assert {path.stem for path in folder.glob("b*.gguf")} == left | {"b5"}
    assert (folder / ".b9.gguf.part.1").exists()


@pytest.mark.parametrize("text", ["0", "some", "-1", ""])
def test_keep_is_best_all_or_a_number(text: str) -> None:
    with pytest.raises(WeighinError, match="expected best, all or a number"):
        parse_keep(text)


# Failures


def test_a_failed_trial_is_recorded_and_the_search_goes_on(tmp_path: Path) -> None:
    def flaky(given: Assignment) -> None:
        if given.number == 1:
            raise WeighinError("llama.cpp's process died (killed by signal 9)")

    rows = worked(opened(tmp_path, 4), Formula(flaky))
    assert [r.state for r in rows] == ["complete", "fail", "complete", "complete"]
    assert rows[1].error == "llama.cpp's process died (killed by signal 9)"
    assert rows[1].failure == "out of memory"


def test_three_alike_in_a_row_stop_the_search(tmp_path: Path) -> None:
    def broken(given: Assignment) -> None:
        raise BuildError(f"tensor {given.number} has no shape")

    with pytest.raises(WeighinError, match=r"3 trials failed alike in a row \(build\), the last: "):
        worked(opened(tmp_path, 9), Formula(broken))
    assert len(opened(tmp_path, 9).rows()) == 3


def test_three_that_differ_do_not(tmp_path: Path) -> None:
    def broken(given: Assignment) -> None:
        raise [BuildError("no shape"), MemoryError(), WeighinError("no run")][given.number % 3]

    rows = worked(opened(tmp_path, 4), Formula(broken))
    assert [row.failure for row in rows] == ["build", "out of memory", "run", "build"]


def test_another_machines_failures_do_not_stop_this_one(tmp_path: Path) -> None:
    def broken(_given: Assignment) -> None:
        raise MemoryError

    study = opened(tmp_path, 5)
    with pytest.raises(WeighinError, match="3 trials failed alike"):
        worked(study, Formula(broken), me=elsewhere("small"))
    assert [row.state for row in worked(study)] == ["complete", "complete"]


def test_a_bug_is_no_failed_trial(tmp_path: Path) -> None:
    def broken(_given: Assignment) -> None:
        raise RuntimeError("ours")

    study = opened(tmp_path, 2)
    with pytest.raises(RuntimeError, match="ours"):
        worked(study, Formula(broken))
    assert [row.state for row in study.rows()] == ["running"]


def _fill(then: str) -> None:
    """Write to a disk that is really full: the kernel's own error."""
    try:
        with Path("/dev/full").open("w") as file:
            file.write("x")
    except OSError as error:
        if then == "plain":
            raise
        raise WeighinError(f"cannot write ({error.strerror}); name another --out") from None


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
@pytest.mark.parametrize("then", ["plain", "told"])
def test_a_full_disk_stops_cleanly_and_nothing_is_lost(tmp_path: Path, then: str) -> None:
    def full(given: Assignment) -> None:
        if given.number == 1:
            _fill(then)

    study = opened(tmp_path / "full", 3)
    with pytest.raises(DiskFullError, match="goes on with the same command once there is room"):
        worked(study, Formula(full))
    assert [row.state for row in study.rows()] == ["complete", "running"]
    assert finished(tmp_path / "full", 3) == finished(tmp_path / "whole", 3)


def test_a_full_database_is_one_line(tmp_path: Path) -> None:
    study = opened(tmp_path, 3)

    def full(given: Assignment) -> None:
        if given.number == 1:
            from sqlalchemy import event

            engine = study.storage._backend.engine  # type: ignore[attr-defined]
            event.listen(engine, "connect", lambda c, _r: c.execute("PRAGMA max_page_count = 1"))
            for index in range(100):
                study.set(f"filler {index}", "x" * 4000)

    with (
        pytest.raises(DiskFullError, match="the disk is full; free some and go on"),
        storage_errors(study.url),
    ):
        worked(study, Formula(full))
    assert [row.state for row in opened(tmp_path, 3).rows()] == ["complete", "running"]


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "disk full"),
        (DiskFullError("full"), "disk full"),
        (MemoryError(), "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "out of memory"),
        (BuildError("llama.cpp cannot load the build: bad magic"), "load"),
        (BuildError("cannot download"), "build"),
        (WeighinError("cannot pair"), "run"),
        (RecipeError("objective prose.rep3g: undefined for these texts"), "score"),
        (RuntimeError("ours"), None),
        (KeyError("ours"), None),
    ],
)
def test_kinds_of_failure(error: Exception, kind: str | None) -> None:
    assert failure_of(error) == kind


# What a study is bound to


def test_a_change_is_named_and_refused(tmp_path: Path) -> None:
    opened(tmp_path, parts=PARTS | {"adapter 1 (heal)": "sha256 " + "ab" * 32})
    told = (
        r"study demo: adapter 1 \(heal\) changed: sha256 cdcdcdcdcdcd, was sha256 abababababab; "
        r"undo that, name another study with --out, or go on with --accept-changes"
    )
    with pytest.raises(StudyError, match=told):
        opened(tmp_path, parts=PARTS | {"adapter 1 (heal)": "sha256 " + "cd" * 32})


def test_an_accepted_change_is_recorded_and_stops_who_works_on_the_old_one(tmp_path: Path) -> None:
    study = opened(tmp_path, 4)
    opened(tmp_path, 2)
    worked(study)
    changed = opened(tmp_path, 4, parts=PARTS | {"fisher": "sha256 1"}, accept=True)
    assert changed.record.changes[0].at_trial == 2
    assert changed.record.changes[0].what == ("fisher is new: sha256 1",)
    with pytest.raises(StudyError, match="was changed while this process worked on it"):
        worked(study)
    assert len(worked(changed)) == 2


def test_a_study_is_opened_without_its_recipe(tmp_path: Path) -> None:
    study = opened(tmp_path)
    worked(study)
    study.record.write(tmp_path)
    by_folder, by_url = load_study(tmp_path), load_study("demo", default_url(tmp_path))
    assert by_folder.record == by_url.record == study.record == read_record(tmp_path)
    rows = study.rows()
    assert by_folder.rows() == rows
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("study.json", "study.db"):
        (tmp_path / name).rename(moved / name)
    assert load_study(moved).rows() == rows


@pytest.mark.parametrize("place", ["missing", "empty"])
def test_no_study_is_one_line(tmp_path: Path, place: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(StudyError, match="no study here"):
        load_study(tmp_path / place)
    opened(tmp_path)
    with pytest.raises(StudyError, match=r"no study 'demos' in .*; known are demo"):
        load_study("demos", default_url(tmp_path))


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("study.db", "the storage URL cannot be read"),
        ("sqlite:////no/such/folder/x.db", "unable to open database file"),
        ("grpc://nowhere", "expected grpc://HOST:PORT"),
        ("postgresql://u:secret@127.0.0.1:9/x", "postgresql.*u@127.0.0.1:9/x: .*refused"),
    ],
)
def test_a_storage_that_cannot_be_opened_is_one_line(url: str, told: str) -> None:
    with pytest.raises(StorageError, match=told) as caught:
        open_storage(url)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_password_is_not_kept() -> None:
    assert without_password("postgresql://u:secret@h/x?a=b") == "postgresql://u@h/x?a=b"


def test_a_given_back_trial_needs_no_patience(tmp_path: Path) -> None:
    study = opened(tmp_path, 1)
    claim = Claims(study, elsewhere("a"), QUICK).next()
    assert claim is not None
    give_back(claim.job)
    again = Claims(study, elsewhere("b"), QUICK).next()
    assert again is not None
    assert again.number == 0
