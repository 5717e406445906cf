"""The sandbox in which a model file's chat template runs.

A template is a program from a stranger's file. Here it reads what it is given and writes text: no
Python internals, no files, no clock, no chance, and no more loops or text than a prompt can need.
The language is that of Hugging Face: Jinja with `raise_exception`, `strftime_now`, a plain
`tojson`, loop controls and `generation` blocks. Source:
https://huggingface.co/docs/transformers/chat_templating_writing
"""

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any, NoReturn, cast

from jinja2 import TemplateError, Undefined, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension
from jinja2.ext import loopcontrols as LoopControls
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

MAX_STEPS = 250_000
"""Loop turns and calls of one rendering; templates take a few dozen for a short conversation."""

MAX_CHARS = 50_000_000
"""Length of any text that a template puts together."""


class GenerationBlock(Extension):
    """`{% generation %}`: marks what a model said, for training; here its body is all there is."""

    tags = {"generation"}  # noqa: RUF012 (Jinja's own declaration)

    def parse(self, parser: Parser) -> nodes.Node:
        """A block with a scope of its own, as a call block has."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body, lineno=line)


class TemplateSandbox(ImmutableSandboxedEnvironment):
    """A Jinja environment for one template, with a count of what a rendering has spent."""

    intercepted_binops = frozenset({"+", "*", "**"})

    def __init__(self, *, now: datetime) -> None:
        """Fix what the template may know of the date."""
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, extensions=[GenerationBlock, LoopControls]
        )
        self._steps = 0
        self.filters["tojson"] = _to_json
        self.filters["count_steps"] = self._count_steps
        self.filters["check_length"] = _check_length
        self.globals["raise_exception"] = _raise_exception
        self.globals["strftime_now"] = now.strftime
        # Both draw at random, and a prompt must be the same in every run.
        del self.filters["random"]
        del self.globals["lipsum"]

    def start(self) -> None:
        """Begin to count the steps of a new rendering."""
        self._steps = 0

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        """Call something for the template; recursion counts as looping does."""
        self._step()
        return super().call(context, obj, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Add or multiply; text, lists and numbers stay within bounds."""
        if operator == "*" and not (_is_number(left) and _is_number(right)):
            size = left if _is_number(left) else len(left)
            times = right if _is_number(right) else len(right)
            if size * times > MAX_CHARS:
                raise SecurityError(f"a text of more than {MAX_CHARS} characters")
        if operator == "**" and (abs(left) > 1_000_000 or abs(right) > 64):
            raise SecurityError("a power too large")
        return _check_length(super().call_binop(context, operator, left, right))

    def unsafe_undefined(self, obj: Any, attribute: str) -> Undefined:
        """Stop at a private attribute, where Jinja would only stop at its use."""
        if attribute.startswith("_"):
            raise SecurityError(f"it asks for {attribute!r}")
        return super().unsafe_undefined(obj, attribute)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for node in tree.find_all((nodes.Getattr, nodes.NSRef, nodes.Getitem)):
            attribute = _constant_name(node)
            if attribute is not None and attribute.startswith("__"):
                raise SecurityError(f"line {node.lineno} of it asks for {attribute!r}")
        _watch(tree, self)
        return tree

    def _count_steps(self, iterable: Iterable[Any]) -> Iterator[Any]:
        for item in iterable:
            self._step()
            yield item

    def _step(self) -> None:
        self._steps += 1
        if self._steps > MAX_STEPS:
            raise SecurityError(f"it takes more than {MAX_STEPS} steps")


def _constant_name(node: nodes.Node) -> str | None:
    """The name that a node looks up, where the template's text already says it."""
    if isinstance(node, nodes.Getitem):
        value = node.arg.value if isinstance(node.arg, nodes.Const) else None
        return value if isinstance(value, str) else None
    name: str = node.attr  # type: ignore[attr-defined]
    return name


def _watch(tree: nodes.Node, environment: TemplateSandbox) -> None:
    """Route every loop's iterable and every `~` through the filters that watch them."""
    for loop in tree.find_all(nodes.For):
        loop.iter = _filtered(cast(nodes.Expr, loop.iter), "count_steps", environment)
    for node in list(_parents_of_concat(tree)):
        for field, value in node.iter_fields():
            if isinstance(value, nodes.Concat):
                setattr(node, field, _watched(value, environment))
            elif isinstance(value, list):
                value[:] = [_watched(item, environment) for item in value]


def _parents_of_concat(tree: nodes.Node) -> Iterator[nodes.Node]:
    for node in (tree, *tree.find_all(nodes.Node)):
        if any(isinstance(child, nodes.Concat) for child in node.iter_child_nodes()):
            yield node


def _watched(value: Any, environment: TemplateSandbox) -> Any:
    joins = isinstance(value, nodes.Concat)
    return _filtered(value, "check_length", environment) if joins else value


def _filtered(value: nodes.Expr, name: str, environment: TemplateSandbox) -> nodes.Filter:
    node = nodes.Filter(value, name, [], [], None, None, lineno=value.lineno)
    node.set_environment(environment)
    return node


def _check_length(value: Any) -> Any:
    if isinstance(value, str | list | tuple) and len(value) > MAX_CHARS:
        raise SecurityError(f"a text of more than {MAX_CHARS} characters")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _raise_exception(message: str) -> NoReturn:
    """What a template calls to refuse a conversation."""
    raise TemplateError(message)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as models were trained on it; Jinja's own filter escapes for HTML."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )
