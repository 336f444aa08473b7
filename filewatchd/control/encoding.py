"""JSON that is always valid, whatever names a client asked about or the disk has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

_SURROGATES = re.compile("[\ud800-\udfff]")  # what stands for bytes in names, and has no place in UTF-8
_encoder = msgspec.json.Encoder()


def encoded(document: Mapping[str, Any]) -> bytes:
    """A document as JSON; what no UTF-8 can say, such as the bytes of a name in a message, has U+FFFD in its place."""
    try:
        return _encoder.encode(document)
    except UnicodeEncodeError:
        return _encoder.encode(_printable(document))


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return _SURROGATES.sub("\ufffd", value)
    if isinstance(value, Mapping):
        return {_printable(key): _printable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_printable(item) for item in value]
    return value
