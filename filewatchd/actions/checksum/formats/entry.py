"""What a list of checksums holds: one file and what its content was, or a place that can't be read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

MAX_LINE = 64 * 1024  # bytes; a name has at most 4,096, twice that when escaped, and hashes are short
MAX_NAME = 4096

#: What can be checked, and the bytes of its digest. Indexes are made of the strong ones: see `STRONG`.
DIGEST_SIZES: Mapping[str, int] = {
    "md5": 16, "sha1": 20, "sha224": 28, "sha256": 32, "sha384": 48, "sha512": 64, "blake2b": 64, "blake3": 32,
}  # fmt: skip
LIKE: Mapping[str, str] = {"sha512": "blake2b", "sha256": "blake3"}  # as long: b2sum and b3sum don't say theirs either
STRONG = ("sha256", "sha512", "blake2b", "blake3")


class Entry(NamedTuple):
    """A file of a list. ``line``: where it stands, counted from 1; ``size`` in bytes where the list says it.

    ``type``: lists for programs have symlinks, too (``target``: where one leads), and directories, without a digest.
    ``guessed``: the algorithm is the usual one of those whose digests are as long, and may be another (`LIKE`).
    """

    path: bytes
    algorithm: str
    digest: bytes
    size: int | None = None
    line: int = 0
    guessed: bool = False
    type: str = "file"
    target: bytes | None = None


class Bad(NamedTuple):
    """A line that can't be read."""

    line: int
    why: str


class FormatError(ValueError):
    """A list as a whole can't be read or written; the text says why and what would be right."""


class Hasher(Protocol):
    """What `hasher` gives."""

    def update(self, data: bytes | bytearray | memoryview, /) -> object: ...
    def digest(self) -> bytes: ...


def hasher(algorithm: str, size: int = 0) -> Callable[[], Hasher]:
    """Makes empty hashes of an algorithm; ``size``: bytes of the digest, of blake2b alone, where it isn't the usual.

    Raises:
        FormatError: the extra that it needs isn't installed, or there is no such algorithm.
    """
    if algorithm == "blake3":
        try:
            import blake3
        except ImportError:
            raise FormatError("blake3 needs an extra: pip install 'filewatchd[blake3]'") from None
        return blake3.blake3
    if algorithm == "blake2b" and size:
        return lambda: hashlib.blake2b(digest_size=size)
    if algorithm not in DIGEST_SIZES:
        raise FormatError(f"there is no algorithm {algorithm}; there are {', '.join(DIGEST_SIZES)}")
    if algorithm in ("md5", "sha1"):
        return lambda: hashlib.new(algorithm, usedforsecurity=False)  # somebody else's list: FIPS allows that
    return lambda: hashlib.new(algorithm)


def digest_of(text: bytes) -> bytes | None:
    """The digest that hexadecimal digits mean; None if they aren't any."""
    try:
        return bytes.fromhex(text.decode("ascii")) if text and not text.isspace() and b" " not in text else None
    except ValueError:
        return None


def fits(algorithm: str, digest: bytes) -> bool:
    """Whether a digest has as many bytes as its algorithm makes; those of blake2b may be shorter."""
    if algorithm == "blake2b":
        return 0 < len(digest) <= DIGEST_SIZES[algorithm]
    return DIGEST_SIZES.get(algorithm) == len(digest)
