"""Training setup: the model with its adapter, the masks and the trainer that a task asks for.

A task in, transformers and PEFT objects out; runs nothing. Heavy libraries load in the functions.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from search.errors import TrainingError
from search.training.data import Reading, Row, collate
from search.training.task import TrainingTask

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import TrainerCallback

    from search.tensors.text_model import Precision
    from search.training.masked_factors import MaskedFactors
    from search.training.trainer import MaskedTrainer

CHECKPOINTS_KEPT = 2
"""Of a training that runs: the newest is not known to be good until a loss came of it."""


def reading_of(task: TrainingTask) -> Reading:
    """How rows are made of the data, with the base's own tokenizer.

    Raises:
        WeighinError: the base has no tokenizer, or one that does not say where tokens lie.
    """
    from search.tensors.text_model import load_tokenizer

    tokenizer = load_tokenizer(task.checkpoint)
    if not tokenizer.is_fast:
        raise TrainingError(
            f"{task.checkpoint.folder} has no tokenizer.json, so that answers cannot be found "
            "among the tokens; save its tokenizer as a fast one"
        )
    settings = task.settings
    return Reading(tokenizer, task.longest, settings.too_long, settings.learn_end)


def peft_model(task: TrainingTask) -> "PeftModel":
    """The base with a fresh adapter, its initial values drawn with the settings' seed."""
    from peft import LoraConfig, get_peft_model
    from transformers import set_seed

    from search.tensors.text_model import load_text_model

    settings = task.settings
    # a CPU multiplies in bf16 from weights that are float32
    precision: Precision = "float32" if task.on_cpu else task.precision
    base = load_text_model(task.checkpoint, precision, "cpu" if task.on_cpu else "cuda")
    base.config.use_cache = False
    set_seed(settings.seed)
    config = LoraConfig(
        r=settings.r,
        lora_alpha=int(settings.alpha) if settings.alpha.is_integer() else settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=list(settings.targets),
        layers_to_transform=list(settings.layers) if settings.layers is not None else None,
        task_type="CAUSAL_LM",
    )
    with warnings.catch_warnings():
        # PEFT asks transformers by a name that it has since given up
        warnings.simplefilter("ignore", FutureWarning)
        model: PeftModel = get_peft_model(base, config)
    return model


def masks_of(model: "PeftModel", task: TrainingTask) -> "tuple[MaskedFactors | None, int]":
    """The mask on a model's factors, applied to their initial values.

    Returns:
        None and 0 where nothing is masked; else the mask, and how many factors it is on.
    """
    from search.training.masked_factors import MaskedFactors, sides_of

    if task.opened_subspace is None:
        return None, 0
    sides = sides_of(model, task.opened_subspace, task.rank, task.strength)
    return (MaskedFactors(sides), len(sides)) if sides else (None, 0)


def trainer_of(
    task: TrainingTask,
    model: "PeftModel",
    masks: "MaskedFactors | None",
    rows: Sequence[Row],
    folder: Path,
    *,
    save_every: int,
    watch: "TrainerCallback",
) -> "MaskedTrainer":
    """transformers' trainer for a task; its checkpoints go to `folder`."""
    from transformers import PrinterCallback, TrainingArguments

    from search.training.trainer import MaskedTrainer

    settings = task.settings
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.gradient_accumulation,
        num_train_epochs=settings.epochs,
        max_steps=settings.max_steps or -1,
        learning_rate=settings.learning_rate,
        lr_scheduler_type=settings.scheduler,
        warmup_steps=settings.warmup,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        bf16=task.precision == "bf16",
        use_cpu=task.on_cpu,
        activation_checkpointing=settings.gradient_checkpointing,
        activation_checkpointing_kwargs={"use_reentrant": False},
        seed=settings.seed,
        data_seed=settings.seed,
        logging_steps=1,
        include_num_input_tokens_seen="non_padding",
        # a NaN must be seen, not replaced with the mean of earlier losses
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=save_every,
        save_total_limit=CHECKPOINTS_KEPT,
        dataloader_pin_memory=not task.on_cpu,
        remove_unused_columns=False,
        label_names=["labels"],
        disable_tqdm=True,
        report_to="none",
    )
    trainer = MaskedTrainer(
        model=model,
        args=arguments,
        train_dataset=list(rows),
        data_collator=collate,
        callbacks=[watch],
        masks=masks,
        rates=_rates(task),
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def _rates(task: TrainingTask) -> dict[int, float] | None:
    k = task.settings.layer_lr
    if k == 0 or task.layer_importance is None:
        return None
    return {layer: 1 - k * importance for layer, importance in task.layer_importance.items()}
