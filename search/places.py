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


Source = Annotated[str, BeforeValidator(resolve)]
"""An absolute path, or a hub id such as `google/gemma-3-270m-it`."""
