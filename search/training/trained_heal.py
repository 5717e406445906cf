"""Trained heal: the adapter that a recipe trains for its heal endpoint, one for each rank.

Finds it under the recipe's folder of trained adapters, by the key of its plan, or trains it there.
Knows nothing of merging.
"""

from pathlib import Path

from search.errors import TrainingError
from search.merging.adapter import Adapter, open_adapter
from search.numbers import Numbers
from search.recipe import Recipe
from search.tensors.checkpoint import Checkpoint
from search.training.task import TrainingTask

KEY_DIGITS = 16
"""Of a plan's key, in the name of a trained adapter's folder."""


class TrainedHeal:
    """The heal adapters of one recipe."""

    def __init__(self, recipe: Recipe, base: Checkpoint, *, may_train: bool) -> None:
        """Open nothing yet.

        Args:
            recipe: One whose heal says `train`.
            base: The checkpoint that the heal adapter is merged onto.
            may_train: Whether an adapter that is not there is trained, which may take hours.
        """
        assert recipe.heal is not None
        assert recipe.heal.train is not None
        self._recipe = recipe
        self._heal = recipe.heal
        self._training = recipe.heal.train
        self._base = base
        self._may_train = may_train
        self._opened: dict[str, Adapter] = {}
        self._tasks: dict[tuple[int | None, float], TrainingTask] = {}

    def task(self, rank: int | None, strength: float = 1.0) -> TrainingTask:
        """What is to be trained.

        Args:
            rank: Directions that the mask protects; None means all. Without a mask at training
                time it changes nothing.
            strength: Factor on the mask's own strength.
        """
        if not self._heal.trains_under_mask:
            rank, strength = None, 1.0
        if (rank, strength) not in self._tasks:
            self._tasks[rank, strength] = self._new_task(rank, strength)
        return self._tasks[rank, strength]

    def check(self) -> str:
        """See that the adapter could be trained; returns the key of its plan at full rank.

        Raises:
            WeighinError: data, mask or importance are not there or do not fit.
        """
        task = self.task(None)
        task.check()
        return task.plan.key

    def folder(self, task: TrainingTask) -> Path:
        """Where its adapter is kept."""
        return Path(self._training.folder) / f"heal-{task.plan.key[:KEY_DIGITS]}"

    def key(self, numbers: Numbers) -> str:
        """Hash of everything chosen that could change the adapter; trains nothing."""
        return self.task(numbers.rank, numbers.strength).plan.key

    def adapter(self, numbers: Numbers) -> Adapter:
        """The adapter for these numbers, trained now where it is not there.

        Raises:
            WeighinError: it cannot be trained, or is not there and may not be.
        """
        task = self.task(numbers.rank, numbers.strength)
        key = task.plan.key
        if key not in self._opened:
            self._opened[key] = open_adapter(str(self._find(task)), self._base)
        return self._opened[key]

    def opened(self) -> list[Adapter]:
        """Adapters that were asked for so far."""
        return list(self._opened.values())

    def covers(self, name: str) -> bool:
        """Whether the adapter changes a weight, known before it is trained."""
        return self.task(None).adapts(name)

    def _find(self, task: TrainingTask) -> Path:
        from search.training.progress import TrainingProgress
        from search.training.training import read_record, train

        folder = self.folder(task)
        record = read_record(folder)
        if record is not None and record.plan.key == task.plan.key:
            return folder
        if not self._may_train:
            under = "" if task.rank is None else f" --rank {task.rank}"
            raise TrainingError(
                f"the heal adapter {folder} is not trained yet; run `weighin train RECIPE{under}`, "
                "or look at alpha=0"
            )
        with TrainingProgress(folder.name) as progress:
            train(task, folder, progress=progress)
        return folder

    def _new_task(self, rank: int | None, strength: float) -> TrainingTask:
        recipe, heal, fisher = self._recipe, self._heal, self._recipe.fisher
        base = recipe.pt if heal.onto == "pt" else recipe.it
        assert base is not None
        mask = heal.mask if heal.trains_under_mask else None
        if mask is not None:
            mask = mask.model_copy(update={"strength": mask.strength * strength})
        return TrainingTask(
            base=base,
            data=tuple(Path(place) for place in self._training.data),
            settings=self._training.settings,
            mask=mask,
            subspace=Path(recipe.subspace) if recipe.subspace is not None else None,
            rank=rank,
            importance=Path(fisher.layers or fisher.path) if fisher is not None else None,
        )
