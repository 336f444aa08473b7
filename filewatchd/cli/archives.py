"""Reading a log with its archives for `filewatchctl archive`: which ledger, which times, how many processes."""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import get_context
from typing import NamedTuple

from filewatchd import codecs
from filewatchd.actions.rotate.ledger import Archive, Part
from filewatchd.actions.rotate.offline import Ledgers, named_parts, strangers, unknown, unlisted
from filewatchd.actions.rotate.reader import Reader
from filewatchd.actions.rotate.stream import Piece, Stream, Whole
from filewatchd.cli.asking import Session
from filewatchd.cli.options import path_arguments
from filewatchd.cli.searching import LONGEST, Found, Query, Searcher
from filewatchd.cli.text import path_in
from filewatchd.codecs import Codec, Member
from filewatchd.control.places import RequestError, action_place
from filewatchd.errors import FatalError, FilewatchdError, StateError

_PATIENCE = 10.0  # seconds that the daemon has for an answer
_SLACK_NS = 3600 * 10**9  # a line's own time may be that of a request's begin, an archive's is that of writing
_LARGEST = 2 * codecs.MEMBER  # a member with more content isn't given to a process


class Log(NamedTuple):
    """A log. ``rows``: what the ledger has of it, None by names alone; ``why``: then, why so.

    ``strangers``: files that look like archives of it, and aren't shown.
    """

    path: str
    parts: Callable[[], Sequence[Part]]
    rows: Sequence[Archive] | None
    why: str = ""
    strangers: Sequence[str] = ()


Daemon = Callable[[str], Callable[[], Sequence[Part]] | None]


def find(path: str, state_dir: str, folders: Sequence[str] = (), daemon: Daemon = lambda live: None) -> Log:
    """A log's archives, by the ledger or else by their names.

    ``daemon``: asked for the log where the ledger can't be read; what it gives is asked again and again.

    Raises:
        FatalError: there is nothing of it.
    """
    live = os.path.join(os.path.realpath(os.path.dirname(os.path.abspath(path))), os.path.basename(path))
    try:
        for name in dict.fromkeys((os.path.abspath(path), live)):  # a rule's root may be reached through a link
            reader = Reader(state_dir)
            if rows := reader.archives(name):
                ledgers = Ledgers(reader, name, unknown(live, rows, folders))
                others = strangers(live, partial(reader.archives, name), folders)
                return Log(name, ledgers, rows, strangers=others)
        why = "no rule has rotated it so far"
    except StateError as error:
        why = str(error)
        if (told := daemon(os.path.abspath(path)) or daemon(live)) is not None:
            return Log(live, _behind(live, told, folders), ())
    found = named_parts(live, folders)
    if all(part.archive is None for part in found) and not os.path.lexists(live):
        raise FatalError(f"there is neither {path} nor an archive of it ({why})")
    return Log(live, lambda: found, None, why)


def stream(log: Log, since: float | None, until: float | None, threads: int, whole: Whole | None = None) -> Stream:
    """The log, without archives that are too old or too young."""

    def wanted(part: Part) -> bool:
        late = since is None or part.last_ns is None or part.last_ns + _SLACK_NS >= since * 1e9
        return late and (until is None or part.first_ns - _SLACK_NS <= until * 1e9)

    return Stream(log.path, log.parts, threads=threads, wanted=wanted, whole=whole)


def bounded(pieces: Iterator[Piece]) -> Iterator[tuple[bytes, float]]:
    """The lines, each with a time that it isn't younger than; one that is longer than `LONGEST` comes in pieces."""
    pending, latest = bytearray(), 0.0
    for piece in pieces:
        latest = piece.part.last_ns / 1e9 if piece.part.last_ns else time.time()
        first = piece.data.find(b"\n") + 1
        pending += piece.data[:first] if first else piece.data
        while len(pending) > LONGEST:
            yield bytes(pending[:LONGEST]), latest
            del pending[:LONGEST]
        if first:
            yield bytes(pending), latest
            *lines, rest = piece.data[first:].split(b"\n")
            yield from ((line + b"\n", latest) for line in lines)
            pending = bytearray(rest)
    if pending:
        yield bytes(pending), latest


# ---- the daemon's word


def _behind(live: str, told: Callable[[], Sequence[Part]], folders: Sequence[str]) -> Callable[[], Sequence[Part]]:
    """What the daemon says, behind what was there before its first rotation."""
    archives = [part for part in told() if part.archive is not None]
    first = min((part.last_ns or 0 for part in archives), default=0)
    found = unlisted(live, [part.path for part in archives], first, folders)
    renamed = {part.path for part in told()}  # its numbers may have shifted meanwhile
    before = [part for part in found if part.path not in renamed]
    return lambda: [*before, *told()]


def from_daemon(session: Session, live: str) -> Callable[[], Sequence[Part]] | None:
    """What a running daemon says of a log; None if none runs, it may not be asked, or no rule has rotated the log."""
    with suppress(FilewatchdError, RequestError):
        verdicts = session.ask("explain", path_arguments(live), timeout=_PATIENCE)["rules"]
        for rule in (verdict["rule"] for verdict in verdicts if verdict["matches"]):
            with suppress(RequestError):  # it doesn't rotate
                if any(part.archive is not None for part in told_parts(session, rule, live)):
                    return partial(told_parts, session, rule, live)
    return None


def told_parts(session: Session, rule: str, live: str) -> tuple[Part, ...]:
    """`ledger.parts`, by the daemon."""
    said = {"rule": rule, **path_arguments(live)}
    found = session.ask(action_place("rotate", "archives"), said, timeout=_PATIENCE)["parts"]
    return tuple(Part(path_in(each), *(each[name] for name in Part._fields[1:])) for each in found)


# ---- searching in processes


class Task(NamedTuple):
    """A member to search."""

    path: str
    inode: tuple[int, int]
    codec: str
    member: Member
    query: Query


def leave_interrupts() -> None:
    """Ctrl-C reaches the whole group, and is the main process's to tell."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def search_member(task: Task) -> Found | None:
    """Search one member, in a process of its own; None if its file isn't there any more."""
    try:
        fd = os.open(task.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        seen = os.fstat(fd)
        if (seen.st_dev, seen.st_ino) != task.inode:
            return None
        return searched(fd, codecs.codec(task.codec), task.member, task.query)
    finally:
        os.close(fd)


def searched(fd: int, codec: Codec, member: Member, query: Query) -> Found:
    """Search one member."""
    return Searcher(query).search(b"".join(codecs.contents(fd, codec, [member])))


@contextmanager
def processes(count: int, query: Query) -> Iterator[Whole | None]:
    """What searches whole archives in so many processes; with one, nothing does."""
    if count <= 1:
        yield None
        return
    with ProcessPoolExecutor(count, mp_context=get_context("fork"), initializer=leave_interrupts) as pool:
        pool.submit(int).result()  # they are forked now, before there are threads

        def whole(fd: int, codec: Codec, part: Part) -> Iterator[tuple[Found, int]]:
            seen = os.fstat(fd)
            waiting: deque[tuple[Member, Future[Found | None] | None]] = deque()
            for member in codecs.members(fd, codec, end=part.end):
                task = Task(part.path, (seen.st_dev, seen.st_ino), codec.name, member, query)
                waiting.append((member, submitted(task)))
                if len(waiting) > 2 * count:
                    yield from taken(fd, codec, *waiting.popleft())
            while waiting:
                yield from taken(fd, codec, *waiting.popleft())

        def submitted(task: Task) -> Future[Found | None] | None:
            with suppress(BrokenProcessPool):
                return pool.submit(search_member, task) if task.member.size <= _LARGEST else None
            return None

        def taken(
            fd: int, codec: Codec, member: Member, future: Future[Found | None] | None
        ) -> Iterator[tuple[Found, int]]:
            with suppress(BrokenProcessPool):  # somebody has killed one: we do it here
                if future is not None and (found := future.result()) is not None:
                    yield found, member.size
                    return
            searcher = Searcher(query)
            for data in codecs.contents(fd, codec, [member]):
                yield searcher.search(data), len(data)

        yield whole
