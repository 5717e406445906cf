"""How long a report takes, step by step, and what it weighs.

Four runs of IFEval's 541 prompts and 30 prose prompts, without a model: IFEval answers are GPT-4's
published ones, changed at random for the candidates; prose is four models' published answers.

    python benchmarks/report.py --data ../shared/data
"""

import argparse
import json
import random
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from harness.chat import TEMPLATE_DATE
from harness.machine import these_versions, this_machine
from harness.prompts import Message, Prompt, PromptSet, load_prompt_set
from harness.report.browser import exchanges
from harness.report.contents import document_on
from harness.report.page import render
from harness.report.subject import Subject, matter_of
from harness.runs import ChatSettings, Completion, ModelFacts, Run, RunHeader, TaskSettings
from harness.scoring import score_run
from harness.settings import GREEDY, PROSE, EngineSettings
from metrics.lexicon import default_lexicon

CHANGED = (0.0, 0.15, 0.35, 0.6)
"""Share of IFEval answers that each run changes; the first is the baseline."""

T = TypeVar("T")


def main() -> None:
    """Make the runs, then the report, and print what each step took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="Folder of the published answers.")
    parser.add_argument("--out", type=Path, help="Keep the page there.")
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        runs = make_runs(arguments.data, Path(folder))
        subjects = [Subject(run, run.name) for run in runs]
        took: dict[str, float] = {}
        matter = timed(took, "compare", lambda: matter_of(subjects[0], subjects[1:]))
        document = timed(took, "sections", lambda: document_on(matter))
        found = timed(took, "texts and marks", lambda: exchanges(matter, default_lexicon()))
        html = timed(took, "page", lambda: render(document, matter.names, found))
    if arguments.out is not None:
        arguments.out.write_text(html, "utf-8")
    total = sum(took.values())
    for step, seconds in took.items():
        print(f"{step:16} {seconds:5.1f} s {100 * seconds / total:5.0f} %")
    print(f"{'all':16} {total:5.1f} s, {len(html.encode()) / 1e6:.2f} MB, {len(found)} prompts")


def timed(took: dict[str, float], step: str, call: Callable[[], T]) -> T:
    """The call's value; its seconds go into `took`."""
    began = time.perf_counter()
    value = call()
    took[step] = time.perf_counter() - began
    return value


def make_runs(data: Path, folder: Path) -> list[Run]:
    """A baseline and its candidates, scored, from published answers."""
    asked = load_prompt_set("ifeval", ifeval_data=data / "ifeval" / "input_data.jsonl")
    published = data / "ifeval" / "input_response_data_gpt4_20231107_145030.jsonl"
    said = [json.loads(line)["response"] for line in published.read_text("utf-8").splitlines()]
    models = json.loads((data / "prose" / "model_texts.json").read_text("utf-8"))
    told = PromptSet(
        name="prose",
        kind="prose",
        prompts=tuple(
            Prompt(
                id=str(row["prompt_index"]),
                messages=(Message(role="user", content=row["prompt"]),),
            )
            for row in next(iter(models.values()))
        ),
    )
    runs = []
    for index, (share, model) in enumerate(zip(CHANGED, models, strict=False)):
        rng = random.Random(index)
        stories = {str(row["prompt_index"]): row["output"] for row in models[model]}
        run = Run(folder / f"run-{index}")
        run.write_header(header(asked, told))
        run.write_prompts([asked, told])
        answers = [
            *(
                (asked, p, changed(text, share, rng))
                for p, text in zip(asked.prompts, said, strict=True)
            ),
            *((told, p, stories[p.id]) for p in told.prompts),
        ]
        run.write_completions(
            Completion(
                task=prompts.name,
                prompt_id=prompt.id,
                sample=0,
                text=text,
                n_prompt_tokens=1,
                n_tokens=len(text.split()),
                stop_reason="eos",
            )
            for prompts, prompt, text in answers
        )
        score_run(run)
        runs.append(run)
    return runs


def changed(text: str, share: float, rng: random.Random) -> str:
    """The text without one of its sentences, or without its commas; or as it is."""
    if rng.random() >= share:
        return text
    sentences = text.split(". ")
    if len(sentences) < 3 or rng.random() < 0.5:
        return text.replace(",", " and", 3)
    del sentences[rng.randrange(len(sentences))]
    return ". ".join(sentences)


def header(*sets: PromptSet) -> RunHeader:
    """A header for runs that no model made."""
    return RunHeader(
        model=ModelFacts(
            file="published",
            sha256="0" * 64,
            size_bytes=0,
            architecture="none",
            quantization="none",
            n_parameters=0,
        ),
        engine=EngineSettings(),
        chat=ChatSettings(
            template_sha256="0" * 64,
            template_date=TEMPLATE_DATE,
            thinking=False,
            thinking_rule=None,
        ),
        tasks=tuple(
            TaskSettings(
                name=s.name,
                kind=s.kind,
                prompts_sha256=s.sha256,
                n_prompts=len(s.prompts),
                samples=1,
                sampling=GREEDY if s.kind == "ifeval" else PROSE,
            )
            for s in sets
        ),
        machine=this_machine(""),
        versions=these_versions(),
    )


if __name__ == "__main__":
    main()
