"""Compose: a request, the model's own sentences and a few instructions become one chat.

Sentences in, checked rows out. Every row is judged by IFEval's own strict checker; one that fails
any of its instructions is dropped, so whatever the edits get wrong is not learnt.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from instructions import additions, counts, fixed, shapes
from instructions.draft import Draft, paragraphs
from instructions.requests import Request
from instructions.shapes import Applied
from instructions.wordings import wording
from metrics.ifeval import score

Edit = Callable[..., Applied | None]

SHAPES: Mapping[str, Edit] = {
    "bullets": shapes.bullets,
    "sections": shapes.sections,
    "divided": shapes.divided,
    "first_word": shapes.first_word,
    "two_responses": shapes.two_responses,
    "json": shapes.json_object,
    "placeholders": shapes.placeholders,
}
EDITS: Mapping[str, Edit] = {
    # in the order in which they are applied
    "no_comma": additions.no_comma,
    **SHAPES,
    "highlights": additions.highlights,
    "capital_words": additions.capital_words,
    "title": additions.title,
    "postscript": additions.postscript,
    "end_phrase": additions.end_phrase,
    "lower_case": additions.lower_case,
    "upper_case": additions.upper_case,
    "quotation": additions.quotation,
    "existence": counts.existence,
    "frequency": counts.frequency,
    "forbidden": counts.forbidden,
    "letters": counts.letters,
    "n_words": counts.n_words,
    "n_sentences": counts.n_sentences,
}
REPEAT = "repeat"
APART: tuple[frozenset[str], ...] = (
    frozenset(SHAPES),
    frozenset({"lower_case", "upper_case", "capital_words"}),
    *(
        frozenset({"json", other})
        for other in (
            "no_comma",
            "highlights",
            "capital_words",
            "title",
            "postscript",
            "end_phrase",
            "lower_case",
            "upper_case",
            "quotation",
            "n_sentences",
            REPEAT,
        )
    ),
    *(frozenset({"first_word", other}) for other in ("title", "postscript", "end_phrase", REPEAT)),
    *(
        frozenset({REPEAT, other})
        for other in ("two_responses", "no_comma", "lower_case", "upper_case", "forbidden")
    ),
    frozenset({REPEAT, "quotation"}),
    frozenset({"sections", "lower_case"}),
    frozenset({"sections", "upper_case"}),
    frozenset({"bullets", "highlights"}),
    frozenset({"divided", "highlights"}),
    frozenset({"two_responses", "highlights"}),
    frozenset({"placeholders", "quotation"}),
)
"""Sets of which an answer takes one at most."""

N_INSTRUCTIONS = (1, 1, 1, 2, 2, 3)
MAX_WORDS = 120
MAX_LONG_WORDS = 360


class Row(BaseModel):
    """One chat: a prompt with its instructions, and an answer that follows them all."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    prompt: str
    answer: str
    instruction_id_list: tuple[str, ...]
    """IFEval's types."""
    kwargs: tuple[dict[str, Any], ...]
    """The checker's arguments, one object per instruction."""

    def follows(self) -> bool:
        """Whether IFEval's strict checker passes every instruction."""
        instructions = list(zip(self.instruction_id_list, self.kwargs, strict=True))
        return score(self.prompt, instructions, self.answer).prompt_strict


def rows_of(
    request: Request,
    answers: Sequence[Sequence[str]],
    n: int,
    deck: Iterator[str],
    *,
    rng: random.Random,
) -> Iterator[Row]:
    """Up to n rows of one request, each with other instructions.

    Args:
        request: What is asked.
        answers: The sentences of each of the model's answers; two at least.
        n: Rows to try; those that fail the checker are left out.
        deck: The first instruction of each row, so that all types come equally often.
        rng: Chooses the other instructions and all arguments.
    """
    for number in range(n):
        first, *others = rng.sample(list(answers), k=len(answers))
        spare = [sentence for other in others for sentence in other if sentence not in first]
        draft = Draft(request, list(first), spare)
        row = compose(draft, _choose(next(deck), rng), f"{request.id}-{number}", rng=rng)
        if row is not None and len(row.answer.split()) <= MAX_WORDS and row.follows():
            yield row


def long_row(request: Request, sentences: Sequence[str], *, rng: random.Random) -> Row | None:
    """One row whose answer has to be long; None if it fails the checker."""
    n = rng.randint(len(sentences) * 2 // 3, len(sentences))
    draft = Draft(request, [], list(sentences[n:]))
    draft.blocks = paragraphs(list(sentences[:n]), max(2, n // 4))
    names = {rng.choice(("n_words", "n_words", "n_sentences"))}
    if rng.random() < 0.5:
        names.add(rng.choice(("title", "postscript", "end_phrase", "existence", "highlights")))
    row = compose(draft, names, f"{request.id}-long", rng=rng)
    if row is None or len(row.answer.split()) > MAX_LONG_WORDS or not row.follows():
        return None
    return row


def compose(draft: Draft, names: set[str], row_id: str, *, rng: random.Random) -> Row | None:
    """Apply instructions to a draft and put the chat together; None if one cannot be applied."""
    if "frequency" in names:
        counts.focus(draft)
    applied: list[Applied] = []
    for name, edit in EDITS.items():
        if name == "highlights" and not draft.blocks and not shapes.plain(draft, rng=rng):
            return None  # everything from here on needs a body
        if name in names:
            outcome = edit(draft, rng=rng)
            if outcome is None:
                return None
            applied.append(outcome)
    rng.shuffle(applied)
    said = [text for _, _, text in applied]
    between = "\n" if rng.random() < 0.25 else " "
    first = [said.pop()] if len(said) > 1 and rng.random() < 0.2 else []
    prompt = between.join([*first, draft.request.text, *said])
    instructions = [(kind, arguments) for kind, arguments, _ in applied]
    if REPEAT in names:
        draft.before = prompt
        kind = "combination:repeat_prompt"
        instructions.append((kind, {"prompt_to_repeat": prompt}))
        prompt = f"{prompt}\n{wording(kind, rng=rng)}"
    return Row(
        id=row_id,
        prompt=prompt,
        answer=draft.text,
        instruction_id_list=tuple(kind for kind, _ in instructions),
        kwargs=tuple(arguments for _, arguments in instructions),
    )


def fixed_rows(*, rng: random.Random) -> Iterator[Row]:
    """The rows whose answers are written by hand."""
    for number, (question, answer) in enumerate(fixed.CLOSED_QUESTIONS):
        kind = "detectable_format:constrained_response"
        yield Row(
            id=f"closed-{number:02d}",
            prompt=f"{question} {wording(kind, rng=rng)}",
            answer=answer,
            instruction_id_list=(kind,),
            kwargs=({},),
        )
    for number, (request, code, answer) in enumerate(fixed.FOREIGN_ANSWERS):
        kind = "language:response_language"
        yield Row(
            id=f"language-{number:02d}",
            prompt=f"{request} {wording(kind, rng=rng, language=fixed.LANGUAGES[code])}",
            answer=answer,
            instruction_id_list=(kind,),
            kwargs=({"language": code},),
        )


def deck_of(*, rng: random.Random) -> Iterator[str]:
    """All instructions in random order, over and over, each time in another order."""
    while True:
        yield from rng.sample([*EDITS, REPEAT], k=len(EDITS) + 1)


def _choose(first: str, rng: random.Random) -> set[str]:
    """A few instructions that go together, one of them given."""
    n = rng.choice(N_INSTRUCTIONS)
    chosen = {first}
    for name in rng.sample([*EDITS, REPEAT], k=len(EDITS) + 1):
        if len(chosen) >= n:
            break
        if all(name not in group or not chosen & group for group in APART):
            chosen.add(name)
    return chosen
