"""Many workers: real processes, a real PostgreSQL server, Optuna's gRPC proxy, a bucket.

What a trial costs is a short sleep in place of a model (`tests.search.formula`), so that what is
tested is all that lies around it: who works on what, who dies, and what is recorded.
"""

import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from search.errors import StorageError
from search.leases.lease import this_process
from search.study.artifacts import FILES, Artifacts
from search.study.storage import open_storage
from search.study.study import load_study
from search.trials.claims import Claims

from .formula import QUICK, Formula, opened, worked
from .postgres import postgres

WAIT_S = 60.0
GRPC_SERVER = """
import sys, warnings
warnings.simplefilter("ignore")
from optuna.storages import get_storage, run_grpc_proxy_server
run_grpc_proxy_server(get_storage(sys.argv[1]), host="127.0.0.1", port=int(sys.argv[2]))
"""


class Log:
    """What the workers say of their trials: `begin` or `end`, the number, the process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def lines(self, word: str, pid: int | None = None) -> list[tuple[int, int]]:
        found = [line.split() for line in self.path.read_text().splitlines()]
        rows = [(int(number), int(who)) for said, number, who in found if said == word]
        return [row for row in rows if pid in (None, row[1])]


def start(url: str, log: Log, host: str, seconds: float = 0.3) -> "subprocess.Popen[bytes]":
    """A worker in a process of its own, on a machine of its own as far as the others can tell."""
    command = [sys.executable, "-m", "tests.search.formula", "worker", url, str(log.path)]
    return subprocess.Popen([*command, str(seconds), host])


def wait_for(what: str, until: "bool | object") -> None:
    """Wait until a condition holds."""
    began = time.monotonic()
    while not until():  # type: ignore[operator]
        assert time.monotonic() - began < WAIT_S, f"no {what} after {WAIT_S:.0f} s"
        time.sleep(0.02)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def test_four_workers_on_postgresql_one_killed_in_mid_trial_one_added_late(
    tmp_path: Path,
) -> None:
    n = 14
    with postgres() as url:
        study = opened(tmp_path, n, url=url)
        log = Log(tmp_path / "log")
        workers = [start(url, log, f"machine{i}") for i in range(3)]
        victim = workers[1]
        wait_for("trial of the victim", lambda: log.lines("end", victim.pid))
        wait_for(
            "trial of the victim in hand",
            lambda: len(log.lines("begin", victim.pid)) > len(log.lines("end", victim.pid)),
        )
        os.kill(victim.pid, signal.SIGKILL)
        victim.wait()
        begun, ended = log.lines("begin", victim.pid), log.lines("end", victim.pid)
        left = {number for number, _ in begun} - {number for number, _ in ended}
        workers.append(start(url, log, "machine3"))
        for worker in workers:
            worker.wait(WAIT_S)
        assert [worker.returncode for worker in workers] == [0, -signal.SIGKILL, 0, 0]
        rows = study.rows()
        assert [row.number for row in rows] == list(range(n))
        assert {row.state for row in rows} == {"complete"}
        beyond = study.optuna_study().get_trials()[n:]
        assert {trial.state.name for trial in beyond} <= {"WAITING"}, "the budget is kept"
    n_ends = Counter(number for number, _ in log.lines("end"))
    n_begins = Counter(number for number, _ in log.lines("begin"))
    assert n_ends == Counter(range(n)), "every trial is finished exactly once"
    assert len(left) == 1, "killed in mid-trial"
    assert {number for number, count in n_begins.items() if count > 1} == left
    assert n_begins[left.pop()] == 2
    for worker in workers:
        assert log.lines("end", worker.pid), "each did some"


def test_postgresql_holds_what_sqlite_does(tmp_path: Path) -> None:
    alone = opened(tmp_path / "alone", 4)
    worked(alone)
    with postgres() as url:
        study = opened(tmp_path, 4, url=url)
        worked(study)
        assert study.rows() == alone.rows()
        assert load_study("demo", url).record.storage == url.replace("://", "+psycopg://") or url


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[str]:
    """Optuna's gRPC proxy before a SQLite file, started as its documentation says."""
    database, port = f"sqlite:///{tmp_path / 'proxied.db'}", free_port()
    server = subprocess.Popen([sys.executable, "-c", GRPC_SERVER, database, str(port)])
    yield f"grpc://127.0.0.1:{port}"
    server.terminate()
    server.wait()


def test_workers_by_optunas_grpc_proxy(tmp_path: Path, proxy: str) -> None:
    alone = opened(tmp_path / "alone", 4)
    worked(alone)
    study = opened(tmp_path, 4, url=proxy)
    dead = this_process().model_copy(update={"id": "dead", "host": "elsewhere"})
    assert Claims(study, dead, QUICK).next() is not None
    bench = Formula()
    worked(load_study("demo", proxy), bench)
    assert sorted(bench.weighed) == [0, 1, 2, 3]
    assert bench.weighed[0] == 1, "0 is its dead owner's until beats are missed"
    assert [row.values for row in study.rows()] == [row.values for row in alone.rows()]


def test_no_proxy_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.study.storage.GRPC_WAIT_S", 0.2)
    with pytest.raises(StorageError, match="no gRPC proxy answers"):
        open_storage(f"grpc://127.0.0.1:{free_port()}")


# Runs where every machine can read them


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """An S3-compatible server of the test's own, reached as a user's would be."""
    import boto3
    from moto.server import ThreadedMotoServer

    for name, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    port = free_port()
    server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    boto3.client("s3").create_bucket(Bucket="runs")
    yield "s3://runs"
    server.stop()


def run_in(folder: Path) -> Path:
    """A folder with a run's files; what they hold is nobody's business here."""
    run = folder / "runs" / "abc"
    run.mkdir(parents=True)
    for name in FILES:
        (run / name).write_text(f"{name} of abc\n" * 1000)
    return run


@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_a_run_goes_to_the_store_and_comes_back(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    place = str(tmp_path / "shared") if kind == "folder" else request.getfixturevalue("bucket")
    study = opened(tmp_path / "here", 1)
    claim = Claims(study, this_process(), QUICK).next()
    assert claim is not None
    run = run_in(tmp_path / "here")
    trial = study.storage.get_trial(claim.job.trial_id)
    files = Artifacts(place).keep(run, trial, study.storage)
    assert list(files) == list(FILES)
    there = tmp_path / "there" / "abc"
    there.parent.mkdir()
    Artifacts(place).fetch(files, there)
    assert {p.name: p.read_bytes() for p in there.iterdir()} == {
        p.name: p.read_bytes() for p in run.iterdir()
    }
    from optuna.artifacts import get_all_artifact_meta

    shown = get_all_artifact_meta(study.optuna_study().trials[0], storage=study.storage)
    assert {meta.filename for meta in shown} == set(FILES), "what optuna-dashboard lists"


@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_a_run_that_was_lost_or_changed_is_refused(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    place = str(tmp_path / "shared") if kind == "folder" else request.getfixturevalue("bucket")
    study = opened(tmp_path / "here", 1)
    files = Artifacts(place).keep(run_in(tmp_path / "here"), study.optuna_study(), study.storage)
    there = tmp_path / "abc"
    changed = {**files, "run.json": (files["run.json"][0], "0" * 64)}
    with pytest.raises(StorageError, match=r"run\.json of abc was changed"):
        Artifacts(place).fetch(changed, there)
    Artifacts(place).store.remove(files["scores.jsonl"][0])
    with pytest.raises(StorageError, match=r"cannot read scores\.jsonl"):
        Artifacts(place).fetch(files, there)
    assert not there.exists(), "nothing half-fetched is left"


def test_a_bucket_that_is_not_there_is_one_line(tmp_path: Path, bucket: str) -> None:
    study = opened(tmp_path / "here", 1)
    with pytest.raises(StorageError, match=r"s3://other: cannot keep run\.json") as caught:
        Artifacts("s3://other").keep(run_in(tmp_path / "here"), study.optuna_study(), study.storage)
    assert "\n" not in str(caught.value)
