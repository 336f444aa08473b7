"""Brackets in patterns mean what they mean to git, whose own answers are asked for."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

from filewatchd.notation import MalformedError
from filewatchd.patterns import CLASSES, selects, translated

NAMES = [chr(code) for code in range(1, 128) if chr(code) not in "/."] + ["a/b", "b/a", "ab", "a-b", "7x", "x7", "a.7"]
SETS = [
    *(f"{bang}[:{name}:]" for name, bang in product(CLASSES, ("", "!", "^"))),
    "[:upper:][:space:]", "![:upper:][:space:]", "[:digit:]a-f", "a-f[:digit:]_", "^a-f[:punct:]",
    "[:alpha:]-z", "[:digit:]--9", "abc", "!abc", "^a-c", "a-c-e", "--0", "+--", "a-", "-a", "]", "!]", "]-a", "]a",
    "^]-a]", "[", "[-a", "[a", "[:", "[:a", "[:]", "[:-~", "[.a.]", "[=a=]", "a^", "!!", "^^", "!^", "&&", "~~", "||",
    "a&&b", "\\]", "\\-", "a\\-z", "\\a-\\c", "Z-\\]", "\\\\", "*", "?", "!-~", "!!-~", "/", "a/", "!/", ".-0", " -/",
    "#", " ",
]  # fmt: skip
AROUND = ["{}", "*{}?", "\\[{}", "**/{}/b", "/{}", "a/{}", "!{}", "\\{}"]
PATTERNS = [around.format(f"[{inside}]") for around, inside in product(AROUND, SETS)]
NEVER = ["[", "a[", "[]", "[!]", "[^]", "[a", "[a\\]", "[[:digit:]", "[[:digits:]]", "[[:Digit:]]", "[[::]]"]


def git_ignores(git: str, root: Path, patterns: list[str]) -> set[tuple[int, str]]:
    """Which names git ignores for which pattern, by its number. Each has a directory; a negative one follows a `*`."""
    subprocess.run([git, "init", "-q", root], check=True)
    for number, pattern in enumerate(patterns):
        (root / f"d{number}").mkdir()
        (root / f"d{number}" / ".gitignore").write_text(("*\n" if pattern.startswith("!") else "") + pattern + "\n")
    asked = "".join(f"d{number}/{name}\0" for number in range(len(patterns)) for name in NAMES)
    command = [
        "git",
        "-C",
        str(root),
        "-c",
        "core.excludesFile=/dev/null",
        "check-ignore",
        "--no-index",
        "--stdin",
        "-z",
    ]
    told = subprocess.run(command, input=asked.encode(), capture_output=True, check=False).stdout.decode()
    ignored = (path.partition("/") for path in told.split("\0") if path)
    return {(int(directory[1:]), name) for directory, _, name in ignored}


def ignored(pattern: str) -> list[str]:
    """Which names we leave out for it."""
    try:
        return [name for name in NAMES if not selects((), ["*", pattern] if pattern[0] == "!" else [pattern], name)]
    except MalformedError:
        return []


def test_git_would_say_the_same(tmp_path: Path, program: Callable[[str], str]) -> None:
    by_git = git_ignores(program("git"), tmp_path, PATTERNS)
    assert len(by_git) > len(PATTERNS), "git was asked"
    ours = {(number, name) for number, pattern in enumerate(PATTERNS) for name in ignored(pattern)}
    assert [(PATTERNS[number], name) for number, name in sorted(by_git ^ ours)] == []


@pytest.mark.parametrize("pattern", NEVER)
def test_what_git_lets_match_nothing_is_a_mistake(pattern: str, tmp_path: Path, program: Callable[[str], str]) -> None:
    assert not git_ignores(program("git"), tmp_path, [pattern])
    with pytest.raises(MalformedError):
        translated(pattern, files_only=False)


@pytest.mark.parametrize("pattern", ["[z-a]", "[!b-\\a]", "[a[-\\Z]"])
def test_a_range_that_runs_backwards_is_a_mistake(pattern: str) -> None:
    with pytest.raises(MalformedError, match="runs backwards"):
        translated(pattern, files_only=False)


def test_an_unknown_class_is_named_with_the_pattern_and_the_known_ones() -> None:
    with pytest.raises(MalformedError, match=r"no class \[:digits:\] \(in the pattern '\[\[:digits:\]\]x'\)") as caught:
        translated("[[:digits:]]x", files_only=False)
    assert "cntrl, digit, graph" in caught.value.hint


def test_a_nul_is_no_part_of_a_name() -> None:
    with pytest.raises(MalformedError, match="NUL"):
        translated("a\0", files_only=False)


def test_a_comment_is_no_pattern_whatever_stands_in_it() -> None:
    assert translated("# [", files_only=False) is None


def test_a_set_takes_any_other_character_and_a_newline() -> None:
    assert not selects((), ["[!a]"], "é")
    assert not selects((), ["[^[:alpha:]]x"], "\nx")
    assert selects((), ["[[:alpha:]]"], "é"), "classes are ASCII's"
    assert not selects((), ["[à-ü]"], "é")
