"""Additions: instructions that mark, add to or change an answer that has its form.

As in `shapes`: a draft in, the draft changed and the instruction that it now follows out.
"""

import random
import re

from instructions.draft import SMALL_WORDS, Draft, title_of
from instructions.shapes import Applied
from instructions.wordings import wording

END_PHRASES = (
    "That is all for today.",
    "Thank you for reading this far.",
    "Let me know what you think.",
    "I hope this helps you.",
    "What do you say?",
    "And so it goes.",
    "Have a wonderful day!",
    "The rest is up to you.",
    "Tell me if you need more.",
    "Nothing more needs to be said.",
    "Until next time.",
    "Shall I go on?",
    "The end.",
    "Now it is your turn.",
    "With many thanks.",
    "Do write back soon.",
    "Good luck with it!",
    "Who would have thought so?",
    "Please pass it on.",
    "Is that clear enough?",
)
POSTSCRIPTS = (
    "Bring an umbrella in case it rains.",
    "The kettle is already on.",
    "Do not forget to smile.",
    "The cat says hello.",
    "I will call you on Sunday.",
    "A short answer is enough.",
    "There is cake in the kitchen.",
    "Take your time.",
)
ORDINARY = re.compile(r"[A-Za-z][a-z']*")


def no_comma(draft: Draft, *, rng: random.Random) -> Applied | None:
    """Take sentences without commas first, and strip the rest of theirs."""
    for name in ("sentences", "spare"):
        sentences: list[str] = getattr(draft, name)
        free = [sentence for sentence in sentences if "," not in sentence]
        rest = [re.sub(r",(?! and| or| but)", "", s).replace(",", "") for s in sentences]
        setattr(draft, name, free if len(free) >= 2 else rest)
    draft.without_commas = True
    kind = "punctuation:no_comma"
    return kind, {}, wording(kind, rng=rng)


def lower_case(draft: Draft, *, rng: random.Random) -> Applied | None:
    """Everything in small letters."""
    draft.case = "lower"
    kind = "change_case:english_lowercase"
    return kind, {}, wording(kind, rng=rng)


def upper_case(draft: Draft, *, rng: random.Random) -> Applied | None:
    """Everything in capitals."""
    draft.case = "upper"
    kind = "change_case:english_capital"
    return kind, {}, wording(kind, rng=rng)


def capital_words(draft: Draft, *, rng: random.Random) -> Applied | None:
    """Some words in capitals: at least as many as asked for, or fewer."""
    n = rng.choice((1, 2, 3, 4, 5))
    words = _marked(draft, n, rng)
    if words is None:
        return None
    for block, word in words:
        text = draft.blocks[block]
        draft.blocks[block] = re.sub(rf"\b{re.escape(word)}\b", word.upper(), text, count=1)
    kind = "change_case:capital_word_frequency"
    relation = rng.choice(("at least", "at least", "less than"))
    limit = n if relation == "at least" else n + rng.choice((3, 4, 6))
    arguments = {"capital_relation": relation, "capital_frequency": limit}
    return kind, arguments, wording(kind, rng=rng, n=limit, relation=relation)


def highlights(draft: Draft, *, rng: random.Random) -> Applied | None:
    """Words, or pairs of words, between asterisks."""
    n = rng.choice((1, 2, 2, 3, 3, 4))
    words = _marked(draft, n, rng)
    if words is None:
        return None
    for block, word in words:
        pattern = rf"(?<![*\w])({re.escape(word)}(?: [a-z]{{4,}})?)(?![*\w])"
        draft.blocks[block] = re.sub(pattern, r"*\1*", draft.blocks[block], count=1)
    kind = "detectable_format:number_highlighted_sections"
    return kind, {"num_highlights": n}, wording(kind, rng=rng, n=n)


def title(draft: Draft, *, rng: random.Random) -> Applied | None:
    """A title in double angle brackets above the text."""
    draft.title = f"<<{title_of(draft.request.subject)}>>"
    kind = "detectable_format:title"
    return kind, {}, wording(kind, rng=rng)


def postscript(draft: Draft, *, rng: random.Random) -> Applied | None:
    """A postscript after the text: a sentence that is left over, or one of our own."""
    mark = rng.choice(("P.S.", "P.S.", "P.P.S"))
    left = draft.sentences + draft.spare
    sentence = left[0] if left and rng.random() < 0.6 else rng.choice(POSTSCRIPTS)
    draft.after.append(f"{mark} {sentence}")
    kind = "detectable_content:postscript"
    return kind, {"postscript_marker": mark}, wording(kind, rng=rng, mark=mark)


def end_phrase(draft: Draft, *, rng: random.Random) -> Applied | None:
    """A given last sentence."""
    phrase = rng.choice(END_PHRASES)
    if draft.after or rng.random() < 0.5 or not draft.blocks[-1].endswith((".", "!", "?")):
        draft.after.append(phrase)
    else:
        draft.blocks[-1] += f" {phrase}"
    kind = "startend:end_checker"
    return kind, {"end_phrase": phrase}, wording(kind, rng=rng, phrase=phrase)


def quotation(draft: Draft, *, rng: random.Random) -> Applied | None:
    """The whole answer between double quotation marks."""
    draft.quoted = True
    kind = "startend:quotation"
    return kind, {}, wording(kind, rng=rng)


def _marked(draft: Draft, n: int, rng: random.Random) -> list[tuple[int, str]] | None:
    """n different words of the body that stand out, each with the block that it is in."""
    found: dict[str, int] = {}
    for index, block in enumerate(draft.blocks):
        for word in block.split():
            plain = ORDINARY.fullmatch(word)
            if plain and len(word) > 4 and word.lower() not in SMALL_WORDS:
                found.setdefault(word, index)
    if len(found) < n:
        return None
    chosen = set(rng.sample(sorted(found), k=n))
    return [(index, word) for word, index in found.items() if word in chosen]
