"""A filesystem that fails when told: the n-th call of a chosen set, with a chosen error."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

WRITES = ("open", "write", "fsync", "rename", "replace", "link", "unlink", "mkdir", "rmdir", "truncate", "ftruncate")


class FaultyFS:
    """Within ``with``, functions of ``os`` are counted, and one call of them fails.

    To see that a piece of work survives a failure anywhere, run it once with ``fail=0`` and read ``calls``, then once
    for each n from 1 to that::

        with FaultyFS(fail=n, error=errno.ENOSPC):
            work()

    ``below``: only calls whose first argument is a path below this directory, or a descriptor, count. ``sticky``: all
    later calls fail as well, as on a full or vanished disk.
    """

    def __init__(
        self,
        names: Iterable[str] = WRITES,
        *,
        fail: int = 0,
        error: int = errno.EIO,
        below: str | None = None,
        sticky: bool = False,
    ) -> None:
        self.calls = 0
        self.failed: list[str] = []  # names of the calls that were made to fail
        self._names = tuple(names)
        self._fail = fail
        self._error = error
        self._below = below
        self._sticky = sticky
        self._real: dict[str, Callable[..., Any]] = {}

    def __enter__(self) -> FaultyFS:
        for name in self._names:
            self._real[name] = getattr(os, name)
            setattr(os, name, self._counted(name, self._real[name]))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name, real in self._real.items():
            setattr(os, name, real)
        self._real.clear()

    def _counted(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if self._counts(args):
                self.calls += 1
                if self.calls == self._fail or (self._sticky and 0 < self._fail < self.calls):
                    self.failed.append(name)
                    raise OSError(self._error, os.strerror(self._error), args[0] if args else None)
            return real(*args, **kwargs)

        return call

    def _counts(self, args: tuple[Any, ...]) -> bool:
        if self._below is None or not args or isinstance(args[0], int):
            return True
        return os.fsdecode(args[0]).startswith(self._below.rstrip("/") + "/")
