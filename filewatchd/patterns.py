"""Patterns: gitignore's syntax as regular expressions for whole paths below a root.

pathspec translates them, but for brackets: it knows no named classes, lets a set match a slash, and drops a pattern
whose bracket isn't closed. So brackets are lifted out before it sees the pattern, and put back translated; a NUL,
which no path holds, keeps their places. They mean what they mean to git (wildmatch.c, ctype.c): classes are ASCII's,
case counts, a backslash makes the next character plain, no set matches a slash. What git lets match nothing (a
bracket that isn't closed, an unknown class) or only its first character (a range that runs backwards) is an error here.

A directory's path ends in a slash. pathspec's expressions stop at newlines, which names may hold; ours don't.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

from filewatchd.notation import MalformedError, quoted

#: named classes; each pair of characters is a range
CLASSES = {
    "alnum": "09AZaz",
    "alpha": "AZaz",
    "blank": "\t\t  ",
    "cntrl": "\0\x1f\x7f\x7f",
    "digit": "09",
    "graph": "!~",
    "lower": "az",
    "print": " ~",
    "punct": "!/:@[`{~",
    "space": "\t\n\r\r  ",  # git's: neither form feed nor vertical tab
    "upper": "AZ",
    "xdigit": "09AFaf",
}
_ITEM = r"(?:\[:[^]]*:\]|(?:\\.|[^\\])-(?:\\.|[^]\\])|\\.|[^\\])"  # a class, a range, a character
_ITEMS = re.compile(r"\[:(?P<name>[^]]*):\]|\\?(?P<low>.)(?:-\\?(?P<high>(?<=\\).|[^]]))?", re.DOTALL)
_WORDS = re.compile(rf"\\.|\[(?:(?P<not>[!^])?+(?P<items>(?>{_ITEM})(?>(?!\]){_ITEM})*+)\])?", re.DOTALL)
_PLACE = "\0"
_ANY_DIRECTORY = "(?:.+/)?"  # what an expression begins with whose pattern isn't bound to a directory


class Pattern(NamedTuple):
    """A pattern, translated."""

    regex: str
    positive: bool
    name_suffix: str | None  # the pattern is `*SUFFIX`: any directory, literal end of the name
    name_exact: str | None  # the pattern is a literal name in any directory
    name_regex: str | None  # the pattern is about names in any directory: what a file's name must be


def lifted(text: str) -> tuple[str, list[str]]:
    """A pattern with a NUL in the place of each bracket, and the brackets as regular expressions.

    Raises:
        MalformedError: a bracket isn't closed, names no known class or holds a range that runs backwards.
    """
    sets: list[str] = []

    def lift(word: re.Match[str]) -> str:
        if word[0].startswith("\\"):
            return word[0]
        if word["items"] is None:
            raise MalformedError(f"a bracket isn't closed in the pattern {quoted(text)}", r"close it, or write \[")
        sets.append(_set("".join(_ranges(word["items"], text)), negated=word["not"] is not None))
        return _PLACE

    plain = _WORDS.sub(lift, text)
    if plain.count("/") < text.count("/"):  # git counts a slash in a bracket: such a pattern begins at the root
        bang, body = ("!", plain[1:]) if plain.startswith("!") else ("", plain)
        plain = f"{bang}/{body.removeprefix('/')}"
    return plain, sets


def _ranges(items: str, text: str) -> Iterator[str]:
    for item in _ITEMS.finditer(items):
        name, low = item["name"], item["low"]
        high = item["high"] or low
        if name is not None and name not in CLASSES:
            known = f"there are: {', '.join(CLASSES)}"
            raise MalformedError(f"there is no class [:{name}:] (in the pattern {quoted(text)})", known)
        if name is None and high < low:
            raise MalformedError(f"the range {item[0]} runs backwards in the pattern {quoted(text)}", "turn it round")
        yield CLASSES[name] if name is not None else low + high


def _set(ranges: str, *, negated: bool) -> str:
    """A set of characters, given as pairs, without the slash."""
    parts = []
    for low, high in zip(ranges[::2], ranges[1::2], strict=True):
        cut = ((low, min(high, ".")), (max(low, "0"), high))  # "/" is between "." and "0"
        parts += [f"{re.escape(a)}-{re.escape(b)}" for a, b in cut if a <= b]
    if negated:
        return f"[^/{''.join(parts)}]"
    return f"[{''.join(parts)}]" if parts else "(?!)"


@lru_cache(maxsize=4096)
def translated(text: str, files_only: bool) -> Pattern | None:
    """One pattern; None for those that match nothing: blanks, comments, a lone slash. Raises MalformedError."""
    if _PLACE in text:
        raise MalformedError(f"no name holds a NUL: {quoted(text)}", "remove it")
    plain, sets = lifted(text) if not text.startswith("#") else ("", [])
    try:
        regex, positive = GitIgnoreSpecPattern.pattern_to_regex(plain)
    except ValueError:
        raise MalformedError(f"{quoted(text)} is not a gitignore pattern", "see gitignore(5)") from None
    if regex is None or positive is None:
        return None
    regex = _whole(regex, directory=plain.rstrip().endswith("/"), files_only=files_only)
    named = regex.removeprefix(_ANY_DIRECTORY).removesuffix("/?")
    of_name = regex.startswith(_ANY_DIRECTORY) and "/" not in plain.removeprefix("!").removeprefix("**/")
    for translation in sets:
        regex, named = regex.replace(_PLACE, translation, 1), named.replace(_PLACE, translation, 1)
    body = text.removeprefix("**/")
    literal = not re.search(r"[*?\[\]\\/!# ]", body.removeprefix("*"))
    suffix = body[1:] if literal and body.startswith("*") and len(body) > 1 else None
    exact = body if literal and not body.startswith("*") else None
    return Pattern(regex, positive, suffix, exact, named if of_name else None)


def _whole(regex: str, *, directory: bool, files_only: bool) -> str:
    """What pathspec made, as an expression for whole paths."""
    regex = regex.replace("(?P<ps_d>/)", "/").removeprefix("^")
    if regex == "/":  # `*/`: any directory
        regex = ".+/"
    if regex == "." or (regex.endswith("/") and (files_only or not directory)):
        regex += ".+" if regex.endswith("/") else ".*"
    return regex.replace("(?:/|$)", "/?" if not files_only else "")


def all_translated(texts: Iterable[str], *, files_only: bool) -> list[Pattern]:
    """These patterns, without those that match nothing. Raises MalformedError."""
    return [pattern for pattern in (translated(text, files_only) for text in texts) if pattern]


class Patterns:
    """An ordered list of patterns; the last match decides.

    Nearly all patterns are about a file's name, and most of those end literally. Of such only the name is asked, and
    no expression: a tenth of the time. Where a pattern is negated, their order counts, and all are asked in turn.
    """

    __slots__ = ("_all", "_exact", "_names", "_ordered", "_paths", "_suffixes")

    def __init__(self, listed: Sequence[Pattern]) -> None:
        self._all = self._names = self._paths = None
        self._suffixes: tuple[str, ...] = ()
        self._exact: frozenset[str] = frozenset()
        self._ordered: list[tuple[re.Pattern[str], bool]] = []
        if all(pattern.positive for pattern in listed):
            self._all = _any_of([pattern.regex for pattern in listed])
            self._suffixes = tuple(p.name_suffix for p in listed if p.name_suffix)
            self._exact = frozenset(p.name_exact for p in listed if p.name_exact)
            left = [p for p in listed if not p.name_suffix and not p.name_exact]
            self._names = _any_of([p.name_regex for p in left if p.name_regex is not None])
            self._paths = _any_of([p.regex for p in left if p.name_regex is None])
        else:
            self._ordered = [(re.compile(p.regex, re.DOTALL), p.positive) for p in reversed(listed)]

    def decide_file(self, directory: str, name: str) -> bool:
        """`decide` for a file in a directory ("" is the root)."""
        if name.endswith(self._suffixes) or name in self._exact:
            return True
        if self._names is not None and self._names.fullmatch(name) is not None:
            return True
        if self._paths is None and not self._ordered:
            return False
        path = f"{directory}/{name}" if directory else name
        return (
            self.decide(path) if self._ordered else self._paths is not None and self._paths.fullmatch(path) is not None
        )

    def decide(self, path: str) -> bool:
        """Whether a path matches; a directory's ends in a slash."""
        if self._all is not None:
            return self._all.fullmatch(path) is not None
        for regex, positive in self._ordered:
            if regex.fullmatch(path):
                return positive
        return False


def _any_of(expressions: Sequence[str]) -> re.Pattern[str] | None:
    return re.compile("|".join(f"(?:{each})" for each in expressions), re.DOTALL) if expressions else None


def selects(include: Sequence[str], exclude: Sequence[str], path: str) -> bool:
    """Whether a file is selected, asked once: by checks. A rule at work has its `Selection`."""
    wanted, out = all_translated(include, files_only=True), Patterns(all_translated(exclude, files_only=False))
    if wanted and not Patterns(wanted).decide(path):
        return False
    ways = [path[: slash.end()] for slash in re.finditer("/", path)]
    return not any(map(out.decide, (*ways, path)))
