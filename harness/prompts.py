"""Prompt sets: what a model is asked, and which part of it.

Files in, records out; knows nothing of models, chat templates or scores. A subset and a half are
functions of the prompt ids and a seed, so that they can be taken again from the records alone.
Sources: the row format is IFEval's, https://github.com/google-research/google-research
(`instruction_following_eval`); `mini` and `prose` are this project's own.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from hashlib import sha256
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from harness import ifeval_set
from metrics.errors import WeighinError

BUILT_IN = ("mini", "prose")

Kwarg = bool | int | float | str | list[str]
Half = Literal["search", "confirm"]


class Message(BaseModel):
    """One turn of a conversation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Literal["system", "user", "assistant"]
    content: str


class Instruction(BaseModel):
    """One verifiable instruction that a prompt contains."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    """IFEval's name of the type, such as `punctuation:no_comma`."""

    kwargs: dict[str, Kwarg] = Field(default_factory=dict)
    """The checker's arguments, without those that are null."""

    @model_validator(mode="after")
    def _checkable(self) -> "Instruction":
        ifeval_set.check_instruction(self.id, self.kwargs)
        return self


class Prompt(BaseModel):
    """One conversation that a model is to continue."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(min_length=1)
    """Stable id in the set; runs are paired on it."""

    messages: tuple[Message, ...] = Field(min_length=1)
    """At most one system message, first; then user and assistant in turn, ending with user."""

    instructions: tuple[Instruction, ...] = ()

    group: str | None = None
    """What a limited set is balanced over, such as `roleplay/fantasy`; changes no number."""

    @model_validator(mode="after")
    def _well_formed(self) -> "Prompt":
        turns = self.messages[1:] if self.messages[0].role == "system" else self.messages
        expected = ("user", "assistant")
        if not turns or turns[-1].role != "user":
            raise ValueError("the last message must be the user's")
        if any(turn.role != expected[i % 2] for i, turn in enumerate(turns)):
            raise ValueError("after an optional system message, user and assistant must alternate")
        if not turns[-1].content.strip():
            raise ValueError("the last message is empty")
        return self

    @property
    def text(self) -> str:
        """What the user said last: the whole prompt where there is a single turn."""
        return self.messages[-1].content


class PromptSet(BaseModel):
    """Prompts under one name, all scored in the same way."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    """`ifeval`, `mini`, `prose`, or the name of the user's file."""

    kind: Literal["ifeval", "prose"]
    """How the completions are scored."""

    prompts: tuple[Prompt, ...] = Field(min_length=1)

    source_sha256: str | None = None
    """`sha256` of the whole set that this one was taken from; None where this is the whole."""

    @model_validator(mode="after")
    def _unique_ids(self) -> "PromptSet":
        repeated = [i for i, n in Counter(prompt.id for prompt in self.prompts).items() if n > 1]
        if repeated:
            raise ValueError(f"prompt id {repeated[0]!r} is used twice")
        return self

    @property
    def sha256(self) -> str:
        """Hash of what is asked: ids, messages and instructions in order, as canonical JSON."""
        rows = [prompt.model_dump(mode="json", exclude={"group"}) for prompt in self.prompts]
        canonical = json.dumps(rows, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        return sha256(canonical.encode()).hexdigest()

    def with_prompts(self, prompts: Iterable[Prompt]) -> "PromptSet":
        """The same set with only these prompts; remembers the hash of the whole.

        Raises:
            WeighinError: nothing is left.
        """
        chosen = tuple(prompts)
        if not chosen:
            raise WeighinError(f"prompt set {self.name} is empty; ask for at least one prompt")
        whole = self.source_sha256 or self.sha256
        return PromptSet(name=self.name, kind=self.kind, prompts=chosen, source_sha256=whole)


def load_prompt_set(
    name_or_path: str | Path,
    *,
    ifeval_data: Path | None = None,
    limit: int | None = None,
    seed: int = 0,
) -> PromptSet:
    """Load a prompt set by name, or from a JSON Lines file of the user's.

    Args:
        name_or_path: `ifeval`, `mini`, `prose`, or a path.
        ifeval_data: A local copy of IFEval to use in place of the hub's; only with `ifeval`.
        limit: Take this many prompts, as `take` does; None takes all, in the file's order.
        seed: Of the choice; another seed takes another subset.

    Returns:
        A set whose ids are unique and whose instructions the checkers accept.

    Raises:
        WeighinError: no such file or set, a bad row (its line is named), not the whole of IFEval.
    """
    name = str(name_or_path)
    if name == "ifeval":
        whole = _load_ifeval(ifeval_data)
    elif name in BUILT_IN:
        text = (resources.files("harness") / "data" / f"{name}.jsonl").read_text(encoding="utf-8")
        whole = parse_prompts(text, name=name, source=f"the built-in set {name}")
    else:
        whole = _read_file(Path(name), name=Path(name).stem)
    return whole if limit is None else take(whole, limit, seed=seed)


def parse_prompts(text: str, *, name: str, source: str) -> PromptSet:
    """Read a prompt set from JSON Lines.

    A row has `prompt` or `messages`; a name in `id` or `key`; for scoring as IFEval,
    `instruction_id_list` and `kwargs` of the same length; a `group` to balance over. A row
    without a name is called by the first 12 digits of its text's SHA-256, so that added rows
    rename nothing.

    Args:
        text: The file's content; blank lines are skipped.
        name: The set's name.
        source: What to call the file in an error.

    Raises:
        WeighinError: the first bad line, or an empty set.
    """
    lines = [(i, line) for i, line in enumerate(text.split("\n"), start=1) if line.strip()]
    if not lines:
        raise WeighinError(f"{source} holds no prompt; write one JSON object per line")
    prompts: list[Prompt] = []
    line_of: dict[str, int] = {}
    for number, line in lines:
        where = f"{source}, line {number}"
        try:
            prompt = prompt_from_row(json.loads(line))
        except json.JSONDecodeError as error:
            raise WeighinError(f"{where}: not JSON: {error.msg} at column {error.colno}") from error
        except ValueError as error:
            raise WeighinError(f"{where}: {_reason(error)}") from error
        if prompt.id in line_of:
            raise WeighinError(
                f"{where}: prompt id {prompt.id!r} is also on line {line_of[prompt.id]}; "
                "give every row an `id` of its own"
            )
        line_of[prompt.id] = number
        prompts.append(prompt)
    bare = [prompt.id for prompt in prompts if not prompt.instructions]
    if bare and len(bare) < len(prompts):
        raise WeighinError(
            f"{source}, line {line_of[bare[0]]}: no instruction_id_list, but other rows have one; "
            "keep prompts with and without instructions in two files"
        )
    return PromptSet(name=name, kind="prose" if bare else "ifeval", prompts=tuple(prompts))


def prompt_from_row(row: Any) -> Prompt:
    """One row of a prompt file as a record.

    Raises:
        ValueError: the row is not an object, has unknown keys, or the wrong ones together.
    """
    if not isinstance(row, Mapping):
        raise ValueError(f"expected an object, found {type(row).__name__}")
    known = {"id", "key", "prompt", "messages", "instruction_id_list", "kwargs", "group"}
    unknown = sorted(set(row) - known)
    if unknown:
        raise ValueError(f"unknown key {unknown[0]!r}; known are {', '.join(sorted(known))}")
    if ("prompt" in row) == ("messages" in row):
        raise ValueError("give either `prompt` or `messages`")
    if "id" in row and "key" in row:
        raise ValueError("give either `id` or `key`")
    messages = row.get("messages", [{"role": "user", "content": row.get("prompt")}])
    name = row.get("id", row.get("key"))
    if name is None:
        canonical = json.dumps(messages, sort_keys=True, ensure_ascii=False)
        name = sha256(canonical.encode()).hexdigest()[:12]
    elif not isinstance(name, str | int) or isinstance(name, bool):
        raise ValueError(f"an id must be text or a whole number, found {name!r}")
    return Prompt.model_validate(
        {
            "id": str(name),
            "messages": messages,
            "instructions": _instructions(row.get("instruction_id_list", []), row.get("kwargs")),
            "group": row.get("group"),
        }
    )


def take(prompt_set: PromptSet, limit: int, *, seed: int) -> PromptSet:
    """A fixed, seeded subset in which every instruction type or genre keeps its share.

    The subset is the first `limit` prompts of one order of the whole set, so a larger limit only
    adds prompts at the end, and any prefix of it is balanced in its turn. The order is greedy:
    next comes the prompt that brings the counts nearest to their expected shares, by the sum of
    squared differences over the expected count; the seed decides between equals.

    Args:
        prompt_set: The whole.
        limit: At least 1; one that leaves nothing out changes nothing, not even the order.
        seed: Of the choice.

    Raises:
        WeighinError: the limit is below 1.
    """
    if limit < 1:
        raise WeighinError(f"a limit of {limit} leaves no prompt; take at least 1")
    if limit >= len(prompt_set.prompts):
        return prompt_set
    features = {prompt.id: _features(prompt) for prompt in prompt_set.prompts}
    total = Counter(f for counts in features.values() for f in counts.elements())
    size = len(prompt_set.prompts)
    # The seed decides between equals, and alone where nothing is known to balance over.
    left = sorted(prompt_set.prompts, key=lambda prompt: _draw("take", seed, prompt.id))
    chosen: list[Prompt] = []
    count: Counter[str] = Counter()
    while len(chosen) < limit:
        share = (len(chosen) + 1) / size

        def cost(prompt: Prompt, share: float = share) -> float:
            return sum(
                n * (n + 2 * (count[f] - share * total[f])) / total[f]
                for f, n in features[prompt.id].items()
            )

        best = min(left, key=cost)
        left.remove(best)
        chosen.append(best)
        count.update(features[best.id])
    return prompt_set.with_prompts(chosen)


def half(prompt_set: PromptSet, which: Half, *, seed: int) -> PromptSet:
    """One of two disjoint halves: `search` to choose by, `confirm` to judge the choice by.

    Each prompt's side hangs on the seed and its own id alone, so prompts that are added later move
    none of the others; the halves are therefore only about equal in size. The order is kept.

    Raises:
        WeighinError: no prompt of so small a set falls into this half.
    """
    return prompt_set.with_prompts(
        prompt
        for prompt in prompt_set.prompts
        if (_draw("half", seed, prompt.id) % 2 == 0) == (which == "search")
    )


def _load_ifeval(data: Path | None) -> PromptSet:
    if data is None:
        source = ifeval_set.HUB_NAME
        prompts = tuple(prompt_from_row(row) for row in ifeval_set.fetch_rows())
        whole = PromptSet(name="ifeval", kind="ifeval", prompts=prompts)
    else:
        source = str(data)
        whole = _read_file(data, name="ifeval")
    ifeval_set.check_counts(
        {prompt.id: prompt.text for prompt in whole.prompts},
        sum(len(prompt.instructions) for prompt in whole.prompts),
        source=source,
    )
    return whole


def _read_file(path: Path, *, name: str) -> PromptSet:
    if not path.exists():
        raise WeighinError(
            f"no prompt set {str(path)!r}: neither a file nor one of ifeval, {', '.join(BUILT_IN)}"
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise WeighinError(f"cannot read prompts from {path}: {error}") from error
    return parse_prompts(text, name=name, source=str(path))


def _instructions(ids: Any, kwargs: Any) -> list[dict[str, Any]]:
    """IFEval's two parallel lists as one; null arguments, which the hub fills in, are dropped."""
    if not isinstance(ids, list):
        raise ValueError("instruction_id_list must be a list")
    given = [{} for _ in ids] if kwargs is None else kwargs
    if not isinstance(given, list) or len(ids) != len(given):
        raise ValueError("instruction_id_list and kwargs must be lists of the same length")
    if not all(isinstance(values, Mapping) for values in given):
        raise ValueError("every entry of kwargs must be an object")
    return [
        {"id": name, "kwargs": {k: v for k, v in values.items() if v is not None}}
        for name, values in zip(ids, given, strict=True)
    ]


def _features(prompt: Prompt) -> Counter[str]:
    """What a subset keeps the shares of: instruction types and their number, or form and genre."""
    counts = Counter(instruction.id for instruction in prompt.instructions)
    if prompt.instructions:
        counts[f"{len(prompt.instructions)} instructions"] = 1
    if prompt.group is not None:
        # costs are summed in this order, and a set of strings has another in every process
        counts.update(sorted({prompt.group, *(f"*{part}" for part in prompt.group.split("/"))}))
    return counts


def _draw(purpose: str, seed: int, prompt_id: str) -> int:
    """A number that is uniform over the ids, the same on every machine and Python."""
    return int.from_bytes(sha256(f"{purpose}:{seed}:{prompt_id}".encode()).digest()[:8], "big")


def _reason(error: ValueError) -> str:
    """The first complaint of a validation, with the path of its field, on one line."""
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors()[0]
    path = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return f"{path}: {message}" if path else message
