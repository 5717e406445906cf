"""Studies whose trials were written down, with runs of which it is known who passes what."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from optuna.distributions import FloatDistribution
from optuna.trial import create_trial

from harness.prompts import PromptSet, prompt_from_row
from harness.runs import Completion, Run, TaskSettings
from harness.scoring import score_run
from harness.settings import GREEDY
from search.recipe import Recipe
from search.study.study import Study, default_url, load_study, open_study
from tests.harness.test_runs import header

METRIC = "asked.prompt_level_strict_acc"


def passes_run(folder: Path, passes: str) -> Run:
    """A run whose answers keep the instruction where `passes` has a 1."""
    asked = PromptSet(
        name="asked",
        kind="ifeval",
        prompts=tuple(
            prompt_from_row(
                {
                    "id": f"{n:03}",
                    "prompt": f"Tell me of {n}.",
                    "instruction_id_list": ["punctuation:no_comma"],
                }
            )
            for n in range(len(passes))
        ),
    )
    task = TaskSettings(
        name="asked",
        kind="ifeval",
        prompts_sha256=asked.sha256,
        n_prompts=len(passes),
        samples=1,
        sampling=GREEDY,
    )
    run = Run(folder)
    run.write_header(header().model_copy(update={"tasks": (task,)}))
    run.write_prompts([asked])
    run.write_completions(
        Completion(
            task="asked",
            prompt_id=prompt.id,
            sample=0,
            text="no comma here" if passed == "1" else "one, two",
            n_prompt_tokens=7,
            n_tokens=3,
            stop_reason="eos",
        )
        for prompt, passed in zip(asked.prompts, passes, strict=True)
    )
    score_run(run)
    return run


def written(folder: Path, trials: Sequence[dict[str, Any]], **search: Any) -> Study:
    """A study of trials at `s` = 0.3, 0.4, ..., the first of which is the recipe's own.

    Args:
        folder: Its folder, with the storage in it.
        trials: Of each `value`, and what else Optuna's `create_trial` and the row want.
        search: More of the recipe's section.
    """
    folder.mkdir(parents=True, exist_ok=True)
    recipe = Recipe.model_validate(
        {
            "it": "it",
            "baseline": "it.gguf",
            "adapters": ["a"],
            "merge": {"s": 0.3},
            "search": {
                "space": {"s": [0.0, 1.0]},
                "subject_to": [],
                "maximize": METRIC,
                **search,
            },
        }
    )
    study = open_study(
        recipe,
        name="written",
        storage=default_url(folder),
        parts={"it": "sha256 " + "1" * 64},
        n_trials=len(trials),
        default_storage=True,
    )
    study.record.write(folder)
    for number, given in enumerate(trials):
        kept = {"build": f"{number:016x}", "sha256": f"{number:064x}", "run": f"{number:016x}-q"}
        study.optuna_study().add_trial(
            create_trial(
                params={"s": round(0.3 + 0.1 * number, 1)},
                distributions={"s": FloatDistribution(0.0, 1.0)},
                values=given["values"],
                constraints=given.get("constraints"),
                user_attrs=kept | given.get("kept", {}),
            )
        )
    return load_study(folder)
