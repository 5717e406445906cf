"""Failures: what kind of reason ended a trial.

Errors in, a kind out; knows nothing of trials. Kinds are few, so that the same cause behind
different words is seen: three trials that fail alike in a row stop a search.
"""

import errno
import re
from collections.abc import Iterator
from typing import Literal

from harness.engine.llama import EngineError
from metrics.errors import WeighinError
from search.errors import BuildError, DiskFullError, IngredientError, RecipeError, TemplateError

Failure = Literal["disk full", "out of memory", "build", "load", "run", "score"]
"""Why a trial did not become what it should."""

LOADING = re.compile(r"\bload")
FULL = (errno.ENOSPC, errno.EDQUOT)
OUT_OF_MEMORY = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "failed to allocate",
    "unable to allocate",
    "cannot allocate memory",
    "bad_alloc",
    # how a process that took too much is ended by Linux
    "killed by signal 9",
    "stopped by signal 9",
)
"""What torch, ggml and the kernel say."""


def failure_of(error: BaseException) -> Failure | None:
    """The kind of a failure; None for an error that is no failure of a trial but ours."""
    chain = list(_chain(error))
    if any(_is_full(each) for each in chain):
        return "disk full"
    words = " ".join(str(each) for each in chain).lower()
    if any(isinstance(each, MemoryError) for each in chain) or (
        isinstance(error, WeighinError | RuntimeError | OSError)
        and any(phrase in words for phrase in OUT_OF_MEMORY)
    ):
        return "out of memory"
    if not isinstance(error, WeighinError):
        return None
    if isinstance(error, BuildError | EngineError) and LOADING.search(words):
        return "load"
    if isinstance(error, BuildError | IngredientError | TemplateError):
        return "build"
    return "score" if isinstance(error, RecipeError) else "run"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it came from; `raise ... from None` hides a cause, but keeps it."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _is_full(error: BaseException) -> bool:
    if isinstance(error, DiskFullError):
        return True
    return isinstance(error, OSError) and error.errno in FULL
