"""What a file is now: the values that travel from whoever looks at files to whoever judges."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from filewatchd.model import FileIdentity
from filewatchd.state.index.rows import Attributes, Type


class Presence(StrEnum):
    """What came of a look."""

    HERE = "here"
    ABSENT = "absent"
    UNREADABLE = "unreadable"
    UNSTABLE = "unstable"  # it changed whenever it was read, or somebody has it open for writing
    LARGE = "large"  # not read: it wants to be read by itself


class Tracking(NamedTuple):
    """What is looked at besides content."""

    xattr: bool = False
    acl: bool = False
    follow: bool = False  # a symlink stands for the file it leads to
    growing: bool = False  # writers may append meanwhile
    granularity_ns: int = 0  # of timestamps
    symlinks: bool = False  # they have rows, and aren't followed
    directories: bool = False  # they have rows of their own


class Wanted(NamedTuple):
    """A file to look at. ``algorithms`` empty: its content isn't read. ``prefix``: hash its first bytes, too."""

    directory: str
    name: str
    algorithms: tuple[str, ...] = ()
    prefix: int = -1


class Seen(NamedTuple):
    """What one look found. ``digests``: by the wanted algorithms, in their order; empty if its content wasn't read.

    ``prefix``: the digest of the wanted prefix by the first algorithm. ``read``: bytes.
    """

    directory: str
    name: str
    presence: Presence
    identity: FileIdentity = FileIdentity(0, 0, 0, 0)
    attributes: Attributes = Attributes()
    digests: tuple[bytes, ...] = ()
    prefix: bytes | None = None
    racy: bool = False
    reason: str = ""
    read: int = 0


class Progress(NamedTuple):
    """Of a large file: how many bytes are read; at the end what was seen."""

    done: int
    seen: Seen | None = None


class Entry(NamedTuple):
    """A file in a listing, or what else has rows. Its identity is there if it was asked for.

    The listed directory itself has no name.
    """

    name: str
    identity: FileIdentity | None = None
    type: Type = Type.FILE


class Listing(NamedTuple):
    """(A part of) a directory's files, in the order of their names; ``error``: why it can't be listed.

    ``whole``: no more of it comes. ``after``: the last name before these, "" if there is none.
    """

    directory: str
    entries: list[Entry]
    error: str = ""
    whole: bool = True
    after: str = ""
