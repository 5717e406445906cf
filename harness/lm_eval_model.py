"""The engine as a model of lm-eval, so that any of its tasks runs on a GGUF.

lm-eval's requests in, its answers out, with the tokenisation, the cutting of long inputs and the
defaults of its `hf` model. Knows nothing of tasks.

lm-eval finds the model by the entry point `lm_eval.models` from the release after 0.4.13 on; with
earlier ones, run lm-eval's command line through this module, which registers the model first:
`python -m harness.lm_eval_model run --model weighin --model_args gguf=FILE --tasks ...`.
Source: https://github.com/EleutherAI/lm-evaluation-harness, `docs/model_guide.md`.
"""

import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import model_registry

from harness.chat import ChatTemplate
from harness.engine.engine import Engine
from harness.engine.reading import Passage
from harness.prompts import Message
from harness.runs import file_sha256
from harness.settings import Sampling, derived_seed, parse_engine_settings
from metrics.errors import WeighinError

MODEL_NAME = "weighin"

MAX_GEN_TOKS = 256
"""New tokens where a task sets no limit, as in lm-eval's `hf` model."""

LM_EVAL_OPTIONS = ("batch_size", "max_batch_size", "device")

SAMPLING_KEYS = ("temperature", "top_k", "top_p", "min_p")
"""What a task may set besides `until`, `do_sample` and its token limit."""


class WeighinLM(TemplateLM):  # type: ignore[misc]
    """A GGUF in llama.cpp, as lm-eval asks for it."""

    def __init__(
        self,
        gguf: str,
        *,
        max_length: int | None = None,
        max_gen_toks: int = MAX_GEN_TOKS,
        seed: int = 0,
        **settings: Any,
    ) -> None:
        """Load the model.

        Args:
            gguf: The file.
            max_length: Tokens of the longest input; the model's own training context by default.
            max_gen_toks: New tokens where a task sets no limit.
            seed: Of tasks that sample.
            settings: Of the engine: `parallel`, `context`, `batch`, `micro_batch`, `threads`,
                `gpu_layers`, `flash_attention`, `cache_type`. lm-eval's own `batch_size`,
                `max_batch_size` and `device` come with every call and mean nothing here: batches
                are packed by tokens, and llama.cpp takes the GPU that it was built for.

        Raises:
            EngineError: llama.cpp cannot load the file.
            WeighinError: An unknown setting, or one out of range.
        """
        super().__init__()
        self._path = Path(gguf)
        self._seed = seed
        self.max_gen_toks = max_gen_toks
        self._scratch = tempfile.TemporaryDirectory(prefix="weighin-lm-eval-")
        own = {key: value for key, value in settings.items() if key not in LM_EVAL_OPTIONS}
        log = Path(self._scratch.name, "llama.log")
        self._engine = Engine(self._path, parse_engine_settings(**own), log=log)
        self.max_length: int = max_length or self._engine.facts["context_train"]
        self._n_reading = 0
        """Tokens of the longest passage that the context for reading takes; 0 without one."""
        self._chat: ChatTemplate | None = None

    def close(self) -> None:
        """End the child and remove its log."""
        self._engine.close()
        self._scratch.cleanup()

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text."""
        return int(self._engine.facts["eos_id"])

    @property
    def prefix_token_id(self) -> int:
        """What stands before a text that has nothing before it: BOS, else the end token."""
        bos = self._engine.facts["bos_id"]
        return self.eot_token_id if bos is None else int(bos)

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **_: object
    ) -> list[int]:
        """Token ids; a BOS is added where the vocabulary wants one and the text has none."""
        facts = self._engine.facts
        add = add_special_tokens
        if add is None:
            add = facts["adds_bos"] and not (facts["bos"] and string.startswith(facts["bos"]))
        return self._engine.tokenize([string], add_special=bool(add))[0]

    def loglikelihood_rolling(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[float]:
        """Log-likelihood of whole texts, the long ones in windows of the full context."""
        from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

        texts = [text for (text,) in (request.args for request in requests)]
        owners, windows = [], []
        for owner, text in enumerate(texts):
            pairs = get_rolling_token_windows(
                token_list=self.tok_encode(text),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.max_length,
                context_len=1,
            )
            for pair in map(make_disjoint_window, pairs):
                owners.append(owner)
                windows.append((None, *pair))
        sums = [0.0] * len(texts)
        scored = self._loglikelihood_tokens(windows, disable_tqdm=disable_tqdm)
        for owner, (value, _greedy) in zip(owners, scored, strict=True):
            sums[owner] += value
        for text, value in zip(texts, sums, strict=True):
            self.cache_hook.add_partial("loglikelihood_rolling", (text,), value)
        return sums

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Answers, each ended by its task's stop strings and token limit.

        A prompt that is too long loses its beginning, as with lm-eval's `hf` model. Sampling takes
        the whole distribution unless the task cuts it.

        Raises:
            WeighinError: A task asks for a way of generating that the engine has not.
        """
        samplings = [self._sampling(request.args[1]) for request in requests]
        prompts = [
            self.tok_encode(request.args[0])[-self._room(sampling) :] or [self.prefix_token_id]
            for request, sampling in zip(requests, samplings, strict=True)
        ]
        needs = [len(p) + s.max_tokens for p, s in zip(prompts, samplings, strict=True)]
        if needs:
            self._engine.open(max(needs))
        answers = [""] * len(requests)
        n_done = 0
        with _bar("Generating", len(requests), disable_tqdm) as bar:
            for sampling in dict.fromkeys(samplings):
                members = [i for i, own in enumerate(samplings) if own == sampling]
                generated, _times = self._engine.generate(
                    [prompts[i] for i in members],
                    [derived_seed(self._seed, requests[i].args[0], i) for i in members],
                    sampling,
                    partial(_advance, bar, n_done),
                )
                n_done += len(members)
                _advance(bar, n_done)
                for i, answer in zip(members, generated, strict=True):
                    answers[i] = answer["text"]
                    self.cache_hook.add_partial("generate_until", requests[i].args, answers[i])
        return answers

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """A conversation as the GGUF's own template writes it.

        Args:
            chat_history: lm-eval's messages.
            add_generation_prompt: Open the assistant's turn; else the last message is the
                beginning of the answer, and the text ends with it.
        """
        messages = [Message(role=m["role"], content=m["content"]) for m in chat_history]  # type: ignore[arg-type]
        if add_generation_prompt:
            return self._template().render(messages)
        return self._template().render(messages[:-1], prefill=messages[-1].content)

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """The template's text, for lm-eval's records; None where none is applied."""
        return self._template().source if chat_template else None

    @property
    def tokenizer_name(self) -> str:
        """What lm-eval keeps prepared requests under: the file and its chat template."""
        return f"{self._path.stem}-{self._template().sha256[:8]}"

    def get_model_info(self) -> dict[str, Any]:
        """What lm-eval records of the model."""
        facts = self._engine.facts
        return {
            "model_sha256": file_sha256(self._path),
            "model_num_parameters": facts["n_parameters"],
            "model_dtype": facts["description"],
            "engine": self._engine.settings.model_dump(),
        }

    def _loglikelihood_tokens(
        self,
        requests: Sequence[tuple[Any, list[int], list[int]]],
        disable_tqdm: bool = False,
        **_: object,
    ) -> list[tuple[float, bool]]:
        passages = []
        for _text, context, continuation in requests:
            # too long an input loses its beginning; the last token is only predicted
            tokens = (context + continuation)[-(self.max_length + 1) :]
            passages.append(Passage(tokens, max(1, len(tokens) - len(continuation))))
        longest = max((len(p.tokens) for p in passages), default=0)
        if longest > self._n_reading:
            self._n_reading = self._engine.open_reading(longest).context or longest
        with _bar("Reading", len(passages), disable_tqdm) as bar:
            found = self._engine.score(passages, partial(_advance, bar, 0))
            _advance(bar, len(passages))
        answers = [(sum(each.log_probabilities), all(each.greedy)) for each in found]
        for (text, _context, _continuation), answer in zip(requests, answers, strict=True):
            if text is not None:
                self.cache_hook.add_partial("loglikelihood", text, answer)
        return answers

    def _sampling(self, asked: Mapping[str, Any]) -> Sampling:
        """A task's generation settings as the engine's."""
        from lm_eval.models.utils import normalize_gen_kwargs

        given = dict(normalize_gen_kwargs(dict(asked), self.max_gen_toks))
        stops = tuple(stop for stop in given.pop("until") if stop)
        max_tokens = given.pop("max_gen_toks")
        samples = given.pop("do_sample", False)
        cuts = {key: given.pop(key) for key in SAMPLING_KEYS if key in given}
        if given:
            raise WeighinError(
                f"the task generates with {', '.join(sorted(given))}, which the engine has not; "
                f"it has until, max_gen_toks, do_sample, {', '.join(SAMPLING_KEYS)}"
            )
        if not samples:
            return Sampling(max_tokens=max_tokens, stop=stops)
        whole = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
        return Sampling(max_tokens=max_tokens, stop=stops, **(whole | cuts))

    def _room(self, sampling: Sampling) -> int:
        """Tokens that a prompt may have beside its answer."""
        room = self.max_length - sampling.max_tokens
        if room < 1:
            raise WeighinError(
                f"an answer of {sampling.max_tokens} tokens leaves a context of {self.max_length} "
                "no room for a prompt; lower max_gen_toks or raise max_length"
            )
        return room

    def _template(self) -> ChatTemplate:
        if self._chat is None:
            facts = self._engine.facts
            self._chat = ChatTemplate(
                self._engine.metadata.get("tokenizer.chat_template", ""),
                bos_token=facts["bos"],
                eos_token=facts["eos"],
            )
        return self._chat


def register() -> None:
    """Make the model known to lm-eval under its name; again is no harm."""
    if MODEL_NAME not in model_registry:
        model_registry.register(MODEL_NAME, target=WeighinLM)


def _bar(title: str, total: int, disable: bool) -> Any:
    from tqdm import tqdm  # type: ignore[import-untyped]

    return tqdm(desc=title, total=total, disable=disable)


def _advance(bar: Any, n_before: int, n_done: int = 0, _n_tokens: int = 0) -> None:
    bar.update(n_before + n_done - bar.n)


if __name__ == "__main__":
    from lm_eval.__main__ import cli_evaluate

    from harness import lm_eval_model

    # the module's own copy, so that the class is the one that everybody else imports
    lm_eval_model.register()
    cli_evaluate()
