"""Shapes: instructions that give an answer its form.

A draft and a generator in, the draft formed and the instruction that it now follows out; None
where the draft has too little to form. Whether the instruction really is followed is for IFEval's
checker to say, not for this module.
"""

import json
import random
from typing import Any

from instructions.draft import Draft, content_words, paragraphs, title_of
from instructions.wordings import wording

Applied = tuple[str, dict[str, Any], str]
"""IFEval's name of the type, the checker's arguments, and the wording."""

OPENERS = (
    "however",
    "meanwhile",
    "finally",
    "today",
    "sometimes",
    "still",
    "yesterday",
    "perhaps",
    "instead",
    "later",
    "often",
    "besides",
    "now",
    "tomorrow",
)
SECTION_MARKS = ("Section", "SECTION", "Part", "PART", "Chapter", "Step", "Day", "Point")
PLACEHOLDER_LINES = (
    "Questions? Write to [email address] or call [phone number].",
    "Please ask for [name].",
    "Place: [address]",
    "Date: [date]",
    "Time: [time]",
    "Price: [price]",
    "My reference number is [number].",
    "The address is [street] in [city].",
    "More can be found at [website].",
    "[company] is glad to help.",
)


def plain(draft: Draft, *, rng: random.Random) -> bool:
    """Give a draft that no instruction has shaped a paragraph or two."""
    wanted = min(rng.choice((1, 2, 2, 3, 3, 4)), len(draft.sentences + draft.spare))
    taken = draft.take(wanted)
    if not taken:
        return False
    draft.blocks = paragraphs(taken, 2 if len(taken) > 3 and rng.random() < 0.4 else 1)
    return True


def bullets(draft: Draft, *, rng: random.Random) -> Applied | None:
    """A markdown list of exactly n points, perhaps after a line that leads into it."""
    n = rng.choice((2, 2, 3, 3, 4, 5))
    taken = draft.take(n)
    if taken is None:
        return None
    draft.blocks = ["\n".join(f"* {sentence}" for sentence in taken)]
    if rng.random() < 0.3:
        draft.blocks.insert(0, f"{title_of(draft.request.subject)}:")
    kind = "detectable_format:number_bullet_lists"
    return kind, {"num_bullets": n}, wording(kind, rng=rng, n=n)


def sections(draft: Draft, *, rng: random.Random) -> Applied | None:
    """Numbered sections under a mark such as "Part 1"."""
    n = rng.choice((2, 2, 3, 3, 4))
    taken = draft.take(n)
    if taken is None:
        return None
    mark = rng.choice(SECTION_MARKS)
    blocks = paragraphs(taken, n)
    draft.blocks = [f"{mark} {i}\n{block}" for i, block in enumerate(blocks, start=1)]
    kind = "detectable_format:multiple_sections"
    arguments = {"section_spliter": mark, "num_sections": n}
    return kind, arguments, wording(kind, rng=rng, n=n, mark=mark)


def divided(draft: Draft, *, rng: random.Random) -> Applied | None:
    """Exactly n paragraphs with *** between them."""
    n = rng.choice((2, 2, 3, 3, 4, 5))
    taken = draft.take(n)
    if taken is None:
        return None
    draft.blocks = paragraphs(taken, n)
    draft.joiner = "\n\n***\n\n"
    kind = "length_constraints:number_paragraphs"
    return kind, {"num_paragraphs": n}, wording(kind, rng=rng, n=n)


def first_word(draft: Draft, *, rng: random.Random) -> Applied | None:
    """Exactly n paragraphs, one of which begins with a given word."""
    n = rng.choice((2, 3, 3, 4))
    taken = draft.take(n)
    if taken is None:
        return None
    draft.blocks = paragraphs(taken, n)
    nth = rng.randint(1, n)
    block = draft.blocks[nth - 1]
    own = block.split()[0].strip(".,!?'\"").lower()
    if rng.random() < 0.35:
        word = own
    elif rng.random() < 0.5:
        word = rng.choice(OPENERS)
        lowered = block if block.startswith("I") else block[0].lower() + block[1:]
        draft.blocks[nth - 1] = f"{word.capitalize()}, {lowered}"
    else:
        words = content_words(draft.body)
        if not words:
            return None
        word = rng.choice(words)
        starts = ("{} comes first to mind.", "{} is a good word to begin with.", "{}, in one word.")
        draft.blocks[nth - 1] = f"{rng.choice(starts).format(word.capitalize())} {block}"
    kind = "length_constraints:nth_paragraph_first_word"
    arguments = {"num_paragraphs": n, "nth_paragraph": nth, "first_word": word}
    return kind, arguments, wording(kind, rng=rng, n=n, nth=nth, word=word)


def two_responses(draft: Draft, *, rng: random.Random) -> Applied | None:
    """Two answers with six asterisks between them, from the model's two answers."""
    n = rng.choice((1, 1, 2))
    first, second = draft.sentences[:n], draft.spare[:n]
    if not first or not second:
        return None
    draft.blocks = [" ".join(first), " ".join(second)]
    draft.joiner = "\n\n******\n\n"
    draft.sentences, draft.spare = draft.sentences[n:], draft.spare[n:]
    kind = "combination:two_responses"
    return kind, {}, wording(kind, rng=rng)


def json_object(draft: Draft, *, rng: random.Random) -> Applied | None:
    """One JSON object, bare or fenced."""
    taken = draft.take(rng.choice((1, 2, 3)))
    if taken is None:
        return None
    title = title_of(draft.request.subject)
    value: dict[str, Any] = rng.choice(
        (
            {"title": title, "text": " ".join(taken)},
            {"title": title, "points": taken},
            {"request": draft.request.text, "answer": " ".join(taken)},
            {"subject": draft.request.subject, "sentences": taken},
            {f"part {i}": sentence for i, sentence in enumerate(taken, start=1)},
        )
    )
    shown = json.dumps(value, indent=2)
    draft.blocks = [f"```json\n{shown}\n```" if rng.random() < 0.4 else shown]
    kind = "detectable_format:json_format"
    return kind, {}, wording(kind, rng=rng)


def placeholders(draft: Draft, *, rng: random.Random) -> Applied | None:
    """Blanks in square brackets: a letter's name and signature, or lines after the text."""
    taken = draft.take(rng.choice((1, 2, 2)))
    if taken is None:
        return None
    lines = rng.sample(PLACEHOLDER_LINES, k=rng.choice((1, 2, 2, 3, 4)))
    draft.blocks = [" ".join(taken), "\n".join(lines)]
    if draft.request.kind == "letter":
        draft.blocks = ["Dear [name],", *draft.blocks, "Best wishes,\n[your name]"]
    n = max(1, draft.body.count("[") - rng.choice((0, 0, 1)))
    kind = "detectable_content:number_placeholders"
    return kind, {"num_placeholders": n}, wording(kind, rng=rng, n=n)
