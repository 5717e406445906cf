"""Studies of a small real model, confirmed in processes that are really stopped; their builds."""

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.runs import file_sha256
from search.confirmation import FILE, kept_confirmation
from search.study import load_study

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


def searched(folder: Path, asked: Path, *more: str) -> tuple[dict[str, object], str]:
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
    assert isinstance(then, dict)
    assert then["asked"]["n_trials"] == 5
    runs = [c["run"] for c in then["candidates"]]
    assert {c.run for c in record.candidates} <= set(runs), "earlier ones count as well"
    assert then["n_claims"] == len(runs) == len(set(runs))
    assert {p: p.stat().st_mtime_ns for p in times} == times


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


def test_best_writes_the_bytes_that_were_scored_or_nothing(
    asked: Path, tmp_path: Path, adapter_of: Callable[..., Path], checkpoint_of: Callable[..., Path]
) -> None:
    folder, out = tmp_path / "study", tmp_path / "out" / "best.gguf"
    mine = tmp_path / "adapter"
    text = asked.read_text()
    name = text.partition("adapters: [")[2].partition("]")[0]
    shutil.copytree(name, mine)
    asked.write_text(text.replace(f"adapters: [{name}]", f"adapters: [{mine}]"))
    searched(folder, asked)
    rows = load_study(folder).rows()
    row = next(row for row in rows if row.number == 0)
    best = ("best", folder, "-o", out, "--trial", "0", "--json")

    # a kept build is copied; one that was tampered with is made again
    code, said, told = ended(weighin(*best))
    assert code == 0, told
    assert file_sha256(out) == row.sha256 == json.loads(said)["sha256"]
    kept = folder / "builds" / f"{row.build}.gguf"
    kept.write_bytes(out.read_bytes()[:-1] + b"x")
    out.unlink()
    code, said, told = ended(weighin(*best))
    assert code == 0, told
    assert json.loads(said)["copied"] is False
    assert file_sha256(out) == row.sha256

    # with the checkpoint: made anew, and the weights are those that the file was made of
    hf = tmp_path / "hf"
    code, _, told = ended(weighin(*best, "--hf", hf))
    assert code == 0, told
    from search.build import build
    from search.export_hf import export_hf
    from search.prepare import prepare
    from search.recipe import load_recipe

    ready = prepare(load_recipe(asked))
    made = build(ready, row.params, tmp_path / "reference.gguf")
    assert made.sha256 == row.sha256
    export_hf(ready.ingredients, made.numbers, tmp_path / "reference")
    weights = "model.safetensors"
    assert (hf / weights).read_bytes() == (tmp_path / "reference" / weights).read_bytes()
    code, _, told = ended(weighin(*best, "--hf", hf))
    assert code == 2
    assert told.strip().endswith(f"{hf} exists and is not an empty folder; name another")

    # an ingredient that has changed is named, and nothing is written
    kept.unlink()
    out.unlink()
    other = adapter_of(checkpoint_of("gemma4"), seed=7)
    shutil.copyfile(other / "adapter_model.safetensors", mine / "adapter_model.safetensors")
    code, _, told = ended(weighin(*best))
    assert code == 2
    (line,) = told.splitlines()
    assert "adapter 1 (adapter) changed: sha256" in line
    assert "bring the study's own files" in line
    assert list(out.parent.iterdir()) == []
