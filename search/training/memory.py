"""Training memory: whether a training can fit, and what to lower where it cannot.

A task in, an error of one line out; estimates nothing that it does not know for certain.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from search.errors import TrainingError
from search.fisher.groups import free_memory
from search.training.task import TrainingTask

LOGIT_BYTES = 8
"""Per token and entry of the vocabulary: a float32 logit and its gradient."""

EMBEDDING = "model.embed_tokens.weight"
NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


def check_memory(task: TrainingTask, longest: int) -> None:
    """Refuse what cannot fit: a CPU's process would be killed without a word.

    Counted are the weights and one batch's logits, which is less than what is needed.

    Args:
        task: What is to be trained.
        longest: Tokens of the longest row.

    Raises:
        TrainingError: the free memory is less than that.
    """
    checkpoint = task.checkpoint
    stored = [checkpoint.stored(name) for name in checkpoint.names]
    item = 4 if task.on_cpu or task.precision == "float32" else 2
    weights = item * sum(tensor.n_rows * tensor.row_size for tensor in stored)
    batch = task.settings.batch_size * longest
    logits = LOGIT_BYTES * batch * checkpoint.stored(EMBEDDING).n_rows
    free = free_memory("cpu" if task.on_cpu else "cuda")
    if weights > free:
        raise TrainingError(
            f"not enough memory to train on {task.machine.device}: the weights alone take "
            f"{weights / 1e9:.1f} GB, {free / 1e9:.1f} GB are free; free some, or use a larger "
            "machine"
        )
    if weights + logits > free:
        raise _error(task, f"{(weights + logits) / 1e9:.1f} GB at least, {free / 1e9:.1f} GB free")


@contextmanager
def memory_errors(task: TrainingTask) -> Iterator[None]:
    """Turn a lack of memory into one line that says what to lower.

    Raises:
        TrainingError: in place of torch's own error.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        said = str(error).lower()
        if isinstance(error, RuntimeError) and not any(words in said for words in NO_MEMORY):
            raise
        raise _error(task, "it ran out") from None


def _error(task: TrainingTask, what: str) -> TrainingError:
    settings = task.settings
    name, value = "batch_size", settings.batch_size
    if value == 1:
        name, value = "max_tokens", settings.max_tokens
    hint = "" if settings.gradient_checkpointing else ", or set gradient_checkpointing"
    return TrainingError(
        f"not enough memory to train on {task.machine.device} ({what}); lower {name} (now {value})"
        f"{hint}"
    )
