"""Options that say in one of several ways how something is done; other keys belong to one way and say more about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from filewatchd.notation import MalformedError


def way_of(options: Any, ways: Sequence[str]) -> str:
    """Which of the ways is written; `check` has seen that it is one."""
    return next(way for way in ways if getattr(options, way) is not None)


def check(options: Any, ways: Sequence[str], belong: Mapping[str, str], remedy: str) -> None:
    """That one way is written, and nothing that belongs to another.

    Raises:
        MalformedError: none is, or several are (``remedy`` says what to write), or a key belongs to another.
    """
    written = [way for way in ways if getattr(options, way) is not None]
    if len(written) != 1:
        said = f"both {written[0]} and {written[1]} are given" if written else "nothing says how"
        raise MalformedError(said, remedy)
    for key, way in belong.items():
        if way != written[0] and getattr(options, key):
            raise MalformedError(f"{key} says nothing about {written[0]}", f"remove it; it belongs to {way}")
