"""The build that a study comes to: which it is, and that it is the one that was scored."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.runs import file_sha256
from search.confirmation.winner import trial_of, winner_of
from search.errors import StudyError
from search.study.study import load_study
from search.trials.bench import BASELINE

from .confirmed import written
from .test_confirmation import SHOWN, candidate, recorded, trial
from .test_real_confirmation import asked, searched
from .test_real_study import ended, recipe, weighin

__all__ = ["asked", "recipe"]


def test_without_a_confirmation_the_leader_is_taken_if_it_beats_the_baseline(
    tmp_path: Path,
) -> None:
    itself = trial(0.5, kept={"build": BASELINE, "run": BASELINE})
    better = written(tmp_path / "a", [trial(0.4), itself, trial(0.6)])
    assert (winner_of(better) or trial_of(better, 0)).number == 2
    # where the baseline's own point leads, or equals the leader, the baseline is shipped
    assert winner_of(written(tmp_path / "b", [trial(0.4), itself])) is None
    assert winner_of(written(tmp_path / "c", [trial(0.5), itself])) is None
    small = written(tmp_path / "d", [trial(0.4), itself], maximize="-asked.inst_level_strict_acc")
    assert (winner_of(small) or trial_of(small, 1)).number == 0


def test_a_difference_must_be_a_gain(tmp_path: Path) -> None:
    assert winner_of(written(tmp_path / "a", [trial(-1.0)], maximize="told.h_delta")) is None
    gain = winner_of(written(tmp_path / "b", [trial(1.0)], maximize="told.h_delta"))
    assert gain is not None


def test_a_confirmation_overrules_the_leader_while_it_is_the_last_word(tmp_path: Path) -> None:
    runner_up = candidate(1, SHOWN, 0.01)
    current = recorded(tmp_path / "a", runner_up)
    assert current.best() == trial_of(current, 0)
    assert winner_of(current) == trial_of(current, 1)
    before = recorded(tmp_path / "b", runner_up, n_trials=1)
    assert winner_of(before) == trial_of(before, 0)


def test_what_has_no_build_of_its_own_cannot_be_written(tmp_path: Path) -> None:
    itself = trial(0.5, kept={"build": BASELINE, "run": BASELINE})
    study = written(tmp_path, [itself, trial(0.4, kept={"sha256": None})])
    with pytest.raises(StudyError, match="trial 0 is the baseline itself"):
        trial_of(study, 0)
    for number in (1, 9):
        with pytest.raises(StudyError, match=f"trial {number} has no build that was scored"):
            trial_of(study, number)
    with pytest.raises(StudyError, match="no whole trial has ended yet"):
        winner_of(written(tmp_path / "none", []))


@pytest.mark.model
@pytest.mark.slow
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
    from search.export.hf import export_hf
    from search.prepare import prepare
    from search.recipe_file import load_recipe

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
