"""Preflight: does a candidate read the prompts as the baseline did?

A GGUF and a baseline's run in, two verdicts out, before a token is generated. A broken tokenizer or
chat template makes every later figure a measurement of something else, so that it breaks a check at
once, and says which of the two it is.
"""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.chat import ChatTemplate, ChatTemplateError
from harness.engine.engine import Engine
from harness.engine.llama import EngineError
from harness.evaluate import Chat, tokenize_prompts, tokens_hash
from harness.gates.gates import Telling, Verdict
from harness.prompts import Prompt
from harness.runs import Run, RunHeader
from harness.settings import EngineSettings
from harness.waves import Task

TOKENIZER = "tokenizer"
TEMPLATE = "chat template"
N_TELLING = 3
"""Prompts that a broken one is shown on."""
EXCERPT_CHARS = 80
VOCABULARY_WORDS = ("vocab", "tokenizer")
"""By these an error of llama.cpp's loader is known to be about the tokenizer."""

Counts = Mapping[tuple[str, str], int]
"""Tokens of a prompt by task and id."""


def preflight(model: Path, baseline: Run, tasks: Sequence[Task], chat: Chat) -> list[Verdict]:
    """Render and tokenise the baseline's prompts as the candidate does.

    Args:
        model: The candidate's GGUF.
        baseline: Its run says how the prompts were read.
        tasks: The baseline's.
        chat: How the candidate is asked.

    Returns:
        What became of the tokenizer and of the chat template; of the first alone where it cannot
        be loaded.

    Raises:
        EngineError: The model cannot be loaded for another reason.
    """
    with tempfile.TemporaryDirectory(prefix="weighin-preflight-") as folder:
        try:
            engine = Engine(model, EngineSettings(), log=Path(folder) / "llama.log")
        except EngineError as error:
            if any(word in str(error).lower() for word in VOCABULARY_WORDS):
                return [Verdict(name=TOKENIZER, status="broken", why=str(error))]
            raise
        with engine:
            return _verdicts(engine, baseline, tasks, chat)


def compare_headers(baseline: Run, candidate: Run) -> list[Verdict]:
    """The same two verdicts for a candidate that was run already, from what the runs recorded."""
    before, after = baseline.header(), candidate.header()
    same_template = before.chat.template_sha256 == after.chat.template_sha256
    first, second = (_counts_of(run) for run in (baseline, candidate))
    shared = {key: second[key] for key in first if key in second}
    hashes = before.prompt_tokens_sha256, after.prompt_tokens_sha256
    same = {key: first[key] for key in shared} == shared
    if same and all(hashes) and before.tasks == after.tasks:
        same = hashes[0] == hashes[1]
    texts = {(s.name, p.id): p for s in baseline.prompt_sets() for p in s.prompts}
    return _judged(first, shared, texts, same=same, same_template=same_template)


def _verdicts(engine: Engine, baseline: Run, tasks: Sequence[Task], chat: Chat) -> list[Verdict]:
    header = baseline.header()
    source = chat.template or engine.metadata.get("tokenizer.chat_template")
    if source is None:
        why = "the GGUF has none; name the baseline's with --chat-template if it was given one"
        return [Verdict(name=TEMPLATE, status="broken", why=why)]
    counts: dict[tuple[str, str], int] = {}
    same = True
    try:
        template = ChatTemplate(
            source,
            bos_token=engine.facts["bos"],
            eos_token=engine.facts["eos"],
            today=header.chat.template_date,
        )
        for task in tasks:
            prompts = task.prompts.prompts
            texts = [
                template.render(p.messages, thinking=chat.thinking, prefill=chat.prefill)
                for p in prompts
            ]
            tokens = tokenize_prompts(engine, texts)
            own = {(task.prompts.name, p.id): len(t) for p, t in zip(prompts, tokens, strict=True)}
            counts |= own
            same = same and _same_tokens(header, task.prompts.name, tokens)
    except ChatTemplateError as error:
        return [Verdict(name=TEMPLATE, status="broken", why=str(error))]
    expected = _counts_of(baseline)
    same = same and {key: counts.get(key) for key in expected} == expected
    by_key = {(t.prompts.name, p.id): p for t in tasks for p in t.prompts.prompts}
    return _judged(
        expected,
        counts,
        by_key,
        same=same,
        same_template=template.sha256 == header.chat.template_sha256,
    )


def _same_tokens(header: RunHeader, task: str, tokens: Sequence[Sequence[int]]) -> bool:
    """Whether a task's prompts have the ids that the baseline's had; true where nobody recorded."""
    expected = header.prompt_tokens_sha256.get(task)
    return expected is None or expected == tokens_hash(tokens)


def _judged(
    expected: Counts,
    found: Counts,
    prompts: Mapping[tuple[str, str], Prompt],
    *,
    same: bool,
    same_template: bool,
) -> list[Verdict]:
    """Which of the two is to blame for prompts that are read differently."""
    if same:
        note = "" if same_template else "another text, but the same prompts come of it"
        return [
            Verdict(name=TOKENIZER, status="kept"),
            Verdict(name=TEMPLATE, status="kept", why=note),
        ]
    other = [key for key, n in found.items() if key in expected and n != expected[key]]
    why = (
        f"{len(other)} of {len(found)} prompts have another number of tokens"
        if other
        else "the prompts have as many tokens, but others"
    )
    telling = tuple(
        Telling(
            task=key[0],
            prompt_id=key[1],
            sample=0,
            why=f"{expected[key]} tokens in the baseline, {found[key]} now",
            prompt=prompts[key].text[:EXCERPT_CHARS],
            answer="",
        )
        for key in other[:N_TELLING]
    )
    if same_template:
        return [Verdict(name=TOKENIZER, status="broken", why=why, telling=telling)]
    why += "; the template is not the baseline's"
    return [Verdict(name=TEMPLATE, status="broken", why=why, telling=telling)]


def _counts_of(run: Run) -> dict[tuple[str, str], int]:
    return {(c.task, c.prompt_id): c.n_prompt_tokens for c in run.completions()}
