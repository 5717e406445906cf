"""IFEval: which verifiable instructions a response follows.

Texts and instructions in, passes out; knows nothing of models or prompt files. The checkers, the
names and the figures are lm-eval's; this module only makes them repeatable, so that one response
has one score whatever was scored before it:

- langdetect draws from a fixed seed;
- keys 1122 and 1129 ask for a letter that is none ("#", "!"), for which lm-eval draws a random one
  at each check. They are given the draws of lm-eval's own run (seed 0, all 541 prompts in order);
- the caller's random state and langdetect's seed are put back;
- a response whose language cannot be told is logged by its length, not whole.

Source: Zhou et al. 2023, https://arxiv.org/abs/2311.07911; lm-eval `tasks/ifeval`, version 4.0.
"""

import functools
import logging
import os
import random
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict

from metrics.errors import WeighinError
from metrics.stats import Estimate, bootstrap_ratio, default_rng, wilson

METRICS = (
    "prompt_level_strict_acc",
    "inst_level_strict_acc",
    "prompt_level_loose_acc",
    "inst_level_loose_acc",
)
"""lm-eval's names, all fractions in [0, 1], higher is better."""

DRAWN_KEYS = (1122, 1129)
"""Prompts whose letter lm-eval draws at random, in the order of its run."""

_LETTER = "keywords:letter_frequency"
_NEED_SENTENCES = ("length_constraints:number_sentences", "change_case:capital_word_frequency")
_SEED = 0

Instruction = tuple[str, Mapping[str, Any]]
"""IFEval's instruction id with its keyword arguments."""


class IfevalScore(BaseModel):
    """What one response passed, instruction by instruction."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    strict: tuple[bool, ...]
    """Per instruction: does the response as it stands follow it?"""

    loose: tuple[bool, ...]
    """Per instruction: does the response follow it without its asterisks, first or last line?"""

    @property
    def prompt_strict(self) -> bool:
        """Every instruction followed, strictly."""
        return all(self.strict)

    @property
    def prompt_loose(self) -> bool:
        """Every instruction followed, loosely."""
        return all(self.loose)


def score(
    prompt_text: str,
    instructions: Sequence[Instruction],
    response: str,
    *,
    key: int | None = None,
) -> IfevalScore:
    """Check one response against the instructions of its prompt.

    Args:
        prompt_text: The prompt as the model saw it.
        instructions: Ids and arguments; empty arguments count as not given, as in lm-eval.
        response: The answer; an empty one follows nothing.
        key: The prompt's key in google/IFEval, which the two prompts in DRAWN_KEYS need to get
            lm-eval's letters. Without it a missing argument is drawn from a fixed seed.

    Raises:
        WeighinError: an instruction is unknown, lacks an argument or has a wrong one, or NLTK's
            sentence model is not on this machine.
    """
    if not instructions:
        raise WeighinError(f"the prompt {prompt_text[:40]!r} has no instructions to check")
    variants = list(dict.fromkeys(_loose_variants(response)))
    registry = _registry()
    strict: list[bool] = []
    loose: list[bool] = []
    with _fixed_seeds():
        for instruction in instructions:
            strict_check = _checker(registry, prompt_text, instruction, _drawn_letter(key, 0))
            passed = _follows(strict_check, response)
            strict.append(passed)
            if key in DRAWN_KEYS:
                loose_check = _checker(registry, prompt_text, instruction, _drawn_letter(key, 1))
                loose.append(any(_follows(loose_check, variant) for variant in variants))
            else:
                # The untouched response is the first variant, and its verdict is known.
                loose.append(passed or any(_follows(strict_check, v) for v in variants[1:]))
    if key not in DRAWN_KEYS:
        assert all(lax >= tight for tight, lax in zip(strict, loose, strict=True))
    return IfevalScore(strict=tuple(strict), loose=tuple(loose))


def summarise(
    scores: Sequence[IfevalScore], *, rng: np.random.Generator | None = None
) -> dict[str, Estimate]:
    """The four figures over all prompts, under lm-eval's names.

    Prompt-level figures have n = prompts and a Wilson interval. Instruction-level figures pool the
    instructions of all prompts (n = instructions) and resample whole prompts, because the
    instructions of one prompt stand or fall together.

    Args:
        scores: One per response.
        rng: Seeded generator for the intervals; a fixed one where none is given.
    """
    rng = default_rng() if rng is None else rng
    return {
        "prompt_level_strict_acc": wilson(sum(s.prompt_strict for s in scores), len(scores)),
        "inst_level_strict_acc": _pooled([s.strict for s in scores], rng),
        "prompt_level_loose_acc": wilson(sum(s.prompt_loose for s in scores), len(scores)),
        "inst_level_loose_acc": _pooled([s.loose for s in scores], rng),
    }


def _pooled(passes: Sequence[tuple[bool, ...]], rng: np.random.Generator) -> Estimate:
    counts = [sum(row) for row in passes]
    totals = [len(row) for row in passes]
    ratio = bootstrap_ratio(counts, totals, rng=rng)
    return ratio.model_copy(update={"n": sum(totals), "count": sum(counts)})


def _loose_variants(response: str) -> list[str]:
    """The response, then without asterisks, first line, last line, and every combination."""
    lines = response.split("\n")
    cuts = [response]
    cuts += ["\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1])]
    return [cuts[0], cuts[0].replace("*", "")] + [
        variant for cut in cuts[1:] for variant in (cut, cut.replace("*", ""))
    ]


def _follows(check: Callable[[str], Any], response: str) -> bool:
    return bool(response.strip()) and bool(check(response))


def _checker(
    registry: Mapping[str, Any],
    prompt_text: str,
    instruction: Instruction,
    letter: str | None,
) -> Callable[[str], Any]:
    """Set up lm-eval's checker for one instruction."""
    identifier, arguments = instruction
    if identifier not in registry:
        raise WeighinError(
            f"unknown instruction {identifier!r}: expected one of lm-eval's {len(registry)}, "
            f"such as {min(registry)!r}"
        )
    if identifier in _NEED_SENTENCES:
        _require_sentence_model()
    given = {name: value for name, value in arguments.items() if value}
    if identifier == _LETTER and letter is not None:
        given["letter"] = letter
    checker = registry[identifier](identifier)
    try:
        checker.build_description(**given)
        wanted = checker.get_instruction_args()
        if wanted and "prompt" in wanted:
            checker.build_description(prompt=prompt_text)
    except (TypeError, ValueError, AttributeError) as error:
        raise WeighinError(f"instruction {identifier!r} with {given}: {error}") from error
    check: Callable[[str], Any] = checker.check_following
    return check


@functools.cache
def _draws() -> dict[int, tuple[str, str]]:
    """Letters of lm-eval's seeded run: per drawn key, the one for strict and the one for loose."""
    stream = random.Random(_SEED)
    letters = list(string.ascii_letters)
    return {key: (stream.choice(letters), stream.choice(letters)) for key in DRAWN_KEYS}


def _drawn_letter(key: int | None, which: int) -> str | None:
    return None if key is None or key not in DRAWN_KEYS else _draws()[key][which]


@contextmanager
def _fixed_seeds() -> Iterator[None]:
    """Seed what the checkers draw from, and put the caller's state back."""
    from langdetect import DetectorFactory

    state, seed = random.getstate(), DetectorFactory.seed
    random.seed(_SEED)
    DetectorFactory.seed = _SEED
    try:
        yield
    finally:
        random.setstate(state)
        DetectorFactory.seed = seed


class _ByLength(logging.Filter):
    """Replaces a response in lm-eval's log by its length."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple) and len(record.args) == 2:
            text, reason = record.args
            record.msg = "no language found in a response of %d characters (%s): counts as followed"
            record.args = (len(str(text)), str(reason))
            record.levelno, record.levelname = logging.INFO, "INFO"
        return True


@functools.cache
def _require_sentence_model() -> None:
    """Look for NLTK's punkt_tab.

    Raises:
        WeighinError: it is not on this machine.
    """
    import nltk

    try:
        nltk.data.find("tokenizers/punkt_tab")
    except LookupError:
        raise WeighinError(
            "IFEval needs NLTK's sentence model punkt_tab, which is not on this machine: run "
            "`python -m nltk.downloader punkt_tab`, or set NLTK_DATA to a folder that holds "
            "tokenizers/punkt_tab"
        ) from None


@contextmanager
def _no_download() -> Iterator[None]:
    """Keep lm-eval from downloading punkt_tab while it is imported: only rank 0 of a job does."""
    rank = os.environ.get("LOCAL_RANK")
    os.environ["LOCAL_RANK"] = "1"
    try:
        yield
    finally:
        if rank is None:
            del os.environ["LOCAL_RANK"]
        else:
            os.environ["LOCAL_RANK"] = rank


@functools.cache
def _registry() -> Mapping[str, Any]:
    """lm-eval's checkers by instruction id, ready to run."""
    from langdetect.detector_factory import init_factory

    with _no_download():
        from lm_eval.tasks.ifeval import instructions, instructions_registry

    init_factory()
    if not any(isinstance(known, _ByLength) for known in instructions.logger.filters):
        instructions.logger.addFilter(_ByLength())
    registry: Mapping[str, Any] = instructions_registry.INSTRUCTION_DICT
    return registry
