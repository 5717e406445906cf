"""Lexicon files: the texts that a lexicon is mined from, and the lexicon itself.

Files in, texts and lexicons out, and back; knows nothing of how words are chosen. Texts of models
come as a run's folder, as JSON Lines, or as the JSON that slop-score publishes; human texts as
JSON, JSON Lines, or plain text.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.runs import Run, file_sha256, write_whole
from metrics.errors import WeighinError
from metrics.lexicon import Lexicon, dump_lexicon, parse_lexicon
from metrics.mining import ModelText

TEXT_FIELDS = ("text", "output", "response", "completion")
PROMPT_FIELDS = ("prompt_id", "id", "prompt_index", "prompt", "key")
"""What a row may call its text and its prompt; the first that is there counts."""


def mine_files(
    models: Sequence[Path],
    human: Sequence[Path],
    *,
    name: str,
    held_out: Sequence[str] = (),
) -> Lexicon:
    """Mine a lexicon from files, whose names and SHA-256 go into its origin.

    Args:
        models: Files or run folders with texts of models.
        human: Files with texts of people.
        name: Name of the lexicon.
        held_out: Models whose texts are kept apart.

    Raises:
        WeighinError: a file cannot be read as texts, a held-out model is not in them, or nothing
            is left to mine.
    """
    from metrics.mining import mine

    answers = [answer for path in models for answer in read_model_texts(path)]
    known = {answer.model for answer in answers}
    missing = sorted(set(held_out) - known)
    if missing:
        raise WeighinError(
            f"cannot hold out {missing[0]!r}: the texts are of {', '.join(sorted(known))}"
        )
    return mine(
        answers,
        [text for path in human for text in read_human_texts(path)],
        name=name,
        held_out=held_out,
        sources=[
            f"{file.name} sha256:{file_sha256(file)}" for file in map(_file, [*models, *human])
        ],
    )


def read_model_texts(path: Path) -> list[ModelText]:
    """Texts of one or more models.

    Args:
        path: A run's folder, of which the prose is taken; JSON Lines of `{"prompt_id", "text"}`,
            of one model, named after the file unless a row says "model"; or JSON of
            `{model: [{"prompt", "output"}]}`.

    Raises:
        WeighinError: the file is missing or has another shape.
    """
    if path.is_dir():
        return _of_run(Run.open(path))
    value = _json(path)
    named = value.items() if isinstance(value, Mapping) else [(path.stem, value)]
    found = []
    for owner, rows in named:
        for place, row in _rows(rows, f"{path}: {owner}"):
            prompt = next((row[field] for field in PROMPT_FIELDS if field in row), None)
            if prompt is None:
                raise WeighinError(
                    f"{place} has no prompt: expected one of {', '.join(PROMPT_FIELDS)}"
                )
            found.append(ModelText(str(row.get("model", owner)), str(prompt), _text(row, place)))
    return found


def read_human_texts(path: Path) -> list[str]:
    """Texts of people.

    Args:
        path: Plain text (one text), JSON or JSON Lines of strings or of `{"text"}`.

    Raises:
        WeighinError: the file is missing or has another shape.
    """
    if path.suffix not in (".json", ".jsonl"):
        return [_read(path)]
    value = _json(path)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return list(value)
    return [_text(row, place) for place, row in _rows(value, str(path))]


def read_lexicon(path: Path) -> Lexicon:
    """A lexicon that was mined, or a public list of phrases.

    Raises:
        WeighinError: the file is missing or is neither.
    """
    return parse_lexicon(_read(path), name=path.name)


def write_lexicon(path: Path, lexicon: Lexicon) -> None:
    """Write a lexicon, all of it or nothing.

    Raises:
        WeighinError: the file cannot be written.
    """
    write_whole(path, dump_lexicon(lexicon))


def _of_run(run: Run) -> list[ModelText]:
    """A run's answers to its prose tasks; those to other tasks are another kind of text."""
    prose = {task.name for task in run.header().tasks if task.kind == "prose"}
    return [
        ModelText(run.name, f"{completion.task}/{completion.prompt_id}", completion.text)
        for completion in run.completions()
        if completion.task in prose
    ]


def _file(path: Path) -> Path:
    return path / "completions.jsonl" if path.is_dir() else path


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise WeighinError(f"cannot read {path}: {reason}") from error


def _json(path: Path) -> Any:
    """The value of a JSON file, or the list of values of a JSON Lines file."""
    text = _read(path)
    try:
        if path.suffix == ".jsonl":
            return [json.loads(line) for line in text.split("\n") if line.strip()]
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise WeighinError(f"{path} is not JSON: {error}") from error


def _rows(value: Any, place: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if not isinstance(value, list):
        raise WeighinError(f"{place} holds {type(value).__name__}: expected a list of texts")
    for number, row in enumerate(value, start=1):
        if not isinstance(row, Mapping):
            raise WeighinError(f"{place}, entry {number}: expected an object, found {row!r:.40}")
        yield f"{place}, entry {number}", row


def _text(row: Mapping[str, Any], place: str) -> str:
    text = next((row[field] for field in TEXT_FIELDS if field in row), None)
    if not isinstance(text, str):
        raise WeighinError(f"{place} has no text: expected one of {', '.join(TEXT_FIELDS)}")
    return text
