"""Responses from anywhere: a JSON Lines file scored as a run would be.

Rows of `{"id" or "key", "response", "prompt"?}` in, figures and figures per text out. Knows how
responses find their prompts; the metrics are in `metrics`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.prompts import Prompt, PromptSet
from harness.scoring import Scoring, score_ifeval
from metrics import ifeval, prose
from metrics.errors import WeighinError
from metrics.lexicon import default_lexicon
from metrics.stats import Estimate


@dataclass(frozen=True)
class Response:
    """One row of the file."""

    id: str | None
    text: str
    prompt: str | None
    line: int


@dataclass(frozen=True)
class Scored:
    """Figures of a file of responses."""

    metrics: dict[str, Estimate]
    texts: list[dict[str, Any]]
    """Per response its `id` and every figure of its own."""


def read_responses(path: Path) -> list[Response]:
    """Read a file of responses.

    Raises:
        WeighinError: The file cannot be read, is empty, or a row is malformed; its line is named.
    """
    try:
        lines = path.read_text("utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise WeighinError(f"{path}: cannot be read as text ({error})") from None
    found = [_response(line, path, i) for i, line in enumerate(lines, start=1) if line.strip()]
    if not found:
        raise WeighinError(f'{path}: no response in it; expected rows of {{"key", "response"}}')
    return found


def score_prose(responses: Sequence[Response], scoring: Scoring) -> Scored:
    """Score responses as prose."""
    scores, metrics = prose.score_texts(
        [r.text for r in responses],
        scoring.lexicon or default_lexicon(),
        prompts=[_name(r) for r in responses],
        length_gate=scoring.length_gate,
    )
    pairs = zip(responses, scores, strict=True)
    return Scored(metrics, [{"id": _name(r), **s.model_dump(mode="json")} for r, s in pairs])


def score_as_ifeval(path: Path, responses: Sequence[Response], prompts: PromptSet) -> Scored:
    """Score responses to IFEval, or to a set in its format.

    A response finds its prompt by `key`, by the prompt's text, or, in a file with one response for
    every prompt in order, by its position: published responses carry older wordings.

    Raises:
        WeighinError: A response belongs to no prompt; its line is named.
    """
    joined = [(r, _prompt_of(r, i, responses, prompts, path)) for i, r in enumerate(responses)]
    scores = [score_ifeval(prompts.name, prompt, r.text) for r, prompt in joined]
    texts = [
        {
            "id": prompt.id,
            "prompt_level_strict_acc": score.prompt_strict,
            "prompt_level_loose_acc": score.prompt_loose,
            "instructions": [instruction.id for instruction in prompt.instructions],
            "strict": score.strict,
            "loose": score.loose,
        }
        for (_, prompt), score in zip(joined, scores, strict=True)
    ]
    return Scored(ifeval.summarise(scores), texts)


def _response(line: str, path: Path, number: int) -> Response:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise WeighinError(f"{path}:{number}: not JSON: {error.msg}") from None
    text = row.get("response") if isinstance(row, dict) else None
    if not isinstance(text, str):
        raise WeighinError(f'{path}:{number}: expected an object with "response", a text')
    name = row.get("key", row.get("id"))
    prompt = row.get("prompt")
    return Response(
        id=None if name is None else str(name),
        text=text,
        prompt=prompt if isinstance(prompt, str) else None,
        line=number,
    )


def _name(response: Response) -> str:
    return response.id or str(response.line)


def _prompt_of(
    response: Response,
    index: int,
    responses: Sequence[Response],
    prompts: PromptSet,
    path: Path,
) -> Prompt:
    if response.id is not None:
        found = next((p for p in prompts.prompts if p.id == response.id), None)
    else:
        found = next((p for p in prompts.prompts if p.text == response.prompt), None)
        if found is None and len(responses) == len(prompts.prompts):
            found = prompts.prompts[index]
    if found is None:
        what = f"key {response.id}" if response.id is not None else "a prompt of another wording"
        raise WeighinError(
            f"{path}:{response.line}: {what}, which {prompts.name} does not have; "
            "give rows the key of their prompt"
        )
    return found
