"""The daemon's one index, opened with the first action that needs it and closed with the last."""

from __future__ import annotations

import os

from filewatchd.clock import Clock
from filewatchd.state.index.writing import Index

_open: dict[str, tuple[Index, int]] = {}  # only the loop's thread comes here


def acquire(state_dir: str, clock: Clock) -> Index:
    """The index in a state directory; give it back with `release`.

    Raises:
        FatalError, StateError: it can't be opened.
    """
    path = os.path.join(state_dir, "index.db")
    index, users = _open.get(path) or (Index(path, clock), 0)
    _open[path] = index, users + 1
    return index


def release(index: Index) -> None:
    """One user less."""
    users = _open[index.path][1] - 1
    if users:
        _open[index.path] = index, users
    else:
        del _open[index.path]
        index.close()
