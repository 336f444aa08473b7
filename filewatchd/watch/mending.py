"""Walks over what had no watch, in the scan's thread: first a look whether any is to be had, then the walk itself."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from filewatchd.watch.backends.base import Backend, WatchLimitError
from filewatchd.watch.roots import Root
from filewatchd.watch.scan import Walk, open_top

Directories = Sequence[tuple[str, int]]  # path, and the token of the directory it is in


class Probe(NamedTuple):
    """The tokens of what could be armed. ``limited``: then no watch was left."""

    tokens: list[int]
    limited: bool


def probe(backend: Backend, directories: Directories, wanted: int) -> Probe:
    """Arm up to so many of these directories, to see whether that can be done; the loop gives them back.

    While nothing is free it costs one refused call.
    """
    tokens: list[int] = []
    for path, parent in directories:
        if len(tokens) == wanted:
            break
        try:
            tokens += _armed(backend, path, parent)
        except WatchLimitError:
            return Probe(tokens, True)
        except OSError:
            continue  # the walk finds out
    return Probe(tokens, False)


def _armed(backend: Backend, path: str, parent: int) -> list[int]:
    fd = open_top(backend, path, parent)
    if fd is None:
        return []
    try:
        return [backend.arm(fd)]
    finally:
        os.close(fd)


class Mending(Walk):
    """Walks one directory after the other until no watch is left."""

    def __init__(self, backend: Backend, root: Root, directories: Directories, *, every: bool) -> None:
        super().__init__(backend, "", [], every=every)
        self._root = root
        self._directories = directories

    def steps(self) -> Iterator[None]:
        """Walk; after each step a batch may be flushed."""
        for path, parent in self._directories:
            inside = self._root.relative(path)
            if inside is None:
                continue
            self._top, self._parent, self._scopes = path, parent, [(self._root, inside)]
            self._batch.tried.append(path)
            yield from super().steps()
            if self.limited:
                return
            yield
