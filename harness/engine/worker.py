"""The child process in which llama.cpp lives.

Reads one JSON request a line from standard input and answers on standard output; everything that
llama.cpp or Python prints otherwise goes to standard error, which the parent keeps as the run's
log. Knows models and tokens; nothing of tasks, scores or run folders. Not for users:
`harness.engine.engine` starts it.
"""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from harness.engine.decode import Request, decode_wave
from harness.engine.gpu import find_gpus
from harness.engine.likelihood import likelihoods
from harness.engine.llama import Context, EngineError, Model, quiet_log
from harness.engine.reading import N_SLOTS, Page, Passage, read_pages
from harness.settings import EngineSettings, Sampling
from metrics.divergence import compare_logits

PROGRESS_INTERVAL_S = 0.5
"""Seconds between two progress messages."""

PARENT_CHECK_S = 1.0
"""Seconds between two looks at whether the parent still lives."""


class Worker:
    """Answers the parent's requests, one at a time."""

    def __init__(self, reply: Callable[[dict[str, Any]], None]) -> None:
        self.reply = reply
        self.model: Model | None = None
        self.context: Context | None = None
        self.reading: Context | None = None
        self.pages: Iterator[Page] | None = None
        self.settings = EngineSettings()

    def handle(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do one operation and return its result."""
        operations: dict[str, Callable[..., dict[str, Any]]] = {
            "load": self.load,
            "tokenize": self.tokenize,
            "open": self.open,
            "generate": self.generate,
            "open_reading": self.open_reading,
            "score": self.score,
            "start_pages": self.start_pages,
            "write_page": self.write_page,
            "compare_page": self.compare_page,
        }
        return operations[request.pop("op")](**request)

    def load(self, path: str, gpu_layers: int) -> dict[str, Any]:
        """Load a GGUF; answer with its facts and metadata."""
        import llama_cpp

        self.model = Model(Path(path), gpu_layers=gpu_layers)
        gpus = find_gpus() if gpu_layers else []
        return {
            "facts": self.model.facts(),
            "metadata": self.model.metadata(),
            "system_info": llama_cpp.llama_print_system_info().decode(),
            "gpus": [asdict(gpu) for gpu in gpus],
        }

    def tokenize(self, texts: list[str], add_special: bool) -> dict[str, Any]:
        """Token ids of rendered prompts."""
        model = self._model()
        return {"tokens": [model.tokenize(t, add_special=add_special) for t in texts]}

    def open(self, settings: dict[str, Any], shown: list[str]) -> dict[str, Any]:
        """Open a context for generating; settings are resolved, none of them is None."""
        self._model().show(shown)
        if self.context is not None:
            self.context.close()
        self.settings = EngineSettings.model_validate(settings)
        parallel, context = self.settings.parallel, self.settings.context
        assert parallel is not None and context is not None
        self.context = Context(
            self._model(),
            self.settings,
            n_sequences=parallel + 1,
            context=context,
            outputs=parallel + 1,
        )
        return {"context": self.context.n_context}

    def generate(
        self, prompts: list[list[int]], seeds: list[int], sampling: dict[str, Any]
    ) -> dict[str, Any]:
        """Generate the answers to one wave."""
        assert self.context is not None and self.settings.parallel is not None
        requests = [Request(tokens, seed) for tokens, seed in zip(prompts, seeds, strict=True)]
        generated, times = decode_wave(
            self.context,
            requests,
            Sampling.model_validate(sampling),
            n_slots=self.settings.parallel,
            on_step=self._progress(),
        )
        return {"generated": [asdict(g) for g in generated], "times": asdict(times)}

    def open_reading(self, settings: dict[str, Any], n_tokens: int) -> dict[str, Any]:
        """Open a context for reading passages of up to `n_tokens` tokens; threads are resolved."""
        if self.reading is not None:
            self.reading.close()
        asked = EngineSettings.model_validate(settings)
        # one micro-batch at a time, so that no more than its logits are ever held
        n_batch = max(asked.micro_batch, N_SLOTS)
        self.reading = Context(
            self._model(),
            asked.model_copy(update={"batch": n_batch, "micro_batch": n_batch}),
            n_sequences=N_SLOTS,
            context=n_tokens + n_batch,
            outputs=n_batch,
            outputs_per_sequence=n_batch,
            unified=True,
        )
        return {}

    def score(self, passages: list[dict[str, Any]]) -> dict[str, Any]:
        """Log-probabilities and greedy flags of the tokens that the passages ask for."""
        assert self.reading is not None
        asked = [Passage(**passage) for passage in passages]
        found = likelihoods(asked, read_pages(self.reading, asked), self._progress())
        return {"likelihoods": [asdict(each) for each in found]}

    def start_pages(self, passages: list[dict[str, Any]]) -> dict[str, Any]:
        """Begin to read passages page by page."""
        assert self.reading is not None
        self.pages = read_pages(self.reading, [Passage(**passage) for passage in passages])
        return {}

    def write_page(self, path: str) -> dict[str, Any]:
        """Read one page and leave its logits in a file, float32; tell whether there was one."""
        page = self._next_page()
        if page is not None:
            page.logits.tofile(path)
        return {"written": page is not None}

    def compare_page(self, path: str) -> dict[str, Any]:
        """Read the same page as the model whose logits lie in the file, and compare the two."""
        page = self._next_page()
        assert page is not None
        others = np.memmap(path, np.float32, "r", shape=page.logits.shape)
        tokens = np.array([target.token for target in page.targets])
        found = compare_logits(others, page.logits, page.rows, tokens)
        columns = zip(page.targets, *(column.tolist() for column in found), strict=True)
        return {
            "compared": [
                {"passage": target.passage} | dict(zip(found._fields, values, strict=True))
                for target, *values in columns
            ]
        }

    def _next_page(self) -> Page | None:
        assert self.pages is not None
        return next(self.pages, None)

    def _progress(self) -> Callable[[int, int], None]:
        """Tells the parent how far an operation is, now and then."""
        said = time.monotonic()

        def progress(n_done: int, n_tokens: int) -> None:
            nonlocal said
            now = time.monotonic()
            if now - said >= PROGRESS_INTERVAL_S:
                said = now
                self.reply({"progress": {"n_done": n_done, "n_tokens": n_tokens}})

        return progress

    def _model(self) -> Model:
        assert self.model is not None
        return self.model


def main() -> None:
    """Serve requests until standard input ends."""
    # The terminal's Ctrl-C goes to the whole group; the parent decides what becomes of the wave.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # llama.cpp may print to file descriptor 1: keep that for the protocol alone.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    _die_with_parent()
    log = quiet_log()
    worker = Worker(lambda message: _write(answers, message))
    for line in sys.stdin:
        try:
            result = worker.handle(json.loads(line))
        except EngineError as error:
            _write(answers, {"error": str(error)})
        else:
            _write(answers, {"result": result})
    del log


def _write(stream: TextIO, message: dict[str, Any]) -> None:
    stream.write(json.dumps(message) + "\n")
    stream.flush()


def _die_with_parent() -> None:
    """End this process when its parent is gone, so that a killed run leaves no model behind."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_CHECK_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


if __name__ == "__main__":
    main()
