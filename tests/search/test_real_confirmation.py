"""Studies of a small real model, confirmed in processes that are really stopped."""

import json
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from search.confirmation.confirmation import FILE, kept_confirmation
from search.study.study import load_study

from .test_real_study import ended, recipe, stop_when, weighin

__all__ = ["recipe"]

pytestmark = [pytest.mark.model, pytest.mark.slow]

N_PROMPTS = 24
WRITTEN = ("completions.jsonl", "scores.jsonl", "summary.json")


@pytest.fixture
def asked(recipe: Path) -> Path:
    """The recipe with enough prompts for two halves."""
    prompts = [{"id": str(n), "prompt": f"the quick brown fox {n}"} for n in range(N_PROMPTS)]
    (recipe.parent / "p.jsonl").write_text("".join(json.dumps(p) + "\n" for p in prompts))
    return recipe


def bytes_of(folder: Path) -> dict[str, bytes]:
    """What the confirming runs of a study have said, and what they came to."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*.json*"))
        if path.name in WRITTEN
    }


def searched(folder: Path, asked: Path, *more: str) -> tuple[dict[str, Any], str]:
    code, out, told = ended(weighin("search", asked, "--out", folder, "--json", *more))
    assert code == 0, told
    return json.loads(out), told


def test_killed_while_confirming_it_ends_as_if_never_stopped_and_confirms_once(
    asked: Path, tmp_path: Path
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    out, told = searched(whole, asked)
    assert "on prompts that the search has not seen" in told
    record = kept_confirmation(load_study(whole))
    assert record is not None
    assert out["confirmation"] == json.loads((whole / FILE).read_text())
    assert out["confirmation"] == record.model_dump(mode="json")

    usages = [json.loads(path.read_text())["usage"]["n_tokens"] for path in whole.rglob("run.json")]
    assert record.n_tokens > 0
    assert out["spending"]["spent"]["n_tokens"] == sum(usages)

    # the halves share no prompt, and make up the set
    halves = [
        {json.loads(line)["prompt_id"] for line in (whole / run).read_text().splitlines()}
        for run in ("baseline/completions.jsonl", "confirm/baseline/completions.jsonl")
    ]
    assert not halves[0] & halves[1]
    assert halves[0] | halves[1] == {str(n) for n in range(N_PROMPTS)}
    assert record.n_prompts == {"p": len(halves[1])}

    # killed in the middle of the baseline's run, then stopped in the middle of a build's
    for how, seen in (
        (signal.SIGKILL, lambda: _begun(killed / "confirm" / "baseline")),
        (signal.SIGINT, lambda: any(map(_begun, (killed / "confirm" / "runs").glob("*")))),
    ):
        process = weighin("search", asked, "--out", killed)
        stop_when(process, seen, how)
        assert ended(process)[0] in (-signal.SIGKILL, 130)
        assert not (killed / FILE).exists()
    searched(killed, asked)
    assert bytes_of(killed / "confirm") == bytes_of(whole / "confirm")
    assert (killed / FILE).read_bytes() == (whole / FILE).read_bytes()

    # asked again, it shows what it has; with more trials, only what is new is run
    times = {path: path.stat().st_mtime_ns for path in (whole / "confirm").rglob("*.jsonl")}
    again, told = searched(whole, asked)
    assert again == out
    assert "confirming" not in told
    more, _ = searched(whole, asked, "--trials", "5")
    then = more["confirmation"]
    assert then["asked"]["n_trials"] == 5
    runs = [c["run"] for c in then["candidates"]]
    assert {c.run for c in record.candidates} <= set(runs), "earlier ones count as well"
    assert then["n_claims"] == len(runs) == len(set(runs))
    assert {p: p.stat().st_mtime_ns for p in times} == times

    # a machine that has none of the confirming runs brings them from the artifact store; a run that
    # was made again would have taken another time, which its run.json tells
    kept = {path: path.read_bytes() for path in (whole / "confirm").rglob("run.json")}
    shutil.rmtree(whole / "confirm")
    searched(whole, asked, "--trials", "6")
    assert {path: path.read_bytes() for path in kept} == kept


def _begun(run: Path) -> bool:
    """Whether a run has some of its answers and not all."""
    return (run / "completions.jsonl").exists() and not (run / "summary.json").exists()


def test_of_two_processes_one_confirms_and_both_tell(asked: Path, tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    url = f"sqlite:///{tmp_path / 'shared.db'}"
    search = weighin("search", asked, "--out", folder, "--storage", url, "--json")
    stop_when(search, lambda: any((folder / "runs").glob("*/run.json")), signal.SIGCONT)
    worker = weighin("worker", "shared", "--storage", url, "--out", folder, "--json")
    told = [ended(process) for process in (search, worker)]
    assert [code for code, _, _ in told] == [0, 0], told
    first, second = (json.loads(out)["confirmation"] for _, out, _ in told)
    assert first == second
    assert first is not None
    assert sum("confirming" in said for _, _, said in told) == 1


def test_where_nothing_is_held_back_it_says_so(asked: Path, tmp_path: Path) -> None:
    asked.write_text(asked.read_text() + "  confirm: false\n")
    code, out, told = ended(weighin("search", asked, "--out", tmp_path / "s", "--trials", "1"))
    assert code == 0, told
    assert out.splitlines()[-1].startswith("nothing is confirmed: `evaluate.confirm` is false")
    assert not (tmp_path / "s" / "confirm").exists()
