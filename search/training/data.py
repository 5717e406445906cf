"""Training data: files of chats or texts as rows of tokens with labels.

Files and a tokenizer in, tokens out; knows nothing of models. In a chat the loss is on the
assistant's turns alone, found by rendering the conversation up to each of them with the
tokenizer's own chat template.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.prompts import Message
from search.errors import TrainingError

if TYPE_CHECKING:
    import numpy as np
    from transformers import PreTrainedTokenizerBase

IGNORED = -100
"""The label that torch's cross entropy skips."""

ROLES = ("user", "assistant")


@dataclass(frozen=True)
class Row:
    """Tokens of one example."""

    input_ids: "np.ndarray[Any, np.dtype[np.int32]]"
    """[n] int32."""
    labels: "np.ndarray[Any, np.dtype[np.int32]]"
    """[n] int32, IGNORED where there is no loss."""


class DataReport(BaseModel):
    """What was read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_read: int
    """Rows of the files, or windows of plain text."""
    n_rows: int
    """Rows to train on: one per conversation, or per answer where the chat template rewrites
    earlier turns."""
    n_cut: int
    """Rows that were too long and lost their end."""
    n_dropped: int
    """Rows that were too long and were left out."""
    n_without_loss: int
    """Rows left out because no token to learn was within the length."""
    n_tokens: int
    n_loss_tokens: int
    """Tokens that the loss is on."""
    longest: int
    """Tokens of the longest row."""


@dataclass(frozen=True)
class Reading:
    """How rows are made."""

    tokenizer: "PreTrainedTokenizerBase"
    max_tokens: int
    too_long: Literal["cut", "drop"]
    learn_end: bool


def read_rows(paths: Sequence[Path], reading: Reading) -> tuple[list[Row], DataReport]:
    """Read files of chats or texts.

    Args:
        paths: `.jsonl` with one object per line, `{"messages": [{"role", "content"}, ...]}` or
            `{"text": ...}`, other keys ignored; or `.txt`, one text cut into windows of the
            longest length.
        reading: Tokenizer and lengths.

    Raises:
        TrainingError: a file that cannot be read, an empty or malformed line (its number is
            named), or nothing left to learn.
    """
    rows: list[Row] = []
    n_read = n_cut = n_dropped = n_without_loss = 0
    for row in (row for path in paths for row in _file_rows(path, reading)):
        n_read += 1
        if len(row.input_ids) > reading.max_tokens:
            if reading.too_long == "drop":
                n_dropped += 1
                continue
            n_cut += 1
            row = Row(row.input_ids[: reading.max_tokens], row.labels[: reading.max_tokens])
        # the first token is never predicted
        if not (row.labels[1:] != IGNORED).any():
            n_without_loss += 1
            continue
        rows.append(row)
    if not rows:
        raise TrainingError(
            f"{paths[0]}: no row is left to learn: {n_dropped} of {n_read} are longer than "
            f"{reading.max_tokens} tokens, {n_without_loss} have nothing to learn within them; "
            "raise max_tokens"
        )
    return rows, DataReport(
        n_read=n_read,
        n_rows=len(rows),
        n_cut=n_cut,
        n_dropped=n_dropped,
        n_without_loss=n_without_loss,
        n_tokens=sum(len(row.input_ids) for row in rows),
        n_loss_tokens=sum(int((row.labels[1:] != IGNORED).sum()) for row in rows),
        longest=max(len(row.input_ids) for row in rows),
    )


def collate(rows: Sequence[Row]) -> dict[str, Any]:
    """A batch: rows padded on the right to the longest, padding neither seen nor learnt."""
    import torch

    longest = max(len(row.input_ids) for row in rows)
    input_ids = torch.zeros((len(rows), longest), dtype=torch.int64)
    labels = torch.full((len(rows), longest), IGNORED, dtype=torch.int64)
    attention_mask = torch.zeros((len(rows), longest), dtype=torch.int64)
    for place, row in enumerate(rows):
        n = len(row.input_ids)
        input_ids[place, :n] = torch.from_numpy(row.input_ids)
        labels[place, :n] = torch.from_numpy(row.labels)
        attention_mask[place, :n] = 1
    return {"input_ids": input_ids, "labels": labels, "attention_mask": attention_mask}


def _file_rows(path: Path, reading: Reading) -> Iterator[Row]:
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise TrainingError(f"cannot read {path}: {reason}") from None
    if not text.strip():
        raise TrainingError(f"{path} is empty; expected chats or text to learn")
    if path.suffix == ".txt":
        yield from _windows(text, reading)
        return
    if path.suffix not in (".jsonl", ".json"):
        raise TrainingError(f"{path}: expected JSON Lines (.jsonl) or plain text (.txt)")
    for number, line in enumerate(text.removesuffix("\n").split("\n"), start=1):
        where = f"{path}:{number}"
        row = _parsed(line, where)
        if "text" in row:
            yield _text_row(row["text"], reading, where)
        else:
            yield from _chat_rows(_messages(row["messages"], where), reading, where)


def _parsed(line: str, where: str) -> dict[str, Any]:
    if not line.strip():
        raise TrainingError(f"{where}: the line is empty; remove it")
    try:
        row = json.loads(line)
    except ValueError as error:
        raise TrainingError(f"{where}: not JSON: {error}") from None
    if not isinstance(row, dict) or ("messages" in row) == ("text" in row):
        raise TrainingError(f'{where}: expected an object with "messages" or with "text"')
    return row


def _messages(value: Any, where: str) -> list[Message]:
    if not isinstance(value, list) or not value:
        raise TrainingError(f"{where}: messages must be a list of {{role, content}}")
    try:
        messages = [Message.model_validate(message) for message in value]
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise TrainingError(f"{where}: message: {key or 'it'}: {first['msg']}") from None
    turns = messages[1:] if messages[0].role == "system" else messages
    if not turns or turns[-1].role != "assistant":
        raise TrainingError(f"{where}: the last message must be the assistant's")
    if any(turn.role != ROLES[i % 2] for i, turn in enumerate(turns)):
        raise TrainingError(
            f"{where}: after an optional system message, user and assistant must alternate"
        )
    if any(not turn.content.strip() for turn in turns if turn.role == "assistant"):
        raise TrainingError(f"{where}: an assistant's message is empty")
    return messages


def _chat_rows(messages: Sequence[Message], reading: Reading, where: str) -> Iterator[Row]:
    """One row with the loss on every answer, or one per answer where that cannot be."""
    render = _renderer(reading.tokenizer, where)
    answers: list[tuple[str, int]] = []
    for place, message in enumerate(messages):
        if message.role != "assistant":
            continue
        before, asked = render(messages[:place], False), render(messages[:place], True)
        upto = render(messages[: place + 1], False)
        start = _shared(asked, upto)
        if start < _shared(before, asked) or start == len(upto):
            raise TrainingError(
                f"{where}: the chat template does not put message {place + 1} after those before "
                "it, so the answer cannot be found; use a checkpoint with another template"
            )
        answers.append((upto, start))
    whole = answers[-1][0]
    if all(whole.startswith(upto) for upto, _ in answers):
        yield _row(whole, [(start, len(upto)) for upto, start in answers], reading)
        return
    # the template rewrites an answer once another turn follows it, so each is learnt as the last
    for upto, start in answers:
        yield _row(upto, [(start, len(upto))], reading)


def _shared(one: str, other: str) -> int:
    """Characters that two texts have in common at their beginning."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))


def _renderer(
    tokenizer: "PreTrainedTokenizerBase", where: str
) -> Callable[[Sequence[Message], bool], str]:
    from jinja2 import TemplateError

    if not tokenizer.chat_template:
        raise TrainingError(
            f"{where}: the checkpoint has no chat template; give rows of `text`, or a checkpoint "
            "with one"
        )

    def render(messages: Sequence[Message], generation_prompt: bool) -> str:
        try:
            return str(
                tokenizer.apply_chat_template(
                    [message.model_dump() for message in messages],
                    tokenize=False,
                    add_generation_prompt=generation_prompt,
                    enable_thinking=False,
                )
            )
        except TemplateError as error:
            raise TrainingError(f"{where}: the chat template refuses it: {error}") from None

    return render


def _row(text: str, spans: Sequence[tuple[int, int]], reading: Reading) -> Row:
    """Tokens of a rendered chat; the loss is on what lies in the spans of characters."""
    import numpy as np

    encoded = reading.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    ids = np.array(encoded["input_ids"], dtype=np.int32)
    labels = np.full_like(ids, IGNORED)
    offsets = encoded["offset_mapping"]
    special = set(reading.tokenizer.all_special_ids)
    for start, stop in spans:
        inside = [i for i, (a, b) in enumerate(offsets) if b > max(a, start) and a < stop]
        # what follows the end of the turn belongs to nobody
        blank = [not text[slice(*offsets[i])].strip() for i in inside]
        ends = [i for i in range(len(inside)) if int(ids[inside[i]]) in special]
        if not reading.learn_end:
            while inside and (blank[-1] or int(ids[inside[-1]]) in special):
                inside.pop()
                blank.pop()
        elif ends and all(blank[ends[-1] + 1 :]):
            inside = inside[: ends[-1] + 1]
        labels[inside] = ids[inside]
    return Row(ids, labels)


def _text_row(text: Any, reading: Reading, where: str) -> Row:
    import numpy as np

    if not isinstance(text, str) or not text.strip():
        raise TrainingError(f"{where}: text must be a text that is not empty")
    ids = list(reading.tokenizer(text)["input_ids"])
    end = reading.tokenizer.eos_token_id
    if ids and ids[-1] == end:
        ids.pop()
    if reading.learn_end and end is not None:
        ids.append(end)
    tokens = np.array(ids, dtype=np.int32)
    return Row(tokens, tokens.copy())


def _windows(text: str, reading: Reading) -> Iterator[Row]:
    """A text in consecutive windows, each begun as the tokenizer begins a text."""
    import numpy as np

    tokenizer = reading.tokenizer
    bos = tokenizer.bos_token_id
    begins = bos is not None and list(tokenizer("a")["input_ids"])[:1] == [bos]
    ids = np.array(tokenizer(text, add_special_tokens=False)["input_ids"], dtype=np.int32)
    step = reading.max_tokens - begins
    for start in range(0, len(ids), step):
        window = ids[start : start + step]
        if begins:
            window = np.concatenate([np.array([bos], dtype=np.int32), window])
        yield Row(window, window.copy())
