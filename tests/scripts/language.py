r"""The language of the scripts: commands one a line, and what they lead to.

    about: a file written twice is told once
    rule: settle: 50ms

    write root/a "one\n"
    flush
    expect
      created root/a

A script opens with header lines, ``name: value``, and then has commands. What is indented belongs to the line above:
the changes of an ``expect``, the commands of a ``repeat``, the keys of a ``terminal``. ``#`` begins a comment.

Words are separated by spaces. ``'...'`` is taken as it is; ``"..."`` knows ``\n \r \t \e \\ \"`` and ``\xNN``, a
byte. In any word ``{i}`` is the number of the round in a ``repeat`` and ``{ab*3}`` is ``ababab``.

Header:

    about: what the script shows, a sentence
    rule: KEY: VALUE           a key of the rule `mirror`, as in the daemon's YAML
    rule NAME: KEY: VALUE      the same of one more rule
    roots [NAME]: PATH...      a rule's roots; another rule has those of `mirror` unless given, and that `root`
    needs: root | program NAME
    backends: NAME... (why)    the only ones whose documented limits allow what the script expects
    everywhere: yes            it is run on every kind of filesystem, too
    start: later               the script itself starts the daemon
    capabilities: none         a daemon that may no more than others (root without capabilities, capabilities(7))
    watches: N                 a daemon with a budget of so many inotify watches
    view: told (why)           at the end only what was told is compared with the disk, not everything
    xfail [WHERE]: why         a known fault, everywhere or on a backend or filesystem: the script must fail

The commands are in `stage`. Paths are relative to the directory of the scene; ``root`` is in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.scripts.folding import KINDS, Told


class MalformedError(Exception):
    """A script that can't be read: where, and why."""


class Line(NamedTuple):
    """A command, with what is indented below it."""

    number: int
    words: tuple[str, ...]
    below: tuple[Line, ...] = ()


class Script(NamedTuple):
    """A whole script. ``rules``: name -> key -> value in YAML."""

    path: Path
    about: str
    lines: tuple[Line, ...]
    rules: Mapping[str, Mapping[str, str]]
    roots: Mapping[str, Sequence[str]] = {}
    needs: Sequence[str] = ()
    backends: Sequence[str] = ()
    everywhere: bool = False
    later: bool = False
    powerless: bool = False
    watches: int | None = None
    whole_view: bool = True
    xfail: Mapping[str, str] = {}

    @property
    def name(self) -> str:
        """The file's name without its end."""
        return self.path.stem

    def roots_of(self, rule: str) -> Sequence[str]:
        """The roots of a rule."""
        return self.roots.get(rule) or self.roots.get("mirror", ("root",))


class Expected(NamedTuple):
    """One line of an ``expect``. ``sure`` False: ``maybe``, it may be told or not."""

    told: Told
    sure: bool


_HEADER = re.compile(
    r"(about|rule|roots|needs|backends|everywhere|start|capabilities|watches|view|xfail)(?: ([\w-]+))?: (.+)"
)
_REASONED = ("backends", "view")


def parse(path: Path, text: str) -> Script:
    """Read a script.

    Raises:
        MalformedError: with the line.
    """
    headers: list[tuple[str, str | None, str]] = []
    rows = text.splitlines()
    start = 0
    for start, row in enumerate(rows):  # noqa: B007 - where the header ends
        if row.strip() and not row.startswith("#"):
            found = _HEADER.fullmatch(row.rstrip())
            if found is None:
                break
            headers.append((found[1], found[2], found[3]))
    return _script(path, headers, _nested(path, rows, start))


def _script(path: Path, headers: Sequence[tuple[str, str | None, str]], lines: tuple[Line, ...]) -> Script:
    rules: dict[str, dict[str, str]] = {"mirror": {}}
    roots: dict[str, Sequence[str]] = {}
    single: dict[str, str] = {}
    needs: list[str] = []
    xfail: dict[str, str] = {}
    for name, argument, value in headers:
        if name == "rule":
            key, _, yaml = value.partition(":")
            rules.setdefault(argument or "mirror", {})[key] = yaml.strip()
        elif name == "roots":
            roots[argument or "mirror"] = tuple(words(value))
        elif name == "needs":
            needs.append(value)
        elif name == "xfail":
            xfail[argument or ""] = value
        else:
            single[name] = value
    for name in _REASONED:
        if name in single and not re.search(r"\(.{10,}\)$", single[name]):
            raise MalformedError(f"{path.name}: {name} needs a reason in parentheses")
    if "about" not in single:
        raise MalformedError(f"{path.name}: it doesn't say what it is about")
    return Script(
        path,
        single["about"],
        lines,
        rules,
        roots=roots,
        needs=tuple(needs),
        backends=tuple(single.get("backends", "").partition("(")[0].split()),
        everywhere="everywhere" in single,
        later=single.get("start") == "later",
        powerless=single.get("capabilities") == "none",
        watches=int(single["watches"]) if "watches" in single else None,
        whole_view="view" not in single,
        xfail=xfail,
    )


def _nested(path: Path, rows: Sequence[str], start: int) -> tuple[Line, ...]:
    """The lines as a tree by their indentation."""
    flat = []
    for number, row in enumerate(rows[start:], start + 1):
        if row.strip() and not row.lstrip().startswith("#"):
            try:
                flat.append((len(row) - len(row.lstrip()), Line(number, tuple(words(row.strip())))))
            except ValueError as error:
                raise MalformedError(f"{path.name}:{number}: {error}") from None
    return _tree(flat, 0, len(flat))


def _tree(flat: Sequence[tuple[int, Line]], start: int, end: int) -> tuple[Line, ...]:
    found = []
    while start < end:
        depth, line = flat[start]
        after = start + 1
        while after < end and flat[after][0] > depth:
            after += 1
        found.append(line._replace(below=_tree(flat, start + 1, after)))
        start = after
    return tuple(found)


# ---- words

_WORD = re.compile(r"""\s+|(?P<comment>\#.*)|(?P<word>(?:'[^']*'|"(?:[^"\\]|\\.)*"|[^\s'"])+)""")
_PART = re.compile(r"""'([^']*)'|"((?:[^"\\]|\\.)*)"|([^\s'"]+)""")
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|.)")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "e": "\x1b", "\\": "\\", '"': '"'}


def words(row: str) -> Iterator[str]:
    """The words of a line. Raises ValueError for quotes that don't close."""
    at = 0
    while at < len(row):
        found = _WORD.match(row, at)
        if found is None:
            raise ValueError("a quote doesn't close")
        if found["word"] is not None:
            yield "".join(
                part[1] if part[1] is not None else _unescaped(part[2]) if part[2] is not None else part[3]
                for part in _PART.finditer(found["word"])
            )
        at = found.end()


def _unescaped(text: str) -> str:
    def plain(found: re.Match[str]) -> str:
        code = found[1]
        if code[0] == "x" and len(code) == 3:
            return bytes([int(code[1:], 16)]).decode("utf-8", "surrogateescape")
        if code not in _ESCAPES:
            raise ValueError(f"\\{code} is no escape")
        return _ESCAPES[code]

    # several bytes may make one character
    return _ESCAPE.sub(plain, text).encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")


_REPEATED = re.compile(r"\{([^{}*]+)\*(\d+)\}")


def unrolled(lines: Sequence[Line], number: int | None = None) -> Iterator[Line]:
    """The lines with each ``repeat N`` written out."""
    for line in lines:
        if line.words[0] == "repeat":
            for round_ in range(int(line.words[1])):
                yield from unrolled(line.below, round_)
        else:
            yield line._replace(
                words=tuple(_filled(word, number) for word in line.words), below=tuple(unrolled(line.below, number))
            )


def _filled(word: str, number: int | None) -> str:
    if number is not None:
        word = word.replace("{i}", str(number))
    return _REPEATED.sub(lambda found: found[1] * int(found[2]), word)


def expected(line: Line) -> Expected:
    """One line of an ``expect``: ``[maybe] KIND PATH`` or ``[maybe] moved OLD -> NEW``. Raises ValueError."""
    sure = line.words[0] != "maybe"
    kind, *rest = line.words if sure else line.words[1:]
    if kind == "moved" and len(rest) == 3 and rest[1] == "->":
        return Expected(Told(kind, rest[2], rest[0]), sure)
    if kind in KINDS and kind != "moved" and len(rest) == 1:
        return Expected(Told(kind, rest[0]), sure)
    raise ValueError(f"no change: {' '.join(line.words)}")
