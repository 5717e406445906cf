"""Draft: an answer under construction.

Sentences in, text out; knows the parts that an answer may have, not why it has them.
"""

import re
from dataclasses import dataclass, field
from typing import Literal

from instructions.requests import Request

BLANK_LINE = "\n\n"
WORD = re.compile(r"[A-Za-z']+")


@dataclass
class Draft:
    """The parts of one answer; `text` puts them together."""

    request: Request
    sentences: list[str]
    """What the body is made of, taken from the front."""
    spare: list[str]
    """Sentences of the model's other answers to the same request."""
    blocks: list[str] = field(default_factory=list)
    """The body, once it has a shape."""
    joiner: str = BLANK_LINE
    """What stands between two blocks."""
    before: str | None = None
    title: str | None = None
    after: list[str] = field(default_factory=list)
    case: Literal["lower", "upper"] | None = None
    without_commas: bool = False
    quoted: bool = False

    def take(self, n: int) -> list[str] | None:
        """The next n sentences, from the spare ones where the own ones run out; None if too few."""
        pool = self.sentences + self.spare
        if len(pool) < n:
            return None
        taken, rest = pool[:n], pool[n:]
        self.sentences = rest[: max(0, len(self.sentences) - n)]
        self.spare = rest[len(self.sentences) :]
        return taken

    @property
    def body(self) -> str:
        """The blocks alone."""
        return self.joiner.join(self.blocks)

    @property
    def text(self) -> str:
        """The answer as it stands."""
        parts = [self.before, self.title, self.body, *self.after]
        text = BLANK_LINE.join(part for part in parts if part)
        if self.without_commas:
            text = text.replace(",", "")
        if self.case is not None:
            text = text.lower() if self.case == "lower" else text.upper()
        return f'"{text}"' if self.quoted else text


def paragraphs(sentences: list[str], n: int) -> list[str]:
    """Sentences as n paragraphs of nearly the same number, in order."""
    size, larger = divmod(len(sentences), n)
    blocks, start = [], 0
    for index in range(n):
        end = start + size + (index < larger)
        blocks.append(" ".join(sentences[start:end]))
        start = end
    return blocks


def title_of(subject: str) -> str:
    """A subject as a title: capitals at the start of its longer words, no article before it."""
    bare = re.sub(r"^(a|an|the|my|your)\s+", "", subject)
    words = bare.split()[:6]
    while words and words[-1] in SMALL_WORDS:
        words.pop()
    return " ".join(
        word if word in SMALL_WORDS and index > 0 else word[0].upper() + word[1:]
        for index, word in enumerate(words)
    )


_SMALL = (
    "a an and as at but by for from in into like no not of on or our out that the their them then "
    "they this to up who whose will with without your you is are was were be been has have had it "
    "its his her he she we i me my so if when while which what how there here can could would "
    "should may might must do does did very more most also than these those some any all one "
    "about after before over under just even"
)
SMALL_WORDS = frozenset(_SMALL.split())


def content_words(text: str, *, shortest: int = 4) -> list[str]:
    """Different words that carry meaning, in lower case, in the order of their first use."""
    words = (word.lower() for word in re.findall(r"[A-Za-z]+", text))
    return list(dict.fromkeys(w for w in words if len(w) >= shortest and w not in SMALL_WORDS))
