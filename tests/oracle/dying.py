"""The daemon, but it kills itself at a step of its own: at the N-th time that it makes something last.

    dying.py before|after N PYTHON -c CODE ARGUMENTS...     becomes `filewatchd ARGUMENTS...`

Steps are: a commit, a statement that commits by itself, a checkpoint, a rename (all that atomic replacement hangs
on). They are numbered as they come, in all threads together. SIGKILL takes all of these at once, as `kill -9` does;
``before``: what the step should make last isn't there; ``after``: it is, and nothing that follows it.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable
from typing import Any

_WRITES = ("INSERT", "UPDATE", "DELETE", "REPLACE", "CREATE", "DROP")
_ENDS = ("COMMIT", "PRAGMA wal_checkpoint")


class Steps:
    """Counts steps, and dies at one of them."""

    def __init__(self, side: str, last: int) -> None:
        self._side = side
        self._last = last
        self._count = 0
        self._lock = threading.Lock()

    def take(self, step: Callable[[], Any]) -> Any:
        """Do one that counts."""
        with self._lock:
            self._count += 1
            number = self._count
        self._at(number, "before")
        done = step()
        self._at(number, "after")
        return done

    def _at(self, number: int, side: str) -> None:
        if (number, side) == (self._last, self._side):
            os.kill(os.getpid(), signal.SIGKILL)


def connection_class(steps: Steps) -> type[sqlite3.Connection]:
    """A connection whose commits are steps."""

    class Connection(sqlite3.Connection):
        def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
            call = super().execute
            if sql.startswith(_ENDS) or (sql.lstrip().startswith(_WRITES) and not self.in_transaction):
                return steps.take(lambda: call(sql, *parameters))  # type: ignore[no-any-return]
            return call(sql, *parameters)

    return Connection


def install(steps: Steps) -> None:
    """Make everything that lasts in this process a step."""
    connect, rename = sqlite3.connect, os.rename
    factory = connection_class(steps)

    def connected(*arguments: Any, **options: Any) -> Any:
        return connect(*arguments, factory=factory, **options)

    def renamed(*arguments: Any, **options: Any) -> None:
        steps.take(lambda: rename(*arguments, **options))

    sqlite3.connect = connected
    os.rename = renamed


def main() -> int:
    """Die on the way, or end as the daemon does."""
    side, last, _python, _c, _code, *arguments = sys.argv[1:]
    install(Steps(side, int(last)))
    from filewatchd.cli.daemon import main as run

    sys.argv = ["filewatchd", *arguments]
    return run()


if __name__ == "__main__":
    sys.exit(main())
