"""Text: one normal form, and its words, sentences and paragraphs.

Text in, text and lists out; knows nothing of models or metrics. Two texts that a reader would call
the same prose (markdown or plain, curly or straight quotes, thinking shown or not) have the same
words and sentences here, so that a metric cannot be moved by typography.
"""

import re
import unicodedata
from dataclasses import dataclass

HEAD_WORDS = 750
"""Rates look at no more than this many words, so that length cannot buy a score."""

_THINKING = re.compile(
    r"<(think|thinking|thought|reasoning)>.*?</\1>"
    r"|<\|channel>.*?<channel\|>"
    r"|<\|channel\|>analysis<\|message\|>.*?<\|end\|>",
    re.DOTALL,
)
_OPEN_THOUGHT = re.compile(
    r"<(?:think|thinking|thought|reasoning)>|<\|channel>|<\|channel\|>analysis<\|message\|>"
)
_CLOSED_THOUGHT = re.compile(r"\A.*</(?:think|thinking|thought|reasoning)>", re.DOTALL)

_STRAIGHT = str.maketrans(
    {
        "\N{LEFT SINGLE QUOTATION MARK}": "'",
        "\N{RIGHT SINGLE QUOTATION MARK}": "'",
        "\N{SINGLE LOW-9 QUOTATION MARK}": "'",
        "\N{SINGLE HIGH-REVERSED-9 QUOTATION MARK}": "'",
        "\N{MODIFIER LETTER APOSTROPHE}": "'",
        "\N{PRIME}": "'",
        "\N{LEFT DOUBLE QUOTATION MARK}": '"',
        "\N{RIGHT DOUBLE QUOTATION MARK}": '"',
        "\N{DOUBLE LOW-9 QUOTATION MARK}": '"',
        "\N{DOUBLE HIGH-REVERSED-9 QUOTATION MARK}": '"',
        "\N{DOUBLE PRIME}": '"',
        "\N{LEFT-POINTING DOUBLE ANGLE QUOTATION MARK}": '"',
        "\N{RIGHT-POINTING DOUBLE ANGLE QUOTATION MARK}": '"',
        "\N{HORIZONTAL ELLIPSIS}": "...",
        "\N{EN DASH}": "\N{EM DASH}",
        "\N{HORIZONTAL BAR}": "\N{EM DASH}",
        "\N{HYPHEN}": "-",
        "\N{NON-BREAKING HYPHEN}": "-",
        # The one letter whose lower case is two characters long: apart, offsets stay in step.
        "\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}": "I\N{COMBINING DOT ABOVE}",
        # Invisible characters: left in, one of them inside a word would hide it from every list.
        "\N{SOFT HYPHEN}": None,
        "\N{ZERO WIDTH SPACE}": None,
        "\N{ZERO WIDTH NON-JOINER}": None,
        "\N{ZERO WIDTH JOINER}": None,
        "\N{WORD JOINER}": None,
        "\N{ZERO WIDTH NO-BREAK SPACE}": None,
    }
)
_IMAGE_OR_LINK = re.compile(r"!?\[([^\[\]\n]*)\]\([^()\n]*\)")
_LINE_MARK = re.compile(r"^[ \t]*(?:(?:>|#{1,6}|[-+](?=[ \t])|\d{1,3}[.)](?=[ \t]))[ \t]*)+", re.M)
_RULE = re.compile(
    r"^[ \t]*(?:[-=_][ \t]*){2,}$|^[ \t]*\|?(?:[ \t]*:?-+:?[ \t]*\|)+[ \t:-]*$", re.M
)
_EVERYWHERE = re.compile(r"[*`]|~~|\\(?=[\\*`_{}\[\]()#+.!~>|-])")
_UNDERSCORE = re.compile(r"(?<![A-Za-z0-9])_+|_+(?![A-Za-z0-9])")

_WORD = re.compile(r"[a-z]+(?:'[a-z]+)*")
_ABBREVIATION = re.compile(
    r"\b(Mr|Mrs|Ms|Dr|St|Prof|Rev|Hon|Capt|Col|Gen|Lt|Sgt|Jr|Sr|vs|etc|No|[A-Z]|[ap]\.m)\.(?=\s)"
)
# A stop, whatever closes the quotation, then white space and something that can begin a sentence.
_SENTENCE_END = re.compile(r"([.!?][.!?]*[\"')\]]*)\s+(?=[\"'(\[]*[A-Z0-9\N{EM DASH}])")
_HELD_STOP = "\N{ONE DOT LEADER}"


def strip_thinking(text: str) -> str:
    """Cut a model's thoughts out of its answer.

    Knows `<think>` and its kin, Gemma 4's channels and the harmony format. A thought that is never
    closed leaves an empty answer; one that the prompt opened is cut up to its closing tag, except
    for Gemma's closing tag, which it also writes without a thought and which is merely dropped.
    """
    answer = _THINKING.sub("", text)
    if _OPEN_THOUGHT.search(answer):
        return ""
    return _CLOSED_THOUGHT.sub("", answer).replace("<channel|>", "")


def normalise(text: str) -> str:
    """The normal form that every prose metric works on.

    Thinking and markdown marks are removed (headings, lists, quotations and emphasis keep their
    words; a link keeps its label), quotes, dashes and ellipses become plain, Unicode is NFC, runs
    of blanks become one, and each line is one paragraph.
    """
    plain = unicodedata.normalize("NFC", strip_thinking(text)).translate(_STRAIGHT)
    plain = "\n".join(plain.splitlines())
    plain = _IMAGE_OR_LINK.sub(r"\1", plain)
    plain = _EVERYWHERE.sub("", plain)
    plain = _RULE.sub("", plain)
    plain = _LINE_MARK.sub("", plain)
    plain = _UNDERSCORE.sub("", plain)
    lines = (" ".join(line.split()) for line in plain.split("\n"))
    return "\n".join(line for line in lines if line)


def words(normal: str) -> list[str]:
    """Lower-case words of a normalised text: letters a to z, joined by inner apostrophes."""
    return _WORD.findall(normal.lower())


def word_spans(raw: str) -> list[tuple[str, int, int]]:
    """Words of a text as it was written, each with where it stands, to point at them in print.

    Typography is plain as in `normalise`, but nothing is taken out: the words of markdown marks,
    link targets and thoughts are among them.

    Returns:
        Word as in `words`, index of its first character, index behind its last.
    """
    plain, origin = [], []
    for index, character in enumerate(raw):
        for letter in character.translate(_STRAIGHT).lower():
            plain.append(letter)
            origin.append(index)
    return [
        (match[0], origin[match.start()], origin[match.end() - 1] + 1)
        for match in _WORD.finditer("".join(plain))
    ]


def paragraphs(normal: str) -> list[str]:
    """Paragraphs of a normalised text, those without a word left out."""
    return [line for line in normal.split("\n") if _WORD.search(line.lower())]


def sentences(normal: str) -> list[str]:
    """Sentences of a normalised text, those without a word left out.

    A sentence ends at a stop that is followed by a capital, a figure or a quotation, or at the end
    of its paragraph; the usual titles and initials do not end one.
    """
    found = []
    for paragraph in paragraphs(normal):
        held = _ABBREVIATION.sub(rf"\1{_HELD_STOP}", paragraph)
        for sentence in _SENTENCE_END.sub("\\1\n", held).split("\n"):
            if _WORD.search(sentence.lower()):
                found.append(sentence.replace(_HELD_STOP, "."))
    return found


@dataclass(frozen=True)
class Passage:
    """A text made ready for the metrics: its whole, and the head that rates are taken from."""

    normal: str
    """The whole text, normalised."""

    words: tuple[str, ...]
    """Every word."""

    head: str
    """The normalised text up to its HEAD_WORDS-th word."""

    head_words: tuple[str, ...]
    """The first HEAD_WORDS words."""

    head_sentences: tuple[tuple[str, ...], ...]
    """Words of each sentence of the head."""


def read_passage(text: str) -> Passage:
    """Normalise a text and take it apart, once for all metrics."""
    normal = normalise(text)
    every = words(normal)
    head = _cut(normal, HEAD_WORDS) if len(every) > HEAD_WORDS else normal
    return Passage(
        normal=normal,
        words=tuple(every),
        head=head,
        head_words=tuple(every[:HEAD_WORDS]),
        head_sentences=tuple(tuple(words(sentence)) for sentence in sentences(head)),
    )


def _cut(normal: str, n_words: int) -> str:
    """The text up to the end of its n-th word and the punctuation that closes it."""
    end = 0
    for count, match in enumerate(_WORD.finditer(normal.lower()), start=1):
        end = match.end()
        if count == n_words:
            break
    closing = re.compile(r"[^\w\s]*").match(normal, end)
    return normal[: closing.end() if closing else end]
