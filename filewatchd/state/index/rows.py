"""The index's values between Python and SQLite.

SQLite's integers have 64 bits. A timestamp beyond them (anybody may set one, on tmpfs or xfs) is stored as the nearest
that fits, whenever it is stored or compared: two such are one to us.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple

from filewatchd.model import FileIdentity
from filewatchd.state.pack import pack, unpack
from filewatchd.state.rows import decode as decode
from filewatchd.state.rows import encode as encode
from filewatchd.state.rows import signed

RACY = 1  # a later write could hide behind its timestamps
WAITING = 2  # a change of it is open, pending or rejected: see `changes`
_ALGORITHM = 4  # the bits from this one on, up to the next one: the number of the digest's algorithm
SYMLINK = 64  # the row of a symlink; its digest is that of the text that it leads to
DIRECTORY = 128  # a directory's own row: attributes alone
OTHER = SYMLINK | DIRECTORY  # no file

ALGORITHMS = ("", "sha256", "sha512", "blake2b", "blake3")  # by number; never reordered
NUMBERS = {name: number for number, name in enumerate(ALGORITHMS)}

_WRAP = 2**64
_LEAST, _MOST = -(2**63), 2**63 - 1


class Verdict(StrEnum):
    """What became of a path, compared with its row. docs/explanation/integrity.md tells each at length."""

    SAME = "same"
    NEW = "new"
    MODIFIED = "modified"
    METADATA = "metadata"
    TOUCHED = "touched"
    MOVED = "moved"
    OLDER = "older"
    DELETED = "deleted"
    GROWN = "grown"  # of a rule with `growing`: appended to
    REWRITTEN = "rewritten"  # of such a rule: what was there before has changed
    CORRUPT = "corrupt"
    UNREADABLE = "unreadable"
    UNSTABLE = "unstable"
    ROOT_GONE = "root-gone"


class State(StrEnum):
    """What has been decided of a change, and by whom."""

    ACCEPTED = "accepted"  # by the rule
    OPEN = "open"  # a finding; it clears when the disk agrees with the row again, or is approved
    PENDING = "pending"  # the rule wants approval
    APPROVED = "approved"  # by a user
    REJECTED = "rejected"  # by a user; the row stays, and the path stays a finding
    CLEARED = "cleared"  # the disk agrees with the row again


WAITS = (State.OPEN, State.PENDING, State.REJECTED)


class Type(StrEnum):
    """What a path is, of what may have a row."""

    FILE = "file"
    SYMLINK = "symlink"
    DIRECTORY = "directory"


class Attributes(NamedTuple):
    """Tracked attributes; None: not tracked. ``xattr`` and ``acl``: packed name and value pairs.

    ``target``: where a symlink leads, as it says.
    """

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    links: int | None = None
    xattr: bytes | None = None
    acl: bytes | None = None
    target: bytes | None = None


NO_ATTRIBUTES = Attributes()


class Record(NamedTuple):
    """What is known of one file. ``digest`` is None where content isn't tracked or couldn't be read.

    ``verified``: when it was last read whole, in seconds since the epoch; 0: never. ``flags``: RACY and WAITING; of
    what is no file SYMLINK or DIRECTORY.
    """

    identity: FileIdentity
    algorithm: str = ""
    digest: bytes | None = None
    attributes: Attributes = NO_ATTRIBUTES
    verified: int = 0
    flags: int = 0

    @property
    def type(self) -> Type:
        """What it is the record of."""
        return kind_of(self.flags)


_TYPES = {0: Type.FILE, SYMLINK: Type.SYMLINK, DIRECTORY: Type.DIRECTORY}


def kind_of(flags: int) -> Type:
    """What flags are of."""
    return _TYPES[flags & OTHER]


class Root(NamedTuple):
    """A rule's root. ``selection``: the patterns it was built by, as text. ``built_ns``: when that ended."""

    id: int
    rule: str
    root: str
    selection: str
    built_ns: int | None


class Change(NamedTuple):
    """A path that was found otherwise than its row. ``path`` and ``old_path`` are relative to the root."""

    id: int
    root: int
    path: str
    old_path: str | None
    verdict: Verdict
    state: State
    found_ns: int
    last_ns: int
    times: int
    message: str
    before: Record | None
    after: Record | None
    label: str | None  # why it is as it should be: a package, a rotation
    decided_ns: int | None
    uid: int | None
    comment: str | None


class Run(NamedTuple):
    """A build, verify or scrub. ``cursor``: where it goes on, in ``root``; ``scope``: a path to keep to, or ""."""

    id: int
    rule: str
    kind: str
    mode: str
    scope: str
    state: str  # running, done, stopped
    began_ns: int
    ended_ns: int | None
    root: str
    cursor: bytes | None
    files: int
    bytes: int
    total: int
    findings: int
    uid: int | None


Stamp = tuple[int, int, int, int]  # ino, size, mtime, later: an identity as it is stored, for comparing


def stamp(ino: int, size: int, mtime_ns: int, ctime_ns: int) -> Stamp:
    """An identity as it is stored."""
    later = ctime_ns - mtime_ns
    if _LEAST <= mtime_ns <= _MOST and _LEAST <= later <= _MOST and ino < 2**63:
        return ino, size, mtime_ns, later
    return signed(ino), size, max(_LEAST, min(_MOST, mtime_ns)), max(_LEAST, min(_MOST, later))


def identity(ino: int, size: int, mtime: int, later: int) -> FileIdentity:
    """The identity that these columns stand for."""
    return FileIdentity(ino % _WRAP, size, mtime, mtime + later)


def flags_of(algorithm: str, flags: int = 0) -> int:
    """The flags' column."""
    return flags | NUMBERS[algorithm] * _ALGORITHM


def record_of(columns: Any, attributes: Attributes) -> Record:
    """The record of these columns: ino, size, mtime, later, verified, flags, digest."""
    ino, size, mtime, later, verified, flags, digest = columns
    return Record(
        identity(ino, size, mtime, later),
        ALGORITHMS[flags % SYMLINK // _ALGORITHM],
        digest,
        attributes,
        verified,
        flags % _ALGORITHM | flags & OTHER,
    )


# ---- packed


def pack_attributes(attributes: Attributes) -> bytes:
    """Attributes as one value. A file's has no place for a target: it was so before symlinks had rows."""
    return pack(list(attributes if attributes.target is not None else attributes[:-1]))


def unpack_attributes(packed: bytes) -> Attributes:
    """The inverse."""
    return Attributes(*unpack(packed))


def pack_record(record: Record | None) -> bytes | None:
    """A record as one value."""
    if record is None:
        return None
    attributes = record.attributes if record.attributes.target is not None else record.attributes[:-1]
    packed = [list(record.identity), record.algorithm, record.digest, list(attributes), record.verified]
    return pack([*packed, record.flags & OTHER] if record.flags & OTHER else packed)


def unpack_record(packed: bytes | None) -> Record | None:
    """The inverse; of its flags only what it is of is kept."""
    if packed is None:
        return None
    ident, algorithm, digest, attributes, verified, *other = unpack(packed)
    return Record(FileIdentity(*ident), algorithm, digest, Attributes(*attributes), verified, *other)


def split(path: str) -> tuple[str, str]:
    """A relative path's directory ("" is the root's) and name; a root that is a file has the empty path.

    A directory's own row has no name: its path ends in a slash, or is that of the root.
    """
    directory, _, name = path.rpartition("/")
    return directory, name


def joined(directory: str, name: str) -> str:
    """The inverse of `split`."""
    return f"{directory}/{name}" if directory else name
