"""One GGUF asked everything that a run asks, wave by wave.

A model file and tasks in, a run's completions out. Knows the order of things: check, load, render,
tokenise, generate, keep. It never scores: `harness.scoring` does, from the folder alone.
"""

import json
import struct
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from harness.chat import ChatTemplate
from harness.engine.engine import Engine
from harness.engine.llama import EngineError
from harness.machine import these_versions, this_machine
from harness.prompts import Prompt, PromptSet
from harness.runs import (
    ChatSettings,
    Completion,
    ModelFacts,
    Run,
    RunError,
    RunHeader,
    TaskSettings,
    Usage,
    file_sha256,
)
from harness.seen_prompts import fisher_prompts
from harness.settings import EngineSettings, derived_seed
from harness.thinking import thinking_rule
from harness.waves import Task, Turn, in_turn, plan_waves
from metrics.errors import WeighinError

GGUF_MAGIC = b"GGUF"
GGUF_START = struct.Struct("<4sIQ")
"""Magic, version, number of tensors."""

LOG_NAME = "llama.log"


@dataclass(frozen=True)
class Chat:
    """How conversations are rendered."""

    template: str | None = None
    """A chat template to use in place of the GGUF's own."""
    thinking: bool = False
    prefill: str | None = None


@dataclass
class Watcher:
    """What a run tells while it goes; every call has a default that says nothing."""

    starting: Callable[[RunHeader, int], None] = field(default=lambda _header, _n_waves: None)
    """The run's header and how many answers it will have."""
    step: Callable[[int, int], None] = field(default=lambda _n_done, _n_tokens: None)
    """Answers finished and tokens made in the wave in hand."""
    wave: Callable[[int, int], None] = field(default=lambda _n_done, _n_tokens: None)
    """Answers kept so far, and tokens that the last wave took; 0 for one that was kept before."""


def run_waves(
    model: Path,
    tasks: Sequence[Task],
    folder: Path,
    *,
    settings: EngineSettings,
    chat: Chat,
    watcher: Watcher | None = None,
    turn: Turn | None = None,
) -> Generator[list[Completion]]:
    """Make a run, or go on with one; yields after every wave that has been kept.

    Whoever iterates may stop at any wave: what was kept stays, and the same call goes on from
    there. The waves that the folder already holds are yielded first and not generated again.

    Args:
        model: The GGUF.
        tasks: What is asked, in this order; names must differ.
        folder: The run's folder; made if it is missing.
        settings: What is asked of the engine.
        chat: How conversations are rendered.
        watcher: Told of progress.
        turn: Names the task that goes on, after every wave; None keeps the plan's order. A run that
            was begun is first gone through in the order in which it was begun.

    Yields:
        The completions of one wave, in order.

    Raises:
        RunError: The folder holds a run of other settings, or cannot be written.
        EngineError: llama.cpp cannot load or run the model; the run can be resumed.
        WeighinError: No chat template, or a prompt that does not fit.
    """
    watcher = watcher or Watcher()
    check_gguf(model)
    run = Run(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with Engine(model, settings, log=folder / LOG_NAME) as engine:
            yield from _run(engine, model, tasks, run, chat, watcher, turn)
    except OSError as error:
        raise RunError(f"{folder}: cannot be written ({error.strerror})") from None
    finally:
        _remove_unbegun(folder)


def _remove_unbegun(folder: Path) -> None:
    """Leave no folder behind in which no run was begun."""
    if not (folder / "run.json").exists():
        with suppress(OSError):
            (folder / LOG_NAME).unlink(missing_ok=True)
            (folder / "prompts.jsonl").unlink(missing_ok=True)
            folder.rmdir()


def check_gguf(path: Path) -> None:
    """Refuse what is no GGUF with weights before a process is started for it.

    Raises:
        EngineError: The file is missing, does not start like a GGUF, or holds no tensor.
    """
    if not path.is_file():
        raise EngineError(f"{path}: no such file; expected a GGUF")
    with path.open("rb") as file:
        start = file.read(GGUF_START.size)
    magic = start[: len(GGUF_MAGIC)]
    if magic != GGUF_MAGIC:
        raise EngineError(f"{path}: not a GGUF (starts with {magic!r}, expected {GGUF_MAGIC!r})")
    if len(start) < GGUF_START.size:
        raise EngineError(f"{path}: cut short after {len(start)} bytes; fetch or build it again")
    if GGUF_START.unpack(start)[2] == 0:
        raise EngineError(f"{path}: a vocabulary without weights; name the whole model")


def tokenize_prompts(engine: Engine, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of rendered prompts; a BOS that the template wrote is not added twice."""
    bos = engine.facts["bos"]
    written = bool(bos) and all(text.startswith(bos) for text in texts)
    return engine.tokenize(texts, add_special=engine.facts["adds_bos"] and not written)


def tokens_hash(prompts: Sequence[Sequence[int]]) -> str:
    """A hash of prompts as a model reads them: their token ids, prompt by prompt."""
    return sha256(json.dumps([list(ids) for ids in prompts]).encode()).hexdigest()


def _run(
    engine: Engine,
    model: Path,
    tasks: Sequence[Task],
    run: Run,
    chat: Chat,
    watcher: Watcher,
    turn: Turn | None,
) -> Iterator[list[Completion]]:
    _require_generator(engine, model)
    template = _template(engine, model, chat)
    texts = [
        [_render(template, p, chat, task.prompts.name) for p in task.prompts.prompts]
        for task in tasks
    ]
    tokens = [tokenize_prompts(engine, rendered) for rendered in texts]
    rule = thinking_rule(template.source, texts[0][0])
    # a thought's marks must stay visible in the completion to be found there
    marks = () if rule is None else (rule.opener, rule.closer)
    resolved = engine.open(_longest(engine, tasks, tokens), shown=marks)
    header = RunHeader(
        model=_model_facts(engine, model),
        engine=resolved,
        chat=ChatSettings(
            template_sha256=template.sha256,
            template_date=template.today,
            thinking=chat.thinking,
            thinking_rule=None if rule is None else rule.name,
            prefill=chat.prefill,
        ),
        tasks=tuple(_task_settings(task) for task in tasks),
        machine=this_machine(engine.system_info),
        versions=these_versions(),
        prompt_tokens_sha256={
            task.prompts.name: tokens_hash(ids) for task, ids in zip(tasks, tokens, strict=True)
        },
        fisher_prompts=fisher_prompts(engine.metadata),
    )
    kept = _resume(run, header, [t.prompts for t in tasks])
    waves = plan_waves(tasks, resolved.wave, resolved.order, resolved.looks)
    n_asks = sum(len(wave.asks) for wave in waves)
    watcher.starting(header, n_asks)
    by_id = [
        {p.id: t for p, t in zip(task.prompts.prompts, tokens[i], strict=True)}
        for i, task in enumerate(tasks)
    ]
    counted = run.header().usage
    usage = _usage(kept, counted.seconds)
    if usage != counted:
        # killed after a wave's answers were written and before they were counted
        run.write_header(header.model_copy(update={"usage": usage}))
    start = 0

    def go_on(names: Sequence[str]) -> str:
        if start < len(kept):
            return kept[start].task
        return names[0] if turn is None else turn(names)

    for place in in_turn([tasks[wave.task].prompts.name for wave in waves], go_on):
        wave = waves[place]
        end = start + len(wave.asks)
        if end <= len(kept):
            watcher.wave(end, 0)
            yield kept[start:end]
            start = end
            continue
        task = tasks[wave.task]
        began = time.perf_counter()
        generated, _times = engine.generate(
            [by_id[wave.task][ask.prompt.id] for ask in wave.asks],
            [derived_seed(task.sampling.seed, ask.prompt.id, ask.sample) for ask in wave.asks],
            task.sampling,
            watcher.step,
        )
        fresh = [
            Completion(task=task.prompts.name, prompt_id=a.prompt.id, sample=a.sample, **g)
            for a, g in zip(wave.asks, generated, strict=True)
        ]
        kept = kept[:start] + fresh
        usage = _usage(kept, round(usage.seconds + time.perf_counter() - began, 3))
        run.write_completions(kept)
        run.write_header(header.model_copy(update={"usage": usage}))
        watcher.wave(end, sum(c.n_tokens for c in fresh))
        yield fresh
        start = end


def _usage(completions: Sequence[Completion], seconds: float) -> Usage:
    return Usage(
        n_prompt_tokens=sum(c.n_prompt_tokens for c in completions),
        n_tokens=sum(c.n_tokens for c in completions),
        seconds=seconds,
    )


def _require_generator(engine: Engine, model: Path) -> None:
    """Refuse models that embed or rank text instead of continuing it."""
    architecture = engine.metadata.get("general.architecture", "")
    causal = engine.metadata.get(f"{architecture}.attention.causal", "true") == "true"
    if not (causal and engine.facts["has_decoder"]):
        raise EngineError(
            f"{model}: {architecture} does not continue text (an embedding model); "
            "name a model that generates"
        )


def _template(engine: Engine, model: Path, chat: Chat) -> ChatTemplate:
    """The template to render with: the user's, or the GGUF's own."""
    source = chat.template or engine.metadata.get("tokenizer.chat_template")
    if source is None:
        raise WeighinError(
            f"{model}: the GGUF has no chat template; name one with --chat-template FILE"
        )
    return ChatTemplate(source, bos_token=engine.facts["bos"], eos_token=engine.facts["eos"])


def _render(template: ChatTemplate, prompt: Prompt, chat: Chat, task: str) -> str:
    try:
        return template.render(prompt.messages, thinking=chat.thinking, prefill=chat.prefill)
    except WeighinError as error:
        raise WeighinError(f"task {task}, prompt {prompt.id}: {error}") from None


def _longest(
    engine: Engine, tasks: Sequence[Task], tokens: Sequence[Sequence[Sequence[int]]]
) -> int:
    """Tokens that the longest prompt and its answer may need, within the model's own context."""
    longest = 0
    limit = engine.asked.context or engine.facts["context_train"]
    for task, prompts in zip(tasks, tokens, strict=True):
        for prompt, ids in zip(task.prompts.prompts, prompts, strict=True):
            if len(ids) >= limit:
                raise WeighinError(
                    f"task {task.prompts.name}, prompt {prompt.id}: {len(ids)} tokens do not fit "
                    f"a context of {limit}; raise --context or leave the prompt out"
                )
            longest = max(longest, min(len(ids) + task.sampling.max_tokens, limit))
    return longest


def _resume(run: Run, header: RunHeader, prompts: Sequence[PromptSet]) -> list[Completion]:
    """What the folder already holds of this very run; a fresh folder is begun."""
    if (run.folder / "run.json").is_file():
        differences = header.differences(run.header())
        if differences:
            raise RunError(
                f"{run.folder}: holds a run of other settings ({'; '.join(differences[:3])}); "
                "name another folder with --out"
            )
        return run.completions()
    run.write_prompts(prompts)
    run.write_header(header)
    return []


def _model_facts(engine: Engine, path: Path) -> ModelFacts:
    return ModelFacts(
        file=path.name,
        sha256=file_sha256(path),
        size_bytes=path.stat().st_size,
        architecture=engine.metadata["general.architecture"],
        quantization=engine.facts["description"],
        n_parameters=engine.facts["n_parameters"],
    )


def _task_settings(task: Task) -> TaskSettings:
    return TaskSettings(
        name=task.prompts.name,
        kind=task.prompts.kind,
        prompts_sha256=task.prompts.sha256,
        n_prompts=len(task.prompts.prompts),
        samples=task.samples,
        sampling=task.sampling,
    )
