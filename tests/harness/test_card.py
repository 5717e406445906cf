"""Cards of scripted runs: what the Hub reads back, what a reader sees, what is refused."""

import json
from hashlib import sha256
from pathlib import Path

import pytest
from huggingface_hub import ModelCard
from huggingface_hub.repocard_data import eval_results_to_model_index, model_index_to_eval_results

from harness.card.card import file_name, make_card, tell_local_names, write_card
from harness.card.evidence import CardError, Evidence, gather, require_proved, require_scored
from harness.card.provenance import Ingredient, Provenance, Terms, terms_of, with_hub_ids
from harness.prompts import PromptSet, prompt_from_row
from harness.runs import Completion, Run, RunError, RunHeader, TaskSettings
from harness.scoring import score_run
from harness.settings import GREEDY

from .made_runs import LOOP, changed, make_run
from .test_runs import header

MADE = Provenance(
    ingredients=(
        Ingredient(role="instruct model", key="it", name="it-local", sha256="1" * 64),
        Ingredient(role="adapter", key="prose", name="prose", sha256="2" * 64, detail="weight 0.5"),
        Ingredient(role="heal adapter", key="heal", name="u/heal", sha256="3" * 64),
        Ingredient(role="Fisher", key="", name="f.safetensors", sha256="4" * 64),
    ),
    numbers=(("s", "0.3"), ("alpha", "0.1")),
    formula=("First this.", "Then that."),
    recipe="it: it-local\nmerge: {s: 0.3}\n",
    build_hash="5" * 64,
    commands=("weighin build recipe.yaml -p s=0.3 -o out.gguf",),
    selection="The best of 4 trials.",
    chosen_by_figures=True,
)
TERMS = terms_of("Lucha", "apache-2.0", None, None)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Run, Run]:
    """A build that lost one prompt of four and loops in one text, and its baseline."""
    lost = changed(p0="a, comma", mill=LOOP)
    return make_run(tmp_path / "c", lost, cut_off=("mill",)), make_run(tmp_path / "b")


def evidence_of(pair: tuple[Run, Run]) -> Evidence:
    return gather(*pair, names=("baseline", "Lucha"))


def card_of(pair: tuple[Run, Run], provenance: Provenance = MADE, terms: Terms = TERMS) -> str:
    return str(make_card(evidence_of(pair), provenance, terms, file="Lucha-Q6_K.gguf"))


def section(card: str, title: str) -> str:
    """What stands under a heading."""
    _, _, rest = card.partition(f"\n## {title}\n")
    return rest.partition("\n## ")[0]


def row(card: str, title: str, first: str) -> list[str]:
    """The cells of the first row of a section that begins with these."""
    for line in section(card, title).splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and " ".join(cells).startswith(first):
            return cells
    raise AssertionError(f"no row {first!r} under {title!r}")


def test_the_hubs_classes_read_back_what_was_measured(pair: tuple[Run, Run]) -> None:
    data = ModelCard(card_of(pair)).data
    assert data.license == "apache-2.0"
    assert data.model_name == "Lucha"
    assert data.get("base_model_relation") == "merge"
    assert data.base_model == ["u/heal"], "local names would lead to somebody else's model"
    assert data.get("adapters") == ["prose", "u/heal"]
    assert data.eval_results is not None
    by_name = {(r.dataset_type, r.metric_type): r for r in data.eval_results}
    strict = by_name["asked", "prompt_level_strict_acc"]
    # two of four prompts followed, the baseline three: one pair flipped
    assert strict.metric_value == 0.5
    assert strict.metric_args["n"] == 4
    assert strict.metric_args["baseline"] == 0.75
    assert strict.metric_args["difference"]["value"] == -0.25
    summary = pair[0].summary().metrics["asked.prompt_level_strict_acc"]
    assert strict.metric_args["low"] == pytest.approx(summary.low, abs=1e-6)
    compared = evidence_of(pair).comparison
    assert compared is not None
    gain = compared.by_metric()["told.h_delta"].difference.value
    assert gain is not None
    assert by_name["told", "h_delta"].metric_value == pytest.approx(gain, abs=1e-6)
    index = eval_results_to_model_index("Lucha", data.eval_results)
    assert model_index_to_eval_results(index) == ("Lucha", data.eval_results)


def test_at_a_glance_has_n_and_intervals_beside_the_baseline(pair: tuple[Run, Run]) -> None:
    card = card_of(pair)
    assert row(card, "At a glance", "asked Prompts followed, strict") == [
        "asked",
        "Prompts followed, strict (%)",
        "50.0 [15.0, 85.0]",  # Wilson's, of 2 of 4
        "75.0 [30.1, 95.4]",
        "−25.0 [−75.0, 0.0]",  # one of four pairs lost: the bootstrap's 2.5 % and 97.5 %
        "1",
        "4",
    ]
    assert row(card, "At a glance", "told Looping")[2].startswith("33.3 ")
    assert "told: empty, refused" in section(card, "At a glance")


def test_recipe_commands_and_hashes_are_there(pair: tuple[Run, Run]) -> None:
    card = card_of(pair)
    assert row(card, "Recipe", "adapter prose") == ["adapter", "prose", "weight 0.5", "2" * 64]
    assert row(card, "Recipe", "s ") == ["s", "0.3"]
    assert "1. First this.\n2. Then that." in section(card, "Recipe")
    made = section(card, "How it was made")
    assert "weighin build recipe.yaml -p s=0.3 -o out.gguf" in made
    assert "5" * 64 in made
    assert row(card, "Files", "this build Lucha-Q6")[-1] == "a" * 64


def test_what_was_not_measured_is_said(pair: tuple[Run, Run]) -> None:
    missing = section(card_of(pair), "Not measured")
    assert "- IFEval: no run on its prompts." in missing
    assert "- Divergence:" in missing
    assert "- The noise floor:" in missing
    assert "- Answers with thinking on." in missing
    assert "held back" in missing
    confirmed = MADE.model_copy(update={"confirmed": True, "chosen_by_figures": False})
    assert "held back" not in section(card_of(pair, confirmed), "Not measured")


def test_figures_that_the_build_was_chosen_by_are_called_flattering(pair: tuple[Run, Run]) -> None:
    assert "flatter it" in section(card_of(pair), "Limitations")
    free = MADE.model_copy(update={"chosen_by_figures": False})
    assert "flatter it" not in section(card_of(pair, free), "Limitations")


def test_a_set_of_ones_own_called_ifeval_is_not_ifeval(tmp_path: Path) -> None:
    def run_on(ids: tuple[str, ...]) -> str:
        kinds = {"instruction_id_list": ["punctuation:no_comma"]}
        rows = [prompt_from_row({"id": i, "prompt": f"Say {i}.", **kinds}) for i in ids]
        asked = PromptSet(name="ifeval", kind="ifeval", prompts=tuple(rows))
        run = Run(tmp_path / ids[0])
        task = TaskSettings(
            name="ifeval",
            kind="ifeval",
            prompts_sha256=asked.sha256,
            n_prompts=len(ids),
            samples=1,
            sampling=GREEDY,
        )
        run.write_header(header(tasks=(task,)))
        run.write_prompts([asked])
        run.write_completions(
            Completion(
                task="ifeval",
                prompt_id=i,
                sample=0,
                text="yes",
                n_prompt_tokens=3,
                n_tokens=1,
                stop_reason="eos",
            )
            for i in ids
        )
        score_run(run)
        evidence = gather(run, None, names=("baseline", "Lucha"))
        return str(make_card(evidence, MADE, TERMS, file="x.gguf"))

    own, real = run_on(("1", "2")), run_on(("1000", "1001"))
    assert "- IFEval: no run" in own
    assert "type: google/IFEval" not in own
    assert "- IFEval as a whole: 2 of its 541 prompts were asked." in real
    assert "type: google/IFEval" in real


def test_a_run_alone_has_no_differences_and_says_so(pair: tuple[Run, Run]) -> None:
    alone = gather(pair[0], None, names=("baseline", "Lucha"))
    card = str(make_card(alone, Provenance(), TERMS, file="x.gguf"))
    assert "Lucha was compared with nothing." in card
    assert "- A baseline: no run" in section(card, "Not measured")
    assert "How it was made is not recorded" in card
    assert "base_model_relation" not in card
    assert row(card, "At a glance", "asked Prompts followed, strict")[2:] == [
        "50.0 [15.0, 85.0]",
        "4",
    ]


def test_texts_of_files_cannot_break_the_card(tmp_path: Path) -> None:
    own: RunHeader = header()
    nasty = own.model.model_copy(update={"quantization": "a | b <script>x</script>\n# c Q6_K"})
    runs = (make_run(tmp_path / "c", model=nasty), make_run(tmp_path / "b"))
    terms = terms_of("a: *b* | <i>", "mit", None, None)
    card = card_of(runs, terms=terms)
    assert "<script>" not in card
    assert "\n# c" not in card
    assert "# a: \\*b\\* \\| &lt;i\\>" in card
    assert ModelCard(card).data.model_name == "a: *b* | <i>"


def test_a_card_is_the_same_twice(pair: tuple[Run, Run]) -> None:
    assert card_of(pair) == card_of(pair)


def test_an_edited_summary_is_refused(pair: tuple[Run, Run]) -> None:
    path = pair[0].folder / "summary.json"
    told = json.loads(path.read_text())
    told["metrics"]["asked.prompt_level_strict_acc"]["value"] = 1.0
    path.write_text(json.dumps(told))
    with pytest.raises(CardError, match="prompt_level_strict_acc is not what the run's scores"):
        evidence_of(pair)


def test_a_figure_without_answers_is_refused(pair: tuple[Run, Run]) -> None:
    path = pair[0].folder / "summary.json"
    told = json.loads(path.read_text())
    told["metrics"]["ifeval.prompt_level_strict_acc"] = {
        "value": 0.86,
        "low": 0.83,
        "high": 0.89,
        "n": 541,
    }
    path.write_text(json.dumps(told))
    with pytest.raises(CardError, match=r"ifeval\.prompt_level_strict_acc is not what"):
        evidence_of(pair)


@pytest.mark.parametrize("which", [0, 1])
def test_edited_scores_of_either_run_are_refused(pair: tuple[Run, Run], which: int) -> None:
    path = pair[which].folder / "scores.jsonl"
    path.write_text(path.read_text().replace("false", "true", 1))
    with pytest.raises(RunError, match=r"scores\.jsonl was edited"):
        evidence_of(pair)


def test_a_run_without_seals_proves_nothing(pair: tuple[Run, Run]) -> None:
    path = pair[0].folder / "summary.json"
    told = json.loads(path.read_text())
    del told["seals"]
    path.write_text(json.dumps(told))
    with pytest.raises(CardError, match="score it again with weighin score"):
        require_proved(pair[0])
    score_run(pair[0])
    require_proved(pair[0])


def test_another_file_than_the_one_that_was_scored_is_refused(tmp_path: Path) -> None:
    gguf = tmp_path / "m.gguf"
    with pytest.raises(CardError, match="no such file"):
        require_scored(gguf, header())
    gguf.write_bytes(b"GGUF")
    with pytest.raises(CardError, match="is not the file that was scored"):
        require_scored(gguf, header())
    facts = header().model.model_copy(update={"sha256": sha256(b"GGUF").hexdigest()})
    require_scored(gguf, header(model=facts))


@pytest.mark.parametrize(
    ("license", "name", "told"),
    [
        (None, None, "a card needs --license; expected a Hub id"),
        ("Apache 2.0", None, "--license Apache 2.0: expected a Hub id"),
        ("other", None, "needs --license-name and --license-link"),
        ("other", "own", "needs --license-name and --license-link"),
    ],
)
def test_a_licence_is_the_publishers_to_name(
    license: str | None, name: str | None, told: str
) -> None:
    with pytest.raises(CardError, match=told):
        terms_of("x", license, name, None)


def test_hub_ids_replace_local_names() -> None:
    named = with_hub_ids(MADE, ["it=google/it", "prose=u/prose", "pt=google/pt"])
    ids = [found.hub_id for found in named.ingredients]
    assert ids == ["google/it", "u/prose", "u/heal", None, "google/pt"]


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["it"], "expected NAME=USER/REPO"),
        (["it=local"], "expected NAME=USER/REPO"),
        (["it=a/b", "it=a/c"], "is given twice"),
        (["pros=a/b"], "no such ingredient; did you mean prose?"),
    ],
)
def test_hub_ids_that_fit_nothing_are_refused(given: list[str], told: str) -> None:
    with pytest.raises(CardError, match=told):
        with_hub_ids(MADE, given)


def test_models_without_a_hub_id_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    tell_local_names(MADE)
    assert "only a local name is known: it, prose;" in capsys.readouterr().err
    tell_local_names(with_hub_ids(MADE, ["it=a/b", "prose=a/c"]))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("Lucha", "Lucha-Q6_K.gguf"),
        ("Lucha-GGUF", "Lucha-Q6_K.gguf"),
        ("Lucha-Q6_K-GGUF", "Lucha-Q6_K.gguf"),
        ("My merge: 2", "My-merge-2-Q6_K.gguf"),
    ],
)
def test_a_file_is_called_by_name_and_quantisation(name: str, file: str) -> None:
    assert file_name(name, header()) == file


def test_a_card_is_written_whole(pair: tuple[Run, Run], tmp_path: Path) -> None:
    card = make_card(evidence_of(pair), MADE, TERMS, file="x.gguf")
    write_card(card, tmp_path / "new" / "README.md")
    assert ModelCard.load(tmp_path / "new" / "README.md").data.model_name == "Lucha"
