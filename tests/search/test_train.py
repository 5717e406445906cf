"""Training on small real models: equal to PEFT's own, masked, killed and gone on with."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from search.errors import TrainingError
from search.merging.adapter import open_adapter
from search.merging.factors import Factors
from search.recipe_ingredients import Mask
from search.tensors.checkpoint import Checkpoint, open_checkpoint
from search.training.folder import begin
from search.training.settings import TrainingSettings
from search.training.task import TrainingTask
from search.training.trainer import WHOLE
from search.training.training import read_record, train
from tests.search.masks import make_fisher, make_subspace
from tests.search.models import CHAT_TEMPLATE, CORPUS, peft_quiet

ROOT = Path(__file__).parents[2]
TARGETS = ("q_proj", "o_proj", "down_proj")
SETTINGS = TrainingSettings(
    r=4,
    alpha=8,
    targets=TARGETS,
    learning_rate=1e-2,
    weight_decay=0.1,
    warmup=0.2,
    gradient_accumulation=2,
)
PathMaker = Callable[..., Path]


def write_chats(path: Path, n: int = 12) -> Path:
    """Conversations of different lengths."""
    words = [*CORPUS[0].split(), "while", "zebras", "vex"]
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"say {words[i % 7]}"},
                {"role": "assistant", "content": " ".join(words[: 3 + i % 9])},
            ]
        }
        for i in range(n)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture(scope="module")
def models(checkpoint_of: PathMaker) -> Callable[[str], tuple[Path, Path]]:
    """IT and PT of a family, with a chat template."""

    def get(family: str) -> tuple[Path, Path]:
        pair = checkpoint_of(family), checkpoint_of(family, seed=5)
        for folder in pair:
            (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
        return pair

    return get


@pytest.fixture(scope="module")
def masks(
    models: Callable[[str], tuple[Path, Path]], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """The subspace of a family's IT and PT, stored in bfloat16 as a user may have it."""

    def get(family: str) -> Path:
        path = tmp_path_factory.mktemp("mask") / f"{family}.safetensors"
        it, pt = (Checkpoint(folder) for folder in models(family))
        make_subspace(path, it, pt, rank=32)
        from safetensors import safe_open

        with safe_open(path, "pt") as file:
            metadata = file.metadata()
        save_file(
            {name: t.to(torch.bfloat16) for name, t in load_file(path).items()}, path, metadata
        )
        return path

    return get


@pytest.fixture
def task(models: Callable[[str], tuple[Path, Path]], tmp_path: Path) -> TrainingTask:
    """An unmasked adapter for PT of the Llama pair."""
    data = write_chats(tmp_path / "chats.jsonl")
    return TrainingTask(str(models("llama")[1]), (data,), SETTINGS, threads=1)


def leaks(adapter: Path, base: Path, subspace: Path, rank: int) -> tuple[float, float]:
    """Shares of the learnt delta's norm along the stored directions, in float64."""
    stored = load_file(subspace)
    opened = open_adapter(str(adapter), Checkpoint(base))
    whole = left = right = 0.0
    for name in opened.names:
        factors = opened.factors(name)
        delta = factors.left.double() @ factors.right.double()
        u = torch.linalg.qr(stored[f"{name}.U"][:rank].double().T)[0]
        v = torch.linalg.qr(stored[f"{name}.V"][:rank].double().T)[0]
        whole += float(delta.square().sum())
        left += float((u.T @ delta).square().sum())
        right += float((delta @ v).square().sum())
    return (left / whole) ** 0.5, (right / whole) ** 0.5


def plain_run(task: TrainingTask, folder: Path) -> tuple[list[float], dict[str, torch.Tensor]]:
    """The same training by PEFT and transformers alone; returns losses and the adapter."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, PrinterCallback, Trainer, TrainingArguments
    from transformers import set_seed as seed_all

    from search.training.data import collate, read_rows
    from search.training.setup import reading_of

    torch.set_num_threads(1)
    base = AutoModelForCausalLM.from_pretrained(task.base, dtype=torch.float32)
    base.config.use_cache = False
    seed_all(0)
    config = LoraConfig(r=4, lora_alpha=8, target_modules=list(TARGETS), task_type="CAUSAL_LM")
    with peft_quiet():
        model = get_peft_model(base, config)
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(folder),
            per_device_train_batch_size=1,
            gradient_accumulation_steps=2,
            num_train_epochs=1,
            learning_rate=1e-2,
            weight_decay=0.1,
            warmup_steps=0.2,
            seed=0,
            logging_steps=1,
            save_strategy="no",
            use_cpu=True,
            dataloader_pin_memory=False,
            remove_unused_columns=False,
            label_names=["labels"],
            disable_tqdm=True,
            report_to="none",
        ),
        train_dataset=read_rows(task.data, reading_of(task))[0],
        data_collator=collate,
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    model.save_pretrained(folder / "adapter", save_embedding_layers=False)
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return losses, load_file(folder / "adapter" / "adapter_model.safetensors")


@pytest.mark.parametrize("mask", [None, Mask(apply="train", strength=0.0)])
def test_without_strength_it_is_peft_s_own_run_step_for_step(
    task: TrainingTask, masks: Callable[[str], Path], tmp_path: Path, mask: Mask | None
) -> None:
    losses: list[float] = []
    ours = replace(task, mask=mask, subspace=masks("llama") if mask is not None else None)
    train(ours, tmp_path / "ours", progress=lambda step, _: losses.append(step["loss"]))
    theirs, adapter = plain_run(task, tmp_path / "plain")
    assert losses == theirs
    assert len(losses) == 6
    assert losses[-1] < losses[0]
    mine = load_file(tmp_path / "ours" / "adapter_model.safetensors")
    assert mine.keys() == adapter.keys()
    assert all(torch.equal(mine[name], adapter[name]) for name in mine)


@pytest.mark.parametrize("family", ["llama", "gemma4", "gemma4-multimodal"])
def test_a_projected_adapter_has_nothing_of_the_subspace(
    models: Callable[[str], tuple[Path, Path]],
    masks: Callable[[str], Path],
    tmp_path: Path,
    family: str,
) -> None:
    it, _ = models(family)
    subspace = masks(family)
    data = write_chats(tmp_path / "chats.jsonl", 4)
    free = TrainingTask(str(it), (data,), SETTINGS, threads=1)
    masked = replace(free, mask=Mask(apply="train"), subspace=subspace, rank=24)
    record = train(masked, tmp_path / "masked")
    assert record.n_masked == record.n_factors == 2 * len(TARGETS) * free.checkpoint.n_layers
    assert max(leaks(tmp_path / "masked", it, subspace, 24)) < 1e-6
    assert record.protected_left is not None
    assert record.protected_left < 1e-6
    # directions beyond the rank are free
    assert min(leaks(tmp_path / "masked", it, subspace, 32)) > 0.05
    train(free, tmp_path / "free")
    assert min(leaks(tmp_path / "free", it, subspace, 24)) > 0.05


def test_a_multimodal_checkpoint_trains_as_its_text_model(
    models: Callable[[str], tuple[Path, Path]], tmp_path: Path
) -> None:
    data = write_chats(tmp_path / "chats.jsonl", 4)
    shas = [
        train(
            TrainingTask(str(models(family)[0]), (data,), SETTINGS, threads=1), tmp_path / family
        ).adapter_sha256
        for family in ("gemma4", "gemma4-multimodal")
    ]
    assert shas[0] == shas[1]


def test_scale_mask_goes_by_the_layers_importance(
    task: TrainingTask, masks: Callable[[str], Path], tmp_path: Path
) -> None:
    importance = tmp_path / "layer_importance.json"
    importance.write_text("[3.0, 1.0]")  # layer 0 is wholly protected, layer 1 not at all
    subspace, base = masks("llama"), Path(task.base)
    scaled = replace(
        task,
        mask=Mask(mode="scale_mask", apply="train"),
        subspace=subspace,
        importance=importance,
    )
    record = train(scaled, tmp_path / "scaled")
    assert (record.n_masked, record.n_factors) == (6, 12)
    assert record.plan.importance == {0: 1.0, 1: 0.0}
    checkpoint, stored = Checkpoint(base), load_file(subspace)
    opened = open_adapter(str(tmp_path / "scaled"), checkpoint)
    for layer, within in ((0, (0, 1e-6)), (1, (0.05, 1))):
        name = f"model.layers.{layer}.self_attn.q_proj.weight"
        delta = opened.factors(name)
        u = torch.linalg.qr(stored[f"{name}.U"].float().T)[0]
        inside = Factors(u.T @ delta.left, delta.right).squared_norm() ** 0.5
        assert within[0] <= inside / delta.squared_norm() ** 0.5 <= within[1]


def test_rates_by_layer(task: TrainingTask, tmp_path: Path) -> None:
    importance = tmp_path / "layer_importance.json"
    importance.write_text(json.dumps({"layers": {"layer_0": 1.0, "layer_1": 5.0}}))
    rated = replace(
        task, settings=SETTINGS.model_copy(update={"layer_lr": 1.0}), importance=importance
    )
    rates: list[float] = []
    train(rated, tmp_path / "rated", progress=lambda step, _: rates.append(step["learning_rate"]))
    factors = load_file(tmp_path / "rated" / "adapter_model.safetensors")
    moved = {name: bool(t.any()) for name, t in factors.items() if "lora_B" in name}
    assert all(is_moved == (".layers.0." in name) for name, is_moved in moved.items())
    assert max(rates) == 1e-2  # what is logged is the unscaled rate


def test_a_trained_adapter_is_found_again(task: TrainingTask, tmp_path: Path) -> None:
    out = tmp_path / "adapter"
    record = train(task, out)
    assert sorted(path.name for path in out.iterdir()) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "loss.csv",
        "training.json",
    ]
    assert read_record(out) == record
    assert (out / "loss.csv").read_text().count("\n") == 1 + record.n_steps
    assert "weighin train --onto" in (out / "README.md").read_text()
    assert list(tmp_path.glob(".*")) == []
    stamp = (out / "adapter_model.safetensors").stat().st_mtime_ns
    assert train(task, out) == record
    assert (out / "adapter_model.safetensors").stat().st_mtime_ns == stamp
    other = replace(task, settings=SETTINGS.model_copy(update={"seed": 1}))
    assert train(other, out).adapter_sha256 != record.adapter_sha256


KILLED = """
import os, signal, sys
from pathlib import Path
from search.training.training import train
from tests.search.test_train import SETTINGS, TrainingTask

def kill(step, n_steps):
    if step["step"] == 5:
        os.kill(os.getpid(), signal.SIGKILL)

task = TrainingTask(sys.argv[1], (Path(sys.argv[2]),), SETTINGS, threads=1)
train(task, Path(sys.argv[3]), save_every=2, progress=kill)
"""


def test_killed_it_goes_on_to_the_same_bytes(
    task: TrainingTask, masks: Callable[[str], Path], tmp_path: Path
) -> None:
    whole = train(task, tmp_path / "whole")
    out = tmp_path / "killed"
    done = subprocess.run(
        [sys.executable, "-c", KILLED, task.base, str(task.data[0]), str(out)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not out.exists()
    run = tmp_path / "killed.training"
    assert (run / "checkpoint-4" / WHOLE).exists()
    # as if it had been killed in the middle of the next checkpoint
    (run / "checkpoint-6").mkdir()
    (run / "checkpoint-6" / "trainer_state.json").write_text("{")
    steps: list[float] = []
    record = train(task, out, progress=lambda step, _: steps.append(step["step"]))
    assert steps == [5, 6]
    assert record.adapter_sha256 == whole.adapter_sha256
    assert record.n_steps == 6
    assert (out / "loss.csv").read_bytes() == (tmp_path / "whole" / "loss.csv").read_bytes()
    assert not run.exists()


class StoppedError(Exception):
    """As Ctrl-C would."""


def test_a_masked_training_over_epochs_goes_on_to_the_same_bytes(
    task: TrainingTask, masks: Callable[[str], Path], tmp_path: Path
) -> None:
    importance = tmp_path / "layer_importance.json"
    importance.write_text("[0.5, 1.0]")
    settings = SETTINGS.model_copy(update={"epochs": 2.0, "dropout": 0.1, "layer_lr": 0.5})
    masked = replace(
        task,
        settings=settings,
        mask=Mask(mode="scale_mask", apply="train", strength=0.6),
        subspace=masks("llama"),
        importance=importance,
    )
    whole = train(masked, tmp_path / "whole")

    def stop(step: Any, _: int) -> None:
        if step["step"] == 9:
            raise StoppedError

    with pytest.raises(StoppedError):
        train(masked, tmp_path / "stopped", save_every=4, progress=stop)
    assert not (tmp_path / "stopped").exists()
    with pytest.raises(TrainingError, match=r"another training .*settings\.seed"):
        train(
            replace(masked, settings=settings.model_copy(update={"seed": 3})),
            tmp_path / "stopped",
        )
    record = train(masked, tmp_path / "stopped", save_every=4)
    assert record.n_steps == 12
    assert record.adapter_sha256 == whole.adapter_sha256


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(
    task: TrainingTask, tmp_path: Path
) -> None:
    wild = SETTINGS.model_copy(update={"learning_rate": 1e30, "warmup": 0.5, "max_grad_norm": 0.0})
    with pytest.raises(TrainingError) as caught:
        train(replace(task, settings=wild), tmp_path / "wild", save_every=1)
    message = str(caught.value)
    # the rate rises from 0, so that the first step is good and the second leads out of range
    assert "not finite at step 3" in message
    assert "lower learning_rate" in message
    kept = tmp_path / "wild.training" / "checkpoint-1"
    assert str(kept) in message
    factors = load_file(kept / "adapter_model.safetensors").values()
    assert all(bool(torch.isfinite(t).all()) for t in factors)
    assert not (kept.parent / "checkpoint-2").exists()
    assert not (tmp_path / "wild").exists()


def test_what_a_kill_at_the_very_end_left_is_removed(task: TrainingTask, tmp_path: Path) -> None:
    out, left = tmp_path / "adapter", tmp_path / "adapter.training"
    record = train(task, out)
    begin(left, task.plan)
    assert train(task, out) == record
    assert not left.exists()
    other = change(task, seed=1)
    begin(left, other.plan)  # another one that was broken off stays
    assert train(task, out) == record
    assert left.exists()


def test_two_that_want_the_same_adapter_train_it_once(task: TrainingTask, tmp_path: Path) -> None:
    steps: list[float] = []
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(
            lambda _: train(
                replace(task), tmp_path / "one", progress=lambda step, _: steps.append(step["step"])
            ),
            range(2),
        )
    assert first == second
    assert steps == [1, 2, 3, 4, 5, 6]


def test_activations_computed_twice_change_nothing(task: TrainingTask, tmp_path: Path) -> None:
    once = train(task, tmp_path / "once")
    twice = train(change(task, gradient_checkpointing=True), tmp_path / "twice")
    assert twice.adapter_sha256 == once.adapter_sha256


def test_bf16_on_a_cpu(task: TrainingTask, tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"precision": "bf16", "save_dtype": "bf16"})
    record = train(replace(task, settings=settings), tmp_path / "half")
    factors = load_file(tmp_path / "half" / "adapter_model.safetensors")
    assert {t.dtype for t in factors.values()} == {torch.bfloat16}
    assert record.last_loss < record.first_loss
    assert open_adapter(str(tmp_path / "half"), task.checkpoint).names


def test_a_lack_of_memory_says_what_to_lower(
    task: TrainingTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from search.training.trainer import MaskedTrainer

    def fail(*_: Any, **__: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 MiB")

    monkeypatch.setattr(MaskedTrainer, "training_step", fail)
    large = SETTINGS.model_copy(update={"batch_size": 4})
    with pytest.raises(TrainingError, match=r"not enough memory .*lower batch_size \(now 4\)"):
        train(replace(task, settings=large), tmp_path / "large")
    with pytest.raises(TrainingError, match="lower max_tokens"):
        train(task, tmp_path / "one")


@pytest.mark.parametrize(
    ("free", "says"),
    [(10**6, "the weights alone take"), (9 * 10**6, r"GB at least.*lower batch_size \(now 64\)")],
)
def test_what_cannot_fit_is_refused_before_it_is_loaded(
    task: TrainingTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, says: str
) -> None:
    monkeypatch.setattr("search.training.memory.free_memory", lambda _: free)
    large = SETTINGS.model_copy(update={"batch_size": 64})
    with pytest.raises(TrainingError, match=says):
        train(replace(task, settings=large), tmp_path / "large")
    assert not (tmp_path / "large.training").exists()


def change(task: TrainingTask, **settings: Any) -> TrainingTask:
    return replace(task, settings=task.settings.model_copy(update=settings))


def test_what_does_not_fit_together(
    task: TrainingTask,
    masks: Callable[[str], Path],
    models: Callable[[str], tuple[Path, Path]],
    tmp_path: Path,
) -> None:
    out, mask = tmp_path / "out", Mask(apply="train")
    it, pt = (open_checkpoint(str(folder)) for folder in models("llama"))
    few = tmp_path / "few.safetensors"
    make_subspace(few, it, pt, names=["model.layers.0.self_attn.k_proj.weight"])
    with pytest.raises(TrainingError, match=r"protects none .*layers 0 to 1.*k_proj in layers 0"):
        train(replace(task, mask=mask, subspace=few), out)
    alien = masks("gemma4")
    with pytest.raises(TrainingError, match="neither its IT nor its PT"):
        train(replace(task, mask=mask, subspace=alien), out)
    scaled = replace(task, mask=Mask(mode="scale_mask", apply="train"), subspace=masks("llama"))
    with pytest.raises(TrainingError, match="scale_mask takes its strength"):
        train(scaled, out)
    equal = tmp_path / "equal.json"
    equal.write_text("[1, 1]")
    with pytest.raises(TrainingError, match="would protect nothing"):
        train(replace(scaled, importance=equal), out)
    three = tmp_path / "three.json"
    three.write_text("[1, 2, 3]")
    with pytest.raises(Exception, match="has 3 layers, the model 2"):
        train(replace(scaled, importance=three), out)
    fisher = tmp_path / "fisher.safetensors"
    make_fisher(fisher, Checkpoint(models("gemma4")[0]))
    with pytest.raises(TrainingError, match="covers 3 layers, the model has 2"):
        train(replace(scaled, importance=fisher), out)
    with pytest.raises(Exception, match="beyond the 32 directions"):
        train(replace(task, mask=mask, subspace=masks("llama"), rank=33), out)
    with pytest.raises(TrainingError, match="layer 2 is asked for"):
        train(change(task, layers=(0, 2)), out)
    with pytest.raises(TrainingError, match=r"has a 'query'; there are .*q_proj"):
        train(change(task, targets=("query",)), out)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("dear")
    with pytest.raises(TrainingError, match="is no adapter"):
        train(task, tmp_path / "other")
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="cannot make"):
        train(task, tmp_path / "file" / "adapter")
    assert not out.exists()
    assert list(tmp_path.glob(".*")) == []
