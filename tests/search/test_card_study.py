"""Cards of studies and of builds: what is told of a merge, which trial, what is refused."""

import json
from hashlib import sha256
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from optuna.distributions import FloatDistribution
from optuna.trial import create_trial

from harness.card.evidence import CardError
from harness.card.provenance import terms_of
from harness.console import run_app
from metrics.stats import Estimate
from search.card.recipe import provenance_in, provenance_of
from search.card.study import from_run, from_study
from search.cli import app
from search.confirmation.confirmation import Asked, Candidate, Confirmation, Gain
from search.errors import StudyError
from search.export.gguf_file import header_bytes, string_value
from search.numbers import numbers_for
from search.recipe import Recipe
from search.study.study import Study, default_url, load_study, open_study
from tests.harness.made_runs import changed, make_run
from tests.harness.test_runs import header

HASHES = {
    "it": "1" * 64,
    "pt": "2" * 64,
    "adapters": ["3" * 64, "4" * 64],
    "heal": "5" * 64,
    "fisher": "6" * 64,
    "subspace": "7" * 64,
    "template": "8" * 64,
}
LIMIT = "asked.prompt_level_strict_acc >= baseline - 0.3"
RECIPE = {
    "it": "google/gemma-it",
    "pt": "pt",
    "baseline": "it-Q6_K.gguf",
    "adapters": ["./styles/pulp", {"path": "u/noir", "weight": 0.25}],
    "fisher": "fisher.safetensors",
    "subspace": "subspace.safetensors",
    "heal": {"adapter": "heal", "onto": "pt", "mask": {"mode": "scale_mask"}},
    "merge": {"s": 0.3, "alpha": 0.1},
    "search": {"space": {"s": [0.0, 1.0]}, "maximize": "h_delta", "subject_to": [LIMIT]},
    "evaluate": {"tasks": {"asked": {"prompts": "asked.jsonl"}}},
}


def recipe_at(folder: Path) -> Recipe:
    return Recipe.model_validate(RECIPE, context={"folder": folder})


def gguf_of(recipe: Recipe, s: float) -> bytes:
    """A file that says of itself what a build by weighin says, weights aside."""
    from search.build import AROUND
    from search.places import without_paths

    numbers = numbers_for(recipe, {"s": s})
    said = {
        "recipe": json.dumps(without_paths(recipe.model_dump(mode="json", exclude=AROUND))),
        "numbers": numbers.model_dump_json(),
        "ingredients": json.dumps(HASHES),
        "build_hash": "9" * 64,
    }
    keys = {f"weighin.{name}": string_value(text) for name, text in said.items()}
    return header_bytes(keys, [], 32)[0] + b"weights" * 100


def made(folder: Path, gains: list[float], broken: tuple[int, ...] = ()) -> Study:
    """A study of whole trials with the runs and files of all; trial i has s = 0.1 (i + 1)."""
    folder.mkdir(parents=True)
    recipe = recipe_at(folder)
    parts = {
        "it": f"sha256 {HASHES['it']}",
        "adapter 1 (pulp)": f"sha256 {HASHES['adapters'][0]}",
        "heal adapter": f"sha256 {HASHES['heal']}",
        "baseline": f"sha256 {HASHES['template']}",
    }
    study = open_study(
        recipe,
        name=folder.name,
        storage=default_url(folder),
        parts=parts,
        n_trials=len(gains),
        default_storage=True,
    )
    study.record.write(folder)
    (folder / "builds").mkdir()
    make_run(folder / "baseline")
    for number, gain in enumerate(gains):
        s = round(0.1 * (number + 1), 1)
        build, data = f"{number:016x}", gguf_of(recipe, s)
        (folder / "builds" / f"{build}.gguf").write_bytes(data)
        digest = sha256(data).hexdigest()
        study.optuna_study().add_trial(
            create_trial(
                params={"s": s},
                distributions={"s": FloatDistribution(0.0, 1.0)},
                values=[gain],
                constraints={LIMIT: 0.1 if number in broken else -0.1},
                user_attrs={"build": build, "run": f"{build}-asked", "sha256": digest},
            )
        )
        facts = header().model.model_copy(update={"sha256": digest, "file": f"{build}.gguf"})
        make_run(folder / "runs" / f"{build}-asked", changed(p0="a, comma"), model=facts)
    return load_study(folder)


@pytest.fixture
def study(tmp_path: Path) -> Study:
    return made(tmp_path / "lucha", [1.0, 3.0, 5.0], broken=(2,))


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["weighin", *map(str, arguments)])
    return run_app(app)


def test_a_merge_is_told_part_by_part(tmp_path: Path) -> None:
    recipe = recipe_at(tmp_path)
    told = provenance_of(recipe, numbers_for(recipe, {"s": 0.5}), HASHES, "9" * 64)
    parts = [(own.role, own.key, own.name, own.sha256) for own in told.ingredients]
    assert parts == [
        ("instruct model", "it", "google/gemma-it", "1" * 64),
        ("pre-trained model", "pt", "pt", "2" * 64),
        ("adapter", "pulp", "pulp", "3" * 64),
        ("adapter", "noir", "u/noir", "4" * 64),
        ("heal adapter", "heal", "heal", "5" * 64),
        ("Fisher", "", "fisher.safetensors", "6" * 64),
        ("instruct subspace", "", "subspace.safetensors", "7" * 64),
        ("template and baseline", "", "it-Q6_K.gguf", "8" * 64),
    ]
    assert [own.detail for own in told.ingredients if own.role == "adapter"] == [
        "weight 0.5",
        "weight 0.25",
    ]
    assert dict(told.numbers) == {
        "method": "average",
        "s": "0.5",
        "alpha": "0.1",
        "rank": "all that are stored",
        "strength": "1",
    }
    assert [step.split(" ", 1)[0] for step in told.formula] == ["The", "W", "Slerp,", "Changed"]
    assert told.recipe is not None
    assert str(tmp_path) not in told.recipe, "this machine's paths stay here"


def test_idle_steps_are_left_out(tmp_path: Path) -> None:
    recipe = recipe_at(tmp_path)
    told = provenance_of(recipe, numbers_for(recipe, {"s": 0, "alpha": 0}), HASHES, None)
    assert [step.split(" ", 1)[0] for step in told.formula] == ["Changed"]


def test_a_gguf_tells_its_own_making(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    recipe = recipe_at(tmp_path)
    path.write_bytes(gguf_of(recipe, 0.7))
    found = provenance_in(path)
    assert found is not None
    told, chosen = found
    direct = provenance_of(recipe, numbers_for(recipe, {"s": 0.7}), HASHES, "9" * 64)
    assert told.ingredients == direct.ingredients
    assert (told.numbers, told.formula) == (direct.numbers, direct.formula)
    assert chosen == {"s": 0.7}, "the rest is the recipe's own"
    path.write_bytes(header_bytes({}, [], 32)[0])
    assert provenance_in(path) is None
    keys = {f"weighin.{n}": string_value("{") for n in ("recipe", "numbers", "ingredients")}
    path.write_bytes(header_bytes(keys | {"weighin.build_hash": string_value("")}, [], 32)[0])
    with pytest.raises(CardError, match="what it says of its own making cannot be read"):
        provenance_in(path)


def test_a_studys_card_is_of_its_best_build(study: Study, tmp_path: Path) -> None:
    found = from_study(study, tmp_path / "lucha", name="Lucha")
    assert found.gguf == tmp_path / "lucha" / "builds" / f"{1:016x}.gguf"
    assert found.file == "Lucha-Q6_K.gguf"
    told = found.provenance
    assert told.selection.startswith("A search of 3 trials for ")
    assert told.selection.endswith("this is trial 1, which it comes to.")
    assert told.chosen_by_figures
    digest = found.evidence.header.model.sha256
    assert told.commands == (
        "weighin search recipe.yaml --trials 3",
        "weighin build recipe.yaml -p s=0.2 -o Lucha-Q6_K.gguf",
        f"echo '{digest}  Lucha-Q6_K.gguf' | sha256sum --check",
    )
    # the file itself knows the hashes of all its parts, the study's record of this test only some
    assert [own.sha256 for own in told.ingredients][:4] == ["1" * 64, "2" * 64, "3" * 64, "4" * 64]
    assert told.build_hash == "9" * 64


def test_a_build_that_was_swept_is_told_by_the_studys_record(study: Study, tmp_path: Path) -> None:
    (tmp_path / "lucha" / "builds" / f"{1:016x}.gguf").unlink()
    found = from_study(study, tmp_path / "lucha", name="Lucha")
    assert found.gguf is None
    hashes = {own.name: own.sha256 for own in found.provenance.ingredients}
    assert hashes["google/gemma-it"] == "1" * 64
    assert hashes["u/noir"] is None
    assert hashes["it-Q6_K.gguf"] == "8" * 64
    assert found.provenance.build_hash == f"{1:016x}"


def test_another_trial_is_its_publishers_choice(study: Study, tmp_path: Path) -> None:
    found = from_study(study, tmp_path / "lucha", name="Lucha", trial=2)
    assert found.provenance.selection.endswith(
        "this is trial 2, named by its publisher, which breaks what was asked."
    )
    with pytest.raises(StudyError, match="no trial 7; it has 3"):
        from_study(study, tmp_path / "lucha", name="Lucha", trial=7)


@pytest.mark.parametrize(("gain", "broken"), [(1.0, (0,)), (-1.0, ())])
def test_where_the_baseline_is_to_be_shipped_a_build_has_to_be_named(
    tmp_path: Path, gain: float, broken: tuple[int, ...]
) -> None:
    study = made(tmp_path / "s", [gain], broken=broken)
    with pytest.raises(StudyError, match="ship the baseline, or name a build with --trial"):
        from_study(study, tmp_path / "s", name="x")
    named = from_study(study, tmp_path / "s", name="x", trial=0).provenance.selection
    assert f"named by its publisher, which {'breaks' if broken else 'keeps'}" in named


def test_a_build_that_is_not_the_scored_one_is_refused(study: Study, tmp_path: Path) -> None:
    place = tmp_path / "lucha" / "builds" / f"{1:016x}.gguf"
    place.write_bytes(place.read_bytes() + b"x")
    with pytest.raises(CardError, match="is not the file that was scored"):
        from_study(study, tmp_path / "lucha", name="Lucha")


def test_a_run_of_another_file_than_the_trials_is_refused(study: Study, tmp_path: Path) -> None:
    runs = tmp_path / "lucha" / "runs"
    make_run(runs / f"{1:016x}-asked", changed(p0="a, comma"))
    with pytest.raises(CardError, match="a run of another file than trial 1 built"):
        from_study(study, tmp_path / "lucha", name="Lucha")


def test_a_run_alone_tells_what_its_file_tells(study: Study, tmp_path: Path) -> None:
    folder = tmp_path / "lucha"
    gguf = folder / "builds" / f"{1:016x}.gguf"
    run_folder = folder / "runs" / f"{1:016x}-asked"
    alone = from_run(run_folder, name="Lucha", gguf=gguf)
    assert alone.evidence.comparison is None
    assert alone.provenance.selection == ""
    assert alone.provenance.commands[0] == "weighin build recipe.yaml -p s=0.2 -o Lucha-Q6_K.gguf"
    beside = from_run(run_folder, name="Lucha", baseline=folder / "baseline")
    assert beside.evidence.comparison is not None
    assert beside.provenance.ingredients == ()


def test_the_command_writes_a_card_that_the_hubs_classes_read(
    study: Study,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, out = tmp_path / "lucha", tmp_path / "README.md"
    given = ("--license", "gemma", "--model", "heal=u/heal", "-o", out)
    assert run(monkeypatch, "card", folder, *given) == 0
    told = capsys.readouterr()
    assert told.out == f"{out}\n"
    assert "only a local name is known: pt, pulp;" in told.err
    data = ModelCard.load(out).data
    assert (data.license, data.model_name) == ("gemma", "lucha")
    assert data.base_model == ["google/gemma-it", "u/noir", "u/heal"]
    assert data.get("base_model_relation") == "merge"
    assert data.get("adapters") == ["pulp", "u/noir", "u/heal"]
    text = out.read_text()
    assert str(tmp_path) not in text, "this machine's paths stay here"
    assert "chosen by these very figures" in text
    assert run(monkeypatch, "card", folder, *given) == 2
    assert "exists; name another --out" in capsys.readouterr().err
    assert run(monkeypatch, "card", folder, *given, "--force", "--name", "Lucha", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {
        "card": str(out),
        "name": "Lucha",
        "file": "Lucha-Q6_K.gguf",
    }


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), "a card needs --license; expected a Hub id such as apache-2.0"),
        (("--license", "mit", "--baseline", "x"), "--baseline x: a study has its own"),
        (("--license", "mit", "--model", "noire=a/b"), "did you mean noir?"),
        (("--license", "mit", "--gguf", "gone.gguf"), "gone.gguf: no such file"),
    ],
)
def test_bad_input_is_one_line(
    study: Study,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    told: str,
) -> None:
    assert run(monkeypatch, "card", tmp_path / "lucha", *options) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
    assert not (tmp_path / "lucha" / "README.md").exists()


def test_a_trial_of_a_run_is_refused(
    study: Study,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "lucha" / "baseline"
    assert run(monkeypatch, "card", folder, "--license", "mit", "--trial", 1) == 2
    assert "--trial 1: " in capsys.readouterr().err


def confirm(study: Study, folder: Path, trial: int, *, n_trials: int = 3) -> None:
    """What a confirmation of one trial leaves: its record in the storage, and the two runs."""
    row = next(own for own in study.rows() if own.number == trial)
    assert row.build is not None and row.sha256 is not None
    name = f"{row.build}-held"
    gain = Gain(
        metric="h_delta",
        direction="maximize",
        search=Estimate(value=3.0, low=1.0, high=5.0, n=4),
        confirmed=Estimate(value=1.25, low=0.5, high=2.0, n=4),
        drop=Estimate(value=1.75, low=None, high=None, n=4),
        own=Estimate(value=40.0, low=None, high=None, n=4),
        p_value=0.01,
        p_holm=0.02,
    )
    candidate = Candidate(
        trial=trial,
        roles=("leader",),
        params=row.params,
        build=row.build,
        sha256=row.sha256,
        run=name,
        kept_in_search=True,
        p_leader=None,
        gains=(gain,),
        bounds=(),
    )
    record = Confirmation(
        asked=Asked(baseline_sha256="a" * 64, questions="q", n_trials=n_trials, runners_up=2),
        n_prompts={"asked": 4, "told": 3},
        confidence=0.95,
        n_claims=1,
        leader=trial,
        baseline=(),
        candidates=(candidate,),
        n_left_out=0,
        outcome="shown",
        winner=trial,
        n_tokens=0,
    )
    study.set("confirmation.done", {"record": record.model_dump(mode="json"), "files": {}})
    make_run(folder / "confirm" / "baseline")
    facts = header().model.model_copy(update={"sha256": row.sha256, "file": f"{row.build}.gguf"})
    make_run(folder / "confirm" / "runs" / name, changed(p1="no comma"), model=facts)


def test_confirmed_figures_come_first(study: Study, tmp_path: Path) -> None:
    folder = tmp_path / "lucha"
    confirm(study, folder, 0)
    found = from_study(study, folder, name="Lucha")
    assert found.evidence.run.folder.parent == folder / "confirm" / "runs"
    assert found.chosen_on is not None
    # on the prompts held back all four are followed, on the others two
    strict = "asked.prompt_level_strict_acc"
    assert found.evidence.summary.metrics[strict].count == 4
    assert found.chosen_on.summary.metrics[strict].count == 2
    assert (
        "On 4 asked, 3 told prompts that the search had not seen (builds run on them: 1): "
        "h_delta +1.25 [+0.50, +2.00] to the baseline, p .02, where the search had found +3.00; "
        "every limit is kept." in found.provenance.selection
    )
    card = str(found.card(terms_of("Lucha", "mit", None, None)))
    glance, _, rest = card.partition("The same figures on the prompts that the build was chosen by")
    assert "100.0 [51.0, 100.0]" in glance
    assert "50.0 [15.0, 85.0]" in rest
    assert "chosen by these very figures" not in card
    assert "A confirmation on prompts" not in card


def test_a_confirmation_that_trials_have_outlived_counts_no_more(
    study: Study, tmp_path: Path
) -> None:
    confirm(study, tmp_path / "lucha", 0, n_trials=2)
    found = from_study(study, tmp_path / "lucha", name="Lucha")
    assert found.chosen_on is None
    assert found.provenance.chosen_by_figures


def test_confirmed_runs_of_another_file_are_refused(study: Study, tmp_path: Path) -> None:
    confirm(study, tmp_path / "lucha", 0)
    make_run(tmp_path / "lucha" / "confirm" / "runs" / f"{0:016x}-held", changed(p1="no comma"))
    with pytest.raises(CardError, match="another file than trial 0 built; confirm the study again"):
        from_study(study, tmp_path / "lucha", name="Lucha")
