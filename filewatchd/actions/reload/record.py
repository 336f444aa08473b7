"""What a rule remembers of its versions: which there were, what became of each, what the service has. Blocking.

One small file, replaced as a whole after each step, so that it can be read without the daemon and never says half of
something. The kept sets it speaks of are in the store beside it before it names them.
"""

from __future__ import annotations

import os
import time
from typing import Any

import msgspec
from msgspec import Struct, field

from filewatchd.actions.reload.states import State
from filewatchd.errors import ActionError
from filewatchd.state import atomic

FORMAT = 1
_NAME = "record.json"
_FLAPS = 20  # applied digests remembered
_MOST_TEXT = 4096  # characters of a check's output kept


class Version(Struct, kw_only=True):
    """A set that was seen. ``fate``: what became of it. Times are seconds since the epoch."""

    number: int
    digest: str
    selected: str
    seen: float
    fate: str = "new"
    why: str = ""
    origin: str = "disk"
    files: int = 0
    size: int = 0
    added: int = 0
    changed: int = 0
    removed: int = 0
    applied: float | None = None
    job: int = 0


# The fates of a version.
NEW, PASSED, GOOD, REFUSED, FAILED, UNHEALTHY = "new", "passed", "good", "refused", "failed", "unhealthy"
BAD = (REFUSED, FAILED, UNHEALTHY)


class Record(Struct, kw_only=True):
    """All of it.

    Attributes:
        roots: where the set is, for who reads this without the daemon.
        desired: number of the version that is on the disk.
        applied: the one that the service was last told of, and ``sure`` whether it has it.
        was_healthy: the service, before it was told of something new.
        good: the last one that the service took and was healthy with.
        live: what `publish` last put into the live directory.
        not_before: when the desired version may be applied: cooldown and splay.
        flaps: digests and times of the latest applies, for the breaker.
        failing: paths whose jobs have failed since the service had the set.
    """

    format: int = FORMAT
    roots: list[str] = field(default_factory=list)
    state: State = State.UNSURE
    next_number: int = 1
    versions: list[Version] = field(default_factory=list)
    desired: int | None = None
    applied: int | None = None
    sure: bool = False
    was_healthy: bool = True
    good: int | None = None
    live: int | None = None
    differs: str = ""
    not_before: float = 0.0
    last_apply: float = 0.0
    flaps: list[tuple[str, float]] = field(default_factory=list)
    failing: list[bytes] = field(default_factory=list)

    def version(self, number: int | None) -> Version | None:
        """The version of a number."""
        return next((version for version in self.versions if version.number == number), None)

    def find(self, digest: str) -> Version | None:
        """The newest version with this digest."""
        return next((version for version in reversed(self.versions) if version.digest == digest), None)

    @property
    def due(self) -> float | None:
        """When what has to wait is applied; None if nothing waits."""
        return self.not_before if self.state in (State.WAITING, State.TRIPPED) else None

    def resolve(self, word: str) -> Version | None:
        """A version by its number, the beginning of its digest, or ``good``, ``applied``, ``desired``."""
        if word in ("good", "applied", "desired"):
            return self.version(getattr(self, word))
        if word.isdigit() and (found := self.version(int(word))) is not None:
            return found
        matching = [version for version in self.versions if len(word) >= 6 and version.digest.startswith(word)]
        return matching[-1] if matching else None

    def add(self, version: Version) -> Version:
        """A version seen for the first time, or again after others."""
        version.number, self.next_number = self.next_number, self.next_number + 1
        self.versions.append(version)
        return version

    def bound(self, most: int) -> None:
        """Forget the oldest beyond so many, but none that counts."""
        needed = {self.desired, self.applied, self.good, self.live}
        spare = [version for version in self.versions if version.number not in needed]
        for version in spare[: max(0, len(self.versions) - most)]:
            self.versions.remove(version)

    def flap(self, digest: str, now: float) -> None:
        """An apply, or a restore, of this has begun. Once more of the same is no news."""
        if not self.flaps or self.flaps[-1][0] != digest:
            self.flaps = [*self.flaps, (digest, now)][-_FLAPS:]

    def flapping(self, digest: str, now: float, within: float, most: int) -> bool:
        """Whether it came again and again after others, so often lately that it looks like a quarrel."""
        before = self.flaps[:-1] if self.flaps and self.flaps[-1][0] == digest else self.flaps
        lately = [known for known, when in before if now - within < when <= now]  # a clock that was set back: not those
        return lately.count(digest) >= most

    def put_off(self, now: float, pause: float, cooldown: float) -> None:
        """Nothing is applied before a pause from now, and a cooldown from the last time."""
        self.not_before = max(self.last_apply + cooldown, now + pause)
        self.hold_off(now, max(pause, cooldown))

    def hold_off(self, now: float, most: float) -> bool:
        """Whether it is too soon; it never is for longer than ``most``, also if the clock was set back meanwhile."""
        self.not_before = min(self.not_before, now + most)
        return now < self.not_before


def clipped(text: str) -> str:
    """A check's output as it is kept."""
    text = "".join(character if character.isprintable() or character == "\n" else "?" for character in text.strip())
    return text if len(text) <= _MOST_TEXT else f"{text[:_MOST_TEXT]} ..."


def load(directory: str) -> tuple[Record, str]:
    """A rule's record, and where a damaged one was put aside ("": there was none).

    Raises:
        ActionError: it can't be read, or a newer filewatchd wrote it.
    """
    path = place(directory)
    try:
        with open(path, "rb") as file:
            text = file.read()
    except FileNotFoundError:
        return Record(), ""
    except OSError as error:
        raise ActionError(f"{path} can't be read: {error.strerror}") from error
    try:
        return parse(text, path), ""
    except msgspec.MsgspecError:
        aside = f"{path}.damaged-{int(time.time())}"
        os.rename(path, aside)
        return Record(), aside


def parse(text: bytes, path: str) -> Record:
    """A record from its file's text.

    Raises:
        msgspec.MsgspecError: it is damaged.
        ActionError: a newer filewatchd wrote it.
    """
    found: dict[str, Any] = msgspec.json.decode(text, type=dict[str, Any])
    if found.get("format", 0) > FORMAT:
        raise ActionError(f"{path} is a newer filewatchd's; install that again", retryable=False)
    return msgspec.convert(found, Record)


def place(directory: str) -> str:
    """Where the record of the versions in a directory is."""
    return f"{directory}/{_NAME}"


def save(directory: str, text: bytes) -> None:
    """Replace the record. Raises StateError."""
    atomic.replace(place(directory), text)


def encode(record: Record) -> bytes:
    """The record as its file has it."""
    return msgspec.json.format(msgspec.json.encode(record), indent=1)
