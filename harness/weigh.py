"""Weighing: one GGUF run on tasks and scored, with its progress shown.

The whole way from a model file to a run's figures, for every command that needs it.
"""

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from harness.evaluate import Chat, run_waves
from harness.progress import RunProgress
from harness.runs import Completion, Run
from harness.scoring import Scoring, score_run
from harness.settings import EngineSettings
from harness.waves import Task, Turn


def weigh(
    model: Path,
    tasks: Sequence[Task],
    folder: Path,
    *,
    settings: EngineSettings,
    chat: Chat,
    scoring: Scoring | None = None,
    title: str | None = None,
    after_wave: Callable[[Run, Sequence[Completion]], str | None] | None = None,
    turn: Turn | None = None,
) -> Run:
    """Make a run and score it; one that was stopped is gone on with.

    Args:
        model: The GGUF.
        tasks: What it is asked.
        folder: The run's folder.
        settings: Of the engine.
        chat: How conversations are rendered.
        scoring: Choices about scoring; the defaults where None.
        title: What the progress calls it; the folder's name where None.
        after_wave: Told of each wave, those that were kept before included; a reason from it ends
            the run there. What was said is kept, but an ended run is not scored: it has no summary.
        turn: Names the task that goes on, as for `run_waves`.

    Raises:
        WeighinError: As `run_waves`; the waves that were kept stay.
    """
    with RunProgress(title or folder.name) as progress:
        waves = run_waves(
            model, tasks, folder, settings=settings, chat=chat, watcher=progress.watcher, turn=turn
        )
        with closing(waves):
            for completions in waves:
                if after_wave is not None and after_wave(Run(folder), completions) is not None:
                    return Run.open(folder)
    run = Run.open(folder)
    score_run(run, scoring)
    return run
