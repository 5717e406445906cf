"""llama.cpp's C interface as two small objects: a model and a context.

Runs in the engine's child process only, since a failed assertion in llama.cpp aborts whatever
process it is in. Knows tokens and logits; nothing of prompts' meaning, waves or files but the GGUF.
Source: llama.cpp's `include/llama.h` at the revision that llama-cpp-python installs.
"""

import ctypes
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.settings import EngineSettings
from metrics.errors import WeighinError

PIECE_BYTES = 256
"""First guess at the bytes of one token's text; longer ones are asked for again."""

FLASH_ATTENTION = {"auto": -1, "off": 0, "on": 1}
"""`enum llama_flash_attn_type`."""

GGML_TYPES = {"f32": 0, "f16": 1, "q4_0": 2, "q8_0": 8, "bf16": 30}
"""`enum ggml_type` of the KV cache."""

LOG_DEBUG = 1
LOG_CONTINUE = 5


class EngineError(WeighinError):
    """llama.cpp could not load, decode or go on."""


def quiet_log() -> Any:
    """Send llama.cpp's log to standard error without its debug lines.

    Returns:
        The callback; it must be kept alive as long as llama.cpp may log.
    """
    import llama_cpp

    shown = True

    def callback(level: int, text: bytes, _data: Any) -> None:
        nonlocal shown
        if level != LOG_CONTINUE:
            shown = level != LOG_DEBUG
        if shown:
            sys.stderr.buffer.write(text)
            sys.stderr.flush()

    kept = llama_cpp.llama_log_callback(callback)
    llama_cpp.llama_log_set(kept, ctypes.c_void_p(0))
    return kept


class Model:
    """One loaded GGUF: its weights, vocabulary and metadata."""

    def __init__(self, path: Path, *, gpu_layers: int, vocab_only: bool = False) -> None:
        import llama_cpp as lib

        self._lib = lib
        lib.llama_backend_init()
        params = lib.llama_model_default_params()
        params.n_gpu_layers = gpu_layers
        params.vocab_only = vocab_only
        self.pointer = lib.llama_model_load_from_file(str(path).encode(), params)
        if not self.pointer:
            raise EngineError(f"{path}: llama.cpp cannot load it")
        self.vocab = lib.llama_model_get_vocab(self.pointer)
        self.n_vocab = int(lib.llama_vocab_n_tokens(self.vocab))
        self._pieces: dict[int, bytes] = {}

    def metadata(self) -> dict[str, str]:
        """Every scalar key of the GGUF as llama.cpp prints it; arrays are left out."""
        lib = self._lib
        out: dict[str, str] = {}
        for index in range(lib.llama_model_meta_count(self.pointer)):
            key = self._text(lib.llama_model_meta_key_by_index, index)
            value = self._text(lib.llama_model_meta_val_str_by_index, index)
            out[key] = value
        return out

    def facts(self) -> dict[str, Any]:
        """What a run records about the model, as JSON scalars."""
        lib = self._lib
        buffer = ctypes.create_string_buffer(512)
        lib.llama_model_desc(self.pointer, buffer, len(buffer))
        return {
            "description": buffer.value.decode("utf-8", "replace"),
            "n_parameters": int(lib.llama_model_n_params(self.pointer)),
            "tensor_bytes": int(lib.llama_model_size(self.pointer)),
            "n_layers": int(lib.llama_model_n_layer(self.pointer)),
            "n_embedding": int(lib.llama_model_n_embd(self.pointer)),
            "n_heads": int(lib.llama_model_n_head(self.pointer)),
            "n_heads_kv": int(lib.llama_model_n_head_kv(self.pointer)),
            "n_vocab": self.n_vocab,
            "context_train": int(lib.llama_model_n_ctx_train(self.pointer)),
            "has_decoder": bool(lib.llama_model_has_decoder(self.pointer)),
            "bos": self._token_text(lib.llama_vocab_bos(self.vocab)),
            "eos": self._token_text(lib.llama_vocab_eos(self.vocab)),
            "bos_id": _id(lib.llama_vocab_bos(self.vocab)),
            "eos_id": _id(lib.llama_vocab_eos(self.vocab)),
            "adds_bos": bool(lib.llama_vocab_get_add_bos(self.vocab)),
        }

    def tokenize(self, text: str, *, add_special: bool) -> list[int]:
        """Token ids of a text whose special tokens are written out in it.

        Args:
            text: The rendered prompt.
            add_special: Put the tokens that the vocabulary wants at its ends, such as BOS.
        """
        data = text.encode()
        size = len(data) + 8
        for _ in range(2):
            tokens = (self._lib.llama_token * size)()
            n = self._lib.llama_tokenize(
                self.vocab, data, len(data), tokens, size, add_special, True
            )
            if n >= 0:
                return list(tokens[:n])
            size = -n
        raise EngineError(f"llama.cpp cannot tokenise a text of {len(data)} bytes")

    def show(self, texts: Sequence[str]) -> None:
        """Write these special tokens out in answers; a text of several tokens is left alone."""
        for text in texts:
            tokens = self.tokenize(text, add_special=False)
            if len(tokens) == 1:
                self._pieces[tokens[0]] = self._piece(tokens[0], special=True)

    def piece(self, token: int) -> bytes:
        """The bytes that a token adds to an answer; nothing for a control token not shown."""
        known = self._pieces.get(token)
        if known is None:
            known = self._piece(token, special=False)
            self._pieces[token] = known
        return known

    def is_end(self, token: int) -> bool:
        """Whether a token ends the generation (end of sequence, of turn, of message)."""
        return bool(self._lib.llama_vocab_is_eog(self.vocab, token))

    def suppressed(self) -> list[int]:
        """Tokens that the model's makers say must never be generated."""
        n = ctypes.c_int32(0)
        pointer = self._lib.llama_vocab_get_suppress_tokens(self.vocab, ctypes.byref(n))
        return [int(pointer[i]) for i in range(n.value)]

    def close(self) -> None:
        """Free the weights."""
        if self.pointer:
            self._lib.llama_model_free(self.pointer)
            self.pointer = None

    def _piece(self, token: int, *, special: bool) -> bytes:
        size = PIECE_BYTES
        while True:
            buffer = ctypes.create_string_buffer(size)
            n = self._lib.llama_token_to_piece(self.vocab, token, buffer, size, 0, special)
            if n >= 0:
                return buffer.raw[:n]
            size = -n

    def _token_text(self, token: int) -> str | None:
        if token < 0:
            return None
        return self._piece(token, special=True).decode("utf-8", "replace")

    def _text(self, function: Any, index: int) -> str:
        size = 256
        while True:
            buffer = ctypes.create_string_buffer(size)
            n = int(function(self.pointer, index, buffer, size))
            if n < size:
                return buffer.raw[: max(n, 0)].decode("utf-8", "replace")
            size = n + 1


class Context:
    """A KV cache and the means to decode into it.

    For generating, sequences have a stream of cells each, which llama.cpp decodes fastest when the
    sequences of a batch have consecutive ids; that order is the caller's business. For reading, all
    sequences share the cells (`unified`), so that one cell can belong to many of them.
    """

    def __init__(
        self,
        model: Model,
        settings: EngineSettings,
        *,
        n_sequences: int,
        context: int,
        outputs: int,
        outputs_per_sequence: int = 1,
        unified: bool = False,
    ) -> None:
        """Make a context.

        Args:
            model: The loaded model.
            settings: Batch sizes, threads, attention and cache type; threads must be resolved.
            n_sequences: Sequences held at once.
            context: Tokens per sequence; of all sequences together where they share the cells.
            outputs: Most rows of logits in one decode call.
            outputs_per_sequence: Most rows of logits of one sequence in one decode call.
            unified: Let sequences share cells, and forget nothing outside a sliding window, so
                that a sequence can be taken back to where another one left it.
        """
        import llama_cpp as lib

        self._lib = lib
        self.model = model
        self.n_batch = max(settings.batch, n_sequences)
        params = lib.llama_context_default_params()
        params.n_ctx = context if unified else context * n_sequences
        params.n_seq_max = n_sequences
        params.n_batch = self.n_batch
        params.n_ubatch = min(settings.micro_batch, self.n_batch)
        params.n_outputs_max = outputs
        params.n_outputs_max_per_seq = outputs_per_sequence
        params.n_threads = settings.threads
        params.n_threads_batch = settings.threads
        params.flash_attn_type = FLASH_ATTENTION[settings.flash_attention]
        params.type_k = params.type_v = GGML_TYPES[settings.cache_type]
        params.kv_unified = params.swa_full = unified
        params.no_perf = True
        self.pointer = lib.llama_init_from_model(model.pointer, params)
        if not self.pointer:
            raise EngineError(
                f"llama.cpp cannot open a context of {n_sequences} x {context} tokens; "
                "lower --parallel or --context"
            )
        self.memory = lib.llama_get_memory(self.pointer)
        self.n_context = int(lib.llama_n_ctx_seq(self.pointer))
        self._batch = lib.llama_batch_init(self.n_batch, 0, n_sequences if unified else 1)
        self._token = np.ctypeslib.as_array(self._batch.token, (self.n_batch,))
        self._pos = np.ctypeslib.as_array(self._batch.pos, (self.n_batch,))
        self._output = np.ctypeslib.as_array(self._batch.logits, (self.n_batch,))
        self._n_sequences = np.ctypeslib.as_array(self._batch.n_seq_id, (self.n_batch,))
        self._n_sequences[:] = 1
        self._sequence = [self._batch.seq_id[i] for i in range(self.n_batch)]
        self._n = 0
        self._n_outputs = 0

    def add(self, sequence: int, position: int, tokens: Sequence[int], *, output: bool) -> None:
        """Append tokens of one sequence to the batch; `output` asks for the last one's logits."""
        start, end = self._n, self._n + len(tokens)
        self._token[start:end] = tokens
        self._pos[start:end] = range(position, position + len(tokens))
        self._output[start:end] = 0
        for i in range(start, end):
            self._sequence[i][0] = sequence
        if output:
            self._output[end - 1] = 1
            self._n_outputs += 1
        self._n = end

    def add_shared(
        self, sequences: Sequence[int], position: int, token: int, *, output: bool
    ) -> None:
        """Append one token that all these sequences have; needs shared cells."""
        at = self._n
        self._token[at] = token
        self._pos[at] = position
        self._output[at] = output
        self._n_sequences[at] = len(sequences)
        ids = self._sequence[at]
        for i, sequence in enumerate(sequences):
            ids[i] = sequence
        self._n_outputs += output
        self._n = at + 1

    def decode(self) -> NDArray[np.float32]:
        """Run the batch and empty it.

        Returns:
            [n_outputs, n_vocab] float32 logits in the order in which outputs were asked for, a view
            that the next call overwrites.

        Raises:
            EngineError: llama.cpp refused the batch.
        """
        self._batch.n_tokens = self._n
        status = self._lib.llama_decode(self.pointer, self._batch)
        n_outputs, n_tokens = self._n_outputs, self._n
        self._n = self._n_outputs = 0
        if status != 0:
            raise EngineError(f"llama.cpp refused a batch of {n_tokens} tokens (status {status})")
        if n_outputs == 0:
            return np.empty((0, self.model.n_vocab), np.float32)
        logits = self._lib.llama_get_logits(self.pointer)
        return np.ctypeslib.as_array(logits, (n_outputs, self.model.n_vocab))

    def clear(self) -> None:
        """Forget every sequence."""
        self._lib.llama_memory_clear(self.memory, True)

    def drop(self, sequence: int) -> None:
        """Forget one sequence."""
        self._lib.llama_memory_seq_rm(self.memory, sequence, -1, -1)

    def copy(self, source: int, target: int) -> None:
        """Make one sequence's cells a copy of another's."""
        self.drop(target)
        self._lib.llama_memory_seq_cp(self.memory, source, target, -1, -1)

    def rewind(self, sequence: int, n_tokens: int) -> bool:
        """Keep the first tokens of one sequence and forget all else.

        Returns:
            Whether the sequence can go on from there. Where it cannot, since the model keeps a
            state or a window that is already past that point, nothing is left.
        """
        lib = self._lib
        lib.llama_memory_seq_keep(self.memory, sequence)
        possible = bool(lib.llama_memory_seq_rm(self.memory, sequence, n_tokens, -1))
        window = lib.llama_model_n_swa(self.model.pointer)
        if possible and window:
            oldest = lib.llama_memory_seq_pos_min(self.memory, sequence)
            possible = oldest <= max(0, n_tokens - window)
        if not possible:
            self.clear()
        return possible

    def close(self) -> None:
        """Free the cache."""
        if self.pointer:
            self._lib.llama_batch_free(self._batch)
            self._lib.llama_free(self.pointer)
            self.pointer = None


def _id(token: int) -> int | None:
    """A token id; None where llama.cpp says that the vocabulary has no such token."""
    return None if token < 0 else int(token)
