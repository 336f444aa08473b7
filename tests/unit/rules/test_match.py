"""Patterns as gitignore(5) tells them, on the paths a rule asks about."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filewatchd.notation import MalformedError
from filewatchd.patterns import Patterns, all_translated
from filewatchd.rules.match import PRESETS, Selection

EXCLUDED = [
    # pattern, path, is it out
    ("*.log", "a.log", True),
    ("*.log", "deep/a.log", True),
    ("/a.log", "a.log", True),
    ("/a.log", "deep/a.log", False),
    ("doc/*.txt", "doc/notes.txt", True),
    ("doc/*.txt", "doc/server/arch.txt", False),
    ("**/foo", "a/b/foo", True),
    ("foo/", "foo", False),
    ("foo/", "foo/bar", True),
    ("foo/", "a/foo/b/c", True),
    ("foo/**", "foo/x", True),
    ("foo/**", "foo", False),
    ("a/**/b", "a/b", True),
    ("a/**/b", "a/x/y/b", True),
    ("f?o", "foo", True),
    ("f?o", "f/o", False),
    ("f[ab]o", "fbo", True),
    ("f[!ab]o", "fbo", False),
    ("f[!ab]o", "f/o", False),
    ("[[:digit:]]x", "7x", True),
    (r"\!important", "!important", True),
    (r"\#hash", "#hash", True),
    (r"space\ ", "space ", True),
    ("*", "anything/at/all", True),
    ("*.csv", "a.csv\n", False),
    ("*.csv", "line\nbreak/a.csv", True),
    ("-rf", "-rf", True),
]


@pytest.mark.parametrize(("pattern", "path", "out"), EXCLUDED)
def test_exclude(pattern: str, path: str, out: bool) -> None:
    assert Selection([], [pattern]).selects_path(path) is not out


@pytest.mark.parametrize(
    ("include", "path", "selected"),
    [
        ("*.csv", "a.csv", True),
        ("**/*.csv", "a.csv", True),
        ("**/*.csv", "x/y/a.csv", True),
        ("*.csv", "a.csv/readme", False),  # files only: a directory of that name selects nothing
        ("data/", "data/x", True),
        ("data/", "data", False),
        ("/top.txt", "top.txt", True),
        ("/top.txt", "x/top.txt", False),
        ("name", "x/name", True),
        ("*", "a/b", True),
        ("*/", "a/b", True),
        ("*/", "a", False),
    ],
)
def test_include(include: str, path: str, selected: bool) -> None:
    assert Selection([include], []).selects_path(path) is selected


def test_the_last_pattern_decides() -> None:
    selection = Selection([], ["*.part", "!keep.part"])
    assert not selection.selects_path("a.part")
    assert selection.selects_path("keep.part")


def test_nothing_comes_back_from_below_an_excluded_directory() -> None:
    selection = Selection([], ["cache/", "!cache/keep"])
    assert selection.prunes("cache")
    assert selection.prunes("x/cache/deeper")
    assert not selection.selects_path("cache/keep")


def test_all_but_one_kind_of_file() -> None:
    selection = Selection([], ["*", "!*/", "!*.csv"])
    assert not selection.prunes("a")
    assert selection.selects_path("a/x.csv")
    assert not selection.selects_path("a/x.txt")


def test_a_file_root_is_always_selected() -> None:
    assert Selection(["*.csv"], ["*"]).selects_path("")


def test_the_editors_preset_leaves_real_files() -> None:
    selection = Selection([], [], ["editors"])
    for leftover in (".report.csv.swp", "report.csv~", "4913", "#report.csv#", ".#report.csv", "sedAbC123"):
        assert not selection.selects_path(leftover), leftover
    for real in ("report.csv", "sedan.txt", ".hidden", "a#b"):
        assert selection.selects_path(real), real


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_every_preset_is_valid(preset: str) -> None:
    Selection([], [], [preset])


def test_a_bad_pattern_is_an_error() -> None:
    with pytest.raises(MalformedError):
        Selection([], ["!"])


def test_the_digest_tells_selections_apart() -> None:
    assert Selection(["a"], []).digest != Selection([], ["a"]).digest
    assert Selection(["a"], ["b"]).digest == Selection(["a"], ["b"]).digest


def test_endings_and_names_are_filed_for_routing() -> None:
    assert Selection(["*.csv", "**/*.tsv"], []).suffixes == {".csv", ".tsv"}
    assert Selection(["Makefile"], []).names == {"Makefile"}
    assert not Selection(["*.csv", "data/*"], []).suffixes, "one pattern that can't be filed opens all"


_NAMES = st.sampled_from(["a", "a.csv", "b~", ".a.swp", "sed123456", "x", "a\nb", ".csv", "keep", "a.save.1"])
_PIECES = st.sampled_from(["a", "*", "*.csv", "*~", "?", "[ab]", "**", ".*", "keep", "a\\*", "*.save.[0-9]*", "x"])
_PATTERNS = st.builds(
    lambda bang, root, pieces, end: bang + root + "/".join(pieces) + end,
    st.sampled_from(["", "", "", "!"]),
    st.sampled_from(["", "", "/", "**/"]),
    st.lists(_PIECES, min_size=1, max_size=3),
    st.sampled_from(["", "", "/"]),
)


@given(st.lists(_PATTERNS, max_size=4), st.lists(_NAMES, max_size=3), _NAMES, st.booleans())
def test_a_name_alone_decides_as_the_whole_path_does(
    patterns: list[str], above: list[str], name: str, files_only: bool
) -> None:
    listed = Patterns(all_translated(patterns, files_only=files_only))
    directory = "/".join(above)
    path = f"{directory}/{name}" if directory else name
    assert listed.decide_file(directory, name) == listed.decide(path)
    selection = Selection(patterns if files_only else (), () if files_only else patterns)
    assert selection.chooser(directory)(name) == selection.selects(directory, name)
