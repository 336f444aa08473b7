"""The names of archives: with the time of their rotation, or a number that grows with each.

Numbers are shifted as far as they must be and no further, from the oldest on, and never onto a file that isn't ours:
its number is left out. The arithmetic is pure; `shift` renames what the ledger has written down.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, tzinfo
from typing import NamedTuple
from zoneinfo import ZoneInfo

from filewatchd import codecs
from filewatchd.actions.rotate.ledger import Archive
from filewatchd.actions.rotate.packing import has_name, named
from filewatchd.actions.rotate.places import Names, Setting, archives_of, folder_name, inode_at
from filewatchd.work.exchange import rename_free

_TRANSACTION = re.compile(r"\..+\.\d{8}-\d{6}-[0-9a-f]{8}\.(rotated|archive)", re.DOTALL)
_SUFFIXES = "|".join(re.escape(codec.suffix) for codec in codecs.CODECS.values() if codec.suffix)
_PACKED = re.compile(rf".+[.-]\d[\dTZ:_+.-]*({_SUFFIXES})", re.DOTALL)
_MOST = 99


def transaction(now_ns: int, zone: tzinfo | None) -> str:
    """A rotation's name: its time on the wall, and what tells it from all others."""
    moment = datetime.fromtimestamp(now_ns / 1e9, zone)
    return f"{moment:%Y%m%d-%H%M%S}-{secrets.token_hex(4)}"


def zone_of(name: str | None) -> tzinfo | None:
    """A time zone; None: the system's."""
    return ZoneInfo(name) if name is not None else None


def is_temporary(path: str) -> bool:
    """Whether a name is one that a rotation makes for a while."""
    return _TRANSACTION.fullmatch(os.path.basename(path)) is not None


def is_packed(path: str) -> bool:
    """Whether a name is that of an archive which another program has compressed: a number or time, and then a suffix.

    A rule that selects more than logs, such as a whole directory, would pack logrotate's archives once more.
    """
    return _PACKED.fullmatch(os.path.basename(path)) is not None


def stamped_names(live: str, txn: str, codec: str) -> Names:
    """Names with the time of the rotation."""
    return Names(f"{os.path.basename(live)}-{txn[:15]}", codecs.codec(codec).suffix, _MOST)


def numbered_name(live: str, number: int, codec: str) -> str:
    """The name with a number."""
    return f"{os.path.basename(live)}.{number}{codecs.codec(codec).suffix}"


def number_of(live: str, path: str) -> int | None:
    """The number in a name; None if it has none."""
    found = re.fullmatch(re.escape(os.path.basename(live)) + r"\.([1-9]\d{0,8})(\.\w+)?", os.path.basename(path))
    return int(found[1]) if found else None


def numbers(current: Sequence[int | None], taken: Collection[int]) -> list[int]:
    """The number of each archive, the newest first. ``current``: what each has; ``taken``: those of others' files."""
    result: list[int] = []
    number = 0
    for has in current:
        number += 1
        while number in taken:
            number += 1
        if has is not None and has > number:
            number = has
        result.append(number)
    return result


class Taken(NamedTuple):
    """Numbers that files have which aren't ours; and the name that an archive has already after a crash."""

    numbers: list[int]
    own: str | None


def taken(archive: Archive, setting: Setting, ours: Mapping[str, Archive]) -> Taken:
    """Look at the archives' folder. ``ours``: what should have these names, which another program may have shifted.

    Raises:
        OSError, ActionError: it can't be read.
    """
    with archives_of(archive.live, setting) as into:
        own = named(archive, into)
        names = {name for name in os.listdir(into) if number_of(archive.live, name) is not None and name != own}
        names -= {name for name, other in ours.items() if name in names and has_name(other, into, name)}
    return Taken(sorted({number for name in names if (number := number_of(archive.live, name)) is not None}), own)


def shift(live: str, setting: Setting, archives: list[Archive]) -> list[str]:
    """Give each archive, the oldest first, its new name (``path``) where it still has its old one (``was``).

    Returns the path that each has now: the old one where somebody has taken the new one meanwhile.
    """
    folder = folder_name(live, setting)
    with archives_of(live, setting) as into:
        found = [os.path.join(folder, _shifted(archive, into)) for archive in archives]
        os.fsync(into)
    return found


def _shifted(archive: Archive, into: int) -> str:
    old, new = os.path.basename(archive.was or ""), os.path.basename(archive.path or "")
    if inode_at(into, new) == archive.file:
        return new
    with suppress(FileNotFoundError):
        if has_name(archive, into, old):
            try:
                rename_free(old, new, into, into)
            except FileExistsError:
                return old
            return new
    return named(archive, into) or new  # another program has shifted it, or it is away
