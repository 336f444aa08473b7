"""A file's extended attributes and its ACLs, packed; empty where it has none. Long values by their digest."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress

from filewatchd.state.pack import pack

_ACL = "system.posix_acl_"
_LONG = 4096  # bytes of an attribute's value that are kept as they are


def extended(of: int | str) -> tuple[bytes, bytes]:
    """Those of an open file, or of what a path leads to."""
    try:
        names = os.listxattr(of)
    except OSError:
        return b"", b""
    if not names:
        return b"", b""
    found: dict[str, bytes] = {}
    for name in sorted(names):
        with suppress(OSError):  # gone since
            value = os.getxattr(of, name)
            found[name] = value if len(value) <= _LONG else hashlib.sha256(value).digest()
    return (
        _packed({name: value for name, value in found.items() if not name.startswith(_ACL)}),
        _packed({name: value for name, value in found.items() if name.startswith(_ACL)}),
    )


def _packed(found: dict[str, bytes]) -> bytes:
    return pack(list(found.items())) if found else b""
