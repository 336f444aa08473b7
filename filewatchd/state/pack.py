"""Values as MessagePack blobs, at C speed, whatever a hostile file's name or timestamp holds.

MessagePack has no place for a str that isn't valid UTF-8 (a name of other bytes, decoded with surrogateescape) nor
for an int beyond 64 bits (a modification time after the year 2554). Both are rare: the fast path is tried first,
and only a value that it refuses is rebuilt with such parts as extension types. Tuples come back as lists.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec.msgpack import Decoder, Encoder, Ext

_BYTES_OF_TEXT = 1
_DIGITS_OF_INT = 2
_PAIRS_OF_MAP = 3  # an extension can't be a key


def pack(value: Any) -> bytes:
    """Encode a value of None, bool, int, float, str, bytes, enums, sequences and mappings.

    Raises:
        TypeError: it holds something else.
    """
    try:
        return _encoder.encode(value)
    except (UnicodeEncodeError, OverflowError):
        return _encoder.encode(_escaped(value))


def unpack(blob: bytes) -> Any:
    """Decode what `pack` encoded.

    Raises:
        ValueError: the blob is damaged.
    """
    try:
        return _decoder.decode(blob)
    except msgspec.DecodeError as error:
        raise ValueError(f"a damaged blob: {error}") from error


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return _escaped_text(str(value))
    if isinstance(value, int):
        fits = -(2**63) <= value < 2**64
        return value if fits else Ext(_DIGITS_OF_INT, str(value).encode())
    if isinstance(value, Mapping):
        return Ext(_PAIRS_OF_MAP, _encoder.encode([[_escaped(key), _escaped(item)] for key, item in value.items()]))
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray, memoryview)):
        return [_escaped(item) for item in value]
    return value


def _escaped_text(text: str) -> str | Ext:
    try:
        text.encode()
    except UnicodeEncodeError:
        return Ext(_BYTES_OF_TEXT, text.encode("utf-8", "surrogatepass"))
    return text


def _unescaped(code: int, data: memoryview) -> Any:
    if code == _BYTES_OF_TEXT:
        return data.tobytes().decode("utf-8", "surrogatepass")
    if code == _DIGITS_OF_INT:
        return int(data.tobytes())
    if code == _PAIRS_OF_MAP:
        return {key: item for key, item in _decoder.decode(data)}  # noqa: C416 - the pairs are lists
    raise ValueError(f"unknown extension {code}")


_encoder = Encoder()
_decoder = Decoder(ext_hook=_unescaped)
