"""What the documents of the control socket are made of."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import UNSET, Meta, Struct, UnsetType


def about(text: str) -> Meta:
    """A field's description."""
    return Meta(description=text)


Time = Annotated[str, Meta(description="RFC 3339, with microseconds.", extra_json_schema={"format": "date-time"})]
Bytes = Annotated[str | UnsetType, about("The bytes, as base64, where it isn't valid UTF-8.")]
Counts = dict[str, int]
Numbers = Annotated[dict[str, Any], about("Whatever this part counts.")]


class Document(Struct, kw_only=True):
    """An answer. The server adds ``host`` and ``instance``."""


class Problem(Document, kw_only=True):
    """Why there is no better answer."""

    error: str
    mistakes: Annotated[list[dict[str, Any]] | UnsetType, about("Those of a configuration, as `check` tells.")] = UNSET


class PathTold(Struct, kw_only=True):
    """A path in a list."""

    path: str
    path_b64: Bytes = UNSET
