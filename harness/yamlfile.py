"""YAML with line numbers: a document whose values know where they stand.

Plain data only (the safe loader); knows nothing of what a file is for.
Source: YAML 1.1 as PyYAML reads it, https://pyyaml.org.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metrics.errors import WeighinError


@dataclass(frozen=True)
class Document:
    """A YAML file's value and the line of each part of it."""

    value: Any
    lines: dict[tuple[Any, ...], int]
    """Line, from 1, by path of keys and indices."""

    def line(self, path: Sequence[Any]) -> int:
        """Line of the deepest part of `path` that the file has."""
        parts = tuple(path)
        while parts and parts not in self.lines:
            parts = parts[:-1]
        return self.lines.get(parts, 1)


def read_yaml(path: Path, error: type[WeighinError] = WeighinError) -> Document:
    """Read one YAML document.

    Args:
        path: The file.
        error: What to raise.

    Raises:
        WeighinError: The file is missing or unreadable, is not YAML, or names a key twice.
    """
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as found:
        raise error(f"cannot read {path}: {getattr(found, 'strerror', None) or found}") from None
    lines: dict[tuple[Any, ...], int] = {}
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        if node is not None:
            _walk(node, (), lines, path, error)
        value = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as found:
        mark = getattr(found, "problem_mark", None)
        line = mark.line + 1 if mark is not None else 1
        problem = getattr(found, "problem", None) or "not YAML"
        raise error(f"{path}:{line}: {problem}") from None
    return Document(value, lines)


def _walk(
    node: Any,
    at: tuple[Any, ...],
    lines: dict[tuple[Any, ...], int],
    path: Path,
    error: type[WeighinError],
) -> None:
    import yaml

    lines.setdefault(at, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*at, key.value)
            line = key.start_mark.line + 1
            if here in lines:
                raise error(f"{path}:{line}: key {key.value!r} is given twice")
            lines[here] = line
            _walk(value, here, lines, path, error)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            _walk(value, (*at, index), lines, path, error)
