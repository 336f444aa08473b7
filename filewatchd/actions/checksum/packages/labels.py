"""Which changed files are what their package shipped.

A package's digest is mostly of another algorithm than the row's (dpkg has MD5 only). So it is read once more, with
both: only if it still has the row's digest, what the other one says holds for that row. A file that changed meanwhile
gets no label; it is looked at again anyhow.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Set
from typing import NamedTuple

from filewatchd.actions.checksum.formats.entry import FormatError, hasher
from filewatchd.actions.checksum.packages.claim import Claim
from filewatchd.errors import ActionError
from filewatchd.work.opening import hold_below

_CHUNK = 1024 * 1024


class Asked(NamedTuple):
    """A changed file as the index has just read it. ``beneath``: its root, or the directory of a root that's a file."""

    path: str
    beneath: str
    algorithm: str
    digest: bytes


def agreeing(asked: list[Asked], claims: dict[str, tuple[Claim, ...]]) -> dict[str, str]:
    """The labels of those files that agree with one of their claims, by path. Blocks; reads each file at most once."""
    found = {}
    for each in asked:
        said = claims.get(each.path, ())
        digests = _digests(each, {claim.algorithm for claim in said}) if said else {}
        claim = next((claim for claim in said if digests.get(claim.algorithm) == claim.digest), None)
        if claim is not None:
            found[each.path] = claim.label
    return found


def _digests(asked: Asked, algorithms: Set[str]) -> dict[str, bytes]:
    """The content's digests of these algorithms; none if it isn't the row's content any more."""
    if algorithms == {asked.algorithm}:
        return {asked.algorithm: asked.digest}
    try:
        hashes = {name: hasher(name)() for name in {*algorithms, asked.algorithm}}
        fd = _open(asked)
    except (OSError, ValueError, ActionError, FormatError):
        return {}
    with os.fdopen(fd, "rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            for each in hashes.values():
                each.update(chunk)
    digests = {name: each.digest() for name, each in hashes.items()}
    return digests if digests[asked.algorithm] == asked.digest else {}


def _open(asked: Asked) -> int:
    held = hold_below(asked.path, asked.beneath)
    try:
        if not stat.S_ISREG(os.fstat(held).st_mode):
            raise ActionError(f"{asked.path} is no regular file", retryable=False)
        return os.open(f"/proc/self/fd/{held}", os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    finally:
        os.close(held)
