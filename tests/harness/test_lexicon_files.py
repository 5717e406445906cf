"""Lexicon files: what texts come in, what is written, and the command around them."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from harness.commands.lexicon import lexicon_app
from harness.lexicon_files import (
    mine_files,
    read_human_texts,
    read_lexicon,
    read_model_texts,
    write_lexicon,
)
from metrics.errors import WeighinError
from metrics.lexicon import default_lexicon
from metrics.mining import ModelText

FOG = "The fog hummed softly over the harbor."


def write(path: Path, value: Any) -> Path:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in value), encoding="utf-8")
    else:
        path.write_text(json.dumps(value), encoding="utf-8")
    return path


@pytest.fixture
def texts(tmp_path: Path) -> tuple[Path, Path]:
    """Answers of three models to nine prompts, and one human text."""
    rows = [{"prompt_index": n, "prompt": "Write.", "output": FOG} for n in range(9)]
    human = tmp_path / "human.txt"
    human.write_text("He ran down to the boats.", encoding="utf-8")
    return write(tmp_path / "models.json", {"a": rows, "b": rows, "c": rows}), human


def test_json_of_several_models(texts: tuple[Path, Path]) -> None:
    found = read_model_texts(texts[0])
    assert len(found) == 27
    assert found[0] == ModelText("a", "0", FOG)
    assert found[-1] == ModelText("c", "8", FOG)


def test_json_lines_of_one_model_named_after_the_file(tmp_path: Path) -> None:
    rows = [{"prompt_id": "p", "text": "One."}, {"id": 7, "response": "Two.", "model": "other"}]
    assert read_model_texts(write(tmp_path / "mine.jsonl", rows)) == [
        ModelText("mine", "p", "One."),
        ModelText("other", "7", "Two."),
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("h.json", ["One.", "Two."]),
        ("h.jsonl", [{"text": "One."}, {"author": "x", "text": "Two."}]),
    ],
)
def test_human_texts(tmp_path: Path, name: str, value: Any) -> None:
    assert read_human_texts(write(tmp_path / name, value)) == ["One.", "Two."]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([{"text": "One."}], "entry 1 has no prompt"),
        ([{"prompt_id": "p"}], "entry 1 has no text"),
        ([3], "entry 1: expected an object, found 3"),
        ({"a": 3}, "holds int: expected a list"),
    ],
)
def test_other_shapes_are_named(tmp_path: Path, value: Any, message: str) -> None:
    with pytest.raises(WeighinError, match=message):
        read_model_texts(write(tmp_path / "m.json", value))


def test_a_missing_and_a_broken_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeighinError, match=r"cannot read .*nothing\.txt: No such file"):
        read_human_texts(tmp_path / "nothing.txt")
    broken = tmp_path / "b.json"
    broken.write_text("{", encoding="utf-8")
    with pytest.raises(WeighinError, match=r"b\.json is not JSON"):
        read_model_texts(broken)
    with pytest.raises(WeighinError, match="no run here"):
        read_model_texts(tmp_path)


def test_public_lists_are_read_from_a_file(tmp_path: Path) -> None:
    lexicon = read_lexicon(write(tmp_path / "slop_list.json", [["tapestry"], ["barely a whisper"]]))
    assert lexicon.name == "slop_list.json"
    assert lexicon.word_set == {"tapestry"}
    assert lexicon.bigram_set == {("barely", "whisper")}


def test_a_written_lexicon_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "ours.json"
    write_lexicon(path, default_lexicon())
    assert read_lexicon(path) == default_lexicon()


def test_mining_files_records_them(texts: tuple[Path, Path]) -> None:
    pytest.importorskip("wordfreq", reason="comes with the extra lexicon")
    lexicon = mine_files([texts[0]], [texts[1]], name="x", held_out=["c"])
    assert lexicon.origin.models == ("a", "b")
    assert [source.split(" sha256:")[0] for source in lexicon.origin.sources] == [
        "models.json",
        "human.txt",
    ]
    assert {"fog", "hummed", "harbor"} <= lexicon.word_set
    with pytest.raises(WeighinError, match="cannot hold out 'd': the texts are of a, b, c"):
        mine_files([texts[0]], [texts[1]], name="x", held_out=["d"])


def test_the_command_prints_one_object_and_writes_the_file(texts: tuple[Path, Path]) -> None:
    pytest.importorskip("wordfreq", reason="comes with the extra lexicon")
    out = texts[0].with_name("mined.json")
    arguments = ["--model", str(texts[0]), "--human", str(texts[1]), "-o", str(out), "--json"]
    done = CliRunner().invoke(lexicon_app, arguments)
    assert done.exit_code == 0
    printed = json.loads(done.stdout)
    lexicon = read_lexicon(out)
    assert lexicon.name == "mined"
    assert printed["words"] == len(lexicon.words) > 0
    assert printed["models"] == 3


@pytest.mark.slow
def test_the_projects_own_lexicon_can_be_mined_again(shared_data: Path) -> None:
    pytest.importorskip("wordfreq", reason="comes with the extra lexicon")
    ours = default_lexicon()
    prose = shared_data / "prose"
    again = mine_files(
        [prose / "model_texts.json"],
        [prose / "human_passages.json"],
        name=ours.name,
        held_out=ours.origin.held_out,
    )
    assert again == ours
