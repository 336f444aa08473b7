"""Reading scripts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.scripts.folding import Told
from tests.scripts.language import Expected, Line, MalformedError, expected, parse, unrolled, words

TEXT = """\
about: an example
rule: settle: 50ms
rule other: include: ["*.csv"]
backends: inotify (it alone tells of this)

write root/a "x"  # a comment
repeat 2
  mkdir root/{i}
expect
  created root/a
"""


def test_a_script() -> None:
    script = parse(Path("example.txt"), TEXT)
    assert script.name == "example"
    assert script.rules == {"mirror": {"settle": "50ms"}, "other": {"include": '["*.csv"]'}}
    assert script.backends == ("inotify",)
    assert script.roots_of("mirror") == script.roots_of("other") == ("root",)
    write, repeat, expect = script.lines
    assert write == Line(6, ("write", "root/a", "x"))
    assert [line.words for line in repeat.below] == [("mkdir", "root/{i}")]
    assert expected(expect.below[0]) == Expected(Told("created", "root/a"), True)
    assert [line.words[-1] for line in unrolled([repeat])] == ["root/0", "root/1"]


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ("a  b # c", ["a", "b"]),
        ("'a b' \"c d\"", ["a b", "c d"]),
        ("root/'*'x", ["root/*x"]),
        (r'"a\nb" "\xff\x41" "\"\\"', ["a\nb", "\udcffA", '"\\']),
        (r'"\xc3\xa4"', ["ä"]),
        ('"" x', ["", "x"]),
        ("a#b", ["a#b"]),
    ],
)
def test_words(row: str, found: list[str]) -> None:
    assert list(words(row)) == found


@pytest.mark.parametrize("row", ['"open', "'open", r'"\q"'])
def test_words_that_are_wrong(row: str) -> None:
    with pytest.raises(ValueError, match=r"quote|escape"):
        list(words(row))


def test_repeated_text() -> None:
    assert [line.words for line in unrolled([Line(1, ("x", "{ab*3}/{i}{path}"))])] == [("x", "ababab/{i}{path}")]


def test_changes() -> None:
    assert expected(Line(1, ("maybe", "moved", "a", "->", "b"))) == Expected(Told("moved", "b", "a"), False)
    with pytest.raises(ValueError, match="no change: moved a b"):
        expected(Line(1, ("moved", "a", "b")))


@pytest.mark.parametrize("text", ["write a b\n", "about: x\nbackends: inotify\n\nflush\n", 'about: x\n\nwrite "\n'])
def test_a_script_that_is_wrong(text: str) -> None:
    with pytest.raises(MalformedError, match=r"^wrong.txt"):
        parse(Path("wrong.txt"), text)
