"""A set of files as a value: what each of its names is, the digest of all, and how two sets differ. Pure.

A name's key is the number of its root and the way below it, ``0/conf.d/site.conf``; the root itself is ``0``. Files
that symlinks lead to outside the roots belong to the set as well, because what a service reads is what counts; their
key is ``@`` and their path. Times are not part of a set: a touch changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import stat
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

FILE, DIRECTORY, LINK, OTHER = "f", "d", "l", "o"
OUTSIDE = "@"
KINDS = {stat.S_IFREG: FILE, stat.S_IFDIR: DIRECTORY, stat.S_IFLNK: LINK}


class Entry(NamedTuple):
    """What is at a name. ``content``: a file's SHA-256, a symlink's target. ``xattrs``: names and values in hex."""

    kind: str
    mode: int  # permission bits
    uid: int
    gid: int
    size: int = 0
    content: str = ""
    xattrs: tuple[tuple[str, str], ...] = ()


Set = Mapping[str, Entry]  # by key


class Difference(NamedTuple):
    """A name that differs between two sets; ``before`` or ``after`` is None where it isn't there."""

    key: str
    before: Entry | None
    after: Entry | None

    @property
    def sign(self) -> str:
        """``+`` new, ``-`` gone, ``~`` only rights, owner or attributes differ, ``!`` the content does."""
        if self.before is None or self.after is None:
            return "+" if self.before is None else "-"
        same = (self.before.kind, self.before.content) == (self.after.kind, self.after.content)
        return "~" if same else "!"


def encode(entries: Set) -> bytes:
    """The set as text, the same for equal sets."""
    return joined([row(key, entry) for key, entry in sorted(entries.items())])


def row(key: str, entry: Entry) -> str:
    """A name of a set as text."""
    return json.dumps([key, *entry], separators=(",", ":"))


def joined(rows: Iterable[str]) -> bytes:
    """Rows in the order of their keys as the text of a set."""
    return f"[{','.join(rows)}]".encode()


def decode(text: bytes) -> dict[str, Entry]:
    """A set from its text.

    Raises:
        ValueError: it is none.
    """
    try:
        return {
            key: Entry(kind, mode, uid, gid, size, content, tuple((name, value) for name, value in xattrs))
            for key, kind, mode, uid, gid, size, content, xattrs in json.loads(text)
        }
    except TypeError as error:
        raise ValueError(f"this is no set of files: {error}") from error


def digest_of(text: bytes) -> str:
    """A set's digest, by its text."""
    return hashlib.sha256(text).hexdigest()


def differences(before: Set, after: Set) -> list[Difference]:
    """What differs, in the order of names."""
    keys = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    return [Difference(key, before.get(key), after.get(key)) for key in sorted(keys)]


def key_of(root: int, below: str) -> str:
    """The key of a name below a root ("": the root itself)."""
    return f"{root}/{below}" if below else str(root)


def path_of(key: str, roots: Sequence[str]) -> str:
    """The path of a key."""
    if key.startswith(OUTSIDE):
        return key[1:]
    number, _, below = key.partition("/")
    root = roots[int(number)] if int(number) < len(roots) else f"root {number}"
    return f"{root.rstrip('/')}/{below}" if below else root


def root_of(key: str, roots: Sequence[str]) -> str | None:
    """The root that a key's path is below; None if it is one itself, or outside them all."""
    number, slash, _ = key.partition("/")
    return roots[int(number)] if slash and not key.startswith(OUTSIDE) else None


def summary(changed: Sequence[Difference]) -> tuple[int, int, int]:
    """How many names are new, changed and gone; directories aside."""
    signs = [each.sign for each in changed if (each.after or each.before or _NONE).kind != DIRECTORY]
    return signs.count("+"), signs.count("!") + signs.count("~"), signs.count("-")


_NONE = Entry(OTHER, 0, 0, 0)
