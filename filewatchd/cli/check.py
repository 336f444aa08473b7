"""`filewatchd check` and `filewatchd schema`: what is in the configuration, and what may be.

Results go to standard output, mistakes and warnings to standard error (with ``--json``: all to standard output).
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filewatchd.cli.mistakes import fields, tell_mistakes
from filewatchd.cli.text import count, to_json
from filewatchd.config.load import load
from filewatchd.errors import ConfigError

if TYPE_CHECKING:
    from filewatchd.actions.base import ActionPackage
    from filewatchd.config.configuration import Configuration, Row


def check(
    config: Path,
    *,
    registry: Mapping[str, ActionPackage],
    environ: Mapping[str, str],
    flags: Mapping[str, object],
    show: bool = False,
    as_json: bool = False,
    fragment: Path | None = None,
) -> int:
    """Check a configuration and say how it went; the exit code is 0, or 78 with mistakes."""
    try:
        found = load(config, registry=registry, environ=environ, flags=flags, fragment=fragment, with_rows=show)
    except ConfigError as error:
        tell_mistakes(error.mistakes, as_json)
        return error.exit_code
    if as_json:
        print(to_json(_summary(found) | ({"values": [row._asdict() for row in found.rows]} if show else {})))
        return 0
    for warning in found.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if show:
        print("\n".join(lines(found.rows)))
    else:
        print(f"configuration ok: {count(found.rules, 'rule')}, {count(found.files, 'file')}")
    return 0


def schema(registry: Mapping[str, ActionPackage], *, markdown: bool = False) -> int:
    """Print the JSON Schema of the configuration, or the reference that is made of it."""
    if markdown:
        from filewatchd.config.reference import reference

        print(reference(registry), end="")
    else:
        from filewatchd.config.editors import json_schema

        print(to_json(json_schema(registry)))
    return 0


def _summary(found: Configuration) -> dict[str, Any]:
    return {
        "ok": True,
        "mistakes": [],
        "warnings": [fields(warning) for warning in found.warnings],
        "files": list(found.files),
        "rules": [rule.name for rule in found.rules],
    }


def lines(rows: Iterable[Row]) -> Iterator[str]:
    """The rows as an indented outline, each value with its origin behind it."""
    before: tuple[str | int, ...] = ()
    for row in rows:
        shared = next((i for i, (old, new) in enumerate(zip(before, row.key, strict=False)) if old != new), len(before))
        yield from _headings(row.key, shared)
        last, depth = row.key[-1], len(row.key) - 1
        after_dash = depth and isinstance(row.key[-2], int) and shared < depth
        name = "- " if isinstance(last, int) else f"{'- ' if after_dash else ''}{last}: "
        indent = "  " * (depth - 1 if after_dash else depth)
        yield f"{indent + name + _text(row.value):<60}  # {row.origin}"
        before = row.key


def _headings(key: tuple[str | int, ...], shared: int) -> Iterator[str]:
    """The mappings and list entries that begin between the last row and this one."""
    dash = False
    for depth in range(shared, len(key) - 1):
        if isinstance(key[depth], int):
            dash = True
            continue
        yield f"{'  ' * (depth - dash)}{'- ' if dash else ''}{key[depth]}:"
        dash = False


_PLAIN = re.compile(r"[A-Za-z/~][\w./~%+-]*", re.ASCII)


def _text(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_text, value))}]"
    if isinstance(value, str) and (_PLAIN.fullmatch(value) or re.fullmatch(r"[0-9][\w./]*[a-zA-Z%]", value)):
        return value
    return json.dumps(value, ensure_ascii=False)
