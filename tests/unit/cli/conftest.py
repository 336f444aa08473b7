"""What the tests of `filewatchctl` have in common: a server with made-up answers, and the command in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from filewatchd.cli.control import main
from tests.unit.cli.serving import Served, serving


class Finished(NamedTuple):
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


Ctl = Callable[..., Finished]


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    with serving(tmp_path) as found:
        monkeypatch.setenv("FILEWATCHCTL_SOCKET", found.socket)
        yield found


@pytest.fixture
def ctl(capsys: pytest.CaptureFixture[str]) -> Ctl:
    def run(*words: str) -> Finished:
        code = main(words)
        printed = capsys.readouterr()
        return Finished(code, printed.out, printed.err)

    return run
