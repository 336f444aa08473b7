"""Looking at logs: their sizes, many at once, and all that decides how one is rotated."""

from __future__ import annotations

import fnmatch
import os
from contextlib import ExitStack, suppress
from typing import NamedTuple

from filewatchd.actions.rotate.deciding import Facts
from filewatchd.actions.rotate.places import folder_of, opened
from filewatchd.actions.rotate.standing import point_of
from filewatchd.errors import ActionError
from filewatchd.work.files import filesystem_magic, is_written_to
from filewatchd.work.holders import Hold, Holder, Holders, holders_of, holders_of_each
from filewatchd.work.inodes import Inode, inode_of
from filewatchd.work.opening import reason
from filewatchd.work.remedies import remedied

# f_type of statfs(2), linux/magic.h. xfs can collapse, too, but not under kill -9: it has moved what is behind by then
# and keeps the length, so the file ends in zeros, behind which appenders go on (152 of 400 kills, Linux 6.18). overlay
# may lie on xfs.
_COLLAPSES = {0xEF53: "ext4"}
_PUNCHES = _COLLAPSES | {
    0x58465342: "xfs", 0x794C7630: "overlay", 0x9123683E: "btrfs", 0x01021994: "tmpfs", 0xF2F52010: "f2fs",
    0xCA451A4E: "bcachefs",
}  # fmt: skip

#: Whose files rotate themselves, and the setting that does it. By the path, and by the program that writes.
KEEPERS = (
    ("/var/lib/docker/containers/*/*.log*", "dockerd", "log-opts max-size and max-file in /etc/docker/daemon.json"),
    ("/var/log/pods/*", "kubelet", "containerLogMaxSize and containerLogMaxFiles in the kubelet's configuration"),
    ("/var/log/containers/*", "kubelet", "containerLogMaxSize and containerLogMaxFiles in the kubelet's configuration"),
)


class Seen(NamedTuple):
    """A log as it is now. ``refused``: why it can't be rotated; ``failed``: why it can't be looked at just now."""

    inode: Inode = Inode(0, 0)
    size: int = 0
    there: bool = True
    refused: str = ""
    failed: str = ""
    log_on: str = ""  # where the filesystem of its folder is mounted (`standing`)
    into_on: str = ""  # and that of the folder for its archives
    facts: Facts | None = None  # all that decides about its method, where that takes no look at other processes


def see(live: str, beneath: str, into: str | None = None) -> Seen:
    """One look at a log. ``into``: the folder for its archives, if that is another one."""
    try:
        with folder_of(live, beneath) as folder, opened(folder, live) as fd:
            told = _without_looking(live, fd, 0)
            facts = told if isinstance(told, Facts) else None
            log_on, into_on = point_of(os.path.dirname(live)), point_of(into) if into is not None else ""
            return Seen(inode_of(fd), os.fstat(fd).st_size, log_on=log_on, into_on=into_on, facts=facts)
    except (FileNotFoundError, NotADirectoryError):
        return Seen(there=False)
    except ActionError as error:
        return Seen(refused=reason(error, live))
    except OSError as error:
        return Seen(failed=f"{live} can't be opened: {remedied(error)}")


def see_each(lives: list[tuple[str, str, str | None]]) -> list[Seen]:
    """One look at each of some logs: (path, beneath, into)."""
    return [see(*each) for each in lives]


def sizes(lives: list[str]) -> list[int]:
    """The size of each file; -1 where there is none, 0 where that can't be told. Nothing is opened."""
    return [_size(live) for live in lives]


def _size(live: str) -> int:
    try:
        return os.stat(live, follow_symlinks=False).st_size
    except (FileNotFoundError, NotADirectoryError):
        return -1
    except OSError:
        return 0


def is_written(live: str, beneath: str) -> bool:
    """Whether anybody has a log open for writing, or may have."""
    try:
        with folder_of(live, beneath) as folder, opened(folder, live) as fd:
            return is_written_to(fd) is not False
    except (OSError, ActionError):
        return True


def inspect(live: str, beneath: str, skip: int) -> Facts:
    """All that decides about a log's method. Some milliseconds, in which nobody can open it.

    Raises:
        OSError, ActionError: it can't be opened.
    """
    with folder_of(live, beneath) as folder, opened(folder, live) as fd:
        told = _without_looking(live, fd, skip)
        if isinstance(told, Facts):
            return told
        with Hold(fd) as hold:
            found = holders_of(fd)
            return _facts(live, fd, told, skip, found, hold.held)


def inspect_each(logs: list[tuple[str, str, int]]) -> list[Facts | None]:
    """The same of several logs, (path, beneath, skip), in one look through /proc; None: it can't be opened."""
    facts: list[Facts | None] = [None] * len(logs)
    left: dict[int, tuple[int, bool | None]] = {}
    with ExitStack() as stack:
        for number, (live, beneath, skip) in enumerate(logs):
            with suppress(OSError, ActionError):
                fd = stack.enter_context(opened(stack.enter_context(folder_of(live, beneath)), live))
                told = _without_looking(live, fd, skip)
                if isinstance(told, Facts):
                    facts[number] = told
                else:
                    left[number] = fd, told
        # Only when all are open: we would wait for ourselves, too, if one log were asked about twice.
        holds = [stack.enter_context(Hold(fd)).held for fd, _ in left.values()]
        holders = holders_of_each([fd for fd, _ in left.values()]) if left else []
        for (number, (fd, leased)), found, held in zip(left.items(), holders, holds, strict=True):
            live, _, skip = logs[number]
            facts[number] = _facts(live, fd, leased, skip, found, held)
    return facts


def _without_looking(live: str, fd: int, skip: int) -> Facts | bool | None:
    """What can be told without a look at other processes; else what a lease says."""
    keeper = keeper_of(live, ())
    if keeper:
        return Facts(None, keeper=keeper)
    leased = is_written_to(fd)
    return Facts(False, skip=skip) if leased is False else leased


def _facts(live: str, fd: int, leased: bool | None, skip: int, found: Holders, held: bool) -> Facts:
    magic = filesystem_magic(fd)
    writers = found.writers
    return Facts(
        leased,
        writers=len(writers),
        appending=sum(writer.appends for writer in writers),
        mapped=sum(writer.mapped for writer in writers),
        hidden=found.hidden,
        initial=found.initial,
        held=held,
        collapses=magic in _COLLAPSES,
        punches=magic in _PUNCHES,
        skip=skip,
        names=tuple(sorted({writer.program for writer in writers if not writer.appends}))[:3],
        keeper=keeper_of(live, writers),
    )


def keeper_of(live: str, writers: tuple[Holder, ...]) -> str:
    """Why a log is somebody else's to rotate."""
    for pattern, program, setting in KEEPERS:
        if fnmatch.fnmatchcase(live, pattern) or any(writer.program == program for writer in writers):
            return f"it belongs to {program}, which rotates it itself: set {setting}"
    return ""
