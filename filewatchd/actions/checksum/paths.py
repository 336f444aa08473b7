"""Paths as jobs have them, absolute, and as the index has them, below a root."""

from __future__ import annotations

from filewatchd.actions.checksum.seeing import Seen


def relative(path: str, root: str) -> str:
    """A path below its root; "" for the root itself."""
    return path[len(root) :].lstrip("/")


def full(root: str, path: str) -> str:
    """The inverse."""
    return f"{root.rstrip('/')}/{path}" if path else root


def path_of(seen: Seen) -> str:
    """The relative path of a look."""
    return f"{seen.directory}/{seen.name}" if seen.directory else seen.name
