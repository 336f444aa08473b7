"""Every system call that a rotation makes on its files failing in turn, and whether every line is there afterwards.

Nobody writes down which calls there are: a clean life under strace tells (`calls`), so the list can't rot. A call that
is neither in `ERRORS` nor in `NEVER` fails the test. A life is a child that is forked from here, with strace on it;
one call on the log, its folders or its temporary files fails in it, the n-th of its name. Either it fails `ONCE` and
the life tries again until it has rotated; or it fails from then on (`STAYS`), the life ends with the first failure,
and a healthy one follows.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from filewatchd.actions.rotate import finishing
from filewatchd.actions.rotate.reader import Reader
from filewatchd.actions.rotate.stream import Stream
from filewatchd.testing import FakeContext
from filewatchd.testing.waiting import wait_until
from tests.rotation import process
from tests.rotation.process import FIXED, Case
from tests.rotation.trial import Trial, options

_PASSING = frozenset({"EINTR", "EAGAIN"})  # nobody is interrupted for ever; a writer that stays is waited for
_LONGEST = 30  # seconds: it hangs
ONCE, STAYS = "once", "stays"

#: How each call may fail. A lease's refusals are fcntl's; fanotify's are those of too few rights and too many groups.
ERRORS: Mapping[str, tuple[str, ...]] = {
    "openat": ("EACCES", "EMFILE", "EINTR", "EIO"),
    "openat2": ("EACCES", "EMFILE", "EAGAIN"),
    "read": ("EIO", "EINTR"),
    "pread64": ("EIO", "EINTR"),
    "preadv": ("EIO", "EINTR"),
    "preadv2": ("EIO", "EINTR"),
    "write": ("ENOSPC", "EIO", "EINTR"),
    "pwrite64": ("ENOSPC", "EIO", "EINTR"),
    "pwritev": ("ENOSPC", "EIO", "EINTR"),
    "pwritev2": ("ENOSPC", "EIO", "EINTR"),
    "copy_file_range": ("ENOSPC", "EIO", "EINTR", "EOPNOTSUPP"),
    "fsync": ("EIO", "ENOSPC"),
    "sync_file_range": ("EIO", "ENOSPC"),
    "fdatasync": ("EIO", "ENOSPC"),
    "renameat2": ("EIO", "ENOSPC", "EACCES"),
    "linkat": ("EIO", "ENOSPC", "EACCES"),
    "unlinkat": ("EIO", "EACCES"),
    "unlink": ("EIO", "EACCES"),
    "mkdir": ("ENOSPC", "EACCES"),
    "mkdirat": ("ENOSPC", "EACCES"),
    "fallocate": ("EIO", "ENOSPC", "EINTR"),
    "ftruncate": ("EIO", "ENOSPC", "EINTR"),
    "fchmod": ("EIO", "EPERM"),
    "fchown": ("EIO", "EPERM"),
    "utimensat": ("EIO", "EPERM"),
    "fsetxattr": ("ENOSPC", "EPERM"),
    "fgetxattr": ("EIO",),
    "flistxattr": ("EIO",),
    "fcntl": ("EAGAIN", "EACCES", "EINVAL"),
    "fanotify_mark": ("ENOSPC", "EPERM"),
    "statx": ("EIO", "ENOMEM"),
    "newfstatat": ("EIO", "ENOMEM"),
    "fstat": ("EIO",),
    "lseek": ("EIO",),
    "readlink": ("EACCES",),
    "fstatfs": ("EIO", "EINTR"),
    "statfs": ("EIO", "EINTR"),
    "getdents64": ("EIO",),
}
#: Calls that can't fail on a descriptor that is open, or of which nothing depends.
NEVER = frozenset({"close", "fadvise64", "ioctl", "dup", "mmap", "munmap"})


class Way(NamedTuple):
    """A kind of rotation. ``holds``: somebody appends to the log meanwhile; ``before``: rotations that came before.

    ``death``: a first life dies there, and calls fail in the one that recovers.
    """

    method: str
    more: Mapping[str, Any] = MappingProxyType({})
    holds: bool = False
    before: int = 0
    short: bool = False
    lines: int = 700
    death: tuple[str, str] | None = None


_ELSEWHERE = f"/dev/shm/filewatchd-{os.getpid()}"  # another filesystem
WAYS: Mapping[str, Way] = {
    "exchange": Way("exchange"),
    "exchange, plain": Way("exchange", {"compress": {"codec": "none"}}),
    "exchange, plain, elsewhere": Way("exchange", {"compress": {"codec": "none"}, "into": {"dir": _ELSEWHERE}}),
    "exchange, numbered": Way("exchange", {"name": "numbered", "keep": {"count": 1}}, before=2),
    "exchange, short": Way("exchange", short=True),
    "collapse": Way("collapse", holds=True),
    "auto": Way("auto", {"compress": {"codec": "lz4"}}, holds=True),
    "punch": Way("punch", {"into": {"dir": "old"}}, holds=True),
    "punch, short": Way("punch", {"compress": {"codec": "xz"}}, holds=True, short=True),
    "copy": Way("copy", {"compress": {"codec": "zstd"}}),
    "copy, plain": Way("copy", {"compress": {"codec": "none"}}),
    "copytruncate": Way("copytruncate"),
    "copytruncate, large": Way("copytruncate", {"compress": {"codec": "lz4"}}, lines=16000),
    "exchange, swapped unwritten": Way("exchange", death=("SWAP", "before")),
    "exchange, swapped": Way("exchange", death=("SWAP", "after")),
    "exchange, not yet named": Way("exchange", {"into": {"dir": "old"}}, death=("NAME", "before")),
    "exchange, plain, not yet named": Way("exchange", {"compress": {"codec": "none"}}, death=("NAME", "before")),
    "exchange, not yet freed": Way("exchange", death=("FREE", "before")),
    "numbers shifting": Way("exchange", {"name": "numbered"}, before=2, death=("SHIFT", "after")),
    "collapse, stamped": Way("collapse", holds=True, death=("STAMP", "after")),
    "collapse, cut off": Way("collapse", holds=True, death=("FREE", "before")),
    "punch, half freed": Way("punch", holds=True, short=True, death=("MEMBER", "after")),
    "copytruncate, copied": Way("copytruncate", death=("COPY", "after")),
    "copytruncate, emptied": Way("copytruncate", death=("TRUNCATE", "before")),
    "copytruncate, bz2": Way("copytruncate", {"compress": {"codec": "bz2"}, "into": {"dir": "old"}}),
}


class Fault(NamedTuple):
    """A call that fails."""

    way: str
    call: str
    number: int
    error: str
    how: str

    def __str__(self) -> str:
        """As it is asked for on the command line."""
        return f"{self.way}/{self.call}/{self.number}/{self.error}/{self.how}"


def fault_of(text: str) -> Fault:
    """As it was printed."""
    way, call, number, error, how = text.split("/")
    return Fault(way, call, int(number), error, how)


class Told(NamedTuple):
    """What a life told. ``failures``: outcomes and findings that somebody would read."""

    status: int
    failures: list[str]
    bug: str


# ---- a life in a child


Tell = Callable[[str, str], None]


async def _until_rotated(case: Case, how: str, tell: Tell) -> None:
    """Recover, rotate until that went well, finish; with `STAYS` until something fails."""
    async with process.opened(case) as (action, context):
        try:
            await action.recover()
            for _ in range(9):
                failures = await process.rotated(action, case)
                for failure in failures:
                    tell("failed", failure)
                if failures and how == STAYS:
                    os._exit(0)
                if not failures:
                    break
            await _finished(context, how, tell)
        finally:
            _tell_findings(context, tell)


async def _finished(context: FakeContext, how: str, tell: Tell) -> None:
    """What goes on beside the jobs ends, too."""
    while left := [task for name, task in context.follow_ups.items() if name.startswith("archive")]:
        _tell_findings(context, tell)
        if context.findings and how == STAYS:
            os._exit(0)
        if all(task.done() for task in left):
            break
        await asyncio.wait(left, timeout=0.01)
    for task in left:
        task.result()


def _tell_findings(context: FakeContext, tell: Tell) -> None:
    for message, _ in list(context.findings.values()):
        tell("failed", message)


def _child(case: Case, how: str, go: int, told: int) -> int:
    def tell(what: str, text: str) -> None:
        os.write(told, f"{what} {text!r}\n".encode("utf-8", "backslashreplace"))

    os.read(go, 1)
    signal.alarm(_LONGEST)
    try:
        process.prepare(case)
        finishing._FIRST = 0.01  # seconds until what goes on beside the jobs is tried again
        asyncio.run(_until_rotated(case, how, tell))
    except BaseException:  # noqa: BLE001 - the parent fails with it
        tell("bug", traceback.format_exc())
        return 1
    return 0


def live(trial: Trial, how: str = ONCE, strace: Sequence[str] = (), death: tuple[str, str] | None = None) -> Told:
    """A life; under strace if that is said."""
    go, told = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            sys.stdout.flush()
            status = _child(trial.case(death), how, go[0], told[1])
        finally:
            os._exit(status)
    os.close(told[1])
    tracer = None
    if strace:
        tracer = subprocess.Popen([*strace, "-p", str(pid)], stderr=subprocess.DEVNULL)
        wait_until(lambda: "TracerPid:\t0" not in Path(f"/proc/{pid}/status").read_text(), "strace holds it")
    os.write(go[1], b"x")
    with os.fdopen(told[0], errors="replace") as pipe:
        lines = [line.rstrip("\n").partition(" ") for line in pipe]
    _, status = os.waitpid(pid, 0)
    if tracer is not None:
        tracer.wait(20)
    for fd in go:
        os.close(fd)
    said = {what: [rest for first, _, rest in lines if first == what] for what in ("failed", "bug")}
    failures = list(dict.fromkeys(said["failed"]))
    return Told(os.waitstatus_to_exitcode(status), failures, "".join(said["bug"]))


# ---- one trial


class Place:
    """A log that is due, in a directory of its own."""

    def __init__(self, way: str, where: Path) -> None:
        self.way = WAYS[way]
        self.trace = where / "trace"
        (where / "root").mkdir(parents=True)
        said = options(self.way.method, **self.way.more) | {"when": {"size": 1}}
        self.trial = Trial(where / "trial", where / "root", said, short=self.way.short)
        self.trial.fixed = True
        self._holder: Any = None

    def __enter__(self) -> Trial:
        for number in range(self.way.before):
            self.trial.fixed = False
            self.trial.fill(30)
            assert live(self.trial).status == 0, number
        self.trial.fixed = True
        self.trial.fill(self.way.lines)
        os.setxattr(self.trial.live, "user.filewatchd", b"kept")
        if os.geteuid() == 0:
            os.chown(self.trial.live, 1, 1)
        if self.way.holds:
            self._holder = self.trial.live.open("ab")
        if self.way.death is not None:
            self.trial.fixed = True
            assert live(self.trial, death=self.way.death).status == -signal.SIGKILL
        return self.trial

    def __exit__(self, *_: object) -> None:
        if self._holder is not None:
            self._holder.close()
        shutil.rmtree(_ELSEWHERE, ignore_errors=True)

    def strace(self, *more: str) -> list[str]:
        """What traces the calls on this log's files."""
        root, live = str(self.trial.root), str(self.trial.live)
        folders = [root, f"{root}/old", _ELSEWHERE]
        names = [live, f"{root}/.app.log.{FIXED}.rotated"]
        names += [f"{folder}/.app.log.{FIXED}.archive" for folder in folders]
        names += [f"{folder}/app.log-{FIXED[:15]}{suffix}" for folder in folders for suffix in SUFFIXES]
        names += [f"/proc/self/fd/{fd}" for fd in range(3, 60)]
        paths = [word for name in (*folders, *names) for word in ("-P", name)]
        return ["strace", "-f", "-qq", "-o", str(self.trace), *paths, *more]

    def archives(self) -> int:
        """How many of this rotation there are."""
        with Reader(str(self.trial.directory / "state")) as reader:
            return sum(row.txn == FIXED and row.state == "done" for row in reader.archives(str(self.trial.live)))

    def injected(self) -> bool:
        """Whether the fault came."""
        return "(INJECTED)" in self.trace.read_text(errors="replace")


SUFFIXES = ("", ".gz", ".zst", ".lz4", ".xz", ".bz2")
_CALL = re.compile(r"^\d+\s+(?:<\.\.\. )?(\w+)[( ]")


def calls(way: str, where: Path) -> dict[str, int]:
    """How often a clean life makes which call on its log's files.

    Raises:
        AssertionError: it makes one of which nobody has said how it may fail.
    """
    place = Place(way, where)
    with place as trial:
        told = live(trial, strace=place.strace("-e", "trace=file,desc"))
        assert (told.status, told.failures) == (0, []), told
        trial.complete()
        found = Counter(
            match[1]
            for line in place.trace.read_text(errors="replace").splitlines()
            if (match := _CALL.match(line)) and "resumed>" not in line
        )
    unknown = found.keys() - ERRORS.keys() - NEVER
    assert not unknown, f"nobody has said how {', '.join(sorted(unknown))} may fail"
    return {call: count for call, count in sorted(found.items()) if call in ERRORS}


def faults(way: str, where: Path) -> Iterator[Fault]:
    """All faults of a way."""
    for call, count in calls(way, where).items():
        for number in range(1, count + 1):
            for error in ERRORS[call]:
                for how in (ONCE, STAYS) if error not in _PASSING else (ONCE,):
                    yield Fault(way, call, number, error, how)


def fail(fault: Fault, where: Path) -> bool:
    """One fault; returns whether anybody was told of it.

    Raises:
        AssertionError: something was lost, doubled, torn or left behind, or wasn't told as it should be.
    """
    place = Place(fault.way, where)
    with place as trial:
        when = f"{fault.number}{'+' if fault.how == STAYS else ''}"
        inject = ["-e", f"trace={fault.call}", "-e", f"inject={fault.call}:error={fault.error}:when={when}"]
        told = live(trial, fault.how, place.strace(*inject))
        assert place.injected(), f"{fault}: there was no such call"
        assert not told.bug, f"{fault}: {told.bug}"
        assert told.status == 0, f"{fault}: {told}"
        for failure in told.failures:
            assert str(trial.root) in failure or "/app.log" in failure or "journal.db" in failure, f"{fault}: {failure}"
            assert "; " in failure, f"{fault}: no remedy in {failure}"
        trial.check(streamed(trial), {"filler": trial.count()}, str(fault))
        if fault.how == ONCE:
            assert place.archives() > 0, f"{fault}: {told}"
        else:
            after = live(trial)
            assert not after.bug, f"{fault}: {after.bug}"
            assert place.archives() > 0, f"{fault}: {after}"
        trial.check(streamed(trial), {"filler": trial.count()}, str(fault))
        trial.complete()
        return bool(told.failures)


def streamed(trial: Trial) -> bytes:
    """What `archive cat` prints."""
    with Reader(str(trial.directory / "state")) as reader:
        stream = Stream(str(trial.live), lambda: reader.parts(str(trial.live)))
        content = b"".join(piece.data for piece in stream)
    assert not stream.missing, stream.missing
    return content
