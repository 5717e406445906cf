"""Whole comparisons of runs on disk: what is paired, what is refused, what is told."""

import json
from pathlib import Path

import pytest

from harness.comparison.compare import compare_in_detail, compare_runs
from harness.comparison.pairing import PairingError
from harness.noise import noise_between
from harness.noise_floor import KEPT, noise_floor
from harness.prompts import Prompt
from harness.runs import ChatSettings, Run, RunError, write_whole
from harness.scoring import score_run
from harness.seen_prompts import FISHER_KEY, fisher_prompts, text_sha256
from metrics.errors import WeighinError
from metrics.mcnemar import mcnemar_exact

from .made_runs import ANSWERS, ASKED, LOOP, LOWER, NO_COMMA, PLAIN, REFUSAL, changed, make_run
from .test_runs import header


@pytest.fixture
def base(tmp_path: Path) -> Run:
    return make_run(tmp_path / "base")


def test_types_and_families_by_hand(base: Run, tmp_path: Path) -> None:
    # p0 loses no_comma; p1 wins it; p2 loses lower case, keeps no_comma; p3 as it was
    answers = changed(p0="a, comma", p1="no comma", p2="The dog was in the garden")
    (found,) = compare_in_detail(base, [make_run(tmp_path / "cand", answers)]).comparisons
    rows = found.by_metric()
    no_comma = rows[f"asked.strict.{NO_COMMA}"]
    assert (no_comma.baseline.count, no_comma.candidate.count, no_comma.difference.n) == (2, 2, 3)
    assert no_comma.p_value == mcnemar_exact(1, 1)
    lower = rows[f"asked.strict.{LOWER}"]
    assert (lower.baseline.count, lower.candidate.count) == (2, 1)
    assert lower.difference.value == pytest.approx(-0.5)
    # each family has one type here
    assert rows["asked.strict.change_case"].difference == lower.difference
    assert [d.metric.rpartition(".")[2] for d in found.types] == [
        "change_case",
        LOWER,
        "punctuation",
        NO_COMMA,
    ]


def test_flips_name_what_changed(base: Run, tmp_path: Path) -> None:
    answers = changed(p0="a, comma", p1="no comma", p2="The dog was in the garden")
    flips = compare_runs(base, make_run(tmp_path / "cand", answers)).flips
    assert [(f.prompt_id, f.won, f.instructions) for f in flips] == [
        ("p0", False, (NO_COMMA,)),
        ("p2", False, (LOWER,)),
        ("p1", True, (NO_COMMA,)),
    ]
    assert all(f.loose_too for f in flips)


def test_a_flip_under_the_strict_rule_alone(base: Run, tmp_path: Path) -> None:
    # loose also takes the answer without its first line, which has the comma
    flips = compare_runs(base, make_run(tmp_path / "cand", changed(p0="Well, so\nno comma"))).flips
    assert [(f.prompt_id, f.loose_too) for f in flips] == [("p0", False)]


def test_movers_run_from_loss_to_gain_and_say_why(base: Run, tmp_path: Path) -> None:
    told = {"mill": PLAIN + " " + PLAIN, "dogs": "", "rain": PLAIN}
    candidate = make_run(tmp_path / "cand", ANSWERS | {"told": told})
    (found,) = compare_in_detail(base, [candidate]).comparisons
    assert [m.prompt_id for m in found.movers[:2]] == ["dogs", "mill"][: len(found.movers)]
    for mover in found.movers:
        assert sum(mover.parts.values()) == pytest.approx(mover.difference, abs=1e-5)
    assert found.movers[0].candidate == 0.0
    assert found.by_metric()["told.H"].difference.value == pytest.approx(
        sum(m.difference for m in found.movers) / 3
    )


def test_sanity_counters_count_answers(base: Run, tmp_path: Path) -> None:
    spanish = (
        "Pensaba en lo que su hermano decía de los dos perros que nadie quería, y volvió a casa "
        "por el camino del molino, donde la rueda se había parado aquella noche de lluvia."
    )
    told = {"mill": LOOP, "dogs": REFUSAL, "rain": spanish}
    candidate = make_run(tmp_path / "cand", changed(p3="") | {"told": told}, cut_off=("mill",))
    rows = compare_runs(base, candidate).by_metric()
    counts = {
        name.partition(".")[2]: rows[name].candidate.count
        for name in rows
        if name.startswith("told.") and rows[name].candidate.count is not None
    }
    assert counts == {
        "empty": 0,
        "cut_off": 1,
        "refused": 1,
        "unclosed_thought": 0,
        "looping": 1,
        "other_language": 1,
    }
    assert rows["asked.empty"].candidate.count == 1
    assert all(rows[f"told.{name}"].baseline.count == 0 for name in counts)


def test_slop_is_tested_over_prompts_not_texts(tmp_path: Path) -> None:
    # three prompts with two equal samples each: the test has 2**3 exchanges, not 2**6
    slop = "Her voice was barely above a whisper, a testament to the tapestry of her heart. "
    runs = [
        make_run(tmp_path / name, {"told": dict.fromkeys(("mill", "dogs", "rain"), f"{t} || {t}")})
        for name, t in (("a", PLAIN), ("b", PLAIN + " " + slop * 3))
    ]
    row = compare_runs(*runs).by_metric()["told.slop"]
    assert row.difference.value is not None
    assert row.difference.value > 0
    assert row.p_value == 2 / 2**3


def test_values_are_those_of_the_runs_own_summaries(base: Run, tmp_path: Path) -> None:
    candidate = make_run(tmp_path / "cand", changed(p0="a, comma", mill=LOOP))
    rows = compare_runs(base, candidate).by_metric()
    for run, side in ((base, "baseline"), (candidate, "candidate")):
        for name, estimate in run.summary().metrics.items():
            assert getattr(rows[name], side) == estimate


def test_holm_corrects_each_metric_over_the_candidates(tmp_path: Path) -> None:
    base = make_run(tmp_path / "base")
    one = make_run(tmp_path / "one", changed(p0="a, comma"))
    two = make_run(tmp_path / "two", changed(mill="", dogs="", rain=""))
    alone = compare_in_detail(base, [one]).comparisons[0]
    assert all(d.p_holm is None for d in alone.differences)
    both = [c.by_metric() for c in compare_in_detail(base, [one, two]).comparisons]
    h = [rows["told.H"] for rows in both]
    # unchanged: 1; three of three lost: 2 / 2**3, doubled for two candidates
    assert [d.p_value for d in h] == [1.0, 0.25]
    assert [d.p_holm for d in h] == [1.0, 0.5]


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ({"told": ANSWERS["told"]}, "asked was asked only of base; run both with the same --tasks"),
        (
            {
                "asked": ANSWERS["asked"],
                "told": {k: f"{t} || {t}" for k, t in ANSWERS["told"].items()},
            },
            r"tasks\[1\].samples: 1 != 2",
        ),
    ],
)
def test_what_was_not_asked_alike_is_refused(
    base: Run, tmp_path: Path, answers: dict[str, dict[str, str]], told: str
) -> None:
    with pytest.raises(PairingError, match=told):
        compare_runs(base, make_run(tmp_path / "cand", answers))


def test_other_prompts_are_named(
    base: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fewer = ASKED.model_copy(update={"prompts": ASKED.prompts[1:]})
    monkeypatch.setattr("tests.harness.made_runs.ASKED", fewer)
    with pytest.raises(PairingError, match=r"asked was asked 1 only of base \(first 'p0'\)"):
        compare_runs(base, make_run(tmp_path / "fewer"))
    reworded = (Prompt(**ASKED.prompts[0].model_dump() | {"id": "q0"}), *ASKED.prompts[1:])
    monkeypatch.setattr(
        "tests.harness.made_runs.ASKED", ASKED.model_copy(update={"prompts": reworded[:1]})
    )
    answers = {"asked": {"q0": "x"}, "told": ANSWERS["told"]}
    with pytest.raises(PairingError, match="no prompt in common"):
        compare_runs(base, make_run(tmp_path / "none", answers))


def other_template() -> ChatSettings:
    return header().chat.model_copy(update={"template_sha256": "c" * 64})


def test_another_template_is_a_note_where_the_prompts_came_out_the_same(
    base: Run, tmp_path: Path
) -> None:
    same = make_run(tmp_path / "same", chat=other_template())
    assert "different chat templates" in compare_runs(base, same).notes[0]
    other = make_run(tmp_path / "other", chat=other_template(), n_prompt_tokens=9)
    with pytest.raises(PairingError, match="prompt p0 of asked has 7 tokens by the one and 9 by"):
        compare_runs(base, other)


def test_fisher_prompts_among_the_evaluated_are_noted(base: Run, tmp_path: Path) -> None:
    seen = tuple(text_sha256(p) for p in ASKED.prompts[:2])
    candidate = make_run(tmp_path / "cand", fisher_prompts=seen)
    (told,) = [n for n in compare_runs(base, candidate).notes if "Fisher" in n]
    assert "cand: 2 of the 7 evaluated prompts are Fisher prompts (first asked/p0)" in told


def test_a_hash_is_of_the_conversation_alone() -> None:
    prompt = ASKED.prompts[0]
    assert text_sha256(prompt.model_copy(update={"id": "x"})) == text_sha256(prompt)
    assert len({text_sha256(p) for p in ASKED.prompts}) == len(ASKED.prompts)
    assert fisher_prompts({FISHER_KEY: '["ab"]'}) == ("ab",)
    assert fisher_prompts({}) == ()
    with pytest.raises(WeighinError, match="no list of hashes"):
        fisher_prompts({FISHER_KEY: '{"a": 1}'})


def test_few_prompts_and_one_file_are_noted(base: Run, tmp_path: Path) -> None:
    notes = compare_runs(base, make_run(tmp_path / "cand")).notes
    assert any("under 100 prompts" in n and "asked (4), told (3)" in n for n in notes)
    assert any("one and the same file" in n for n in notes)


def test_strict_above_loose_is_noted(base: Run, tmp_path: Path) -> None:
    candidate = make_run(tmp_path / "cand")
    scores = candidate.scores()
    lax = [
        s.model_copy(update={"ifeval": s.ifeval.model_copy(update={"loose": s.ifeval.strict[:0]})})
        if s.ifeval is not None
        else s
        for s in scores
    ]
    broken = [
        s.model_copy(
            update={
                "ifeval": s.ifeval.model_copy(update={"loose": (False,) * len(s.ifeval.strict)})
            }
        )
        if s.ifeval is not None
        else s
        for s in lax
    ]
    # such scores cannot come from the checkers: they are written, and sealed, by hand
    summary = candidate.summary()
    loose = {
        name: e.model_copy(update={"value": 0.0, "count": 0}) if "loose" in name else e
        for name, e in summary.metrics.items()
    }
    candidate.write_scores(broken, summary.model_copy(update={"metrics": loose}))
    notes = compare_runs(base, candidate).notes
    assert any("prompt_level_strict_acc is above its loose figure" in n for n in notes)


def test_an_edited_run_is_refused(base: Run, tmp_path: Path) -> None:
    candidate = make_run(tmp_path / "cand")
    path = candidate.folder / "completions.jsonl"
    text = path.read_text("utf-8")
    path.write_text(text.replace("a, comma", "no comma"), "utf-8")
    with pytest.raises(RunError, match=r"completions\.jsonl was edited after the run was scored"):
        compare_runs(base, candidate)
    with pytest.raises(RunError, match="edited"):  # scoring again does not make it honest
        score_run(candidate)
    path.write_text(text, "utf-8")
    scores = candidate.folder / "scores.jsonl"
    scores.write_text(scores.read_text("utf-8").replace("false", "true"), "utf-8")
    with pytest.raises(RunError, match=r"scores\.jsonl was edited"):
        compare_runs(base, candidate)
    score_run(candidate)
    compare_runs(base, candidate)


def test_an_edited_header_is_refused_but_not_its_usage(base: Run, tmp_path: Path) -> None:
    candidate = make_run(tmp_path / "cand")
    path = candidate.folder / "run.json"
    own = json.loads(path.read_text("utf-8"))
    own["usage"]["seconds"] = 3.0
    path.write_text(json.dumps(own), "utf-8")
    compare_runs(base, candidate)
    own["model"]["sha256"] = "d" * 64
    path.write_text(json.dumps(own), "utf-8")
    with pytest.raises(RunError, match=r"run\.json was edited"):
        compare_runs(base, candidate)


def test_a_run_that_has_grown_must_be_scored_again(base: Run, tmp_path: Path) -> None:
    candidate = make_run(tmp_path / "cand")
    whole = candidate.completions()
    candidate.write_completions(whole[:5])
    with pytest.raises(RunError, match="edited"):
        candidate.require_unedited()
    part = make_run(tmp_path / "part")
    part.write_completions(whole[:5])
    (part.folder / "summary.json").unlink()
    score_run(part)
    part.write_completions(whole)
    with pytest.raises(RunError, match="has grown since"):
        compare_runs(base, part)
    score_run(part)
    assert compare_runs(base, part).n_pairs == 7


def test_the_noise_floor_is_found_beside_the_run(base: Run, tmp_path: Path) -> None:
    folder = tmp_path / "base-noise"
    first = make_run(folder / "as-listed")
    second = make_run(folder / "shuffled", changed(p0="a, comma", mill=""))
    noise = noise_between(first, second)
    assert (noise.n_completions, noise.n_texts_moved, noise.n_scores_moved) == (7, 2, 2)
    write_whole(folder / KEPT, noise.model_dump_json())
    floor = noise_floor(base)
    assert floor["asked.prompt_level_strict_acc"] == 0.25
    (found,) = compare_in_detail(base, [make_run(tmp_path / "cand")]).comparisons
    assert found.by_metric()["asked.prompt_level_strict_acc"].noise == 0.25
    # another file's noise says nothing of this one
    other = header().model.model_copy(update={"sha256": "e" * 64})
    elsewhere = make_run(tmp_path / "x" / "base", model=other)
    (tmp_path / "x" / "base-noise").symlink_to(folder)
    assert noise_floor(elsewhere) == {}
