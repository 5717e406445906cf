"""Trainer: transformers' own, with masked factors, rates by layer and a stop at a NaN.

Imports transformers when imported, so it is itself imported where a training begins. Knows nothing
of where the data or the masks come from.
Source: transformers' `Trainer`, https://github.com/huggingface/transformers.
"""

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer, TrainerCallback

from search.errors import TrainingError
from search.tensors.names import layer_of
from search.training.loss_curve import append_step, write_curve
from search.training.masked_factors import MaskedFactors, weight_of

WHOLE = "whole"
"""File that says that a checkpoint's folder is complete; holds the seconds spent so far."""

Step = Mapping[str, float]
"""step, epoch, learning_rate, grad_norm and loss of one optimiser step."""


class NotFiniteError(TrainingError):
    """A loss or gradient that is NaN or infinite; no step was made of it."""

    def __init__(self, step: int, what: str) -> None:
        super().__init__(f"the {what} is not finite at step {step}")
        self.step = step
        self.what = what


class MaskedTrainer(Trainer):  # type: ignore[misc]
    """transformers' trainer; without masks and rates its steps are the same to the bit."""

    def __init__(
        self,
        *args: Any,
        masks: MaskedFactors | None,
        rates: Mapping[int, float] | None,
        **settings: Any,
    ) -> None:
        """Set up a training.

        Args:
            args: As for `Trainer`.
            masks: Masked factors of the model.
            rates: Factor on the learning rate by layer.
            settings: As for `Trainer`.
        """
        super().__init__(*args, **settings)
        self._masks = masks
        self._rates = rates

    def create_optimizer(self, *args: Any, **settings: Any) -> torch.optim.Optimizer:
        """The optimizer that the arguments name, on free factors, at each layer's rate."""
        optimizer: torch.optim.Optimizer = super().create_optimizer(*args, **settings)
        if self._rates is not None:
            _split_by_layer(optimizer, self.model, self._rates)
        if self._masks is not None:
            self._masks.attach(optimizer)
        return optimizer

    def training_step(self, *args: Any, **settings: Any) -> torch.Tensor:
        """One batch forwards and backwards; the last of a step masks the gradients.

        Raises:
            NotFiniteError: before the optimiser has made a step of it.
        """
        loss: torch.Tensor = super().training_step(*args, **settings)
        step = self.state.global_step + 1
        if not math.isfinite(float(loss)):
            raise NotFiniteError(step, "loss")
        if self.accelerator.sync_gradients:
            if self._masks is not None:
                self._masks.mask_gradients()
            gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
            if not math.isfinite(float(torch.nn.utils.get_total_norm(gradients))):
                raise NotFiniteError(step, "gradient")
        return loss


class Watch(TrainerCallback):  # type: ignore[misc]
    """Keeps every step's figures and the time, also over sessions, and marks whole checkpoints."""

    def __init__(self, curve: Path, progress: Callable[[Step, int], None] | None) -> None:
        """Watch a training.

        Args:
            curve: `loss.csv`, written step by step.
            progress: Given each step's figures and the number of steps in all.
        """
        self.steps: list[Step] = []
        """Figures of every step so far."""
        self._curve = curve
        self._progress = progress
        self._before_s = 0.0
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        """Seconds spent training so far."""
        return self._before_s + time.monotonic() - self._began

    def on_train_begin(self, args: Any, state: Any, _control: Any, **_: Any) -> None:
        self.steps = [entry for entry in state.log_history if "loss" in entry]
        write_curve(self._curve, self.steps)
        marker = _checkpoint(args, state) / WHOLE
        self._before_s = float(marker.read_text()) if marker.exists() else 0.0
        self._began = time.monotonic()

    def on_log(self, _args: Any, state: Any, _control: Any, logs: Any = None, **_: Any) -> None:
        if logs and "loss" in logs:
            step = {**logs, "step": state.global_step}
            self.steps.append(step)
            append_step(self._curve, step)
            if self._progress is not None:
                self._progress(step, state.max_steps)

    def on_save(self, args: Any, state: Any, _control: Any, **_: Any) -> None:
        marker = _checkpoint(args, state) / WHOLE
        beside = marker.with_suffix(".part")
        beside.write_text(f"{self.seconds:.1f}")
        beside.replace(marker)


def whole_checkpoints(folder: Path) -> list[Path]:
    """Complete checkpoints of a training, oldest first."""
    found = [path.parent for path in folder.glob(f"checkpoint-*/{WHOLE}")]
    return sorted(found, key=step_of)


def _checkpoint(args: Any, state: Any) -> Path:
    return Path(args.output_dir) / f"checkpoint-{state.global_step}"


def step_of(checkpoint: Path) -> int:
    """The step after which a checkpoint was made."""
    return int(checkpoint.name.rsplit("-", 1)[1])


def _split_by_layer(
    optimizer: torch.optim.Optimizer, model: torch.nn.Module, rates: Mapping[int, float]
) -> None:
    """Give each layer's parameters a group of their own.

    The groups that there were stay, empty, so that the rate that is logged is the unscaled one.
    """
    layers = {
        parameter: layer_of(weight_of(name) or "")
        for name, parameter in model.named_parameters()
        if parameter.requires_grad
    }
    added = []
    for group in optimizer.param_groups:
        members: dict[float, list[torch.nn.Parameter]] = {}
        for parameter in group["params"]:
            layer = layers[parameter]
            rate = rates.get(layer, 1.0) if layer is not None else 1.0
            members.setdefault(rate, []).append(parameter)
        added += [
            {**group, "params": parameters, "lr": group["lr"] * rate}
            for rate, parameters in members.items()
        ]
        group["params"] = []
    optimizer.param_groups += added
