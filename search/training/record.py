"""Training record: everything that could change a trained adapter, and what came of it.

Records only, and the card made of them; trains nothing. `training.json` in an adapter's folder
holds a `TrainingRecord`; `TrainingPlan.key` names the folder of an adapter that a recipe trains.
"""

import hashlib
import json
import shlex
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from search.training.data import DataReport
from search.training.settings import TrainingSettings

RECORD_NAME = "training.json"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class DataFile(_Record):
    """One file that was learnt."""

    name: str
    """Its name without the folder."""
    sha256: str


class MaskPlan(_Record):
    """What the adapter may not learn."""

    mode: Literal["project", "scale_mask"]
    strength: float
    """Factor on the mask's strength."""
    rank: int
    """Directions of the subspace on each side; single weights may have less."""
    subspace_sha256: str
    """Of the file."""


class Libraries(_Record):
    """Versions of what trains."""

    torch: str
    transformers: str
    peft: str


class Machine(_Record):
    """What the last bits of an adapter depend on besides its plan."""

    device: str
    """`cpu`, or the GPU's name."""
    threads: int | None
    """Threads of a CPU, among which sums are split; None on a GPU."""


class TrainingPlan(_Record):
    """Everything that could change the adapter, but for the machine's last bits."""

    schema_version: Literal[1] = 1
    base_sha256: str
    """`Checkpoint.sha256` of the model that is adapted."""
    tokenizer_sha256: str
    """Of the tokenizer's files and the chat template."""
    data: tuple[DataFile, ...]
    settings: TrainingSettings
    """With the precision that `auto` stood for."""
    mask: MaskPlan | None
    importance: dict[int, float] | None
    """Importance by layer, 0 to 1, where the mask or the rates use it."""
    libraries: Libraries

    @property
    def key(self) -> str:
        """A hash that two trainings share when their adapters are the same."""
        matter = self.model_dump(mode="json")
        # a file's name says how it is read, the rest of it changes nothing
        matter["data"] = [[Path(file.name).suffix, file.sha256] for file in self.data]
        text = json.dumps(matter, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def differences(self, other: "TrainingPlan") -> list[str]:
        """Fields that differ, as `settings.r: mine != theirs`."""
        mine, theirs = _flat(self.model_dump(mode="json")), _flat(other.model_dump(mode="json"))
        return [
            f"{key}: {mine.get(key)} != {theirs.get(key)}"
            for key in sorted(mine.keys() | theirs.keys())
            if mine.get(key) != theirs.get(key)
        ]


class TrainingRecord(_Record):
    """`training.json`: a plan and what came of it."""

    plan: TrainingPlan
    base: str
    """What adapter_config.json calls the base."""
    onto: str | None = None
    """Hub id or folder, without the path, of the base itself; None where it was not kept."""
    subspace: str | None = None
    """Name of the subspace's file; None without a mask."""
    importance: str | None = None
    """Name of the file of the layers' importance; None where it was not used."""
    weighin: str
    """Version of weighin."""
    machine: Machine
    """Where it was trained, or trained last."""
    data: DataReport
    n_steps: int
    n_factors: int
    """LoRA factors, two for each adapted weight."""
    n_masked: int
    """Factors under a mask."""
    n_parameters: int
    """Trained parameters."""
    first_loss: float
    """At the first step."""
    last_loss: float
    """Mean over the last tenth of the steps."""
    protected_left: float | None
    """Norm of U^T D over that of D, of the saved delta over all masked weights; None without a
    mask, or without a delta."""
    protected_right: float | None
    """Norm of D V over that of D."""
    adapter_sha256: str
    """Of adapter_model.safetensors."""
    n_tokens: int | None = None
    """Tokens computed, each pass over the data counted; None where it was not kept."""
    seconds: float
    """Spent training, over all the sessions that it took."""


def command_of(record: TrainingRecord) -> str:
    """The command that trains such an adapter; files are named without their folders."""
    plan = record.plan
    words = ["weighin", "train", "--onto", record.onto or record.base]
    words += [] if record.onto in (None, record.base) else ["--base-name", record.base]
    for file in plan.data:
        words += ["--data", file.name]
    defaults = TrainingSettings().model_dump(mode="json")
    for name, value in plan.settings.model_dump(mode="json").items():
        if value == defaults[name]:
            continue
        flag = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            words.append(flag if value else flag.replace("--", "--no-", 1))
        elif isinstance(value, list):
            words += [flag, ",".join(str(part) for part in value)]
        else:
            words += [flag, f"{value:g}" if isinstance(value, float) else str(value)]
    if plan.mask is not None:
        words += ["--subspace", record.subspace or "SUBSPACE", "--mode", plan.mask.mode]
        words += ["--rank", str(plan.mask.rank)]
        words += [] if plan.mask.strength == 1 else ["--strength", f"{plan.mask.strength:g}"]
    if plan.importance is not None:
        words += ["--importance", record.importance or "IMPORTANCE"]
    return shlex.join([*words, "-o", "FOLDER"])


def card(record: TrainingRecord, name: str) -> str:
    """The adapter's README.md."""
    plan, settings, data = record.plan, record.plan.settings, record.data
    layers = "all" if settings.layers is None else ", ".join(str(n) for n in settings.layers)
    rows = {
        "data": ", ".join(f"{file.name} (SHA-256 {file.sha256[:16]})" for file in plan.data),
        "rows": f"{data.n_rows} of {data.n_tokens} tokens, {data.n_loss_tokens} with loss; "
        f"{data.n_cut} cut and {data.n_dropped} dropped at {settings.max_tokens} tokens",
        "LoRA": f"r {settings.r}, alpha {settings.alpha:g}, on {', '.join(settings.targets)}, "
        f"layers: {layers}",
        "optimiser": f"AdamW, learning rate {settings.learning_rate:g} ({settings.scheduler}), "
        f"weight decay {settings.weight_decay:g}, {settings.gradient_accumulation} batches of "
        f"{settings.batch_size} a step, seed {settings.seed}",
        "mask": _mask_line(record),
        "loss": f"{record.first_loss:.3f} at step 1, {record.last_loss:.3f} over the last tenth "
        "of the steps; every step in [loss.csv](loss.csv)",
        "took": f"{record.seconds:.0f} s, {record.n_steps} steps, {record.n_tokens} tokens",
        "made with": f"weighin {record.weighin}, torch {plan.libraries.torch}, transformers "
        f"{plan.libraries.transformers}, peft {plan.libraries.peft}, {settings.precision} on "
        f"{record.machine.device}",
    }
    table = "\n".join(f"| {key} | {value} |" for key, value in rows.items())
    return (
        f"---\nbase_model: {record.base}\nlibrary_name: peft\n---\n\n# {name}\n\n"
        f"A LoRA adapter for {record.base}, made with\n\n    {command_of(record)}\n\n"
        f"| | |\n| --- | --- |\n{table}\n\nEverything that could change it is in "
        f"[{RECORD_NAME}]({RECORD_NAME}).\n"
    )


def _mask_line(record: TrainingRecord) -> str:
    mask = record.plan.mask
    if mask is None:
        return "none"
    line = f"{mask.mode}, rank {mask.rank}, strength {mask.strength:g}, {record.n_masked} of "
    line += f"{record.n_factors} factors"
    if record.protected_left is not None and record.protected_right is not None:
        line += (
            f"; of the saved delta's norm {record.protected_left:.1e} lies in the protected "
            f"directions of the left and {record.protected_right:.1e} in those of the right side"
        )
    return line


def _flat(value: Any, at: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {at: value}
    found: dict[str, Any] = {}
    for key, inner in value.items():
        found |= _flat(inner, f"{at}.{key}" if at else str(key))
    return found
