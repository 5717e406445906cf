"""Errors of the search room, one class per stage that a caller may want to tell apart.

Knows nothing of how they are shown; the command line turns each into one line and exit code 2.
"""

from metrics.errors import WeighinError


class RecipeError(WeighinError):
    """A recipe, or a number given to it, that cannot be meant."""


class IngredientError(WeighinError):
    """A checkpoint, adapter, Fisher or subspace file that is broken or does not fit."""


class TemplateError(WeighinError):
    """A GGUF that cannot serve as the template of a build."""


class BuildError(WeighinError):
    """A build that could not be finished; nothing half-written is left behind."""


class TrainingError(WeighinError):
    """Training data or settings that cannot be used, or a training that broke off."""


class DiskFullError(BuildError):
    """No room on a disk: nothing is wrong with what was to be written."""


class StorageError(WeighinError):
    """A study's storage that cannot be reached, or that refuses."""


class StudyError(WeighinError):
    """A study that is not there, or is bound to something else."""


class FisherError(WeighinError):
    """A Fisher estimate that cannot be made as asked, or that broke off."""
