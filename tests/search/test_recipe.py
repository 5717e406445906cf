"""Recipes: what is read, and the line of what is wrong."""

from pathlib import Path

import pytest

from search.errors import RecipeError
from search.numbers import numbers_for, parse_numbers
from search.recipe import Choices, Range
from search.recipe_file import load_recipe

FULL = """\
it: google/gemma-4-E4B-it            # hub id or folder
pt: google/gemma-4-E4B-pt
baseline: gemma-4-E4B-it-Q6_K.gguf
adapters:
  - marvin-cpt-r64
  - marvin-instruct-r256
  - rpDungeon/glimmer-b200-final
  - {path: sd-cpt, weight: 1.0}
fisher: fisher-ifeval-200.safetensors
subspace: subspace-r256.safetensors
heal: {adapter: glimmer-conv-r16, onto: pt, mask: {mode: scale_mask, apply: merge}}
merge: {s: 0.3, alpha: 0.3, rank: 256}
search:
  space: {s: [0.0, 1.0], alpha: [0.0, 0.6], rank: {choices: [0, 64, 128, 256]}}
  trials: 60
  maximize: h_delta
  subject_to: [ifeval.prompt_level_strict_acc >= baseline - 0.01]
evaluate:
  tasks: {ifeval: {limit: 256}, prose: {samples: 1}}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text)
    return path


def test_the_design_s_recipe(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, FULL))
    assert recipe.it == "google/gemma-4-E4B-it"
    assert recipe.adapters[0].path == str(tmp_path / "marvin-cpt-r64")
    assert recipe.adapters[2].path == "rpDungeon/glimmer-b200-final"
    assert recipe.baseline.path == str(tmp_path / "gemma-4-E4B-it-Q6_K.gguf")
    assert recipe.search.space["s"] == Range(low=0, high=1)
    assert recipe.search.space["rank"] == Choices(choices=(0, 64, 128, 256))
    assert recipe.evaluate.tasks["ifeval"].limit == 256
    numbers = numbers_for(recipe, {})
    assert (numbers.s, numbers.alpha, numbers.rank) == (0.3, 0.3, 256)
    assert numbers.weights == (0.25, 0.25, 0.25, 1.0)


def test_the_smallest_recipe(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, "it: x\nbaseline: x.gguf\nadapters: [y]\n"))
    numbers = numbers_for(recipe, {"s": 0.5})
    assert (numbers.s, numbers.alpha, numbers.weights) == (0.5, 0, (1.0,))


def test_a_folder_wins_over_a_hub_id(tmp_path: Path) -> None:
    (tmp_path / "google" / "other").mkdir(parents=True)
    recipe = load_recipe(
        write(tmp_path, "it: google/gemma\nbaseline: b\nadapters: [google/other]\n")
    )
    # the first part is a folder here, so a misspelt name under it is no hub id
    assert recipe.it == str(tmp_path / "google" / "gemma")
    assert recipe.adapters[0].path == str(tmp_path / "google" / "other")


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("fisher:", "fischer:", 9, "did you mean 'fisher'"),
        ("onto: pt", "onto: px", 11, "heal.onto"),
        ("[0.0, 0.6]", "[0.0, 1.6]", 14, "alpha=1.6"),
        ("[0.0, 0.6]", "[0.6, 0.1]", 14, "is above high"),
        ("limit: 256", "limt: 256", 19, "did you mean 'limit'"),
        ("s: 0.3,", "s: 0.3, s: 0.4,", 12, "given twice"),
        ("s: 0.3,", "s: .nan,", 12, "merge.s"),
        ("alpha: 0.3", "alpha: -0.1", 12, "merge.alpha"),
        ("{path: sd-cpt, weight: 1.0}", "{weight: 1.0}", 8, "adapters.3.path: is missing"),
        ("s: [0.0", "sigma: [0.0", 14, "unknown number 'sigma'"),
        ("choices: [0,", "choices: [-1,", 14, "rank=-1"),
        ("merge: {s: 0.3", "merge: {s: [0.3", 12, "expected"),
        ("trials: 60", "trials: many", 15, "search.trials"),
    ],
)
def test_the_line_of_what_is_wrong(
    tmp_path: Path, old: str, new: str, line: int, says: str
) -> None:
    assert old in FULL
    path = write(tmp_path, FULL.replace(old, new, 1))
    with pytest.raises(RecipeError) as caught:
        load_recipe(path)
    message = str(caught.value)
    assert message.startswith(f"{path}:{line}: ")
    assert says in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is a mapping"),
        ("- a\n- b\n", "is a mapping"),
        ("it: x\nadapters: [y]\n", "baseline: is missing"),
        ("it: x\nbaseline: b\nadapters: []\n", "adapters"),
        ("it: x\nbaseline: b\nadapters: [y]\nheal: {adapter: z, onto: pt}\n", "pt is not given"),
        ("it: x\nbaseline: b\nadapters: [{path: y, mask: {}}]\n", "needs `subspace`"),
        ("it: x\nbaseline: b\nadapters: [y]\nsubspace: z\n", "no mask uses it"),
        ("it: !!python/object/apply:os.system [ls]\n", "could not determine a constructor"),
    ],
)
def test_what_cannot_be_meant(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        load_recipe(write(tmp_path, text))


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"cannot read .*No such file"):
        load_recipe(tmp_path / "none.yaml")


def test_numbers_that_the_recipe_has_no_use_for(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, "it: x\nbaseline: b\nadapters: [y]\n"))
    for chosen, says in (
        ({"alpha": 0.1}, "needs a heal adapter"),
        ({"rank": 4}, "needs a subspace"),
        ({"s": 2.5}, "s=2.5"),
        ({"s": float("nan")}, "s=nan"),
        ({"weight.y": float("nan")}, "weights.0=nan"),
        ({"weight.z": 1.0}, "unknown number"),
        ({"fisher.transform": "log"}, "unknown number"),
    ):
        with pytest.raises(RecipeError, match=says):
            numbers_for(recipe, chosen)


def test_scale_by_thirds_of_the_layers(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, "it: x\nbaseline: b\nadapters: [y]\n"))
    numbers = numbers_for(recipe, {"s": 0.5, "s.first": 0.1, "s.last": 0.9})
    assert [numbers.scale(layer, 6) for layer in range(6)] == [0.1, 0.1, 0.5, 0.5, 0.9, 0.9]
    assert numbers.scale(None, 6) == 0.5


def test_parse_numbers() -> None:
    assert parse_numbers(["s=0.3", "fisher.transform=log"]) == {"s": 0.3, "fisher.transform": "log"}
    for texts, says in ((["s"], "is no number"), (["s=1", "s=2"], "given twice")):
        with pytest.raises(RecipeError, match=says):
            parse_numbers(texts)
