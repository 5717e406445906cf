"""`weighin dashboard` as a user runs it: optuna-dashboard over HTTP on a free port."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from search.board.dashboard import address_of, dashboard_server
from search.errors import StudyError
from search.study.study import Study, load_study

from .studies import make_study

WAIT_S = 60.0


@dataclass(frozen=True)
class Served:
    """A dashboard that is running, and what it shows."""

    process: "subprocess.Popen[str]"
    address: str
    root: str
    folder: Path


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The command on a study whose folder was moved, on a free port."""
    root = tmp_path_factory.mktemp("dashboard")
    make_study(root / "before")
    folder = root / "after"
    (root / "before").rename(folder)
    command = [sys.executable, "-m", "search.cli", "dashboard", str(folder), "--port", "0"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )
    assert process.stdout is not None
    address = process.stdout.readline().strip()
    assert address, process.communicate()
    yield Served(process, address, address.partition("/dashboard/")[0], folder)
    process.terminate()
    process.communicate(timeout=WAIT_S)


def got(url: str, method: str = "GET") -> bytes:
    request = urllib.request.Request(url, method=method)
    with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
        body: bytes = answer.read()
    return body


def studies(served: Served) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(got(f"{served.root}/api/studies"))["study_summaries"]
    return found


def test_it_listens_on_this_machine_alone(served: Served) -> None:
    assert served.root.startswith("http://127.0.0.1:")


def test_the_study_is_listed_and_its_page_is_there(served: Served) -> None:
    (study,) = studies(served)
    assert study["study_name"] == "demo"
    assert served.address.endswith(f"/dashboard/studies/{study['study_id']}")
    assert b"<html" in got(served.address)


def test_a_trials_run_can_be_downloaded_byte_for_byte(served: Served) -> None:
    (study,) = studies(served)
    detail = json.loads(got(f"{served.root}/api/studies/{study['study_id']}"))
    trial = detail["trials"][1]
    artifacts = {a["filename"]: a["artifact_id"] for a in trial["artifacts"]}
    assert set(artifacts) == {p.name for p in (served.folder / "runs" / "s0.3-asked").iterdir()}
    place = f"{served.root}/artifacts/{study['study_id']}/{trial['trial_id']}"
    kept = served.folder / "runs" / "s0.3-asked" / "completions.jsonl"
    assert got(f"{place}/{artifacts['completions.jsonl']}") == kept.read_bytes()


def test_the_baselines_run_is_with_the_study(served: Served) -> None:
    (study,) = studies(served)
    detail = json.loads(got(f"{served.root}/api/studies/{study['study_id']}"))
    artifacts = {a["filename"]: a["artifact_id"] for a in detail["artifacts"]}
    kept = served.folder / "baseline" / "summary.json"
    found = got(f"{served.root}/artifacts/{study['study_id']}/{artifacts['summary.json']}")
    assert found == kept.read_bytes()


@pytest.mark.parametrize("method", ["DELETE", "POST", "PUT"])
def test_nothing_can_be_changed(served: Served, method: str) -> None:
    (study,) = studies(served)
    with pytest.raises(urllib.error.HTTPError) as refused:
        got(f"{served.root}/api/studies/{study['study_id']}", method)
    assert refused.value.code == 403
    assert "nothing can be changed here" in json.loads(refused.value.read())["reason"]
    refused.value.close()
    assert len(load_study(served.folder).rows()) == 5


def test_ctrl_c_ends_it_without_a_word_too_many(served: Served, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "search.cli", "dashboard", str(served.folder), "--port", "0"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )
    assert process.stderr is not None
    assert process.stderr.readline() == "to look at until Ctrl-C\n"
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=WAIT_S)
    assert (process.returncode, told) == (0, "closed\n")


@pytest.fixture
def study(served: Served) -> Study:
    return load_study(served.folder)


def test_a_port_that_is_taken_is_one_line(study: Study, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StudyError, match=f"cannot listen on 127.0.0.1 port {port}"):
            dashboard_server(study, tmp_path, host="127.0.0.1", port=port)


def test_a_host_that_is_none_is_one_line(study: Study, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"cannot listen on no\.such\.host\.invalid port 0"):
        dashboard_server(study, tmp_path, host="no.such.host.invalid", port=0)


def test_ipv6_has_its_brackets(study: Study, tmp_path: Path) -> None:
    try:
        server = dashboard_server(study, tmp_path, host="::1", port=0)
    except StudyError:
        pytest.skip("no IPv6 here")
    with server:
        assert address_of(server, study).startswith("http://[::1]:")


def test_without_optuna_dashboard_its_extra_is_named(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    with pytest.raises(StudyError, match=r"missing; pip install 'weighin\[dashboard\]'"):
        dashboard_server(study, tmp_path, host="127.0.0.1", port=0)
