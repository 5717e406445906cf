"""Places: how a recipe names a file, a folder or a hub repository.

Strings in, absolute paths or hub ids out; opens nothing. Relative paths are relative to the folder
in the validation's context, the recipe's own.
"""

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, ValidationInfo

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def resolve(value: Any, info: ValidationInfo) -> Any:
    """A path against the recipe's folder; what looks like a hub id and is no path stays one."""
    if not isinstance(value, str) or not value:
        return value
    folder = (info.context or {}).get("folder", Path())
    path = Path(folder, Path(value).expanduser())
    if (
        not path.exists()
        and HUB_ID.fullmatch(value)
        and not (folder / value.split("/")[0]).exists()
    ):
        return value
    return str(path.resolve())


def short_name(source: str) -> str:
    """A hub id as it is, and of a path the last part."""
    return Path(source).name if Path(source).is_absolute() else source


def without_paths(value: Any) -> Any:
    """Plain JSON with names in place of this machine's paths, and without what is not given."""
    if isinstance(value, dict):
        return {k: without_paths(inner) for k, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [without_paths(inner) for inner in value]
    return short_name(value) if isinstance(value, str) else value


Source = Annotated[str, BeforeValidator(resolve)]
"""An absolute path, or a hub id such as `google/gemma-3-270m-it`."""
