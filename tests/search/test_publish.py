"""Publishing to a stand-in of the Hub over real HTTP, by the command in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from harness.console import run_app
from harness.publish import PublishError, check_repo
from search.cli import app
from search.export.gguf_file import header_bytes, string_value
from tests.harness.made_runs import changed, make_run
from tests.harness.test_runs import header
from tests.hub import TOKEN, Hub, standing_in

GGUF = header_bytes({"general.architecture": string_value("llama")}, [], 32)[0] + b"w" * 15_000
"""A file that is a GGUF to its reader, of nobody's making."""
REPO = "me/Lucha-GGUF"


@pytest.fixture
def hub() -> Iterator[Hub]:
    with standing_in() as stands:
        yield stands


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run of a file that lies beside it, with the baseline's."""
    (tmp_path / "merge.gguf").write_bytes(GGUF)
    facts = header().model.model_copy(
        update={"sha256": sha256(GGUF).hexdigest(), "size_bytes": len(GGUF), "file": "merge.gguf"}
    )
    make_run(tmp_path / "b")
    return make_run(tmp_path / "c", changed(p0="a, comma"), model=facts).folder


def publish(
    hub: Hub, folder: Path, *more: str, answer: str | None = None, token: str = TOKEN
) -> "subprocess.CompletedProcess[str]":
    """`weighin publish` against the stand-in, as a user's shell would run it."""
    environment = os.environ | {
        "HF_ENDPOINT": hub.url,
        "HF_TOKEN": token,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    }
    arguments = ["publish", str(folder), "--repo", REPO, "--license", "apache-2.0"]
    arguments += ["--baseline", str(folder.parent / "b"), "--no-report"]
    arguments += ["--gguf", str(folder.parent / "merge.gguf"), *more]
    return subprocess.run(
        [sys.executable, "-m", "search.cli", *arguments],
        env=environment,
        input=answer or "",
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_what_is_uploaded_is_shown_first_and_is_what_was_scored(hub: Hub, run_folder: Path) -> None:
    done = publish(hub, run_folder, "--yes", "--private", "--model", "it=google/it")
    assert done.returncode == 0, done.stderr
    repo = hub.repos[REPO]
    assert repo.private
    assert set(repo.files) == {"Lucha-Q6_K.gguf", "README.md"}
    digest = sha256(GGUF).hexdigest()
    assert hub.objects == {digest: GGUF}
    assert hub.verified == {digest}
    for text in (
        "Lucha-Q6_K.gguf",
        f"{len(GGUF):,}",
        digest[:20],
        "README.md",
        "which will be made",
    ):
        assert text in done.stdout
    assert done.stdout.splitlines()[-1] == f"{hub.url}/{REPO}/commit/{repo.head}"
    card = repo.files["README.md"].decode()
    assert card == (run_folder / "publish" / "README.md").read_text()
    data = ModelCard(card).data
    assert (data.license, data.base_model, data.model_name) == (
        "apache-2.0",
        ["google/it"],
        "Lucha-GGUF",
    )
    (commit,) = repo.commits
    assert commit[0] == "Upload Lucha-GGUF as it was scored by weighin"
    assert f"Lucha-Q6_K.gguf: SHA-256 {digest}" in commit[1]
    assert "no language is given" in done.stderr, "the Hub's warnings are passed on"


def test_where_nobody_can_be_asked_nothing_is_uploaded(hub: Hub, run_folder: Path) -> None:
    done = publish(hub, run_folder, answer="y\n")
    assert done.returncode == 2
    assert "Lucha-Q6_K.gguf" in done.stdout
    assert done.stderr.splitlines()[-1] == (
        f"weighin: error: {hub.url}/{REPO}: nobody can be asked here; look at the list, then give "
        "--yes"
    )
    assert hub.repos == {}
    assert hub.objects == {}


def test_a_second_time_replaces_and_says_so(hub: Hub, run_folder: Path) -> None:
    assert publish(hub, run_folder, "--yes").returncode == 0
    again = publish(hub, run_folder, "--yes", "--model", "it=google/it")
    assert again.returncode == 0, again.stderr
    assert "replaces one" in again.stdout
    assert "which will be made" not in again.stdout
    assert len(hub.repos[REPO].commits) == 2
    assert b"google/it" in hub.repos[REPO].files["README.md"]


def test_json_tells_what_was_uploaded(hub: Hub, run_folder: Path) -> None:
    done = publish(hub, run_folder, "--yes", "--json")
    told = json.loads(done.stdout)
    assert told["repo"] == REPO
    assert told["commit"] == hub.repos[REPO].head
    files = {own["path_in_repo"]: own for own in told["uploads"]}
    assert files["Lucha-Q6_K.gguf"]["sha256"] == sha256(GGUF).hexdigest()
    assert files["Lucha-Q6_K.gguf"]["scored"]


def test_a_file_that_was_not_scored_is_refused_before_the_hub_is_asked(
    hub: Hub, run_folder: Path
) -> None:
    (run_folder.parent / "merge.gguf").write_bytes(GGUF + b"x")
    done = publish(hub, run_folder, "--yes")
    assert done.returncode == 2
    assert "is not the file that was scored" in done.stderr
    assert hub.repos == {}


def test_what_the_hub_refuses_is_one_line(hub: Hub, run_folder: Path) -> None:
    stranger = publish(hub, run_folder, "--yes", token="hf_wrong")
    assert stranger.returncode == 2
    (line,) = [one for one in stranger.stderr.splitlines() if one.startswith("weighin: error")]
    assert "log in with `hf auth login`" in line
    forbidden = publish(hub, run_folder, "--yes", "--repo", "forbidden/x")
    assert forbidden.returncode == 2
    assert "rights to create" in forbidden.stderr
    refused = publish(hub, run_folder, "--yes", "--license", "made-up")
    assert refused.returncode == 2
    assert refused.stderr == (
        'weighin: error: the Hub refuses the card: "license" must be one of [apache-2.0, mit, '
        "other, ...]\n"
    )
    assert "Traceback" not in stranger.stderr + forbidden.stderr + refused.stderr
    assert hub.repos == {}, "nothing is made before the card is known to be good"


def test_what_did_not_arrive_as_it_was_scored_is_told(hub: Hub, run_folder: Path) -> None:
    hub.damage = True
    done = publish(hub, run_folder, "--yes")
    assert done.returncode == 2
    assert "did not arrive as it was scored" in done.stderr


def test_no_network_is_one_line(run_folder: Path) -> None:
    done = publish(Hub(url="http://127.0.0.1:9"), run_folder, "--yes")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("weighin: error: the Hub's check: ")


def test_the_hubs_own_check_reads_a_card_when_asked(hub: Hub, run_folder: Path) -> None:
    command = [sys.executable, "-m", "search.cli", "card", str(run_folder)]
    environment = os.environ | {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HUB_OFFLINE": "0"}

    def card(license: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*command, "--license", license, "--validate"],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )

    refused = card("made-up")
    assert refused.returncode == 2
    assert "the Hub refuses the card" in refused.stderr
    assert not (run_folder / "README.md").exists()
    assert card("mit").returncode == 0
    assert (run_folder / "README.md").exists()


@pytest.mark.parametrize(("answer", "uploaded"), [("n", False), ("y", True)])
def test_on_a_terminal_it_asks(
    hub: Hub,
    run_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: str,
    uploaded: bool,
) -> None:
    """In this process, since a question needs a terminal; the Hub's address is read on import."""
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.url)
    monkeypatch.setattr("huggingface_hub.hf_api.ENDPOINT", hub.url, raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr("search.commands.card.is_terminal", lambda: True)
    monkeypatch.setattr("typer.confirm", lambda *_args, **_options: answer == "y")
    arguments = ["publish", str(run_folder), "--repo", REPO, "--license", "mit", "--no-report"]
    arguments += ["--gguf", str(run_folder.parent / "merge.gguf")]
    monkeypatch.setattr("sys.argv", ["weighin", *arguments])
    assert run_app(app) == (0 if uploaded else 2)
    assert (REPO in hub.repos) is uploaded
    assert ("nothing was uploaded" in capsys.readouterr().err) is not uploaded


def test_a_repository_has_a_user_and_a_name() -> None:
    assert check_repo("me/x") == "x"
    for wrong in ("x", "me/x/y", "https://huggingface.co/me/x", "me/"):
        with pytest.raises(PublishError, match="expected USER/NAME"):
            check_repo(wrong)
