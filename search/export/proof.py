"""Proof: IT's own tensors, put through the build's path, give the template's bytes.

Run once per pair of checkpoint and template and remembered by hash; a template that fails it
would make every comparison with the baseline compare two things at once.
Source: DESIGN, Export.
"""

from pathlib import Path

from search.cache import file_sha256, recall, remember
from search.errors import TemplateError
from search.export.render import MergeJob
from search.export.template import Place, Template
from search.ingredients import Ingredients
from search.merging.merge import TensorMerge
from search.numbers import Numbers
from search.tensors.stream import Clock, Job, stream

PATH_VERSION = 1
"""Raised whenever the way from a checkpoint's rows to a GGUF's bytes changes."""

NOTHING = Numbers(
    s=0, alpha=0, rank=None, density=1, strength=1, fisher_transform=None, weights=(), seed=0
)


def prove_mapping(ingredients: Ingredients, template: Template, n_threads: int | None) -> bool:
    """Prove a template, or remember that it was proved.

    Returns:
        Whether the proof was run now.

    Raises:
        TemplateError: names the first tensor that differs, and why that can be.
    """
    key = _key(ingredients, template)
    if recall("proofs", key) is True:
        return False
    clock = Clock()
    bare = Ingredients(ingredients.recipe, ingredients.it, None, (), None, None, None)
    jobs: list[Job] = []
    places: dict[int, Place] = {}
    for place in template.places.values():
        job = MergeJob(TensorMerge(bare, NOTHING, place.source), place, clock)
        places[id(job)] = place
        jobs.append(job)
    position: dict[int, int] = {}
    for done, chunk in stream(jobs, n_threads):
        place = places[id(done)]
        start = position.get(id(done), 0)
        if bytes(chunk) != template.tensor_bytes(place.info, start, len(chunk)):
            raise _failure(place, template, ingredients)
        position[id(done)] = start + len(chunk)
    remember("proofs", key, True)
    return True


def _key(ingredients: Ingredients, template: Template) -> str:
    imatrix = ingredients.recipe.baseline.imatrix
    parts = [
        str(PATH_VERSION),
        ingredients.it.sha256,
        file_sha256(template.file.path),
        "" if imatrix is None else file_sha256(Path(imatrix)),
    ]
    return "|".join(parts)


def _failure(place: Place, template: Template, ingredients: Ingredients) -> TemplateError:
    named = ingredients.recipe.baseline.imatrix is not None
    if not named and any(key.startswith("quantize.imatrix") for key in template.file.keys):
        why = "it was quantised with an importance matrix; name it (baseline: {imatrix: FILE})"
    else:
        unnamed = "" if named else "with an importance matrix that the recipe does not name, "
        why = (
            f"it was made from other weights, {unnamed}or by another way; "
            "make it with `weighin baseline`"
        )
    return TemplateError(
        f"{template.file.path} is not what {ingredients.it.folder} becomes: {place.info.name} "
        f"({place.source}, {place.info.type_name}) differs; {why}"
    )
