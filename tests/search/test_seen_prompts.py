"""A build that was fitted on prompts says so, and a run and a comparison of it pass it on."""

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.comparison.compare import compare_runs
from harness.evaluate import Chat
from harness.prompts import load_prompt_set
from harness.seen_prompts import text_sha256
from harness.settings import EngineSettings
from harness.tasks import load_tasks
from harness.weigh import weigh
from search.build import build
from search.recipe import Recipe
from search.tensors.checkpoint import Checkpoint
from tests.search.masks import make_fisher

TURNS = "{{ bos_token }}{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"


@pytest.mark.model
def test_fisher_prompts_go_from_the_file_to_the_comparison(
    checkpoint_of: Callable[..., Path],
    adapter_of: Callable[..., Path],
    baseline_of: Callable[..., Path],
    tmp_path: Path,
) -> None:
    it = checkpoint_of("llama")
    base = baseline_of(it, "Q8_0")
    asked = load_prompt_set("mini", limit=2)
    fisher = tmp_path / "fisher.safetensors"
    seen = [text_sha256(asked.prompts[0]), "0" * 64]
    make_fisher(fisher, Checkpoint(it), prompt_texts_sha256=seen)
    recipe = Recipe.model_validate(
        {
            "it": str(it),
            "baseline": str(base),
            "adapters": [str(adapter_of(it))],
            "fisher": str(fisher),
        }
    )
    build(recipe, {"s": 0.5}, tmp_path / "out.gguf")
    first, second = (
        weigh(
            model,
            load_tasks(["mini"], limit=2, max_tokens=4),
            tmp_path / name,
            settings=EngineSettings(parallel=2, threads=1),
            chat=Chat(template=TURNS),
        )
        for name, model in (("base", base), ("built", tmp_path / "out.gguf"))
    )
    assert first.header().fisher_prompts == ()
    assert second.header().fisher_prompts == tuple(seen)
    notes = compare_runs(first, second).notes
    told = (
        f"built: 1 of the 2 evaluated prompts are Fisher prompts (first mini/{asked.prompts[0].id})"
    )
    assert any(note.startswith(told) for note in notes), notes
