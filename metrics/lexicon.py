"""Lexicon: the words and phrases that count as slop.

Records in, sets out; knows nothing of texts or of how a lexicon was mined. The project's own lies
in `metrics/data/lexicon.json`; a user's own, or a public list, is parsed from its JSON.
"""

import functools
import hashlib
import json
from importlib import resources
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from metrics.errors import WeighinError
from metrics.text import normalise, words
from metrics.word_lists import stop_words

MAX_LENGTH = 3
"""Content words in the longest phrase that is matched."""


class Entry(BaseModel):
    """One over-used word or phrase, with what it was judged on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    """Lower-case content words, one blank between."""

    count: int = 0
    """Answers of models that have it; 0 where the list did not say."""

    n_models: int = 0
    """Models that use it."""

    n_prompts: int = 0
    """Prompts in whose answers it occurs."""

    ratio: float | None = None
    """Answers that have it / answers expected to; None where the list did not say."""

    @property
    def key(self) -> tuple[str, ...]:
        """Its words."""
        return tuple(self.text.split(" "))


class Origin(BaseModel):
    """What a lexicon was mined from, so that it can be mined again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    """Who made the list, and how."""

    sources: tuple[str, ...] = ()
    """Where the texts are from: files with their SHA-256, or a description with its licence."""

    models: tuple[str, ...] = ()
    """Models whose texts were mined."""

    held_out: tuple[str, ...] = ()
    """Models whose texts were kept apart to check the list."""

    n_model_words: int = 0
    """Words of model text."""

    n_human_words: int = 0
    """Words of human text."""

    settings: dict[str, float] = {}
    """Thresholds of the mining, by name."""

    skipped: int = 0
    """Entries of a foreign list that could not be used: no content word, or more than three."""


class Lexicon(BaseModel):
    """Over-used words, bigrams and trigrams; names of persons stand apart and are not counted."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", ignored_types=(functools.cached_property,)
    )

    schema_version: Literal[1] = 1
    """Layout of this record."""

    name: str
    """What scores that used it say."""

    origin: Origin
    """Where it comes from."""

    words: tuple[Entry, ...]
    bigrams: tuple[Entry, ...]
    trigrams: tuple[Entry, ...]

    names: tuple[Entry, ...] = ()
    """Person names that models over-use: reported, never scored."""

    @model_validator(mode="after")
    def _lengths(self) -> "Lexicon":
        for length, entries in enumerate((self.words, self.bigrams, self.trigrams), start=1):
            for entry in entries:
                if len(entry.key) != length or tuple(words(entry.text)) != entry.key:
                    raise ValueError(f"{entry.text!r} is not {length} lower-case word(s)")
        return self

    @functools.cached_property
    def sha256(self) -> str:
        """Of what is scored, names and origin left out: two lexicons that agree score alike."""
        listed = [
            sorted(e.text for e in kind) for kind in (self.words, self.bigrams, self.trigrams)
        ]
        return hashlib.sha256(json.dumps(listed).encode()).hexdigest()

    @functools.cached_property
    def word_set(self) -> frozenset[str]:
        """Over-used words."""
        return frozenset(entry.text for entry in self.words)

    @functools.cached_property
    def bigram_set(self) -> frozenset[tuple[str, ...]]:
        """Over-used pairs of content words."""
        return frozenset(entry.key for entry in self.bigrams)

    @functools.cached_property
    def trigram_set(self) -> frozenset[tuple[str, ...]]:
        """Over-used triples of content words."""
        return frozenset(entry.key for entry in self.trigrams)


@functools.cache
def default_lexicon() -> Lexicon:
    """The project's own lexicon."""
    file = resources.files("metrics").joinpath("data", "lexicon.json")
    return parse_lexicon(file.read_text(encoding="utf-8"), name="metrics/data/lexicon.json")


def dump_lexicon(lexicon: Lexicon) -> str:
    """JSON of a lexicon, one entry per line, so that two versions can be compared line by line."""
    lines = []
    for name, value in lexicon.model_dump(mode="json").items():
        if isinstance(value, list) and value:
            entries = ",\n".join("  " + json.dumps(entry, ensure_ascii=False) for entry in value)
            lines.append(f'"{name}": [\n{entries}\n]')
        else:
            lines.append(f'"{name}": {json.dumps(value, ensure_ascii=False)}')
    return "{\n" + ",\n".join(lines) + "\n}\n"


def parse_lexicon(text: str, *, name: str) -> Lexicon:
    """Read a lexicon from JSON: ours, or the list format of public slop lists.

    Args:
        text: JSON. An object is a lexicon that `weighin lexicon mine` wrote. A list holds strings,
            or lists whose first element is the string (the rest, counts or weights, is ignored).
        name: What to call it in scores and errors, such as its file's name.

    Raises:
        WeighinError: the JSON is broken, is neither of the two, or holds nothing usable.
    """
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise WeighinError(f"{name} is not JSON: {error}") from error
    if isinstance(value, list):
        return _from_public_list(value, name)
    try:
        return Lexicon.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the top level"
        raise WeighinError(
            f"{name} is not a lexicon: {first['msg']} at {place}; expected a file of "
            "`weighin lexicon mine`, or a JSON list of phrases"
        ) from error


def _from_public_list(items: list[Any], name: str) -> Lexicon:
    """Phrases by length, without their stop words.

    A phrase of which only one content word is left ("a mix of") is skipped, since counting that
    word would say something else; so is one of more than MAX_LENGTH.
    """
    by_length: dict[int, dict[str, Entry]] = {length: {} for length in range(1, MAX_LENGTH + 1)}
    skipped = 0
    for position, item in enumerate(items):
        phrase = item[0] if isinstance(item, list) and item else item
        if not isinstance(phrase, str):
            raise WeighinError(
                f"{name} is not a list of phrases: entry {position} is {str(item)[:40]!r}, "
                "expected a string or a list that begins with one"
            )
        every = words(normalise(phrase))
        content = [word for word in every if word not in stop_words()]
        if len(every) == 1:
            content = every
        elif len(content) == 1:
            content = []
        if 1 <= len(content) <= MAX_LENGTH:
            text = " ".join(content)
            by_length[len(content)].setdefault(text, Entry(text=text))
        else:
            skipped += 1
    if not any(by_length.values()):
        raise WeighinError(f"{name} holds no phrase of one to three content words")
    return Lexicon(
        name=name,
        origin=Origin(method="public list", skipped=skipped),
        words=tuple(by_length[1].values()),
        bigrams=tuple(by_length[2].values()),
        trigrams=tuple(by_length[3].values()),
    )
