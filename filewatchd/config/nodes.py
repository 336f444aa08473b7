"""Nodes: YAML values that know where they stand, so that every mistake and every origin has its place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Union

from filewatchd.errors import Mistake

type_names = {dict: "a mapping", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}


Value = Union[bool, int, float, str, "list[Node]", "dict[str, Node]", None]


class Source(NamedTuple):
    """What holds values: a file, the environment, a flag, an action's or our own defaults."""

    name: str
    directory: str  # relative paths start here


class Node:
    """One value. Lines and columns count from 1; line 0 means that the source has no lines.

    ``value`` is a scalar (None, bool, int, float, str), a list of nodes, or a dict of nodes. ``key`` is the place of
    the mapping key in front of it.
    """

    __slots__ = ("column", "key", "line", "source", "value")

    def __init__(
        self,
        value: Value,
        source: Source,
        line: int = 0,
        column: int = 0,
        key: tuple[int, int] | None = None,
    ) -> None:
        self.value = value
        self.source = source
        self.line = line
        self.column = column
        self.key = key

    @property
    def kind(self) -> str:
        """What it is, in words: ``a list``, ``text``, ``nothing``."""
        return type_names.get(type(self.value), "nothing")

    @property
    def origin(self) -> str:
        """Where it comes from: ``FILE:LINE``, ``environment NAME``, ``flag --NAME``, ``action NAME``, ``built-in``."""
        return f"{self.source.name}:{self.line}" if self.line else self.source.name

    @property
    def place(self) -> str:
        """``FILE:LINE:COLUMN`` of the value, for naming it in another place's mistake."""
        return f"{self.origin}:{self.column}" if self.line else self.source.name

    def get(self, key: str) -> Node | None:
        """The value of a key; None where there is none, or this is no mapping."""
        return self.value.get(key) if isinstance(self.value, dict) else None

    def mistake(self, message: str, hint: str = "") -> Mistake:
        """A mistake in this value."""
        return Mistake(self.source.name, self.line, self.column, message, hint)

    def key_mistake(self, message: str, hint: str = "") -> Mistake:
        """A mistake in the key in front of this value."""
        line, column = self.key or (self.line, self.column)
        return Mistake(self.source.name, line, column, message, hint)

    def find(self, where: Sequence[str | int]) -> Node:
        """The node at a key path below this one, or the nearest above it that exists."""
        node = self
        for step in where:
            found: Node | None = None
            if isinstance(node.value, dict):
                found = node.value.get(str(step))
            elif isinstance(node.value, list) and isinstance(step, int) and 0 <= step < len(node.value):
                found = node.value[step]
            if found is None:
                break
            node = found
        return node

    def items(self) -> Iterator[tuple[str, Node]]:
        """Keys and values of a mapping; nothing otherwise."""
        yield from self.value.items() if isinstance(self.value, dict) else ()

    def plain(self) -> object:
        """The value as ordinary Python."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value


def from_plain(value: object, source: Source) -> Node:
    """A node of ordinary Python values, such as an action's defaults.

    Raises:
        TypeError: YAML has no such value.
    """
    if isinstance(value, Mapping):
        return Node({str(key): from_plain(item, source) for key, item in value.items()}, source)
    if isinstance(value, (list, tuple, set, frozenset)):
        return Node([from_plain(item, source) for item in value], source)
    if value is None or isinstance(value, (bool, int, float, str)):
        return Node(str(value) if isinstance(value, str) else value, source)
    raise TypeError(f"{type(value).__name__} is not a YAML value")


def merged(low: Node | None, high: Node | None) -> Node | None:
    """Lay one value over another: mappings merge, anything else replaces. Neither is changed."""
    if low is None or high is None:
        return high or low
    if not isinstance(low.value, dict) or not isinstance(high.value, dict):
        return high
    both = dict(low.value)
    for key, node in high.value.items():
        both[key] = merged(both.get(key), node) or node
    return Node(both, high.source, high.line, high.column, high.key)
