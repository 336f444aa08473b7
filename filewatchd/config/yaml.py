"""YAML text -> nodes, bounded before anything is built.

PyYAML's scanner and parser are used, its composer and constructors are not. They read YAML 1.1 (the key ``on`` is
True there, ``22:15`` is 1335, ``no`` is False), keep the last of two equal keys, recurse over nesting (50,000 ``[``
kill the process through the C loader) and expand aliases and merge keys without end (432 bytes took 26 s and 713 MB).
The event stream has none of that: it is flat. So depth, nodes and what aliases stand for are counted on the stream,
each event before it is used, and the nodes are put together with a stack of our own, with the types of YAML 1.2's core
schema. The pure Python parser is used because it can't crash, and its marks are exact; 340 KB take half a second.
"""

from __future__ import annotations

import re

import yaml
from yaml.events import (
    AliasEvent,
    CollectionEndEvent,
    CollectionStartEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    Event,
    MappingStartEvent,
    ScalarEvent,
)

from filewatchd.config.complaints import ALIAS_HINT, SyntaxMistake, explained, failure
from filewatchd.config.nodes import Node, Source
from filewatchd.errors import Mistake
from filewatchd.notation import quoted

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 64
MAX_NODES = 100_000
_MAX_DIGITS = 40

_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", re.ASCII)
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?", re.ASCII)
_SURROGATE = re.compile("[\ud800-\udfff]")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


def decode(data: bytes, source: Source) -> str:
    """The text of a file's bytes.

    Raises:
        SyntaxMistake: it is too big, empty, or not UTF-8.
    """
    if len(data) > MAX_BYTES:
        raise failure(source, 0, 0, f"the file is larger than {MAX_BYTES >> 20} MiB", "split it over rule_files")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line, start = before.count(b"\n") + 1, before.rfind(b"\n") + 1
        column = len(before[start:].decode("utf-8-sig", "replace")) + 1
        message = f"byte 0x{data[error.start]:02x} is not UTF-8"
        raise failure(source, line, column, message, "save the file as UTF-8") from None
    if not text.strip():
        raise failure(source, 1, 1, "the file is empty", _EMPTY_HINT)
    return text


_EMPTY_HINT = "write at least `version: 1`, or remove the file"


def parse(text: str, source: Source, mistakes: list[Mistake]) -> Node:
    """The node of the text's one document. Duplicate and odd keys are added to the mistakes.

    Raises:
        SyntaxMistake: the text isn't YAML, or breaks a bound.
    """
    builder = _Builder(source, mistakes)
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            builder.take(event)
    except yaml.MarkedYAMLError as error:
        raise explained(error, text, source) from None
    except yaml.reader.ReaderError as error:
        line, column = _line_and_column(text, error.position)
        message = f"character U+{ord(text[error.position]):04X} is not allowed in YAML"
        raise failure(source, line, column, message, "remove it, or write it as an escape in double quotes") from None
    if builder.root is None:
        raise failure(source, 1, 1, "the file holds nothing but comments", _EMPTY_HINT)
    return builder.root


def scalar(text: str) -> bool | int | float | str | None:
    """A plain scalar's value in YAML 1.2's core schema.

    Raises:
        ValueError: a number of absurd length.
    """
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _NOT_FINITE.fullmatch(text):
        return float(text.replace(".", "", 1))
    is_int = _INT.fullmatch(text)
    if not is_int and not _FLOAT.fullmatch(text):
        return text
    if len(text) > _MAX_DIGITS:
        raise ValueError(f"a number of {len(text)} digits")
    if not is_int:
        return float(text)
    return int(text[2:], {"0o": 8, "0x": 16}[text[:2]]) if text[:2] in ("0o", "0x") else int(text)


def _joined(text: str) -> str:
    r"""Text with JSON's pairs of escapes (``\\ud83d\\ude00``) as the one character they mean.

    Raises:
        ValueError: half of a pair.
    """
    if not _SURROGATE.search(text):
        return text
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise ValueError("half of a surrogate pair is no character") from None


class _Open:
    """A collection whose end hasn't come."""

    __slots__ = ("anchor", "height", "key", "node", "size")

    def __init__(self, node: Node, anchor: str | None) -> None:
        self.node = node
        self.anchor = anchor
        self.key: tuple[str, int, int] | None = None  # of a mapping: the key that waits for its value
        self.size = 1
        self.height = 1


class _Builder:
    """Puts nodes together, event by event."""

    def __init__(self, source: Source, mistakes: list[Mistake]) -> None:
        self.root: Node | None = None
        self._source = source
        self._mistakes = mistakes
        self._stack: list[_Open] = []
        self._anchors: dict[str | None, tuple[Node, int, int] | None] = {}  # node, nodes it stands for, its depth
        self._nodes = 0
        self._documents = 0

    def take(self, event: Event) -> None:
        assert event.start_mark is not None
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        if isinstance(event, (AliasEvent, ScalarEvent, CollectionStartEvent)):
            self._bound(event, line, column)
        if isinstance(event, AliasEvent):
            self._alias(event, line, column)
        elif isinstance(event, ScalarEvent):
            self._scalar(event, line, column)
        elif isinstance(event, CollectionStartEvent):
            self._open(event, line, column)
        elif isinstance(event, CollectionEndEvent):
            self._close()
        elif isinstance(event, DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                raise self._fail(line, column, "a second document begins here", "put each document into its own file")
        elif isinstance(event, DocumentEndEvent):
            self._anchors.clear()

    def _bound(self, event: AliasEvent | ScalarEvent | CollectionStartEvent, line: int, column: int) -> None:
        """Count what this event adds, before it is used."""
        height, size = 1, 1
        if isinstance(event, AliasEvent):
            if event.anchor not in self._anchors:
                raise self._fail(line, column, f"nothing is anchored as &{event.anchor}", ALIAS_HINT)
            known = self._anchors[event.anchor]
            if known is None:
                raise self._fail(line, column, f"*{event.anchor} stands inside its own anchor", "repeat the value")
            _, size, height = known
        elif event.tag is not None:
            raise self._fail(line, column, f"tags such as {event.tag} are not read", "remove the tag")
        self._nodes += size
        if self._nodes > MAX_NODES:
            raise self._fail(line, column, f"more than {MAX_NODES:,} values, aliases counted", "split the file")
        if len(self._stack) + height > MAX_DEPTH:
            raise self._fail(line, column, f"nested deeper than {MAX_DEPTH} levels", "flatten it")

    def _alias(self, event: AliasEvent, line: int, column: int) -> None:
        known = self._anchors[event.anchor]
        assert known is not None
        if self._expects_key():
            raise self._fail(line, column, "a key can't be an alias", "write the key out")
        self._add(known[0], known[1], known[2])

    def _scalar(self, event: ScalarEvent, line: int, column: int) -> None:
        plain = bool(event.implicit[0])
        try:
            text = _joined(event.value)
            if self._expects_key():
                self._stack[-1].key = (self._key(text, plain, line, column), line, column)
                return
            value = scalar(text) if plain else text
        except ValueError as error:
            raise self._fail(line, column, str(error), "write it another way") from None
        node = Node(value, self._source, line, column)
        if event.anchor is not None:
            self._anchors[event.anchor] = (node, 1, 1)
        self._add(node, 1, 1)

    def _key(self, text: str, plain: bool, line: int, column: int) -> str:
        if plain and text == "<<":
            raise self._fail(line, column, "merge keys (<<) are not read", "write the keys out, or use `defaults:`")
        if plain and not isinstance(scalar(text[:_MAX_DIGITS]), str):
            message = f"the key {quoted(text)} is not text" if text else "a key is missing"
            self._mistakes.append(Mistake(self._source.name, line, column, message, f'write "{text}" in quotes'))
        mapping = self._stack[-1].node.value
        assert isinstance(mapping, dict)
        if (first := mapping.get(text)) is not None:
            key = first.key or (first.line, first.column)
            message = f"duplicate key {quoted(text)}; the first is in line {key[0]}"
            self._mistakes.append(Mistake(self._source.name, line, column, message, "keep one of them"))
        return text

    def _open(self, event: CollectionStartEvent, line: int, column: int) -> None:
        if self._expects_key():
            hint = 'put text that begins with { or [ in quotes, such as "{path}"'
            raise self._fail(line, column, "a mapping or list can't be a key", hint)
        value: dict[str, Node] | list[Node] = {} if isinstance(event, MappingStartEvent) else []
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        self._stack.append(_Open(Node(value, self._source, line, column), event.anchor))

    def _close(self) -> None:
        done = self._stack.pop()
        if done.anchor is not None:
            self._anchors[done.anchor] = (done.node, done.size, done.height)
        self._add(done.node, done.size, done.height)

    def _expects_key(self) -> bool:
        return bool(self._stack) and isinstance(self._stack[-1].node.value, dict) and self._stack[-1].key is None

    def _add(self, node: Node, size: int, height: int) -> None:
        """Give a finished value to the collection it stands in. The first of two equal keys counts."""
        if not self._stack:
            self.root = node
            return
        top = self._stack[-1]
        top.size += size
        top.height = max(top.height, height + 1)
        if isinstance(top.node.value, list):
            top.node.value.append(node)
        elif isinstance(top.node.value, dict) and top.key is not None:
            key, line, column = top.key
            if node.key is not None:  # an alias: the same value behind another key
                node = Node(node.value, node.source, node.line, node.column)
            node.key = (line, column)
            top.node.value.setdefault(key, node)
            top.key = None

    def _fail(self, line: int, column: int, message: str, hint: str) -> SyntaxMistake:
        return failure(self._source, line, column, message, hint)


def _line_and_column(text: str, index: int) -> tuple[int, int]:
    return text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index)
