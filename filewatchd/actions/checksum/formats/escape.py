r"""How coreutils write a name with a line break: a `\` before the line says that `\n`, `\r`, `\\` stand in the name.

Source: coreutils 9.1, src/digest.c (print_filename, filename_unescape); older ones escape no carriage return.
"""

from __future__ import annotations

import re

_ESCAPES = {b"\\": b"\\\\", b"\n": b"\\n", b"\r": b"\\r"}
_MEANINGS = {escape: char for char, escape in _ESCAPES.items()}
_SPECIAL = re.compile(rb"[\\\n\r]")
_ESCAPED = re.compile(rb"\\(?:.|\Z)", re.DOTALL)


def escaped(name: bytes) -> tuple[bytes, bytes]:
    """What stands before the line (a backslash or nothing), and the name as it stands in it."""
    found = _SPECIAL.sub(lambda match: _ESCAPES[match[0]], name)
    return (b"\\", found) if found != name else (b"", name)


def unescaped(text: bytes) -> bytes | None:
    """The name that was written so; None if a backslash stands before something else."""
    try:
        return _ESCAPED.sub(lambda match: _MEANINGS[match[0]], text)
    except KeyError:
        return None
