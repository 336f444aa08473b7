"""pyinotify: the inotify backend on pyinotify's system calls, for where that library is the one to be used.

What pyinotify 0.9.6 does: its Notifier decodes each name as strict UTF-8 and, at the first that isn't, raises with all
else it had read lost; and it drops events of watches that its WatchManager hasn't entered yet, which is every event
between the adding of a watch in a scan thread and its entry. Its WatchManager finds watches by path, one after the
other, and so takes two directories opened under one number of ``/proc/self/fd`` for the same.

So only its wrapper of the system calls is used: it opens the descriptor, and adds and removes watches. Tables, reader,
parking, overflow and barrier are those of `inotify`, and with them what it promises and what it can't see.

The wrapper asks for no flags, so the descriptor is made non-blocking and not inheritable right after.
"""

from __future__ import annotations

import importlib
import os
import warnings
from collections.abc import Sequence

from filewatchd.clock import Clock
from filewatchd.errors import FatalError
from filewatchd.extras import backend_lacks
from filewatchd.watch.backends.base import Forgetful, Keeper
from filewatchd.watch.backends.inotify import InotifyBackend
from filewatchd.watch.backends.inotify_queue import Descriptor, no_descriptor
from filewatchd.work.pool import Pool


class PyinotifyDescriptor(Descriptor):
    """An inotify descriptor through pyinotify's wrapper."""

    def __init__(self, fd: int | None = None) -> None:
        """See `Descriptor`. Raises FatalError if the extra is missing, too."""
        lack = backend_lacks("pyinotify")
        if lack is not None:
            raise FatalError(f"{lack[0]}; {lack[1]}", exit_code=78)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of asyncore, which it imports and we never use
            library = importlib.import_module("pyinotify")  # it has no types
        self._calls = library.INotifyWrapper.create()
        if self._calls is None:
            raise FatalError("pyinotify finds no inotify in the C library; write `backend: inotify`", exit_code=78)
        self.retained = fd is not None
        self.fd = self._calls.inotify_init() if fd is None else fd
        if self.fd < 0:
            raise no_descriptor(self._calls.get_errno())
        os.set_blocking(self.fd, False)
        os.set_inheritable(self.fd, False)

    def add(self, path: str, mask: int) -> int:
        """Watch a path; returns the watch number.

        Raises:
            OSError: ENOSPC if no watch is left.
        """
        watch: int = self._calls.inotify_add_watch(self.fd, path, mask)
        if watch < 0:
            code = self._calls.get_errno()
            raise OSError(code, os.strerror(code))
        return watch

    def remove(self, watch: int) -> None:
        """Give a watch back; one that has ended doesn't matter."""
        self._calls.inotify_rm_watch(self.fd, watch)


class PyinotifyBackend(InotifyBackend):
    """See the module's theory of operation."""

    name = "pyinotify"
    limits: Sequence[str] = (*InotifyBackend.limits, "pyinotify has had no release since 2015")

    def __init__(self, keeper: Keeper | None = None) -> None:
        """Raises FatalError if the extra is missing, or the kernel gives no descriptor."""
        keeper = keeper or Forgetful()
        super().__init__(PyinotifyDescriptor(keeper.take(self.name)), keeper)


def build(pool: Pool, clock: Clock, keeper: Keeper) -> PyinotifyBackend:
    """The backend, on the descriptor of an earlier process if there is one."""
    return PyinotifyBackend(keeper)
