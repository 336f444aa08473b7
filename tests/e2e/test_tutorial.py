"""The tutorial's commands, typed in order as they stand, print what it says."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.e2e.transcripts import Terminal, agrees, blocks, environment, here

ROOT = Path(__file__).parents[2]
ELSEWHERE = {"package", "pip", "systemd"}  # done where there is a machine of its own to install things on


@pytest.mark.parametrize("page", ["docs/tutorial/getting-started.md", "README.md"])
def test_its_commands_do_what_it_says(page: str, commands: str, tmp_path: Path) -> None:
    doable = [block for block in blocks(ROOT / page) if not block.marks & ELSEWHERE]
    assert sum(len(block.steps) for block in doable) > 3
    home = tmp_path / "home"
    home.mkdir()
    with Terminal(str(home), partial(here, env=environment(commands, str(home)))) as terminal:
        for block in doable:
            terminal.type(block)
        assert set(terminal.ends()) == {0}


def test_every_mark_is_known() -> None:
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")]:
        for block in blocks(page):
            assert block.marks <= {*ELSEWHERE, "background"}, f"{page}:{block.line}"


def test_a_page_that_says_something_else_is_told(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("text\n\n```console\n$ echo a; echo b\na\n...\n$ true\n$ echo c\nd\n```\n")
    (block,) = blocks(page)
    with Terminal(str(tmp_path)) as terminal, pytest.raises(AssertionError, match=r"^line 8: echo c\nc\n\ninstead of"):
        terminal.type(block)


def test_a_file_that_a_page_shows_is_written(tmp_path: Path) -> None:
    page, rules = tmp_path / "page.md", tmp_path / "rules.d/a.yaml"
    text = f"# {rules}\nrules:\n  - name: \"$a `b` 'c'\"\n"
    page.write_text(f"```yaml\n{text}```\n```yaml\nrules: []\n```\n<!--\n```console\n$ ls rules.d\na.yaml\n```\n-->\n")
    with Terminal(str(tmp_path)) as terminal:
        for block in blocks(page):
            terminal.type(block)
    assert rules.read_text() == text


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ("a\n...\nd\n", "a\nb\nc\nd\n", True),
        ("a\n...\n", "a\n", True),
        ("a\n", "a\nb\n", False),
        ("", "a\n", False),
        ("failed: ...\nb\n", "failed: exit status 3\nb\n", True),
        ("failed: ...\nb\n", "failed: exit status 3\nc\nb\n", False),
        ("took  64ms\n", "took 1s200ms\n", True),
        ("at 2026-11-27 19:25:12 (just now)\n", "at 2027-01-02 03:04:05 (3s ago)\n", True),
        ("1 ok\n", "2 ok\n", False),
        ("filewatchd 0.1.0, 1 rules\n", "filewatchd 12.3.4, 1 rules\n", True),
    ],
)
def test_what_varies_need_not_be_the_same(expected: str, printed: str, same: bool) -> None:
    assert agrees(expected, printed) is same


def test_marks_are_read() -> None:
    found = list(blocks(ROOT / "docs/tutorial/getting-started.md"))
    assert {mark for block in found for mark in block.marks} == {*ELSEWHERE, "background"}
    assert all(block.steps for block in found)
