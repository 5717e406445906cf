"""Gates: what holds by hand, what cannot be read, and where in the file it stands."""

from pathlib import Path

import pytest

from harness.gates.file import example, read_gates
from harness.gates.gates import Gate, GateError, judge, noninferior, parse_gate, superior
from metrics.stats import Estimate

STRICT = "ifeval.prompt_level_strict_acc"
MOVED = Estimate(value=-0.01, low=-0.03, high=0.01, n=100)
"""A point less, and an interval from three points less to one more."""


@pytest.mark.parametrize(
    ("side", "bound", "confidence", "kept"),
    [
        ("min", -0.01, None, True),  # a figure may lie on the bound
        ("min", -0.009, None, False),
        ("max", -0.01, None, True),
        ("max", -0.02, None, False),
        ("min", -0.03, 0.95, False),  # an interval must lie beyond it
        ("min", -0.031, 0.95, True),
        ("max", 0.01, 0.95, False),
        ("max", 0.011, 0.95, True),
    ],
)
def test_a_bound_holds_by_figure_or_by_interval(
    side: str, bound: float, confidence: float | None, kept: bool
) -> None:
    gate = Gate(metric=STRICT, side=side, bound=bound, of="difference", confidence=confidence)  # type: ignore[arg-type]
    assert judge(gate, MOVED).status == ("kept" if kept else "broken")


def test_non_inferiority_looks_the_way_in_which_the_metric_is_better() -> None:
    assert str(noninferior(STRICT, 0.02, 0.9)) == f"{STRICT} - baseline > -2 points (90 % interval)"
    assert str(noninferior("prose.slop", 2, 0.95)) == "prose.slop - baseline < 2 (95 % interval)"
    assert str(superior("prose.slop", 1, 0.95)) == "prose.slop - baseline < -1 (95 % interval)"
    assert str(superior("prose.H", 0, 0.95)) == "prose.H - baseline > 0 (95 % interval)"


def test_how_far_and_whether_more_prompts_could_help_is_told() -> None:
    verdict = judge(noninferior(STRICT, 0.02, 0.95), MOVED)
    assert verdict.why == (
        "short by 1 points; the figure itself keeps to it, the prompts are too few to show it"
    )
    assert judge(superior(STRICT, 0.0, 0.95), MOVED).why == "short by 3 points"


def test_what_is_undefined_cannot_be_judged() -> None:
    nothing = Estimate(value=None, low=None, high=None, n=0)
    single = Estimate(value=1.0, low=None, high=None, n=1)
    plain = Gate(metric="prose.H", side="min", bound=0, of="value")
    assert judge(plain, nothing).status == "undecided"
    assert judge(plain, single).status == "kept"
    tested = plain.model_copy(update={"confidence": 0.95})
    assert judge(tested, single).why == "the interval is undefined for these answers (n 1)"


@pytest.mark.parametrize("text", ["ifeval", "a=b", "=1", "a=nan", "a=1.2.3", "a=inf"])
def test_a_gate_that_cannot_be_read_is_named(text: str) -> None:
    with pytest.raises(GateError, match="expected METRIC=NUMBER"):
        parse_gate(text, side="min", of="difference")


def test_a_file_s_gates_in_its_order(tmp_path: Path) -> None:
    path = tmp_path / "gates.yaml"
    path.write_text(
        "confidence: 0.9\n"
        "gates:\n"
        "  - {metric: ifeval.prompt_level_strict_acc, noninferior: 0.02}\n"
        "  - {metric: prose.H, superior: 1, confidence: 0.99}\n"
        "  - {metric: prose.word_count, min: 200, max: 900}\n"
        "  - {metric: file.size_bytes, of: ratio, max: 1.02}\n"
        '  - {metric: "ifeval.strict.punctuation:no_comma", of: difference, min: -0.1}\n'
    )
    assert [str(gate) for gate in read_gates(path)] == [
        "ifeval.prompt_level_strict_acc - baseline > -2 points (90 % interval)",
        "prose.H - baseline > 1 (99 % interval)",
        "prose.word_count >= 200",
        "prose.word_count <= 900",
        "file.size_bytes / baseline <= 1.02",
        "ifeval.strict.punctuation:no_comma - baseline >= -10 points",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- 1\n", ":1: expected a mapping with `gates`"),
        ("gates: []\n", ":1: gates: Tuple should have at least 1 item"),
        ("gates:\n  - {metric: a.b}\n", ":2: gates.0: a gate needs one of noninferior, superior"),
        ("gates:\n  - {metric: a.b, min: 1}\n  - {metrik: a}\n", ":3: gates.1.metrik: unknown key"),
        ("gates:\n  - {metrik: a, min: 1}\n", "did you mean 'metric'?"),
        (
            "gates:\n  - metric: a.b\n    min: x\n",
            ":3: gates.0.min: Input should be a valid number",
        ),
        ("gates:\n  - {metric: a.b, min: .nan}\n", ":2: gates.0: "),
        ("gates:\n  - {metric: a.H, noninferior: 1, min: 2}\n", "are two gates"),
        ("gates:\n  - {metric: a.H, noninferior: 0}\n", ":2: gates.0: a margin of non-inferiority"),
        ("gates:\n  - {metric: a.rhythm, noninferior: 1}\n", "better neither higher nor lower"),
        ("gates:\n  - {metric: a.H, superior: 1, of: value}\n", "leave `of` out"),
        ("gates:\n  - {metric: a.H, min: 1, confidence: 2}\n", ":2: gates.0.confidence: "),
        ("gates:\n  - {metric: a.H, min: 1}\nconfidenz: 1\n", ":3: confidenz: unknown key"),
        ("gates: {\n", ":2: "),
    ],
)
def test_a_bad_file_is_one_line_with_its_number(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "gates.yaml"
    path.write_text(text)
    with pytest.raises(GateError) as error:
        read_gates(path)
    assert str(error.value).startswith(f"{path}:")
    assert told in str(error.value)


def test_the_example_is_read_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "gates.yaml"
    path.write_text(example())
    gates = read_gates(path)
    assert str(noninferior(STRICT, 0.03, 0.95)) in map(str, gates)
    assert all(gate.place is not None and gate.place.startswith(f"{path}:") for gate in gates)
    # what is commented out can be taken in by deleting the mark
    path.write_text(example().replace("  # - ", "  - "))
    assert len(read_gates(path)) == len(gates) + 6
