"""Show: every value with its origin, as rows of ``check --show``. Secrets, and what might be one, are masked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import msgspec.inspect as inspect

from filewatchd.config.configuration import Row
from filewatchd.config.convert import Converter
from filewatchd.config.nodes import Node
from filewatchd.notation import MalformedError
from filewatchd.values import PATH_READER, Reader, Secret

BUILT_IN = "built-in"
MASK = "***"
Key = tuple[str | int, ...]


def rows(kind: inspect.Type, node: Node, key: Key, converter: Converter) -> Iterator[Row]:
    """The rows of a value that was converted without a mistake."""
    kind, reader = _bare(kind, node)
    if _secret(kind):
        yield Row(key, MASK, node.origin)
    elif isinstance(kind, inspect.StructType) and isinstance(node.value, dict):
        yield from _struct_rows(kind, node, key, converter)
    elif isinstance(node.value, dict):
        inner = kind.value_type if isinstance(kind, inspect.DictType) else inspect.AnyType()
        for name, item in node.value.items():
            yield from rows(inner, item, (*key, name), converter)
    elif isinstance(node.value, list) and any(isinstance(item.value, (dict, list)) for item in node.value):
        inner = getattr(kind, "item_type", inspect.AnyType())
        for index, item in enumerate(node.value):
            yield from rows(inner, item, (*key, index), converter)
    else:
        yield Row(key, _shown(kind, reader, node, converter), node.origin)


def _struct_rows(kind: inspect.StructType, node: Node, key: Key, converter: Converter) -> Iterator[Row]:
    for field in kind.fields:
        inner = node.get(field.encode_name)
        if inner is not None:
            yield from rows(field.type, inner, (*key, field.encode_name), converter)
        elif field.default_factory is not msgspec.NODEFAULT:
            yield from _default_rows(field.type, field.default_factory(), (*key, field.encode_name))
        elif field.default is not msgspec.NODEFAULT:
            yield from _default_rows(field.type, field.default, (*key, field.encode_name))


def default_rows(schema: type, key: Key) -> Iterator[Row]:
    """The rows of a section nobody wrote."""
    yield from _default_rows(inspect.type_info(schema), schema(), key)


def _default_rows(kind: inspect.Type, value: Any, key: Key) -> Iterator[Row]:
    kind, reader = _bare(kind, None)
    if isinstance(value, msgspec.Struct) and isinstance(kind, inspect.StructType):
        for field in kind.fields:
            yield from _default_rows(field.type, getattr(value, field.name), (*key, field.encode_name))
    else:
        shown = reader.write(value) if reader and value is not None else msgspec.to_builtins(value)
        yield Row(key, shown, BUILT_IN)


def _bare(kind: inspect.Type, node: Node | None) -> tuple[inspect.Type, Reader | None]:
    """A type without its annotations, and of a union the member that the node is; the reader on the way."""
    reader: Reader | None = None
    while isinstance(kind, (inspect.Metadata, inspect.UnionType)):
        if isinstance(kind, inspect.Metadata):
            reader = (kind.extra or {}).get("reader") or reader
            kind = kind.type
            continue
        members = [member for member in kind.types if not isinstance(member, inspect.NoneType)]
        secret = next((member for member in members if _secret(member)), None)
        if secret is not None:
            return secret, None
        if reader is not None or not members:
            break
        wants_struct = node is None or isinstance(node.value, dict)
        kind = next((m for m in members if isinstance(m, inspect.StructType) is wants_struct), members[0])
    return kind, reader


def _secret(kind: inspect.Type) -> bool:
    return isinstance(kind, inspect.StructType) and kind.cls is Secret


def _shown(kind: inspect.Type, reader: Reader | None, node: Node, converter: Converter) -> object:
    """The value as it was written; paths as they were understood."""
    if isinstance(node.value, list):
        inner, item_reader = _bare(getattr(kind, "item_type", inspect.AnyType()), None)
        return [_shown(inner, item_reader, item, converter) for item in node.value]
    if reader is PATH_READER and isinstance(node.value, str):
        try:
            return converter.path(node, node.value)
        except MalformedError:
            return node.value
    return node.plain()
