"""Fingerprint: what a study is bound to, part by part, and which parts have changed.

A recipe made ready and its questions in, one short text per part out: a hash for whatever lies in
a file, the value itself for a setting. Paths are left out, so that another machine may keep the
same files elsewhere. Knows nothing of Optuna or of where the parts are kept.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from harness.settings import EngineSettings
from harness.waves import Task
from search.cache import file_sha256
from search.ingredients import Ingredients
from search.prepare import Prepared
from search.recipe import Recipe

Parts = dict[str, str]
"""What a study is bound to: by name, a value, or `sha256 ` and a hash."""

FREE = {"search": {"trials", "keep", "sampler", "runners_up"}}
"""What may change on the way: how long and by which sampler it goes on, what stays on disk, how
many are confirmed."""

PLACES = {
    *("it", "pt", "path", "imatrix", "layers", "subspace", "adapter", "prompts", "data", "folder")
}
"""Keys of a recipe whose values are places; what lies there has a hash of its own."""

SHOWN_DIGITS = 12
NAMED = 3
"""Changes that one message names."""


def parts_of(ready: Prepared, tasks: Sequence[Task], settings: EngineSettings) -> Parts:
    """Everything that a trial's outcome depends on besides its numbers.

    Args:
        ready: The recipe made ready.
        tasks: What every build is asked.
        settings: What is asked of the engine.
    """
    parts = {f"recipe {name}": text for name, text in _recipe_parts(ready.recipe)}
    parts |= ingredient_parts(ready)
    for task in tasks:
        prompts = task.prompts
        name = f"prompts of {prompts.name}"
        parts[name] = _sha(prompts.sha256)
        if prompts.source_sha256 is not None:
            parts[f"{name}, whole set"] = _sha(prompts.source_sha256)
        parts[f"asking of {prompts.name}"] = _plain([task.sampling.model_dump(), task.samples])
    if any(task.prompts.kind == "prose" for task in tasks):
        parts["prose scores"] = _prose_signature()
    parts |= {f"engine {key}": _plain(value) for key, value in settings.model_dump().items()}
    parts["llama-cpp-python"] = version("llama_cpp_python")
    return parts


def ingredient_parts(ready: Prepared) -> Parts:
    """The files that a build is made of."""
    parts = {name: _sha(digest) for name, digest in _ingredients(ready.ingredients)}
    parts["baseline"] = _sha(ready.template_sha256)
    if ready.recipe.baseline.imatrix is not None:
        parts["importance matrix"] = _sha(_hash_at(ready.recipe.baseline.imatrix))
    return parts


def fingerprint_of(parts: Parts) -> str:
    """One hash over all parts."""
    return hashlib.sha256(_plain(parts).encode()).hexdigest()


def changes(was: Parts, now: Parts) -> list[str]:
    """What differs, a phrase per part: `adapter heal changed: sha256 1f.., was 9c..`."""
    found = []
    for name in {**was, **now}:
        if name not in now:
            found.append(f"{name} is gone: was {_short(was[name])}")
        elif name not in was:
            found.append(f"{name} is new: {_short(now[name])}")
        elif was[name] != now[name]:
            found.append(f"{name} changed: {_short(now[name])}, was {_short(was[name])}")
    return found


def told(found: Sequence[str]) -> str:
    """Changes on one line, the first few of them."""
    more = f"; and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return "; ".join(found[:NAMED]) + more


def _recipe_parts(recipe: Recipe) -> Iterator[tuple[str, str]]:
    yield from _leaves("", recipe.model_dump(mode="json", exclude=FREE))


def _leaves(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """A nested value's leaves by dotted path, without places and without what is not given."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            values = inner if isinstance(inner, list) else [inner]
            if key not in PLACES or not all(isinstance(place, str) for place in values):
                yield from _leaves(f"{path}.{key}".lstrip("."), inner)
    elif isinstance(value, list) and any(isinstance(inner, Mapping) for inner in value):
        for index, inner in enumerate(value):
            yield from _leaves(f"{path}[{index}]", inner)
    elif value is not None:
        yield path, _plain(value)


def _ingredients(found: Ingredients) -> Iterator[tuple[str, str]]:
    recipe = found.recipe
    yield "it", found.it.sha256
    if found.pt is not None:
        yield "pt", found.pt.sha256
    for index, (entry, adapter) in enumerate(zip(recipe.adapters, found.adapters, strict=True)):
        yield f"adapter {index + 1} ({entry.name})", adapter.sha256
    if found.heal is not None:
        yield "heal adapter", found.heal.sha256
    if found.trained is not None:
        yield "heal training", found.trained.check()
    if recipe.fisher is not None:
        yield "fisher", _hash_at(recipe.fisher.path)
        if recipe.fisher.layers is not None:
            yield "layer importance", _hash_at(recipe.fisher.layers)
    if found.subspace is not None and recipe.subspace is not None:
        yield "subspace", _hash_at(recipe.subspace)


def _hash_at(place: str) -> str:
    return file_sha256(Path(place))


def _prose_signature() -> str:
    from metrics import prose
    from metrics.lexicon import default_lexicon

    return prose.signature(default_lexicon(), length_gate=True)


def _sha(digest: str) -> str:
    return f"sha256 {digest}"


def _short(text: str) -> str:
    return re.sub(r"sha256 (\w+)", lambda m: f"sha256 {m[1][:SHOWN_DIGITS]}", text)


def _plain(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
