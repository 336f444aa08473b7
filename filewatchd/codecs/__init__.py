"""Compressed archives of independent members: written in parallel, resumed, verified, and read from the middle.

`compress` writes, `members` and `read` and `contents` read, `verify` compares, `resume` finds where to go on. All of
them block, take descriptors, and touch files by position only, so that a descriptor may be shared. See
`filewatchd.codecs.base` for what an archive looks like.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import cast

from filewatchd.codecs.base import MEMBER as MEMBER
from filewatchd.codecs.base import Codec as Codec
from filewatchd.codecs.base import DamagedError as DamagedError
from filewatchd.codecs.base import Extent as Extent
from filewatchd.codecs.base import Member as Member
from filewatchd.codecs.reading import check as check
from filewatchd.codecs.reading import contents as contents
from filewatchd.codecs.reading import members as members
from filewatchd.codecs.reading import read as read
from filewatchd.codecs.reading import resume as resume
from filewatchd.codecs.reading import verify as verify
from filewatchd.codecs.writing import compress as compress
from filewatchd.errors import ActionError
from filewatchd.extras import lacks

#: name -> the module that has it; the order is that of the reference
CODECS: Mapping[str, str] = {
    "gzip": "filewatchd.codecs.gzip",
    "zstd": "filewatchd.codecs.zstd",
    "lz4": "filewatchd.codecs.lz4",
    "xz": "filewatchd.codecs.xz",
    "bz2": "filewatchd.codecs.bzip2",
    "none": "filewatchd.codecs.plain",
}


def codec(name: str) -> Codec:
    """The codec of this name, which may still lack its extra: see `usable`.

    Raises:
        KeyError: there is none.
    """
    return cast(Codec, importlib.import_module(CODECS[name]))


def usable(name: str) -> Codec:
    """The codec of this name, ready for work.

    Raises:
        KeyError: there is none.
        ActionError: its extra isn't installed; the text has the remedy.
    """
    found = codec(name)
    if found.extra is not None and (lack := lacks(found.extra)):
        raise ActionError(f"{name}: {lack[0]}; {lack[1]}", retryable=False)
    return found


def codec_of(path: str) -> Codec:
    """The codec that a file's name tells of; `none` if it tells of none."""
    for name in CODECS:
        found = codec(name)
        if found.suffix and path.endswith(found.suffix):
            return found
    return codec("none")
