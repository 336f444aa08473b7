"""What a work on an archive says to who drives it: a step was taken, or something has to be on the disk first."""

from __future__ import annotations

from typing import Any, NamedTuple

from filewatchd.actions.rotate.machine import Step


class Sync(NamedTuple):
    """Something that has to be on the disk before the work goes on."""

    fd: int


class Move(NamedTuple):
    """A step that was taken on disk, and what the row says from now on. What is None doesn't change.

    ``also``: steps that were taken with it: there is nothing to be done in between.
    """

    step: Step
    also: tuple[Step, ...] = ()
    end: int | None = None
    cut: int | None = None
    position: int | None = None
    skip: int | None = None
    plain: str | None = None
    path: str | None = None
    size: int | None = None
    file_ino: int | None = None
    file_btime_ns: int | None = None
    codec: str | None = None
    copy_ino: int | None = None
    copy_btime_ns: int | None = None
    grown: bool = False  # lines came after the end that was recorded: they are another archive's
    foreign: str = ""  # the owner or group of the log that the fresh one couldn't be given
    lost: int = 0  # bytes that are nowhere any more: somebody has taken away what had them

    @property
    def values(self) -> dict[str, Any]:
        """The row's new values."""
        told = self._asdict()
        del told["step"], told["also"], told["grown"], told["foreign"], told["lost"]
        return {name: value for name, value in told.items() if value is not None}
