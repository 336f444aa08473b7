"""Real programs whose logs are rotated, a few of those that `python -m tests.programs` tries: no line is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.programs.programs import Nginx, Python, Reader, Rsyslog, Tail, Writer
from tests.programs.trying import attempt


@pytest.mark.parametrize(
    ("writer", "method", "used"),
    [(Nginx, "auto", "exchange"), (Rsyslog, "exchange", "exchange")],
)
def test_no_line_of_a_writer_is_lost(tmp_path: Path, writer: type[Writer], method: str, used: str) -> None:
    found = attempt(tmp_path, method, writer, None, 2.0, 0.3)
    assert found.archive == (0, 0, 0, True), found.log
    assert found.rotations >= 1
    assert found.methods == used


@pytest.mark.parametrize("method", ["collapse"])
@pytest.mark.parametrize("reader", [Tail])
def test_a_reader_may_see_lines_twice_but_none_is_lost(tmp_path: Path, method: str, reader: type[Reader]) -> None:
    found = attempt(tmp_path, method, Python, reader, 2.0, 0.3)
    assert found.archive == (0, 0, 0, True), found.log
    assert found.rotations >= 1
    assert found.reader is not None
    assert (found.reader.lost, found.reader.ordered) == (0, True)
