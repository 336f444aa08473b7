"""Work on several archives in one stroke: what a call of the worker does for all logs that come to it together.

Each archive's work is a generator (`swapping`, `packing`, `freeing`, `copying`). It gives a `Move` when it has taken a
step, and goes on when that is written down; it gives a `Sync` when something has to be on the disk first. Here all of
them go on until each has come to a step, or to its end; what they want on the disk is synced in between, for all of
them: a journaling filesystem writes the first one's, and with it all others', so the rest cost next to nothing.
Then the steps are handed over, to be written down in one commit. An error ends the work of one archive alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

from filewatchd.actions.rotate import copying, freeing, packing, swapping
from filewatchd.actions.rotate.ledger import Archive
from filewatchd.actions.rotate.places import Move, Names, Setting, Sync
from filewatchd.errors import ActionError
from filewatchd.work.ranges import write_out

Work = Callable[..., Iterator[Move | Sync]]
_WORKS: tuple[Work, ...] = (
    swapping.swap, swapping.swap_again, swapping.close, packing.pack, packing.give_name, packing.give_plain_name,
    packing.discard, freeing.free, freeing.drop_empty, freeing.delete, copying.copy, copying.empty_again,
    copying.discard,
)  # fmt: skip


def name_of(work: Work) -> str:
    """How a work is asked for."""
    return f"{work.__module__.rpartition('.')[2]}.{work.__name__}"


_BY_NAME = {name_of(work): work for work in _WORKS}


class Task(NamedTuple):
    """One archive's work. ``names``: those that it may get; ``proven``: as `freeing.free` has it."""

    work: str
    archive: Archive
    setting: Setting
    names: Names | None = None
    proven: bool = False


class Failure(NamedTuple):
    """How the work of one archive failed. ``errno``: of an OSError; 0: it is an ActionError."""

    errno: int
    message: str
    path: str | None = None
    retryable: bool = True

    def error(self) -> OSError | ActionError:
        """As an error again."""
        if self.errno:
            return OSError(self.errno, self.message, self.path)
        return ActionError(self.message, retryable=self.retryable)


class Came(NamedTuple):
    """What has come of a task: a step that it has taken, a failure, or neither: it is over."""

    number: int
    move: Move | None = None
    failure: Failure | None = None


def strokes(tasks: list[Task]) -> Iterator[list[Came]]:
    """Do the work of several archives; each list is to be written down before the next is asked for."""
    running = {number: _begun(task) for number, task in enumerate(tasks)}
    try:
        while running:
            came: list[Came] = []
            waiting = list(running)
            while waiting:
                asked = [(number, _next(running[number], came, number)) for number in waiting]
                waiting = _synced({number: fd for number, fd in asked if fd is not None}, running, came)
            for each in came:
                if each.move is None:
                    del running[each.number]
            yield came
    finally:
        for work in running.values():
            _close(work)


def _begun(task: Task) -> Iterator[Move | Sync]:
    work = _BY_NAME[task.work]
    if task.names is not None:
        return work(task.archive, task.setting, task.names)
    return work(task.archive, task.setting, task.proven) if work is freeing.free else work(task.archive, task.setting)


def _next(work: Iterator[Move | Sync], came: list[Came], number: int) -> int | None:
    """Let a work go on: the descriptor that it wants synced, or None and what has come of it."""
    try:
        found = next(work, None)
    except (OSError, ActionError) as error:
        came.append(Came(number, failure=_told(error)))
        return None
    if isinstance(found, Sync):
        return found.fd
    came.append(Came(number, found))
    return None


def _told(error: OSError | ActionError) -> Failure:
    if isinstance(error, OSError):
        path = error.filename if isinstance(error.filename, str) else None
        return Failure(error.errno or 5, error.strerror or str(error), path)
    return Failure(0, str(error), retryable=error.retryable)


def _synced(wanted: dict[int, int], running: dict[int, Iterator[Move | Sync]], came: list[Came]) -> list[int]:
    """Sync what is wanted; returns whose work goes on: one whose sync failed gets the error, and may clean up."""
    if len(wanted) > 1:
        for fd in wanted.values():
            write_out(fd)
    done: dict[tuple[int, int], OSError | None] = {}
    for number, fd in wanted.items():
        found = os.fstat(fd)
        inode = found.st_dev, found.st_ino
        if inode not in done:
            done[inode] = _sync(fd)
        error = done[inode]
        if error is not None:
            came.append(Came(number, failure=_told(_thrown(running[number], error))))
    return [number for number in wanted if all(each.number != number for each in came)]


def _sync(fd: int) -> OSError | None:
    try:
        os.fsync(fd)
    except OSError as error:
        return error
    return None


def _thrown(work: Iterator[Move | Sync], error: OSError) -> OSError | ActionError:
    try:
        work.throw(OSError(error.errno, error.strerror))  # type: ignore[attr-defined]
    except (OSError, ActionError) as told:
        return told
    _close(work)
    return error


def _close(work: Iterator[Move | Sync]) -> None:
    work.close()  # type: ignore[attr-defined]
