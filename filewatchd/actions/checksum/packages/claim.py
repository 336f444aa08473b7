"""What a package database says of a file, and whether a file agrees with it."""

from __future__ import annotations

import grp
import pwd
import stat
from typing import NamedTuple, Protocol

_SPECIAL = stat.S_ISUID | stat.S_ISGID | stat.S_IWOTH


class Attributes(Protocol):
    """What is known of a file besides its content; None: not tracked."""

    @property
    def mode(self) -> int | None: ...
    @property
    def uid(self) -> int | None: ...
    @property
    def gid(self) -> int | None: ...


class Owner(NamedTuple):
    """How a file's mode and owner shall be; names, as packages have them."""

    user: str
    group: str
    mode: int  # permission bits


class Claim(NamedTuple):
    """A package's word for one of its files. ``owner`` is None where the database doesn't say it."""

    database: str  # dpkg or rpm
    package: str
    version: str
    algorithm: str
    digest: bytes
    owner: Owner | None = None

    @property
    def label(self) -> str:
        """``dpkg libc6:amd64 2.36-9``: what stands at a change that agrees."""
        return f"{self.database} {self.package} {self.version}"


class Labelled(NamedTuple):
    """A label's parts."""

    database: str
    package: str
    version: str


def labelled(label: str | None) -> Labelled | None:
    """The parts of a label of ours; None of any other."""
    parts = (label or "").split(" ")
    return Labelled(*parts) if len(parts) == 3 and parts[0] in ("dpkg", "rpm") else None


def attributes_agree(claim: Claim, before: Attributes | None, after: Attributes) -> bool:
    """Whether mode and owner are as the package wants them, as far as they are tracked.

    dpkg keeps none but those of dpkg-statoverride. So a file that was there must have kept its own, and a new one must
    be root's and grant nothing special: right content with a fresh setuid bit agrees with no package.
    """
    if claim.owner is not None:
        return _is(claim.owner, after)
    if before is not None:
        return (before.mode, before.uid, before.gid) == (after.mode, after.uid, after.gid)
    return not (after.uid or after.gid or (after.mode or 0) & _SPECIAL)


def _is(owner: Owner, found: Attributes) -> bool:
    try:
        uid, gid = pwd.getpwnam(owner.user).pw_uid, grp.getgrnam(owner.group).gr_gid
    except KeyError:
        return False
    mode = None if found.mode is None else stat.S_IMODE(found.mode)
    return mode in (None, owner.mode) and found.uid in (None, uid) and found.gid in (None, gid)
