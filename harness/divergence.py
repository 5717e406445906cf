"""Divergence: two GGUFs read the same texts, and their predictions are compared token by token.

Two model files and passages in, figures out. Both live in child processes and read page by page in
step; one page of the baseline's logits, a micro-batch, passes through a file. The formulas are in
`metrics.divergence`.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.chat import ChatTemplate
from harness.engine.engine import Engine
from harness.engine.reading import Passage
from harness.evaluate import check_gguf, tokenize_prompts
from harness.runs import Completion, Record, Run, file_sha256
from harness.settings import EngineSettings
from metrics.divergence import TokenDivergence, summarise
from metrics.errors import WeighinError
from metrics.stats import Estimate

DEFAULT_WINDOW = 512
"""Tokens per window of a text file, as in llama-perplexity."""

Name = tuple[str, str, int]
"""Task, prompt id and sample of a text that is read."""


class DivergenceError(WeighinError):
    """Two models, or what they are to read, do not go together."""


class TextDivergence(Record):
    """One of the texts that both read."""

    task: str
    """Of the run that was read; the file's name for a window of a file."""
    prompt_id: str
    """The prompt that it answers, or `window N`."""
    sample: int
    n_tokens: int
    mean: float
    """KL(base || candidate) per token, nats."""


class DivergenceReport(Record):
    """How far a candidate's predictions are from the baseline's."""

    baseline: str
    """File name."""
    baseline_sha256: str
    candidate: str
    candidate_sha256: str
    read: str
    """What both read: a run's folder or a text file, and how."""
    engine: EngineSettings
    """How both were run."""
    n_texts: int
    """Completions, or windows of the text."""
    n_tokens: int
    """Tokens that were predicted."""
    metrics: dict[str, Estimate]
    """By `kld.name`; `n` counts texts."""
    texts: tuple[TextDivergence, ...] = ()
    """Text by text, in the order in which they were read."""


@dataclass(frozen=True)
class RunTexts:
    """The completions of a run of the baseline, each behind its prompt."""

    run: Run
    limit: int | None = None
    """Read this many, evenly spread over the run."""
    template: str | None = None
    """The chat template that the run was given in place of the GGUF's own."""


@dataclass(frozen=True)
class FileTexts:
    """A text file in windows, each of which is read alone and predicted in its second half."""

    path: Path
    window: int = DEFAULT_WINDOW
    """Tokens per window; what does not fill the last one is left out."""


def measure_divergence(
    baseline: Path,
    candidate: Path,
    texts: RunTexts | FileTexts,
    *,
    settings: EngineSettings,
    on_page: Callable[[int, int], None] | None = None,
) -> DivergenceReport:
    """Let both models read the same texts and compare their predictions.

    Args:
        baseline: The GGUF whose predictions are taken as given.
        candidate: The GGUF under test; it must have the same vocabulary.
        texts: What is read.
        settings: Of the engine, for both.
        on_page: Told after each page how many tokens are compared, and of how many.

    Raises:
        DivergenceError: The vocabularies differ, the run is another model's, or nothing is there
            to be read.
        EngineError: llama.cpp cannot load or run one of them.
    """
    for path in (baseline, candidate):
        check_gguf(path)
    hashes = file_sha256(baseline), file_sha256(candidate)
    with tempfile.TemporaryDirectory(prefix="weighin-kld-") as name:
        scratch = Path(name)
        with (
            Engine(baseline, settings, log=scratch / "baseline.log") as first,
            Engine(candidate, settings, log=scratch / "candidate.log") as second,
        ):
            passages, names, read = (
                _run_passages((first, second), texts, hashes[0])
                if isinstance(texts, RunTexts)
                else _file_passages((first, second), texts)
            )
            resolved = first.open_reading(max(len(p.tokens) for p in passages))
            second.open_reading(max(len(p.tokens) for p in passages))
            found = _compare(first, second, passages, scratch / "logits.f32", on_page)
    return DivergenceReport(
        baseline=baseline.name,
        baseline_sha256=hashes[0],
        candidate=candidate.name,
        candidate_sha256=hashes[1],
        read=read,
        engine=resolved,
        n_texts=len(found),
        n_tokens=sum(len(text.kl) for text in found),
        metrics={f"kld.{name}": estimate for name, estimate in summarise(found).items()},
        texts=tuple(
            TextDivergence(
                task=task,
                prompt_id=prompt_id,
                sample=sample,
                n_tokens=len(text.kl),
                mean=float(text.kl.mean()),
            )
            for (task, prompt_id, sample), text in zip(names, found, strict=True)
            if len(text.kl)
        ),
    )


def windows(tokens: Sequence[int], size: int, bos: Sequence[int]) -> list[Passage]:
    """Cut a text into windows whose second halves are asked for, as llama-perplexity does.

    Args:
        tokens: The whole text.
        size: Tokens per window, at least 4.
        bos: The token that takes the place of each window's first; none where the vocabulary
            adds none.
    """
    passages = []
    for start in range(0, len(tokens) - size + 1, size):
        window = [*bos, *tokens[start + len(bos) : start + size]]
        passages.append(Passage(window, size // 2 + 1))
    return passages


def _compare(
    baseline: Engine,
    candidate: Engine,
    passages: Sequence[Passage],
    exchange: Path,
    on_page: Callable[[int, int], None] | None,
) -> list[TokenDivergence]:
    """Each passage's comparison; both children are led through the pages one by one."""
    n_tokens = sum(len(p.tokens) - p.first for p in passages)
    parts: list[list[dict[str, float]]] = [[] for _ in passages]
    baseline.start_pages(passages)
    candidate.start_pages(passages)
    n_done = 0
    while baseline.write_page(exchange):
        compared = candidate.compare_page(exchange)
        for entry in compared:
            parts[int(entry.pop("passage"))].append(entry)
        n_done += len(compared)
        if on_page is not None:
            on_page(n_done, n_tokens)
    return [
        TokenDivergence(
            kl=np.array([e["kl"] for e in entries], np.float64),
            same_top=np.array([e["same_top"] for e in entries], np.bool_),
            baseline_nll=np.array([e["baseline_nll"] for e in entries], np.float64),
            candidate_nll=np.array([e["candidate_nll"] for e in entries], np.float64),
        )
        for entries in parts
    ]


def _file_passages(
    engines: tuple[Engine, Engine], texts: FileTexts
) -> tuple[list[Passage], list[Name], str]:
    try:
        text = texts.path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DivergenceError(f"{texts.path}: cannot be read as text ({error})") from None
    adds_bos = engines[0].facts["adds_bos"]
    (tokens,) = _same_tokens(engines, [text], add_special=adds_bos)
    bos = [engines[0].facts["bos_id"]] if adds_bos else []
    passages = windows(tokens, texts.window, bos)
    if not passages:
        raise DivergenceError(
            f"{texts.path}: {len(tokens)} tokens do not fill a window of {texts.window}; "
            "lower --context or give a longer text"
        )
    names = [(texts.path.name, f"window {number}", 0) for number in range(1, len(passages) + 1)]
    return passages, names, f"{texts.path.name} in windows of {texts.window} tokens"


def _run_passages(
    engines: tuple[Engine, Engine], texts: RunTexts, baseline_sha256: str
) -> tuple[list[Passage], list[Name], str]:
    run = texts.run
    header = run.header()
    if header.model.sha256 != baseline_sha256:
        raise DivergenceError(
            f"{run.folder}: holds what {header.model.file} said (SHA-256 "
            f"{header.model.sha256[:12]}), not this baseline ({baseline_sha256[:12]}); "
            "name a run of the baseline with --run"
        )
    completions = _spread([c for c in run.completions() if c.text], texts.limit)
    if not completions:
        raise DivergenceError(f"{run.folder}: holds no completions; finish the run first")
    prompts = _rendered(engines[0], run, completions, texts.template)
    starts = [tokenize_prompts(engine, prompts) for engine in engines]
    if starts[0] != starts[1]:
        raise _other_vocabulary(engines)
    ends = _same_tokens(engines, [c.text for c in completions], add_special=False)
    passages = [
        Passage([*start, *end], len(start)) for start, end in zip(starts[0], ends, strict=True)
    ]
    names = [(c.task, c.prompt_id, c.sample) for c in completions]
    return passages, names, f"{len(completions)} completions of {run.name}"


def _rendered(
    engine: Engine, run: Run, completions: Sequence[Completion], given: str | None
) -> list[str]:
    """The prompts as the run rendered them."""
    chat = run.header().chat
    template = ChatTemplate(
        given or engine.metadata.get("tokenizer.chat_template", ""),
        bos_token=engine.facts["bos"],
        eos_token=engine.facts["eos"],
        today=chat.template_date,
    )
    if template.sha256 != chat.template_sha256:
        raise DivergenceError(
            f"{run.folder}: was rendered with another chat template; name it with --chat-template"
        )
    prompts = {(s.name, p.id): p for s in run.prompt_sets() for p in s.prompts}
    return [
        template.render(
            prompts[c.task, c.prompt_id].messages, thinking=chat.thinking, prefill=chat.prefill
        )
        for c in completions
    ]


def _same_tokens(
    engines: tuple[Engine, Engine], texts: Sequence[str], *, add_special: bool
) -> list[list[int]]:
    first, second = (engine.tokenize(texts, add_special=add_special) for engine in engines)
    if first != second or engines[0].facts["n_vocab"] != engines[1].facts["n_vocab"]:
        raise _other_vocabulary(engines)
    return first


def _other_vocabulary(engines: tuple[Engine, Engine]) -> DivergenceError:
    sizes = [engine.facts["n_vocab"] for engine in engines]
    return DivergenceError(
        f"{engines[1].path} does not spell as {engines[0].path} does (vocabularies of {sizes[1]} "
        f"and {sizes[0]} tokens); only models of one vocabulary can be compared"
    )


def _spread(completions: Sequence[Completion], limit: int | None) -> list[Completion]:
    """This many of them, evenly spread."""
    n = len(completions)
    if limit is None or limit >= n:
        return list(completions)
    return [completions[i * n // limit] for i in range(limit)]
