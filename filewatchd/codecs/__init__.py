"""Compressed archives of independent members: written in parallel, resumed, verified, and read from the middle.

`compress` writes, `members` and `read` and `contents` read, `verify` compares. All of them block, take
descriptors, and touch files by position only, so that a descriptor may be shared. See `filewatchd.codecs.base` for what
an archive looks like.
"""

from __future__ import annotations

from collections.abc import Mapping

from filewatchd.codecs import bzip2, gzip, lz4, plain, xz, zstd
from filewatchd.codecs.base import MEMBER as MEMBER
from filewatchd.codecs.base import Codec as Codec
from filewatchd.codecs.base import DamagedError as DamagedError
from filewatchd.codecs.base import Member as Member
from filewatchd.codecs.reading import contents as contents
from filewatchd.codecs.reading import hops as hops
from filewatchd.codecs.reading import members as members
from filewatchd.codecs.reading import read as read
from filewatchd.codecs.reading import verify as verify
from filewatchd.codecs.writing import compress as compress
from filewatchd.errors import ActionError
from filewatchd.extras import lacks

#: By name, in the reference's order. All are loaded with this package: a worker can't import once it has dropped its
#: rights. That costs 2 MB with all extras.
CODECS: Mapping[str, Codec] = {found.name: found for found in (gzip, zstd, lz4, xz, bzip2, plain)}


def codec(name: str) -> Codec:
    """The codec of this name, which may still lack its extra: see `usable`.

    Raises:
        KeyError: there is none.
    """
    return CODECS[name]


def usable(name: str) -> Codec:
    """The codec of this name, ready for work.

    Raises:
        KeyError: there is none.
        ActionError: its extra isn't installed; the text has the remedy.
    """
    found = codec(name)
    if found.extra is not None and not found.ready and (lack := lacks(found.extra)):
        raise ActionError(f"{name}: {lack[0]}; {lack[1]}", retryable=False)
    return found


def codec_of(path: str) -> Codec:
    """The codec that a file's name tells of; `none` if it tells of none."""
    for found in CODECS.values():
        if found.suffix and path.endswith(found.suffix):
            return found
    return plain
