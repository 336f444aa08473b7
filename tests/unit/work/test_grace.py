"""Waiting beforehand for what a change of cgroup waits for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from filewatchd.errors import FilewatchdError
from filewatchd.work import cgroup
from filewatchd.work.grace import pass_grace


def test_this_process_is_put_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cgroup, "own", lambda: str(tmp_path))
    (tmp_path / "cgroup.procs").touch()
    pass_grace()
    assert (tmp_path / "cgroup.procs").read_text() == str(os.getpid())


def test_the_kernels_own_cgroups_are_left_as_they_are() -> None:
    before = Path("/proc/self/cgroup").read_bytes()
    pass_grace()
    assert Path("/proc/self/cgroup").read_bytes() == before


def test_where_that_cant_be_nothing_happens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cgroup, "own", lambda: str(tmp_path))
    pass_grace()
    assert list(tmp_path.iterdir()) == []

    def own() -> str:
        raise FilewatchdError("this kernel or container has no cgroup v2")

    monkeypatch.setattr(cgroup, "own", own)
    pass_grace()
