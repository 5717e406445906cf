"""A recorded grid: what every build of a grid answered, small enough to keep.

Three files in a folder: `grid.json` says what was asked and of what, `builds.jsonl` holds one build
a line with each answer's scores and tokens, in the order in which a run gives them, and
`completions.jsonl.xz` every answer's text. `record_grid.py` writes them, `replay.py` replays them.
"""

import json
import lzma
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from harness.runs import Completion, Score, TaskSettings, Versions
from harness.settings import EngineSettings
from metrics.ifeval import IfevalScore
from metrics.prose import ProseScore
from search.recipe import Dimension, Number

HEADER = "grid.json"
BUILDS = "builds.jsonl"
COMPLETIONS = "completions.jsonl.xz"


class Record(BaseModel):
    """What all records have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class AskedTask(Record):
    """One task of the grid's runs."""

    settings: TaskSettings
    keys: tuple[tuple[str, int], ...]
    """Prompt id and sample of each answer, in the order of the run."""


class GridHeader(Record):
    """`grid.json`."""

    parts: dict[str, str]
    """What every build and run hangs on, part by part, as a study is bound to it."""
    space: dict[str, Dimension]
    """The grid: choices and ranges with steps."""
    own: dict[str, Number | None]
    """The recipe's own numbers."""
    maximize: str | tuple[str, ...]
    subject_to: tuple[str, ...]
    engine: EngineSettings
    tasks: tuple[AskedTask, ...]
    prose_signature: str | None
    """What the prose scores depend on besides the texts."""
    versions: Versions


class GridBuild(Record):
    """One line of `builds.jsonl`."""

    numbers: dict[str, Number]
    """Its point; empty for the baseline's own GGUF."""
    sha256: str
    """Of the GGUF that was scored."""
    strict: dict[str, tuple[str, ...]]
    """By task with instructions: a 0 or 1 per instruction, one string an answer."""
    loose: dict[str, tuple[str, ...]]
    prose: dict[str, tuple[ProseScore, ...]]
    """By task of prose."""
    n_tokens: dict[str, tuple[int, ...]]
    """By task: new tokens of each answer."""


class Grid:
    """A recorded grid, read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.header = GridHeader.model_validate_json((folder / HEADER).read_text("utf-8"))
        lines = (folder / BUILDS).read_text("utf-8").splitlines()
        self.builds = [GridBuild.model_validate_json(line) for line in lines]

    @property
    def baseline(self) -> GridBuild:
        """What the baseline's own GGUF answered."""
        return next(build for build in self.builds if not build.numbers)

    @property
    def points(self) -> list[GridBuild]:
        """Every build that is a point of the grid."""
        return [build for build in self.builds if build.numbers]


def scores_of(header: GridHeader, build: GridBuild) -> list[list[Score]]:
    """A build's scores, one list a task, in the order of the header's keys."""
    found = []
    for task in header.tasks:
        name = task.settings.name
        own = []
        for index, (prompt_id, sample) in enumerate(task.keys):
            ifeval = None
            if name in build.strict:
                strict, loose = build.strict[name][index], build.loose[name][index]
                ifeval = IfevalScore(strict=_passes(strict), loose=_passes(loose))
            own.append(
                Score(
                    task=name,
                    prompt_id=prompt_id,
                    sample=sample,
                    empty=False,
                    unclosed_thought=False,
                    ifeval=ifeval,
                    prose=None if ifeval is not None else build.prose[name][index],
                )
            )
        found.append(own)
    return found


def build_of(
    header: GridHeader,
    numbers: dict[str, Number],
    sha256: str,
    scores: Sequence[Score],
    completions: Sequence[Completion],
) -> GridBuild:
    """One line of the record, from a scored run in any order."""
    by_key = {(s.task, s.prompt_id, s.sample): s for s in scores}
    n_tokens = {(c.task, c.prompt_id, c.sample): c.n_tokens for c in completions}
    strict, loose, prose_scores, tokens = {}, {}, {}, {}
    for task in header.tasks:
        name = task.settings.name
        keys = [(name, prompt_id, sample) for prompt_id, sample in task.keys]
        tokens[name] = tuple(n_tokens[key] for key in keys)
        if task.settings.kind == "prose":
            prose_scores[name] = tuple(p for k in keys if (p := by_key[k].prose) is not None)
        else:
            passed = [i for k in keys if (i := by_key[k].ifeval) is not None]
            strict[name] = tuple(_digits(score.strict) for score in passed)
            loose[name] = tuple(_digits(score.loose) for score in passed)
    return GridBuild(
        numbers=numbers,
        sha256=sha256,
        strict=strict,
        loose=loose,
        prose=prose_scores,
        n_tokens=tokens,
    )


def write_completions(folder: Path, runs: Iterable[tuple[str, list[Completion]]]) -> None:
    """Every answer's text, a JSON line each with its GGUF's SHA-256, in one compressed file."""
    path = folder / COMPLETIONS
    part = path.with_name(path.name + ".tmp")
    with lzma.open(part, "wt", encoding="utf-8", newline="\n") as file:
        for sha256, completions in runs:
            for completion in completions:
                row = {"sha256": sha256, "completion": completion.model_dump(mode="json")}
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
    part.replace(path)


def _digits(passes: Sequence[bool]) -> str:
    return "".join(str(int(passed)) for passed in passes)


def _passes(digits: str) -> tuple[bool, ...]:
    return tuple(digit == "1" for digit in digits)
