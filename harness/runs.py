"""A run on disk: what was asked, what was said, how it scored.

A folder holds `run.json` (everything that could change a number), `prompts.jsonl`,
`completions.jsonl`, `scores.jsonl` and `summary.json`. Knows how they are written and read; nothing
of models or metrics. Every file is written beside its place and renamed when whole.
"""

import json
import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import date
from hashlib import file_digest
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.prompts import Prompt, PromptSet, load_prompt_set
from harness.seals import Seal, broken_seal, seal_files
from harness.settings import EngineSettings, Sampling
from metrics.errors import WeighinError
from metrics.ifeval import IfevalScore
from metrics.prose import ProseScore
from metrics.stats import Estimate

SCHEMA_VERSION = 1
IDENTITY = ("schema_version", "model", "engine", "chat", "tasks", "machine")
"""Fields of a header that could change a completion."""
ASKED = ("chat", "tasks")
"""Fields of a header that say what was asked, and how: they must agree for a comparison."""


class RunError(WeighinError):
    """A run's folder is missing, broken, or of other settings."""


class Record(BaseModel):
    """What all records have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid")


AnyRecord = TypeVar("AnyRecord", bound=Record)


class ModelFacts(Record):
    """Which file was run."""

    file: str
    """Its name without the folder."""
    sha256: str
    size_bytes: int
    architecture: str
    quantization: str
    """llama.cpp's own description, such as `llama 256M Q6_K`."""
    n_parameters: int


class ChatSettings(Record):
    """How conversations became prompts."""

    template_sha256: str
    template_date: date
    """What a template that asks is told as today."""
    thinking: bool
    thinking_rule: str | None
    """Name of the rule that cuts thoughts from answers before they are scored."""
    prefill: str | None = None
    """Text put into the assistant's mouth."""


class TaskSettings(Record):
    """One prompt set and how it was asked."""

    name: str
    kind: Literal["ifeval", "prose"]
    prompts_sha256: str
    n_prompts: int
    samples: int
    """Answers per prompt."""
    sampling: Sampling


class Machine(Record):
    """What the bytes of a run may depend on besides its settings."""

    platform: str
    processor: str
    n_cpus: int
    memory_gib: int
    llama_cpp_python: str
    system_info: str
    """What llama.cpp says of the processor's features that it uses."""


class Versions(Record):
    """Which weighin made the run; told, not compared."""

    weighin: str
    commit: str | None
    """Git commit of weighin's source; None where it was installed without."""
    dirty: bool | None
    lm_eval: str
    python: str


class Usage(Record):
    """What the run cost so far."""

    n_prompt_tokens: int = 0
    n_tokens: int = 0
    seconds: float = 0.0
    """Spent generating, over all the sessions that the run took."""


class RunHeader(Record):
    """`run.json`."""

    schema_version: int = SCHEMA_VERSION
    model: ModelFacts
    engine: EngineSettings
    chat: ChatSettings
    tasks: tuple[TaskSettings, ...]
    machine: Machine
    versions: Versions
    usage: Usage = Usage()
    prompt_tokens_sha256: dict[str, str] = Field(default_factory=dict)
    """By task, a hash of the prompts' token ids as the model reads them; they follow from model,
    chat and tasks, and tell a candidate's broken tokenizer or template at once."""
    fisher_prompts: tuple[str, ...] = ()
    """Hashes of the texts that the build's Fisher was estimated on, where the GGUF names them:
    `harness.seen_prompts.text_sha256`."""

    def differences(self, other: Self, keys: Sequence[str] = IDENTITY) -> list[str]:
        """What differs, as `path: mine != other's`.

        Args:
            other: The header to compare with.
            keys: Fields to compare; by default all that could change a completion.
        """
        mine, theirs = (r.model_dump(mode="json", include=set(keys)) for r in (self, other))
        return list(_differences(mine, theirs, ""))


class Completion(Record):
    """One thing the model said, kept verbatim."""

    task: str
    prompt_id: str
    sample: int
    text: str
    """Raw output, untrimmed, thoughts included."""
    n_prompt_tokens: int
    n_tokens: int
    """Generated tokens, the ending one excluded."""
    stop_reason: Literal["eos", "stop", "length", "context"]


class Score(Record):
    """One completion's numbers."""

    task: str
    prompt_id: str
    sample: int
    empty: bool
    """No answer is left once thoughts are cut."""
    unclosed_thought: bool
    ifeval: IfevalScore | None = None
    """Which instructions it followed; None for prose."""
    prose: ProseScore | None = None
    """Its prose figures; None for IFEval."""


class Summary(Record):
    """`summary.json`: the run's figures."""

    metrics: dict[str, Estimate]
    """By `task.metric`."""
    prose_signature: str | None = None
    """What prose scores depend on besides the texts: lexicon, version, gate; None without prose."""
    seals: dict[str, Seal] = Field(default_factory=dict)
    """By name, the files that the figures come from; of `run.json`, what could change a byte."""


class Run:
    """A run's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def open(cls, folder: Path) -> Self:
        """A run that exists.

        Raises:
            RunError: There is none.
        """
        if not (folder / "run.json").is_file():
            raise RunError(f"{folder}: no run here (no run.json); make one with weighin eval")
        return cls(folder)

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.folder.name

    def header(self) -> RunHeader:
        """What was asked."""
        return _parse(RunHeader, self.folder / "run.json", self._read("run.json"))

    def completions(self) -> list[Completion]:
        """What was said so far, in the order of the waves."""
        return _parse_lines(Completion, self.folder / "completions.jsonl")

    def scores(self) -> list[Score]:
        """Every completion's numbers; empty before the run was scored."""
        return _parse_lines(Score, self.folder / "scores.jsonl")

    def summary(self) -> Summary:
        """The run's figures.

        Raises:
            RunError: The run was never scored.
        """
        if not (self.folder / "summary.json").is_file():
            raise RunError(
                f"{self.folder}: not scored yet; finish it with the same weighin eval command"
            )
        return _parse(Summary, self.folder / "summary.json", self._read("summary.json"))

    def prompt_sets(self) -> list[PromptSet]:
        """The prompts that the run was asked, in the order of its tasks.

        A run that was moved without its prompts finds the built-in sets by their hash.

        Raises:
            RunError: The prompts are not those that the run was asked, or are not to be had.
        """
        path = self.folder / "prompts.jsonl"
        kept: dict[str, list[Prompt]] = {}
        for line in _json_lines(path):
            row = json.loads(line)
            kept.setdefault(row["task"], []).append(Prompt.model_validate(row["prompt"]))
        found = []
        for task in self.header().tasks:
            if task.name in kept:
                prompts = PromptSet(name=task.name, kind=task.kind, prompts=tuple(kept[task.name]))
            else:
                prompts = self._found_again(task)
            if prompts.sha256 != task.prompts_sha256:
                raise RunError(
                    f"{self.folder}: the prompts of {task.name} are not those that were run "
                    f"(SHA-256 {prompts.sha256[:12]}, expected {task.prompts_sha256[:12]}); "
                    "put the run's prompts.jsonl back"
                )
            found.append(prompts)
        return found

    def _found_again(self, task: TaskSettings) -> PromptSet:
        try:
            return load_prompt_set(task.name, limit=task.n_prompts, seed=task.sampling.seed)
        except WeighinError as error:
            raise RunError(
                f"{self.folder}: has no prompts.jsonl, and {task.name} cannot be had elsewhere; "
                "put the run's prompts.jsonl there, or ask again where there is a network"
            ) from error

    def write_header(self, header: RunHeader) -> None:
        """Write `run.json`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_whole(self.folder / "run.json", header.model_dump_json(indent=2) + "\n")

    def write_prompts(self, sets: Sequence[PromptSet]) -> None:
        """Keep the prompts beside what was said to them."""
        rows = (
            json.dumps(
                {"task": s.name, "prompt": p.model_dump(mode="json")},
                ensure_ascii=False,
            )
            for s in sets
            for p in s.prompts
        )
        write_whole(self.folder / "prompts.jsonl", "".join(row + "\n" for row in rows))

    def write_completions(self, completions: Iterable[Completion]) -> None:
        """Replace `completions.jsonl` in one atomic step."""
        write_whole(self.folder / "completions.jsonl", _lines(completions))

    def write_scores(self, scores: Iterable[Score], summary: Summary) -> None:
        """Write `scores.jsonl` and `summary.json`, which seals what it was computed from."""
        write_whole(self.folder / "scores.jsonl", _lines(scores))
        sealed = summary.model_copy(update={"seals": seal_files(self.folder, IDENTITY)})
        write_whole(self.folder / "summary.json", sealed.model_dump_json(indent=2) + "\n")

    def require_unedited(self, *, to_score: bool = False) -> None:
        """Refuse a run whose files are no longer those that were scored.

        Args:
            to_score: As for `broken_seal`; a run that was never scored is then let through.

        Raises:
            RunError: A file was edited, cut, has grown or is gone.
        """
        if to_score and not (self.folder / "summary.json").is_file():
            return
        told = broken_seal(self.folder, self.summary().seals, IDENTITY, to_score=to_score)
        if told is not None:
            raise RunError(f"{self.folder}: {told}")

    def _read(self, name: str) -> str:
        return (self.folder / name).read_text("utf-8")


def write_whole(path: Path, text: str) -> None:
    """Write a file beside its place, force it to disk, and rename it: all of it or nothing.

    Raises:
        RunError: The folder cannot be written or the disk is full; nothing is left behind.
    """
    part = path.with_name(path.name + ".tmp")
    try:
        with part.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise RunError(
            f"{path}: cannot be written ({error.strerror}); name another --out"
        ) from None


def read_record(kind: type[AnyRecord], path: Path) -> AnyRecord:
    """A record that stands alone in a file.

    Raises:
        RunError: The file cannot be read, or holds something else.
    """
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{path}: cannot be read ({error})") from None
    return _parse(kind, path, text)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal."""
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _lines(records: Iterable[Record]) -> str:
    return "".join(record.model_dump_json() + "\n" for record in records)


def _parse(kind: type[AnyRecord], path: Path, text: str) -> AnyRecord:
    try:
        return kind.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise RunError(f"{path}: not a {kind.__name__}: {where}: {first['msg']}") from None


def _parse_lines(kind: type[AnyRecord], path: Path) -> list[AnyRecord]:
    return [
        _parse(kind, Path(f"{path}:{number}"), line)
        for number, line in enumerate(_json_lines(path), start=1)
    ]


def _json_lines(path: Path) -> list[str]:
    """The file's lines; split at line feeds alone, since a text may hold other separators."""
    if not path.is_file():
        return []
    return [line for line in path.read_text("utf-8").split("\n") if line]


def _differences(mine: Any, theirs: Any, path: str) -> Iterable[str]:
    if isinstance(mine, dict) and isinstance(theirs, dict):
        for key in mine | theirs:
            yield from _differences(mine.get(key), theirs.get(key), f"{path}.{key}".lstrip("."))
    elif isinstance(mine, list) and isinstance(theirs, list) and len(mine) == len(theirs):
        for index, (a, b) in enumerate(zip(mine, theirs, strict=True)):
            yield from _differences(a, b, f"{path}[{index}]")
    elif mine != theirs:
        yield f"{path}: {mine!r} != {theirs!r}"
