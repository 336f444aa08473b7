"""Nodes -> typed values, with msgspec's structs as the schema.

msgspec's own conversion stops at the first mistake and knows no lines. So the structs' types are walked beside the
nodes: every mistake is found, each at its own line and column. What a type can't hold comes back as INVALID; the
struct around it is then INVALID too, and its other fields have been looked at all the same.
"""

from __future__ import annotations

import difflib
import math
import operator
import os
import pwd
import re
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from functools import lru_cache
from typing import Any, Final

import msgspec.inspect as inspect

from filewatchd.config.nodes import Node
from filewatchd.errors import Mistake
from filewatchd.notation import MalformedError, quoted
from filewatchd.values import PATH_READER, Reader


class Invalid(Enum):
    """What comes back in place of a value with a mistake in it."""

    INVALID = "invalid"


INVALID: Final = Invalid.INVALID


@lru_cache(maxsize=256)
def type_of(schema: Any) -> inspect.Type:
    """The type that msgspec sees in a struct."""
    return inspect.type_info(schema)


def suggestion(word: str, known: Iterable[str]) -> str:
    """A hint for a misspelt word: the nearest known one, or all of them."""
    words = list(known)
    near = difflib.get_close_matches(word.lower(), words, 1, 0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"known are: {', '.join(sorted(words))}" if words else ""


class Converter:
    """Converts nodes; gathers the mistakes."""

    def __init__(self, environ: Mapping[str, str], mistakes: list[Mistake], *, partial: bool = False) -> None:
        """``partial``: this is one layer of several, so required keys may be missing."""
        self.environ = environ
        self.mistakes = mistakes
        self.partial = partial
        self.actions: Callable[[Converter, Node], Any] | None = (
            None  # reads a list of actions; whoever knows them sets it
        )

    def scratch(self) -> Converter:
        """Another one for a try, whose mistakes aren't noted."""
        trial = Converter(self.environ, [])
        trial.actions = self.actions
        return trial

    def struct(self, schema: type, node: Node) -> Any:
        """An instance of the struct, or INVALID."""
        kind = type_of(schema)
        assert isinstance(kind, inspect.StructType)
        return self._struct(kind, node)

    def field(self, schema: type, node: Node, name: str) -> Any:
        """One field's value or default, or INVALID; its mistakes aren't noted again."""
        kind = type_of(schema)
        assert isinstance(kind, inspect.StructType)
        field = next(field for field in kind.fields if field.encode_name == name)
        inner = node.get(name)
        if inner is not None:
            return self.scratch().convert(field.type, inner)
        return INVALID if field.required else field.default

    def convert(self, kind: inspect.Type, node: Node) -> Any:
        """The value that the type holds, or INVALID."""
        if isinstance(kind, inspect.Metadata):
            if self.actions is not None and (kind.extra or {}).get("actions"):
                return self.actions(self, node)
            reader = (kind.extra or {}).get("reader")
            return self._read(reader, kind.type, node) if reader else self.convert(kind.type, node)
        for types, method in _METHODS:
            if isinstance(kind, types):
                return method(self, kind, node)
        raise TypeError(f"options of type {type(kind).__name__} can't be read from YAML")

    def fail(self, node: Node, message: str, hint: str = "") -> Invalid:
        """Note a mistake in a value."""
        self.mistakes.append(node.mistake(message, hint))
        return INVALID

    def path(self, node: Node, text: str) -> str:
        """A path made absolute: ``~`` and ``${VAR}`` expand, and it starts at the directory of its file.

        Raises:
            MalformedError: an unknown user or variable.
        """
        expanded = _VARIABLE.sub(self._variable, text)
        if "${" in _VARIABLE.sub("", text):
            raise MalformedError("a ${ without its }", "write ${NAME}")
        if expanded.startswith("~"):
            expanded = self._home(expanded)
        return os.path.normpath(os.path.join(node.source.directory, expanded))

    def _variable(self, match: re.Match[str]) -> str:
        name = match[1]
        if name not in self.environ:
            raise MalformedError(f"the environment has no variable {name}", "set it, or write the path out")
        return self.environ[name]

    def _home(self, text: str) -> str:
        user, slash, rest = text[1:].partition("/")
        try:
            home = pwd.getpwnam(user).pw_dir if user else self.environ.get("HOME") or pwd.getpwuid(os.geteuid()).pw_dir
        except KeyError:
            raise MalformedError(f"no user named {user!r} on this system", "write the path out") from None
        return home + slash + rest

    # ---- scalars

    def _read(self, reader: Reader, kind: inspect.Type, node: Node) -> Any:
        if not isinstance(node.value, (bool, int, float, str)):
            return self._wrong(node, f"a {reader.name}")
        try:
            value = reader.read(node.value)
            if reader is PATH_READER:
                value = self.path(node, value)
        except MalformedError as error:
            return self.fail(node, str(error), error.hint)
        return self._bounded(kind, node, value)

    def _wrong(self, node: Node, wanted: str, hint: str = "") -> Invalid:
        """A mistake of type, with the remedy for what people usually meant; ``hint`` if there is no better one."""
        if isinstance(node.value, dict) and any(item.value is None for item in node.value.values()):
            name = next(iter(node.value))
            hint = f'put a placeholder in quotes: "{{{name}}}"'
        elif wanted == "text" and isinstance(node.value, (bool, int, float)):
            hint = "put it in quotes"
        elif wanted == "true or false" and isinstance(node.value, str):
            hint = "write true or false"
        elif wanted == "a list" and isinstance(node.value, str):
            hint = "put it in brackets: [...]; of a command, each word by itself"
        elif node.value is None:
            hint = "write a value, or remove the key"
        return self.fail(node, f"{wanted} is expected here, not {node.kind}", hint)

    def _text(self, kind: inspect.StrType, node: Node) -> Any:
        if not isinstance(node.value, str):
            return self._wrong(node, "text")
        if "\0" in node.value:
            return self.fail(node, "a NUL character can't stand here", "remove it")
        if kind.pattern is not None and not re.search(kind.pattern, node.value):
            return self.fail(node, f"{quoted(node.value)} is not of the form {kind.pattern}")
        return self._sized(kind, node, node.value, "characters")

    def _bool(self, _kind: inspect.BoolType, node: Node) -> Any:
        return node.value if isinstance(node.value, bool) else self._wrong(node, "true or false")

    def _int(self, kind: inspect.IntType, node: Node) -> Any:
        if isinstance(node.value, bool) or not isinstance(node.value, int):
            return self._wrong(node, "a whole number")
        return self._bounded(kind, node, node.value)

    def _float(self, kind: inspect.FloatType, node: Node) -> Any:
        if isinstance(node.value, bool) or not isinstance(node.value, (int, float)) or not math.isfinite(node.value):
            return self._wrong(node, "a number")
        return self._bounded(kind, node, float(node.value))

    def _bounded(self, kind: inspect.Type, node: Node, value: Any) -> Any:
        if isinstance(kind, (inspect.IntType, inspect.FloatType)):
            for bound, holds, words in (
                (kind.ge, operator.ge, "at least"),
                (kind.gt, operator.gt, "more than"),
                (kind.le, operator.le, "at most"),
                (kind.lt, operator.lt, "less than"),
            ):
                if bound is not None and not holds(value, bound):
                    return self.fail(node, f"{node.value} is out of range", f"it must be {words} {bound:g}")
        return value

    def _none(self, _kind: inspect.NoneType, node: Node) -> Any:
        return None if node.value is None else self._wrong(node, "nothing")

    def _enum(self, kind: inspect.EnumType, node: Node) -> Any:
        members = {str(member.value): member for member in kind.cls}
        found = self._word(node, members)
        return found if found is INVALID else members[found]

    def _literal(self, kind: inspect.LiteralType, node: Node) -> Any:
        if node.value in kind.values and not isinstance(node.value, bool):
            return node.value
        return self._word(node, [str(value) for value in kind.values])

    def _word(self, node: Node, known: Iterable[str]) -> Any:
        words = list(known)
        if isinstance(node.value, str) and node.value in words:
            return node.value
        if not isinstance(node.value, str):
            return self.fail(node, f"a word is expected here, not {node.kind}", f"write one of: {', '.join(words)}")
        return self.fail(node, f"{quoted(node.value)} is not known here", suggestion(node.value, words))

    # ---- collections

    def _list(self, kind: Any, node: Node) -> Any:
        if not isinstance(node.value, list):
            return self._wrong(node, "a list")
        items = [self.convert(kind.item_type, item) for item in node.value]
        if INVALID in items:
            return INVALID
        return self._sized(kind, node, _COLLECTIONS[type(kind)](items), "entries")

    def _sized(self, kind: Any, node: Node, value: Any, what: str) -> Any:
        if kind.min_length is not None and len(value) < kind.min_length:
            hint = "" if what == "characters" else f"write {kind.min_length} at least, or remove the key"
            return self.fail(node, "this is empty" if not value else f"fewer than {kind.min_length} {what}", hint)
        if kind.max_length is not None and len(value) > kind.max_length:
            return self.fail(node, f"more than {kind.max_length} {what}")
        return value

    def _dict(self, kind: inspect.DictType, node: Node) -> Any:
        if not isinstance(node.value, dict):
            return self._wrong(node, "a mapping")
        result = {key: self.convert(kind.value_type, item) for key, item in node.value.items()}
        return INVALID if INVALID in result.values() else result

    def _struct(self, kind: inspect.StructType, node: Node) -> Any:
        short = getattr(kind.cls, "short", None)
        if short is not None and not isinstance(node.value, dict):
            node = Node({short: node}, node.source, node.line, node.column, node.key)
        if not isinstance(node.value, dict):
            return self._wrong(node, "a mapping", _instead(kind))
        fields = {field.encode_name: field for field in kind.fields}
        open_ended = not fields and not kind.forbid_unknown_fields  # takes whatever stands there
        for key, item in node.value.items():
            if key not in fields and not open_ended:
                self.mistakes.append(item.key_mistake(f"unknown key {quoted(key)}", suggestion(key, fields)))
        missing = [name for name, field in fields.items() if field.required and name not in node.value]
        if missing and not self.partial:
            words = ", ".join(map(repr, missing))
            self.fail(node, f"{words} {'is' if len(missing) == 1 else 'are'} missing", "add it here")
        known = {key: self.convert(fields[key].type, item) for key, item in node.value.items() if key in fields}
        if missing or INVALID in known.values():
            return INVALID
        return self._built(kind.cls, {fields[key].name: value for key, value in known.items()}, node)

    def _built(self, cls: Callable[..., Any], values: dict[str, Any], node: Node) -> Any:
        try:
            return cls(**values)
        except MalformedError as error:
            return self.fail(node, str(error), error.hint)
        except ValueError as error:
            return self.fail(node, str(error))

    def _union(self, kind: inspect.UnionType, node: Node) -> Any:
        """The members that fit the node's shape are tried; the last one's mistake is told."""
        fitting = [member for member in kind.types if _fits(member, node)]
        if not fitting:
            hint = next(filter(None, map(_instead, kind.types)), "")
            return self._wrong(node, " or ".join(dict.fromkeys(_words(member) for member in kind.types)), hint)
        for member in fitting[:-1]:
            trial = self.scratch()
            value = trial.convert(member, node)
            if not trial.mistakes:
                return value
        return self.convert(fitting[-1], node)

    def _any(self, _kind: inspect.AnyType, node: Node) -> Any:
        return node.plain()


_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_COLLECTIONS: dict[type, Callable[[list[Any]], Any]] = {
    inspect.ListType: list,
    inspect.VarTupleType: tuple,
    inspect.SetType: set,
    inspect.FrozenSetType: frozenset,
}
_METHODS: tuple[tuple[Any, Callable[..., Any]], ...] = (
    (inspect.StrType, Converter._text),
    (inspect.UnionType, Converter._union),
    (inspect.BoolType, Converter._bool),
    (inspect.IntType, Converter._int),
    (inspect.FloatType, Converter._float),
    (inspect.NoneType, Converter._none),
    (inspect.EnumType, Converter._enum),
    (inspect.LiteralType, Converter._literal),
    (tuple(_COLLECTIONS), Converter._list),
    (inspect.DictType, Converter._dict),
    (inspect.StructType, Converter._struct),
    (inspect.AnyType, Converter._any),
)
_SHAPES: tuple[tuple[Any, tuple[type, ...], str], ...] = (
    (inspect.NoneType, (type(None),), "nothing"),
    (tuple(_COLLECTIONS), (list,), "a list"),
    ((inspect.DictType, inspect.StructType), (dict,), "a mapping"),
    (inspect.BoolType, (bool,), "true or false"),
    ((inspect.IntType, inspect.FloatType), (int, float), "a number"),
    ((inspect.StrType, inspect.EnumType, inspect.LiteralType), (str, bool, int, float), "text"),
)


def _fits(kind: inspect.Type, node: Node) -> bool:
    """True if a node of this shape may be of the type."""
    if isinstance(kind, inspect.Metadata):
        if kind.extra and "reader" in kind.extra:
            return isinstance(node.value, (bool, int, float, str))
        return _fits(kind.type, node)
    if isinstance(kind, inspect.StructType) and hasattr(kind.cls, "short"):
        return node.value is not None
    return any(isinstance(kind, types) and isinstance(node.value, shapes) for types, shapes, _ in _SHAPES)


def _instead(kind: inspect.Type) -> str:
    """What a struct says is to be written where something else stands."""
    return getattr(kind.cls, "instead", "") if isinstance(kind, inspect.StructType) else ""


def _words(kind: inspect.Type) -> str:
    if isinstance(kind, inspect.Metadata):
        reader = (kind.extra or {}).get("reader")
        return f"a {reader.name}" if reader else _words(kind.type)
    return next((words for types, _, words in _SHAPES if isinstance(kind, types)), "a value")
