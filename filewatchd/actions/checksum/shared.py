"""The daemon's one index, opened with the first action that needs it and closed with the last."""

from __future__ import annotations

import os
from collections.abc import Callable

from filewatchd.clock import Clock
from filewatchd.state.index.writing import Index

Hearer = Callable[[str, str], None]  # a key and a message

_open: dict[str, tuple[Index, list[tuple[str, Hearer]]]] = {}  # only the loop's thread comes here


def acquire(state_dir: str, clock: Clock, rule: str, hearer: Hearer) -> Index:
    """The index in a state directory; give it back with `release`. ``hearer``: gets what is to be told to all.

    Raises:
        FatalError, StateError: it can't be opened.
    """
    path = os.path.join(state_dir, "index.db")
    if path not in _open:
        _open[path] = Index(path, clock), []
    index, hearers = _open[path]
    hearers.append((rule, hearer))
    return index


def tell_all(index: Index, key: str, message: str) -> None:
    """Tell every rule that uses the index."""
    for _, hearer in list(_open[index.path][1]):
        hearer(key, message)


def uses(index: Index, rule: str) -> bool:
    """Whether a rule of this name has the index open."""
    return any(name == rule for name, _ in _open[index.path][1])


def release(index: Index, rule: str, hearer: Hearer) -> None:
    """One user less."""
    hearers = _open[index.path][1]
    hearers.remove((rule, hearer))
    if not hearers:
        del _open[index.path]
        index.close()
