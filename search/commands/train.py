"""`weighin train`: parse, call, print."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from harness.console import JsonFlag, note, print_json, print_rich
from harness.options import Threads
from search.errors import TrainingError
from search.training.settings import SAVE_EVERY

if TYPE_CHECKING:
    from search.recipe_ingredients import Mask
    from search.training.record import TrainingRecord
    from search.training.settings import TrainingSettings
    from search.training.task import TrainingTask


def train(
    recipe: Annotated[
        Path | None, typer.Argument(help="Recipe (YAML) with `heal.train`; flags go over it.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The adapter's folder [where a search looks]."),
    ] = None,
    onto: Annotated[
        str | None, typer.Option(help="Folder or hub id of the model to adapt.")
    ] = None,
    data: Annotated[
        list[Path] | None, typer.Option(help="JSON Lines of messages or text, or .txt; repeatable.")
    ] = None,
    subspace: Annotated[Path | None, typer.Option(help="Directions to protect.")] = None,
    mode: Annotated[
        str | None, typer.Option(help="project: none of them is learnt; scale_mask: by importance.")
    ] = None,
    rank: Annotated[int | None, typer.Option(min=0, help="Directions to protect [all].")] = None,
    strength: Annotated[
        float | None, typer.Option(min=0, max=1, help="Factor on the mask's strength [1].")
    ] = None,
    importance: Annotated[
        Path | None, typer.Option(help="layer_importance.json, or a Fisher file.")
    ] = None,
    layer_lr: Annotated[
        float | None, typer.Option(help="k: a layer learns at (1 - k * importance) [0].")
    ] = None,
    r: Annotated[int | None, typer.Option("--r", help="Rank of the factors [16].")] = None,
    alpha: Annotated[float | None, typer.Option(help="LoRA's alpha [32].")] = None,
    dropout: Annotated[float | None, typer.Option(help="Of the factors' inputs [0].")] = None,
    targets: Annotated[
        str | None, typer.Option(help="Comma-separated linear layers [attention and MLP].")
    ] = None,
    layers: Annotated[str | None, typer.Option(help="Such as 0-11,20 [all].")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="[7e-6]")] = None,
    scheduler: Annotated[
        str | None, typer.Option(help="linear, cosine, constant... [linear]")
    ] = None,
    warmup: Annotated[float | None, typer.Option(help="Share of the steps [0].")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="AdamW's [0].")] = None,
    max_grad_norm: Annotated[float | None, typer.Option(help="0 leaves gradients [1].")] = None,
    epochs: Annotated[float | None, typer.Option(help="[1]")] = None,
    max_steps: Annotated[int | None, typer.Option(help="In all, over --epochs.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Rows at once [1].")] = None,
    gradient_accumulation: Annotated[int | None, typer.Option(help="Batches per step [8].")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Longest row [6144].")] = None,
    too_long: Annotated[str | None, typer.Option(help="cut or drop longer rows [cut].")] = None,
    learn_end: Annotated[
        bool | None, typer.Option(help="Whether the end of an answer is learnt [yes].")
    ] = None,
    precision: Annotated[
        str | None, typer.Option(help="float32 or bf16 [bf16 on a GPU, float32 on a CPU].")
    ] = None,
    gradient_checkpointing: Annotated[
        bool | None, typer.Option(help="Less memory, a third more time [no].")
    ] = None,
    save_dtype: Annotated[str | None, typer.Option(help="float32 or bf16 [float32].")] = None,
    seed: Annotated[int | None, typer.Option(help="[0]")] = None,
    save_every: Annotated[int, typer.Option(min=1, help="Steps between checkpoints.")] = SAVE_EVERY,
    base_name: Annotated[
        str | None, typer.Option(help="What the adapter calls its base [hub id or folder's name].")
    ] = None,
    threads: Threads = None,
    json: JsonFlag = False,
) -> None:
    """Train a LoRA adapter, masked or not; the same command goes on where it stopped."""
    chosen = {
        "layer_lr": layer_lr,
        "r": r,
        "alpha": alpha,
        "dropout": dropout,
        "targets": None if targets is None else tuple(targets.split(",")),
        "layers": None if layers is None else parse_layers(layers),
        "learning_rate": learning_rate,
        "scheduler": scheduler,
        "warmup": warmup,
        "weight_decay": weight_decay,
        "max_grad_norm": max_grad_norm,
        "epochs": epochs,
        "max_steps": max_steps,
        "batch_size": batch_size,
        "gradient_accumulation": gradient_accumulation,
        "max_tokens": max_tokens,
        "too_long": too_long,
        "learn_end": learn_end,
        "precision": precision,
        "gradient_checkpointing": gradient_checkpointing,
        "save_dtype": save_dtype,
        "seed": seed,
    }
    from search.training.progress import TrainingProgress
    from search.training.training import train as train_adapter

    places = {
        "base": onto,
        "data": None if data is None else tuple(data),
        "subspace": subspace,
        "rank": rank,
        "importance": importance,
        "threads": threads,
        "base_name": base_name,
    }
    wanted = _Wanted(_given(chosen), _given({"mode": mode, "strength": strength}), _given(places))
    task, folder = _task(wanted) if recipe is None else _recipe_task(recipe, wanted)
    folder = out or folder
    if folder is None:
        raise TrainingError("nowhere to write the adapter; name a folder with --out")
    with TrainingProgress(folder.name) as progress:
        record = train_adapter(task, folder, save_every=save_every, progress=progress)
    _show(record, folder, as_json=json)


def parse_layers(text: str) -> tuple[int, ...]:
    """Layers as a command line gives them: `0-3,7`.

    Raises:
        TrainingError: something that is no number and no range.
    """
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise TrainingError(f"--layers {text!r}: {part!r} is no layer; write such as 0-11,20")
        found += range(int(first), int(last or first) + 1)
    return tuple(sorted(set(found)))


@dataclass(frozen=True)
class _Wanted:
    """What the flags say: fields of TrainingSettings, of Mask and of TrainingTask."""

    settings: dict[str, Any]
    mask: dict[str, Any]
    places: dict[str, Any]


def _given(flags: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in flags.items() if value is not None}


def _task(wanted: _Wanted) -> "tuple[TrainingTask, None]":
    """What flags alone ask for."""
    from search.training.task import TrainingTask

    if "base" not in wanted.places or not wanted.places.get("data"):
        raise TrainingError("name the model with --onto and what to learn with --data, or a recipe")
    for name in (*wanted.mask, *(["rank"] if "rank" in wanted.places else [])):
        if "subspace" not in wanted.places:
            raise TrainingError(f"--{name} needs a subspace; name its file (--subspace)")
    settings, mask = _checked(wanted, {}, {} if "subspace" in wanted.places else None)
    return TrainingTask(settings=settings, mask=mask, **wanted.places), None


def _recipe_task(path: Path, wanted: _Wanted) -> "tuple[TrainingTask, Path]":
    """What a recipe asks for, flags put over it, and the folder where a search looks for it."""
    from search.recipe_file import load_recipe
    from search.tensors.checkpoint import open_checkpoint
    from search.training.trained_heal import TrainedHeal

    recipe = load_recipe(path)
    heal = recipe.heal
    if heal is None or heal.train is None:
        raise TrainingError(f"{path}: heal has no `train` section that says what to learn; add one")
    base = recipe.pt if heal.onto == "pt" else recipe.it
    assert base is not None
    trained = TrainedHeal(recipe, open_checkpoint(base), may_train=True)
    rank = wanted.places.get("rank", recipe.merge.rank)
    task = trained.task(rank)
    mask: dict[str, Any] | None = None
    if task.mask is not None:
        mask = task.mask.model_dump()
    elif wanted.mask or "subspace" in wanted.places:
        mask = {}
    settings, changed = _checked(wanted, task.settings.model_dump(), mask)
    task = replace(task, **{**wanted.places, "settings": settings, "mask": changed})
    return task, trained.folder(task)


def _checked(
    wanted: _Wanted, settings: dict[str, Any], mask: dict[str, Any] | None
) -> "tuple[TrainingSettings, Mask | None]":
    """Settings and mask with the flags put over them; None leaves the factors free."""
    from pydantic import ValidationError

    from search.recipe_ingredients import Mask
    from search.training.settings import TrainingSettings

    try:
        full = TrainingSettings.model_validate({**settings, **wanted.settings})
        if mask is None:
            return full, None
        return full, Mask.model_validate({**mask, **wanted.mask, "apply": "train"})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = "--" + str(first["loc"][0]).replace("_", "-")
        raise TrainingError(f"{name} {first['input']}: {first['msg'].lower()}") from None


def _show(record: "TrainingRecord", out: Path, *, as_json: bool) -> None:
    if as_json:
        print_json({"adapter": str(out), **record.model_dump(mode="json")})
        return
    from rich.text import Text

    from search.training.loss_curve import draw_curve, read_losses

    data = record.data
    left_out = data.n_dropped + data.n_without_loss
    print_rich(
        Text(draw_curve(read_losses(out / "loss.csv"))),
        f"{out}: {record.n_steps} steps, loss {record.first_loss:.3f} at the first, "
        f"{record.last_loss:.3f} over the last tenth; {record.seconds:.0f} s",
        f"{data.n_rows} of {data.n_read} rows, {data.n_cut} cut, {left_out} left out; "
        f"{data.n_tokens} tokens, {data.n_loss_tokens} with loss",
    )
    if record.n_masked:
        print_rich(f"{record.n_masked} of {record.n_factors} factors under the mask")
    note(f"sha256 {record.adapter_sha256}")
