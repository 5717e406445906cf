"""The engine: one GGUF in a child process that generates wave after wave.

Knows how to start the child, speak with it and bury it; nothing of tasks, scores or run folders.
A failed assertion in llama.cpp or a lack of memory ends the child alone: here it becomes one
`EngineError` with the last of llama.cpp's log.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from harness.engine.gpu import Gpu
from harness.engine.likelihood import Likelihood
from harness.engine.llama import EngineError
from harness.engine.reading import Passage
from harness.settings import EngineSettings, Sampling, default_threads

CONTEXT_STEP = 256
"""Contexts are rounded up to whole blocks of llama.cpp's KV cache."""

DEFAULT_PARALLEL_CPU = 16
DEFAULT_PARALLEL_GPU = 64
WAVE_PER_PLACE_GPU = 4
"""Prompts in a wave for each of a GPU's places: at a wave's end places stand empty, and a GPU takes
as long for few as for many. All of IFEval took 0.7 of the time that it took with one."""
CACHE_SHARE_OF_MEMORY = 0.25
"""Most of the machine's memory that a default number of sequences may claim for its KV cache."""
CACHE_SHARE_OF_GPU = 0.5
"""As much of what the weights leave of the GPUs; buffers to compute in take from the rest."""

SPIN_COUNT = "20000"
"""Rounds that an idle OpenMP thread of llama.cpp spins; libgomp's own default is 300,000."""

LOG_TAIL_LINES = 3
"""Lines of llama.cpp's log that an error repeats."""
LOG_LINES_WITH_CAUSE = 8
"""Last lines among which those that say "error" are looked for."""

Progress = Callable[[int, int], None]
"""Told how many answers of the wave are finished, and how many tokens are made."""


class Engine:
    """llama.cpp with one model loaded, ready for waves; a context manager."""

    def __init__(self, path: Path, settings: EngineSettings, *, log: Path) -> None:
        """Start the child and load the model.

        Args:
            path: The GGUF.
            settings: What the user asked for.
            log: File that llama.cpp's log is appended to.

        Raises:
            EngineError: The model cannot be loaded.
        """
        self.path = path
        self.asked = settings
        self.settings = settings
        """The settings as resolved by `open`."""
        self._log_path = log
        self._log: IO[bytes] = log.open("ab")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "harness.engine.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={
                # Threads that wait for work spin for a moment, then sleep: sleeping at once costs
                # a third of the speed of a quiet machine, spinning on that of a busy one.
                "GOMP_SPINCOUNT": SPIN_COUNT,
                "GGML_NO_BACKTRACE": "1",
                **os.environ,
            },
        )
        try:
            answer = self._ask({"op": "load", "path": str(path), "gpu_layers": settings.gpu_layers})
        except BaseException:
            self.close()
            raise
        self.facts: dict[str, Any] = answer["facts"]
        self.metadata: dict[str, str] = answer["metadata"]
        self.gpus = [Gpu(**gpu) for gpu in answer["gpus"]]
        """Those that layers were put on."""
        names = "".join(f"GPU : {gpu.name} | " for gpu in self.gpus)
        self.system_info: str = answer["system_info"] + names

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def tokenize(self, texts: Sequence[str], *, add_special: bool) -> list[list[int]]:
        """Token ids of rendered prompts, special tokens recognised where they are written out."""
        answer = self._ask({"op": "tokenize", "texts": list(texts), "add_special": add_special})
        tokens: list[list[int]] = answer["tokens"]
        return tokens

    def open(self, n_tokens: int, *, shown: Sequence[str] = ()) -> EngineSettings:
        """Open the context in which waves are generated.

        Args:
            n_tokens: Prompt and answer tokens that the longest sequence may need.
            shown: Special tokens that are written out in answers; all others are left out.

        Returns:
            The settings with every choice made, as the run records them.
        """
        context = self.asked.context or -(-n_tokens // CONTEXT_STEP) * CONTEXT_STEP
        parallel = self.asked.parallel or self._default_parallel(context)
        self.settings = self.asked.model_copy(
            update={
                "context": context,
                "parallel": parallel,
                "wave": self._wave(parallel),
                "threads": self.asked.threads or default_threads(),
            }
        )
        self._ask({"op": "open", "settings": self.settings.model_dump(), "shown": list(shown)})
        return self.settings

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        seeds: Sequence[int],
        sampling: Sampling,
        progress: Progress | None = None,
    ) -> tuple[list[dict[str, Any]], dict[str, float]]:
        """Generate one wave.

        Args:
            prompts: Token ids, at least one each.
            seeds: One seed a prompt for its sampler.
            sampling: How tokens are chosen and answers end.
            progress: Told of progress about twice a second.

        Returns:
            For each prompt `text`, `n_prompt_tokens`, `n_tokens`, `stop_reason`; and the times of
            the wave: `decode_s`, `sample_s`, `total_s`, `n_steps`.
        """
        answer = self._ask(
            {
                "op": "generate",
                "prompts": [list(p) for p in prompts],
                "seeds": list(seeds),
                "sampling": sampling.model_dump(mode="json"),
            },
            progress,
        )
        return answer["generated"], answer["times"]

    def open_reading(self, n_tokens: int) -> EngineSettings:
        """Open the context in which given texts are read.

        Where the user left the choice to us, keys and values are held in float32 and attention is
        computed without llama.cpp's half-precision kernel: on an unquantised file a log-probability
        is then right to about 1e-5, not 4e-3, and reading needs little cache.

        Args:
            n_tokens: Of the longest passage.

        Returns:
            The settings with every choice made that reading depends on.
        """
        update: dict[str, object] = {
            "context": -(-n_tokens // CONTEXT_STEP) * CONTEXT_STEP,
            "threads": self.asked.threads or default_threads(),
        }
        if self.asked.flash_attention == "auto" and self.asked.cache_type in ("f16", "f32"):
            update |= {"flash_attention": "off", "cache_type": "f32"}
        settings = self.asked.model_copy(update=update)
        self._ask(
            {
                "op": "open_reading",
                "settings": settings.model_dump(),
                "n_tokens": settings.context,
            }
        )
        return settings

    def score(
        self, passages: Sequence[Passage], progress: Progress | None = None
    ) -> list[Likelihood]:
        """Log-probabilities and greedy flags of given tokens, in the context for reading.

        Args:
            passages: Token sequences, and from where on each is asked for.
            progress: Told about twice a second how many passages and tokens are scored.

        Returns:
            One for each passage, in their order.
        """
        request = {"op": "score", "passages": [_plain(p) for p in passages]}
        answer = self._ask(request, progress)
        return [Likelihood(**each) for each in answer["likelihoods"]]

    def start_pages(self, passages: Sequence[Passage]) -> None:
        """Begin to read passages page by page, in the context for reading."""
        self._ask({"op": "start_pages", "passages": [_plain(p) for p in passages]})

    def write_page(self, path: Path) -> bool:
        """Read the next page and leave its logits in a file; False where no page is left."""
        return bool(self._ask({"op": "write_page", "path": str(path)})["written"])

    def compare_page(self, path: Path) -> list[dict[str, float]]:
        """Read the page that another engine has just written, and compare.

        Args:
            path: The other engine's logits; it must be reading the same passages.

        Returns:
            For each token `passage`, its index, and the fields of `TokenDivergence`.
        """
        compared: list[dict[str, float]] = self._ask({"op": "compare_page", "path": str(path)})[
            "compared"
        ]
        return compared

    def close(self) -> None:
        """End the child at once; nothing in it needs saving."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._log):
            if stream is not None:
                stream.close()

    def _wave(self, parallel: int) -> int:
        """Prompts per wave: as asked; left to us, so many that a GPU's places are filled anew."""
        asked = self.asked.wave
        if not self.gpus or "wave" in self.asked.model_fields_set:
            return asked
        return max(asked, WAVE_PER_PLACE_GPU * parallel)

    def _default_parallel(self, context: int) -> int:
        """Sequences that fit into a share of the memory in hand, at most the usual number."""
        import psutil

        head = self.facts["n_embedding"] / max(self.facts["n_heads"], 1)
        heads = max(self.facts["n_heads_kv"], 1)
        bytes_per_token = 2 * 2 * head * heads * self.facts["n_layers"]
        if self.gpus:
            usual = DEFAULT_PARALLEL_GPU
            memory = sum(gpu.total_bytes for gpu in self.gpus)
            room = CACHE_SHARE_OF_GPU * (memory - self.facts["tensor_bytes"])
        else:
            usual = DEFAULT_PARALLEL_CPU
            room = CACHE_SHARE_OF_MEMORY * psutil.virtual_memory().total
        fits = int(room / (bytes_per_token * context)) - 1
        return max(1, min(usual, fits))

    def _ask(self, request: dict[str, Any], progress: Progress | None = None) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        try:
            stdin.write(json.dumps(request).encode() + b"\n")
            stdin.flush()
        except BrokenPipeError:
            raise self._death() from None
        for line in stdout:
            message: dict[str, Any] = json.loads(line)
            if "progress" in message:
                if progress is not None:
                    progress(message["progress"]["n_done"], message["progress"]["n_tokens"])
                continue
            if "error" in message:
                raise EngineError(f"{message['error']}{self._last_words()}")
            result: dict[str, Any] = message["result"]
            return result
        raise self._death()

    def _death(self) -> EngineError:
        status = self._process.wait()
        how = f"killed by signal {-status}" if status < 0 else f"exit code {status}"
        return EngineError(f"{self.path}: llama.cpp's process died ({how}){self._last_words()}")

    def _last_words(self) -> str:
        lines = self._log_path.read_text("utf-8", "replace").splitlines()
        told = [line.strip() for line in lines if line.strip()]
        # the lines that name the cause, where llama.cpp says "error", else simply the last ones
        causes = [line for line in told[-LOG_LINES_WITH_CAUSE:] if "error" in line.lower()]
        kept = (causes or told)[-LOG_TAIL_LINES:]
        return "; its log ends: " + " | ".join(kept) if kept else ""


def _plain(passage: Passage) -> dict[str, Any]:
    return {"tokens": list(passage.tokens), "first": passage.first}
