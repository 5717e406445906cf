"""Text model: a checkpoint's language model as a frozen torch module, to take gradients of.

Loads through transformers' own classes, never remote code or pickled weights, and leaves vision
and audio towers where they are. Module names are canonical names without `.weight`.
Source: https://huggingface.co/docs/transformers/main_classes/model
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from search.errors import IngredientError
from search.tensors.checkpoint import Checkpoint
from search.tensors.names import architecture_of

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

Precision = Literal["float32", "bf16"]
ITEM_BYTES: dict[Precision, int] = {"float32": 4, "bf16": 2}

TEXT_NAMES = {r"^model\.language_model\.": "model.", r"^language_model\.(model\.|lm_head)": r"\1"}
"""Names in multimodal checkpoints, and those of the text model."""


def load_text_model(checkpoint: Checkpoint, precision: Precision, device: str) -> Any:
    """Load a checkpoint's text model for evaluation, every parameter frozen.

    Args:
        checkpoint: Of a supported architecture.
        precision: Type of the weights in memory, and of the arithmetic.
        device: cpu or cuda.

    Returns:
        A transformers model for causal language modelling.

    Raises:
        IngredientError: an unsupported architecture, or weights that the model lacks.
    """
    import torch
    import transformers

    architecture_of(checkpoint.config, str(checkpoint.folder))
    with _quiet(transformers):
        try:
            config = transformers.AutoConfig.from_pretrained(
                checkpoint.folder, local_files_only=True, trust_remote_code=False
            )
            model, loading = transformers.AutoModelForCausalLM.from_pretrained(
                checkpoint.folder,
                config=config.get_text_config(),
                dtype=torch.float32 if precision == "float32" else torch.bfloat16,
                device_map=None if device == "cpu" else device,
                key_mapping=TEXT_NAMES,
                local_files_only=True,
                output_loading_info=True,
                trust_remote_code=False,
                use_safetensors=True,
            )
        except (OSError, ValueError, KeyError, ImportError) as error:
            reason = str(error).strip().splitlines()
            raise IngredientError(
                f"{checkpoint.folder}: transformers cannot load it "
                f"({reason[0] if reason else type(error).__name__})"
            ) from None
    missing = sorted(loading["missing_keys"])
    if missing:
        raise IngredientError(
            f"{checkpoint.folder}: {missing[0]} is missing; fetch the checkpoint again"
        )
    return model.eval().requires_grad_(False)


def load_tokenizer(checkpoint: Checkpoint) -> "PreTrainedTokenizerBase":
    """Load a checkpoint's tokenizer.

    Raises:
        IngredientError: there is none.
    """
    import transformers

    with _quiet(transformers):
        try:
            return transformers.AutoTokenizer.from_pretrained(
                checkpoint.folder, local_files_only=True, trust_remote_code=False
            )
        except (OSError, ValueError, KeyError, ImportError) as error:
            reason = str(error).strip().splitlines()
            raise IngredientError(
                f"{checkpoint.folder}: no tokenizer can be read there "
                f"({reason[0] if reason else type(error).__name__})"
            ) from None


def check_device(device: str | None) -> str:
    """The device to run on: the one that was asked for, or a GPU where there is one.

    Raises:
        IngredientError: a GPU was asked for and there is none.
    """
    import torch

    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise IngredientError("torch finds no GPU here; take --device cpu")
    return device or ("cuda" if available else "cpu")


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Without transformers' bars and its report on weights of other towers."""
    logging = transformers.utils.logging
    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()
