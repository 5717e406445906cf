"""Training: one LoRA adapter on a checkpoint, from data to a folder that PEFT reads.

Trains what a `TrainingTask` describes with `search.training.trainer`, and writes the adapter
beside its place, to be renamed when whole. While it runs it keeps its checkpoints in
`OUT.training`, from which the same task goes on after it was killed.
Source: LoRA, Hu et al. 2021, https://arxiv.org/abs/2106.09685, by PEFT.
"""

import json
import math
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from harness.machine import package_version
from harness.runs import file_sha256
from search.disk import check_room
from search.errors import TrainingError
from search.merging.adapter import open_adapter
from search.merging.factors import Factors, product
from search.tensors.names import layer_of
from search.training.data import DataReport, read_rows
from search.training.folder import alone, begin, check_place, clear, put
from search.training.loss_curve import write_curve
from search.training.memory import check_memory, memory_errors
from search.training.record import RECORD_NAME, TrainingRecord, card
from search.training.settings import SAVE_EVERY
from search.training.setup import CHECKPOINTS_KEPT, masks_of, peft_model, reading_of, trainer_of
from search.training.task import TrainingTask

if TYPE_CHECKING:
    from search.training.trainer import MaskedTrainer, NotFiniteError, Step, Watch

LOSS_NAME = "loss.csv"
LAST_SHARE = 0.1
"""Share of the steps whose mean loss is the last loss."""

Progress = Callable[["Step", int], None]
"""Told each step's figures and the number of steps in all."""


def train(
    task: TrainingTask,
    out: Path,
    *,
    save_every: int = SAVE_EVERY,
    progress: Progress | None = None,
) -> TrainingRecord:
    """Train an adapter, or find that it is there already.

    Args:
        task: What to train.
        out: The adapter's folder; an adapter of another plan is replaced when the new one is
            whole.
        save_every: Optimiser steps between checkpoints; changes nothing in the adapter.
        progress: Told how far it is.

    Raises:
        WeighinError: an input is not in order, a loss or gradient is not finite, or there is no
            memory. Nothing half-written is left at `out`; the last good checkpoint stays.
    """
    check_place(out)
    folder = out.with_name(f"{out.name}.training")
    with alone(out):
        known = read_record(out)
        if known is not None and known.plan.key == task.plan.key:
            clear(folder, task.plan)
            return known
        record = _train_in(task, folder, out.name, save_every, progress)
        put(folder / out.name, out)
        shutil.rmtree(folder)
        return record


def read_record(folder: Path) -> TrainingRecord | None:
    """The record of a trained adapter; None where there is none that can be read."""
    try:
        return TrainingRecord.model_validate_json((folder / RECORD_NAME).read_bytes())
    except (OSError, ValidationError):
        return None


def _train_in(
    task: TrainingTask, folder: Path, name: str, save_every: int, progress: Progress | None
) -> TrainingRecord:
    """Train in a folder of checkpoints, or go on there; the adapter lies in it at the end."""
    task.check()
    # the factors, their moments and free values in each checkpoint, and the adapter
    check_room(folder.parent, 4 * task.n_values * (4 * (CHECKPOINTS_KEPT + 1) + 1))
    rows, report = read_rows(task.data, reading_of(task))
    check_memory(task, report.longest)
    begin(folder, task.plan)
    with _threads(task), memory_errors(task):
        from search.training.trainer import NotFiniteError, Watch

        model = peft_model(task)
        masks, n_masked = masks_of(model, task)
        watch = Watch(folder / LOSS_NAME, progress)
        trainer = trainer_of(task, model, masks, rows, folder, save_every=save_every, watch=watch)
        try:
            trainer.train(resume_from_checkpoint=_last_checkpoint(folder))
        except NotFiniteError as error:
            raise _broken_off(error, folder) from None
        record = _finish(task, trainer, watch, report, n_masked, folder / name)
    del trainer, model, masks
    _give_back_gpu(task)
    return record


def _give_back_gpu(task: TrainingTask) -> None:
    """Free what a training held of a GPU: a search goes on to run a model there."""
    if not task.on_cpu:
        import gc

        import torch

        gc.collect()
        torch.cuda.empty_cache()


def _last_checkpoint(folder: Path) -> str | None:
    """The newest whole checkpoint; what a kill left of others is removed."""
    from search.training.trainer import whole_checkpoints

    whole = whole_checkpoints(folder)
    for path in set(folder.glob("checkpoint-*")) - set(whole):
        shutil.rmtree(path)
    return str(whole[-1]) if whole else None


def _broken_off(error: "NotFiniteError", folder: Path) -> TrainingError:
    from search.training.trainer import step_of, whole_checkpoints

    whole = whole_checkpoints(folder)
    if error.what == "loss" and whole and step_of(whole[-1]) == error.step - 1:
        # the loss came of the weights that this one holds
        shutil.rmtree(whole.pop())
    kept = f"the last good checkpoint is {whole[-1]}" if whole else "no checkpoint was made before"
    return TrainingError(
        f"the {error.what} is not finite at step {error.step}, so training stopped; {kept}; lower "
        "learning_rate, or look for broken data"
    )


def _finish(
    task: TrainingTask,
    trainer: "MaskedTrainer",
    watch: "Watch",
    report: DataReport,
    n_masked: int,
    folder: Path,
) -> TrainingRecord:
    """Write the adapter's folder: weights, configuration, record, card and loss curve."""
    shutil.rmtree(folder, ignore_errors=True)
    name = task.name_of_base
    n_factors, n_parameters = _save(task, trainer, folder, name)
    losses = [step["loss"] for step in watch.steps]
    write_curve(folder / LOSS_NAME, watch.steps)
    n_last = max(1, round(LAST_SHARE * len(losses)))
    left, right = _protected(task, folder) if n_masked else (None, None)
    record = TrainingRecord(
        plan=task.plan,
        base=name,
        onto=task.place_of_base,
        subspace=task.opened_subspace.path.name if task.opened_subspace is not None else None,
        importance=task.importance.name if task.importance and task.layer_importance else None,
        weighin=package_version("weighin"),
        machine=task.machine,
        data=report,
        n_steps=len(losses),
        n_tokens=int(trainer.state.num_input_tokens_seen),
        n_factors=n_factors,
        n_masked=n_masked,
        n_parameters=n_parameters,
        first_loss=losses[0],
        last_loss=sum(losses[-n_last:]) / n_last,
        protected_left=left,
        protected_right=right,
        adapter_sha256=file_sha256(folder / "adapter_model.safetensors"),
        seconds=round(watch.seconds, 1),
    )
    (folder / "README.md").write_text(card(record, folder.name), encoding="utf-8")
    (folder / RECORD_NAME).write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return record


def _save(task: TrainingTask, trainer: "MaskedTrainer", folder: Path, name: str) -> tuple[int, int]:
    """PEFT's own files; returns the number of factors and of their values."""
    import torch

    factors = [factor for factor in trainer.model.parameters() if factor.requires_grad]
    if task.settings.save_dtype == "bf16":
        for factor in factors:
            factor.data = factor.data.to(torch.bfloat16)
    trainer.model.save_pretrained(folder, save_embedding_layers=False)
    # PEFT writes the folder it loaded the base from and keeps the modules as an unordered set
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = name
    config["target_modules"] = sorted(config["target_modules"])
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return len(factors), sum(factor.numel() for factor in factors)


def _protected(task: TrainingTask, folder: Path) -> tuple[float | None, float | None]:
    """Shares of the saved delta's norm along the protected directions of the two sides."""
    subspace = task.opened_subspace
    assert subspace is not None
    adapter = open_adapter(str(folder.resolve()), task.checkpoint)
    whole = left = right = 0.0
    for name in adapter.names:
        if name not in subspace or task.strength(layer_of(name)) == 0:
            continue
        delta, basis = adapter.factors(name), subspace.basis(name, task.rank)
        whole += delta.squared_norm()
        left += Factors(product(basis.left.T, delta.left), delta.right).squared_norm()
        right += Factors(delta.left, product(delta.right, basis.right)).squared_norm()
    if whole == 0:
        return None, None
    return math.sqrt(max(0.0, left) / whole), math.sqrt(max(0.0, right) / whole)


@contextmanager
def _threads(task: TrainingTask) -> Iterator[None]:
    """As many threads as the task says, since sums depend on how they are split."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(task.machine.threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
