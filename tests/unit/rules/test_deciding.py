"""Which pattern decides: always as the rule's own selection does, and as git says of its own patterns."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from filewatchd.rules.deciding import Decision, Rated, decisions, excluded, included
from filewatchd.rules.match import PRESETS, Selection

PIECES = ["a", "b", "*", "?", "**", "[ab]", "[!a]", "*.c", "a.c", "ab", "a*"]
NAMES = ["a", "b", "ab", "a.c", "b.c", "sedAbC123", "a~"]

patterns = st.lists(
    st.tuples(
        st.sampled_from(["", "!", "/"]), st.lists(st.sampled_from(PIECES), min_size=1, max_size=3), st.booleans()
    ).map(lambda parts: parts[0] + "/".join(parts[1]) + "/" * parts[2]),
    max_size=5,
)
paths = st.lists(st.sampled_from(NAMES), min_size=1, max_size=4).map("/".join)
presets = st.lists(st.sampled_from(sorted(PRESETS)), unique=True)


@given(patterns, patterns, presets, paths)
def test_explanation_and_selection_agree(include: list[str], exclude: list[str], named: list[str], path: str) -> None:
    selection = Selection(include, exclude, named)
    found = decisions(include, exclude, named, path)
    assert all(decision.passed for decision in found) is selection.selects_path(path)
    for decision in found:
        if decision.pattern is not None:
            about, entry, text = decision.pattern
            origin = {"include": include, "exclude": exclude, "preset": named}[about][entry]
            assert text in PRESETS[origin] if about == "preset" else text == origin
            assert path.startswith(decision.matched.rstrip("/"))


@given(patterns, presets, paths)
def test_a_directory_that_is_out_is_one_that_is_pruned(exclude: list[str], named: list[str], path: str) -> None:
    assert excluded(exclude, named, path + "/").passed is not Selection((), exclude, named).prunes(path)


def test_a_file_root_is_asked_nothing() -> None:
    assert decisions(["*.csv"], ["*"], ["editors"], "") == []


def test_the_last_pattern_that_matches_is_named() -> None:
    assert excluded(["*.part", "a*", "!keep.part"], [], "a.part") == Decision(
        "exclude", passed=False, pattern=Rated("exclude", 1, "a*"), matched="a.part"
    )
    assert excluded(["*.part", "!keep.part"], [], "keep.part") == Decision(
        "exclude", passed=True, pattern=Rated("exclude", 1, "!keep.part"), matched="keep.part"
    )


def test_a_directory_on_the_way_is_named() -> None:
    found = excluded(["cache/", "!cache/keep"], [], "x/cache/keep")
    assert (found.passed, found.pattern, found.matched) == (False, Rated("exclude", 0, "cache/"), "x/cache/")


def test_a_preset_is_named_by_its_place_and_its_pattern() -> None:
    found = excluded([], ["vcs", "editors"], "a.csv~")
    assert found == Decision("preset", passed=False, pattern=Rated("preset", 1, "*~"), matched="a.csv~")
    assert excluded(["!*~"], ["editors"], "a.csv~").passed, "the rule's own patterns come after"


def test_what_no_pattern_matches() -> None:
    assert excluded(["*.part"], ["editors"], "a.csv") == Decision("exclude", passed=True, matched="a.csv")
    assert included(["*.csv"], "a.txt") == Decision("include", passed=False)
    assert included([], "a.txt") == Decision("include", passed=True)
    assert included(["*.txt", "!a*"], "a.txt").pattern == Rated("include", 1, "!a*")


def test_git_names_the_same_pattern(tmp_path: Path, program: Callable[[str], str]) -> None:
    """Of what it ignores, and what a pattern with `!` brings back: several hundred lists, asked in one go."""
    rng = random.Random(5)
    lists = [["".join(_pattern(rng)) for _ in range(rng.randint(1, 5))] for _ in range(400)]
    asked = ["/".join(rng.choices(NAMES, k=rng.randint(1, 4))) for _ in range(25)]
    by_git = git_says(program("git"), tmp_path, lists, asked)
    ours = {(number, path): _line(excluded(lines, [], path)) for number, lines in enumerate(lists) for path in asked}
    assert len({line for line in by_git.values() if line}) > 3, "git was asked"
    assert {key: (lists[key[0]], by_git[key], ours[key]) for key in ours if by_git[key] != ours[key]} == {}


def _pattern(rng: random.Random) -> Sequence[str]:
    """One pattern; none ends in `/**/`, which pathspec takes for less than git does."""
    pieces = rng.choices(PIECES, k=rng.randint(1, 3))
    return rng.choice(["", "", "!", "/"]), "/".join(pieces), "" if pieces[-1] == "**" else rng.choice(["", "/"])


def _line(decision: Decision) -> int | None:
    return None if decision.pattern is None else decision.pattern.entry + 1


def git_says(git: str, root: Path, lists: list[list[str]], asked: list[str]) -> dict[tuple[int, str], int | None]:
    """The line of the pattern that git says decides, by the list's number and the path."""
    subprocess.run([git, "init", "-q", root], check=True)
    for number, lines in enumerate(lists):
        (root / f"d{number}").mkdir()
        (root / f"d{number}" / ".gitignore").write_text("\n".join(lines) + "\n")
    words = [git, "-C", str(root), "-c", "core.excludesFile=/dev/null", "check-ignore", "--no-index", "--stdin"]
    text = "".join(f"d{number}/{path}\0" for number in range(len(lists)) for path in asked)
    told = subprocess.run([*words, "-z", "-v", "-n"], input=text.encode(), capture_output=True, check=False).stdout
    fields = told.decode().split("\0")[:-1]
    found: dict[tuple[int, str], int | None] = {}
    for line, path in zip(fields[1::4], fields[3::4], strict=True):
        directory, _, below = path.partition("/")
        found[int(directory[1:]), below] = int(line) if line else None
    return found
