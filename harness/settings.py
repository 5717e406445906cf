"""Settings of a run: everything about the engine and the sampling that could change a byte.

Knows no model and no prompt. Defaults depend on the machine's total memory and processors, never
on what happens to be free, so that one machine resolves them the same way every time.
Source: llama.cpp's `include/llama.h` for the engine, its sampler chain for the sampling.
"""

import hashlib
import os
from itertools import pairwise
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from metrics.errors import WeighinError

CacheType = Literal["f32", "f16", "bf16", "q8_0", "q4_0"]
"""Type of the KV cache; llama.cpp's own names."""

MOST_PARALLEL = 255
"""llama.cpp holds 256 sequences, and one of them is the prefix that a wave's prompts share."""

IFEVAL_MAX_TOKENS = 1280
"""New tokens for one IFEval answer, as in lm-eval's task."""

PROSE_MAX_TOKENS = 1024
"""New tokens for one piece of prose: 750 scored words and room to end."""


class EngineSettings(BaseModel):
    """How llama.cpp is asked to run; None means that the engine chooses and records its choice."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    parallel: int | None = Field(default=None, ge=1, le=MOST_PARALLEL)
    """Sequences decoded in one batch."""

    context: int | None = Field(default=None, ge=16)
    """Tokens of context per sequence; by default what the longest prompt and answer need."""

    batch: int = Field(default=2048, ge=16)
    """Most tokens handed to one decode call."""

    micro_batch: int = Field(default=512, ge=16)
    """Most tokens computed at once."""

    threads: int | None = Field(default=None, ge=1)
    """CPU threads; by default the physical cores that this process may use."""

    gpu_layers: int = Field(default=-1, ge=-1)
    """Layers put on a GPU where there is one; -1 is all of them."""

    flash_attention: Literal["auto", "on", "off"] = "auto"

    cache_type: CacheType = "f16"
    """Type of both halves of the KV cache."""

    wave: int = Field(default=64, ge=1)
    """Prompts per wave: the unit of scheduling, of saving and of early stopping. Where nobody set
    it, a GPU's waves are longer, so that its places are filled anew."""

    order: int | None = Field(default=None, ge=0)
    """Seed of a shuffle of each task's prompts before they are cut into waves; None keeps their
    order. Another order gives other neighbours in a batch, and so measures the noise."""

    looks: tuple[float, ...] = ()
    """Shares of each task's answers, rising, 1 at most, after which the run may be judged and
    stopped: unless somebody names the task to go on with, every task is brought to a share before
    any goes beyond it. Empty runs the tasks one after the other."""

    @field_validator("looks")
    @classmethod
    def _rising(cls, looks: tuple[float, ...]) -> tuple[float, ...]:
        if any(not 0 < b <= 1 or a >= b for a, b in pairwise((0.0, *looks))):
            raise ValueError("shares must rise, above 0 and up to 1")
        return looks


class Sampling(BaseModel):
    """How the next token is chosen. Temperature 0 is greedy and ignores the rest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    temperature: float = Field(default=0.0, ge=0)
    top_k: int = Field(default=40, ge=0)
    """Keep the k likeliest tokens; 0 keeps all."""
    top_p: float = Field(default=0.95, gt=0, le=1)
    min_p: float = Field(default=0.05, ge=0, le=1)
    seed: int = Field(default=0, ge=0)
    """Seed of the run; each prompt and sample draws from a seed of its own, derived from it."""
    max_tokens: int = Field(default=IFEVAL_MAX_TOKENS, ge=1)
    stop: tuple[str, ...] = ()
    """Strings that end an answer; they are cut from it."""


GREEDY = Sampling()
"""What IFEval asks for."""

PROSE = Sampling(temperature=0.8, max_tokens=PROSE_MAX_TOKENS)
"""Seeded sampling with llama.cpp's default chain, for prose."""


def parse_engine_settings(**values: Any) -> EngineSettings:
    """Engine settings from what a user gave; a wave of None is as if it were not given.

    Raises:
        WeighinError: A value is out of range; it is named.
    """
    if values.get("wave") is None:
        values.pop("wave", None)  # the engine tells a wave that was asked for from its own
    try:
        return EngineSettings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = "--" + ".".join(str(part) for part in first["loc"]).replace("_", "-")
        raise WeighinError(f"{name}: {first['msg']}, found {first['input']!r}") from None


def derived_seed(seed: int, prompt_id: str, sample: int) -> int:
    """A 32-bit seed for one sample of one prompt, whatever else is in the run.

    Never 0xFFFFFFFF, which llama.cpp reads as "draw one yourself".
    """
    digest = hashlib.sha256(f"{seed}\0{prompt_id}\0{sample}".encode()).digest()
    return int.from_bytes(digest[:4], "little") % 0xFFFFFFFF


def available_cores() -> int:
    """Logical cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def default_threads() -> int:
    """Physical cores that this process may use, at least 1."""
    import psutil

    allowed = available_cores()
    return min(allowed, psutil.cpu_count(logical=False) or allowed)
