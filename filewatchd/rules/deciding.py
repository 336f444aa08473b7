"""Which pattern decides about a path: what `filewatchd.rules.match` answers with yes or no, with its reason. Pure.

A rule at work asks `Selection`, which is quick. This asks pattern by pattern, for people, and comes to the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

from filewatchd.patterns import translated
from filewatchd.rules.match import PRESETS


class Rated(NamedTuple):
    """A pattern, and where it stands. ``entry``: its place in the list, or of its preset's name among the presets."""

    about: Literal["exclude", "preset", "include"]
    entry: int
    text: str


class Decision(NamedTuple):
    """What the patterns of one kind make of a path.

    Attributes:
        about: `exclude` (and `preset`, which come before it), or `include`.
        passed: the path stays in the running.
        pattern: the one that decides; None if none of them matches.
        matched: what it matches: the path, or a directory on its way (with a slash behind it).
    """

    about: Literal["exclude", "preset", "include"]
    passed: bool
    pattern: Rated | None = None
    matched: str = ""


def decisions(include: Sequence[str], exclude: Sequence[str], presets: Sequence[str], path: str) -> list[Decision]:
    """What decides about a file, relative to the root; all have passed if the rule selects it.

    A file root's own path is "", about which nothing is asked.
    """
    return [excluded(exclude, presets, path), included(include, path)] if path else []


def excluded(exclude: Sequence[str], presets: Sequence[str], path: str) -> Decision:
    """Whether `exclude` or a preset takes a path out, or a directory on its way. A directory's path ends in a slash."""
    patterns = [*_of_presets(presets), *_rated("exclude", exclude)]
    ways = [path[: slash.end()] for slash in re.finditer("/", path)]
    found: Rated | None = None
    for place in dict.fromkeys((*ways, path)):
        found = _last(patterns, place, files_only=False)
        if found is not None and not found.text.startswith("!"):
            return Decision(found.about, passed=False, pattern=found, matched=place)
    return Decision(found.about if found is not None else "exclude", passed=True, pattern=found, matched=path)


def included(include: Sequence[str], path: str) -> Decision:
    """Whether `include` selects a file; without any pattern it selects all."""
    found = _last(list(_rated("include", include)), path, files_only=True)
    passed = not include or (found is not None and not found.text.startswith("!"))
    return Decision("include", passed, found, path if found is not None else "")


def _of_presets(presets: Sequence[str]) -> Iterator[Rated]:
    return (Rated("preset", entry, text) for entry, preset in enumerate(presets) for text in PRESETS[preset])


def _rated(about: Literal["exclude", "include"], texts: Iterable[str]) -> Iterator[Rated]:
    return (Rated(about, entry, text) for entry, text in enumerate(texts))


def _last(patterns: Sequence[Rated], path: str, *, files_only: bool) -> Rated | None:
    """The last pattern that matches: it decides."""
    return next((each for each in reversed(patterns) if _matches(each.text, path, files_only)), None)


def _matches(text: str, path: str, files_only: bool) -> bool:
    regex = _regex(text, files_only)
    return regex is not None and regex.fullmatch(path) is not None


@lru_cache(maxsize=4096)
def _regex(text: str, files_only: bool) -> re.Pattern[str] | None:
    pattern = translated(text, files_only)
    return re.compile(pattern.regex, re.DOTALL) if pattern is not None else None
