"""Fisher prompts: what the loss is taken on, as tokens.

Prompt sets or rows with responses in, token ids out, through the checkpoint's own chat template;
knows nothing of gradients.
Source: DESIGN, Formulas: instruction prompts through the chat template, 200 of them, 256 tokens.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import ValidationError

from harness.chat import ChatTemplate
from harness.prompts import BUILT_IN, Prompt, PromptSet, load_prompt_set, prompt_from_row, take
from search.errors import FisherError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Loss = Literal["prompt", "response", "sampled"]
"""Tokens that the loss is taken on: the prompt's, a given response's, or the model's own draw."""


@dataclass(frozen=True)
class Example:
    """Tokens of one prompt."""

    id: str
    tokens: tuple[int, ...]
    first: int
    """Place of the first token to predict, at least 1: nothing predicts the first of all."""


@dataclass(frozen=True)
class Asked:
    """Prompts, and the responses that were given to them."""

    prompts: PromptSet
    responses: Mapping[str, str]
    """By prompt id; empty unless the loss is on responses."""


@dataclass(frozen=True)
class Examples:
    """What an estimate runs on, and what became of the prompts on the way."""

    prompts: PromptSet
    """Those that are used."""
    examples: tuple[Example, ...]
    """In the prompts' order."""
    n_cut: int
    """Prompts that were longer than allowed and lost their end."""
    n_dropped: int
    """Prompts left out: longer than allowed, or without a token for the loss."""


def read_asked(
    name_or_path: str,
    loss: Loss,
    *,
    ifeval_data: Path | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> Asked:
    """Read what an estimate is to be made on.

    Args:
        name_or_path: `ifeval`, `mini`, `prose`, or a JSON Lines file of prompts. For the loss on
            responses a file whose rows have a `response` beside the prompt, or `messages` that end
            with the assistant's.
        loss: Whether there must be responses.
        ifeval_data: A local copy of IFEval.
        limit: Take this many; None takes all. Of a built-in set those that an evaluation with a
            limit and the same seed would take last, so that both can use one set without overlap;
            of a file a balanced subset.
        seed: Of the choice.

    Raises:
        WeighinError: no such file or set, or a bad row; its line is named.
    """
    built_in = name_or_path in ("ifeval", *BUILT_IN)
    if loss == "response":
        if built_in:
            raise FisherError(
                f"the prompt set {name_or_path} has no responses; name a JSON Lines file whose "
                'rows hold "prompt" and "response", or take --loss prompt'
            )
        asked = _read_responses(Path(name_or_path))
        if limit is None:
            return asked
        return Asked(take(asked.prompts, limit, seed=seed), asked.responses)
    whole = load_prompt_set(name_or_path, ifeval_data=ifeval_data)
    if limit is None or limit >= len(whole.prompts):
        return Asked(whole, {})
    if not built_in:
        return Asked(take(whole, limit, seed=seed), {})
    first = take(whole, len(whole.prompts) - limit, seed=seed)
    before = {prompt.id for prompt in first.prompts}
    return Asked(whole.with_prompts(p for p in whole.prompts if p.id not in before), {})


def make_examples(
    asked: Asked,
    loss: Loss,
    *,
    tokenizer: "PreTrainedTokenizerBase",
    template: ChatTemplate,
    max_tokens: int,
    too_long: Literal["cut", "drop"],
) -> Examples:
    """Render prompts through the chat template and tokenise them.

    Args:
        asked: Prompts, with responses where the loss is on them.
        loss: See `Loss`. A response's tokens follow the opened turn; the end of the turn is not
            among them.
        tokenizer: The checkpoint's.
        template: Its chat template.
        max_tokens: Most tokens of an example, a response included.
        too_long: Whether a longer example loses its end or is left out.

    Raises:
        WeighinError: nothing is left, or the template refuses a prompt.
    """
    examples, used = [], []
    n_cut = n_dropped = 0
    for prompt in asked.prompts.prompts:
        tokens = _encode(tokenizer, template.render(prompt.messages))
        first = 1
        if loss == "response":
            first = max(1, len(tokens))
            tokens += _encode(tokenizer, asked.responses[prompt.id])
        example = Example(prompt.id, tuple(tokens[:max_tokens]), first)
        is_long = len(tokens) > max_tokens
        if (is_long and too_long == "drop") or n_loss_tokens(example, loss) < 1:
            n_dropped += 1
            continue
        n_cut += is_long
        examples.append(example)
        used.append(prompt)
    if not examples:
        raise FisherError(
            f"{asked.prompts.name}: none of {len(asked.prompts.prompts)} prompts has a token for "
            f"the loss within {max_tokens}; raise --max-tokens"
        )
    prompts = asked.prompts
    if len(used) < len(prompts.prompts):
        prompts = prompts.with_prompts(used)
    return Examples(prompts, tuple(examples), n_cut, n_dropped)


def template_of(tokenizer: "PreTrainedTokenizerBase", source: str | None) -> ChatTemplate:
    """A checkpoint's chat template, or another in its place.

    Raises:
        ChatTemplateError: there is none.
    """
    own = tokenizer.chat_template
    if isinstance(own, dict):  # several templates by name
        own = own.get("default")
    named = {key: str(text) for key, text in tokenizer.special_tokens_map.items()}
    return ChatTemplate(
        source if source is not None else own or "",
        bos_token=named.pop("bos_token", None),
        eos_token=named.pop("eos_token", None),
        extra_tokens=named,
    )


def n_loss_tokens(example: Example, loss: Loss) -> int:
    """Tokens that the loss is on; a drawn token may follow the last one."""
    return len(example.tokens) - (0 if loss == "sampled" else example.first)


def tokens_sha256(examples: Sequence[Example]) -> str:
    """Hash of everything that the loss sees."""
    rows = [[example.id, list(example.tokens), example.first] for example in examples]
    return sha256(json.dumps(rows).encode()).hexdigest()


def _encode(tokenizer: "PreTrainedTokenizerBase", text: str) -> list[int]:
    return [int(token) for token in tokenizer(text, add_special_tokens=False)["input_ids"]]


def _read_responses(path: Path) -> Asked:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise FisherError(f"cannot read responses from {path}: {error}") from None
    prompts: list[Prompt] = []
    responses: dict[str, str] = {}
    for number, line in enumerate(text.removesuffix("\n").split("\n"), start=1):
        where = f"{path}, line {number}"
        if not line.strip():
            raise FisherError(f"{where}: the line is empty; remove it")
        try:
            prompt, response = _answered(json.loads(line))
        except json.JSONDecodeError as error:
            raise FisherError(f"{where}: not JSON: {error.msg} at column {error.colno}") from None
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise FisherError(f"{where}: {first['msg'].removeprefix('Value error, ')}") from None
        except ValueError as error:
            raise FisherError(f"{where}: {error}") from None
        if prompt.id in responses:
            raise FisherError(
                f"{where}: prompt id {prompt.id!r} was there before; give every row an `id`"
            )
        prompts.append(prompt)
        responses[prompt.id] = response
    return Asked(PromptSet(name=path.stem, kind="prose", prompts=tuple(prompts)), responses)


def _answered(row: Any) -> tuple[Prompt, str]:
    """A row's prompt and the response to it.

    Raises:
        ValueError: there is not one response, or no prompt.
    """
    if not isinstance(row, Mapping):
        raise ValueError(f"expected an object, found {type(row).__name__}")
    rest = dict(row)
    response = rest.pop("response", None)
    turns = rest.get("messages")
    if response is None and isinstance(turns, list) and turns and isinstance(turns[-1], Mapping):
        if turns[-1].get("role") != "assistant":
            raise ValueError("the last message must be the assistant's, or give `response`")
        response = turns[-1].get("content")
        rest["messages"] = turns[:-1]
    if not isinstance(response, str) or not response.strip():
        raise ValueError("no response; give `response`, or end `messages` with the assistant's")
    return prompt_from_row(rest), response
