r"""The formats of sha256sum and its kin: ``HEX  NAME`` and, as BSD has it (``--tag``), ``SHA256 (NAME) = HEX``.

A line of the first says nothing of its algorithm: the digest's length tells it, unless somebody does. ``*`` instead of
the second blank once meant "binary"; it means nothing today. With ``-z`` lines end with a NUL, and no name is escaped.
A carriage return at the end of a line that isn't escaped comes from an editor: coreutils escape those of names.
Around a list there may be a PGP signature, as distributions sign theirs (``--clearsign``): it is left out, and told.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from filewatchd.actions.checksum.formats.entry import (
    DIGEST_SIZES,
    LIKE,
    MAX_NAME,
    Bad,
    Entry,
    FormatError,
    digest_of,
    fits,
)
from filewatchd.actions.checksum.formats.escape import escaped, unescaped
from filewatchd.actions.checksum.formats.lines import lines

_BY_LENGTH = {16: "md5", 20: "sha1", 28: "sha224", 32: "sha256", 48: "sha384", 64: "sha512"}
_TAGS = {
    "MD5": "md5", "SHA1": "sha1", "SHA224": "sha224", "SHA256": "sha256", "SHA384": "sha384", "SHA512": "sha512",
    "SHA2-224": "sha224", "SHA2-256": "sha256", "SHA2-384": "sha384", "SHA2-512": "sha512",
    "BLAKE2b": "blake2b", "BLAKE2b-512": "blake2b", "BLAKE2B-512": "blake2b", "BLAKE2b512": "blake2b",
    "BLAKE3": "blake3",
}  # fmt: skip
_SUM = re.compile(rb"([0-9A-Fa-f]+) [ *](.+)", re.DOTALL)
_TAGGED = re.compile(rb"([A-Z][A-Za-z0-9-]*) ?\((.+)\) ?= ([0-9A-Fa-f]+)", re.DOTALL)  # OpenSSL has no blanks
_SIGNED = {
    ("outside", b"-----BEGIN PGP SIGNED MESSAGE-----"): "header", ("header", b""): "list",
    ("list", b"-----BEGIN PGP SIGNATURE-----"): "signature", ("signature", b"-----END PGP SIGNATURE-----"): "outside",
}  # fmt: skip
_SHORT = re.compile(r"BLAKE2b-(\d{1,3})", re.ASCII)


def read(
    stream: BinaryIO, *, algorithm: str | None = None, zero: bool = False, notes: list[str] | None = None
) -> Iterator[Entry | Bad]:
    """Files of a list in either format, or in both: each line is taken as what it looks like.

    Args:
        stream: the list.
        algorithm: of lines that don't say it; otherwise by the digest's length.
        zero: lines end with a NUL.
        notes: gets what isn't read, in words.
    """
    signature = Signature([] if notes is None else notes)
    for number, text in lines(stream, b"\0" if zero else b"\n"):
        if text is None:
            yield Bad(number, "the line is longer than any name")
        elif (rest := signature.without(text)).strip() and not rest.startswith(b"#"):
            yield _entry(rest, number, algorithm, zero)


class Signature:
    """A PGP signature around a list: its lines are none of the list's (RFC 9580, 7)."""

    def __init__(self, notes: list[str]) -> None:
        self._notes = notes
        self._at = "outside"

    def without(self, text: bytes) -> bytes:
        """A line as the list has it; empty if it is the signature's."""
        line = text.rstrip()
        follows = _SIGNED.get((self._at, line), self._at)
        if follows != self._at:
            if self._at == "outside":
                self._notes.append("its PGP signature wasn't checked; gpg --verify does that")
            self._at = follows
            return b""
        if self._at in ("header", "signature"):
            return b""
        return text.removeprefix(b"- ") if self._at == "list" else text


def _entry(text: bytes, number: int, algorithm: str | None, zero: bool) -> Entry | Bad:
    escaping = not zero and text.startswith(b"\\")
    line = text[1:] if escaping else text if zero else text.removesuffix(b"\r")
    if found := _SUM.fullmatch(line):
        digits, name, tag = found[1], found[2], ""
        meant = algorithm or _BY_LENGTH.get(len(digits) // 2, "")
    elif found := _TAGGED.fullmatch(line):
        digits, name, tag = found[3], found[2], found[1].decode()
        meant = _tagged(tag, len(digits) // 2)
    else:
        return Bad(number, "it is neither `HEX  NAME` nor `ALGORITHM (NAME) = HEX`")
    if tag and not meant:
        return Bad(number, f"the algorithm {tag[:40]} isn't one that can be checked")
    digest = digest_of(digits)
    if digest is None or not fits(meant, digest):
        return Bad(number, f"a digest of {meant or 'any algorithm'} doesn't have {len(digits):,} digits")
    guessed = not tag and algorithm is None and meant in LIKE
    return _named(name, escaping, meant, digest, number, guessed=guessed)


def _named(text: bytes, escaping: bool, algorithm: str, digest: bytes, number: int, *, guessed: bool) -> Entry | Bad:
    name = unescaped(text) if escaping else text
    if name is None:
        return Bad(number, r"a backslash in the name stands before something else than n, r or \ ")
    if b"\0" in name or len(name) > MAX_NAME:
        return Bad(number, "no file can have this name")
    return Entry(name, algorithm, digest, None, number, guessed)


def _tagged(tag: str, size: int) -> str:
    short = _SHORT.fullmatch(tag)
    if short is not None:
        return "blake2b" if int(short[1]) == 8 * size else ""
    return _TAGS.get(tag, "")


def sum_line(entry: Entry, *, zero: bool = False) -> bytes:
    """A line of sha256sum's format."""
    before, name = (b"", entry.path) if zero else escaped(entry.path)
    return b"%s%s  %s%s" % (before, entry.digest.hex().encode(), name, b"\0" if zero else b"\n")


def bsd_line(entry: Entry, *, zero: bool = False) -> bytes:
    """A line of the BSD format."""
    before, name = (b"", entry.path) if zero else escaped(entry.path)
    return b"%s%s (%s) = %s%s" % (before, tag_of(entry), name, entry.digest.hex().encode(), b"\0" if zero else b"\n")


def tag_of(entry: Entry) -> bytes:
    """What BSD's format calls the algorithm.

    Raises:
        FormatError: it has no name for it.
    """
    if entry.algorithm not in DIGEST_SIZES:
        raise FormatError(f"the BSD format has no name for {entry.algorithm}")
    if entry.algorithm == "blake2b":
        bits = 8 * len(entry.digest)
        return b"BLAKE2b" if bits == 512 else b"BLAKE2b-%d" % bits
    return entry.algorithm.upper().encode()
