"""The main job on backends that are asked for by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.running import Daemon, eventually, on_disk
from tests.e2e.steps import CONTENT, quiet

BACKENDS = ["watchdog", "pyinotify"]


@pytest.mark.parametrize("backend", BACKENDS)
def test_files_become_jobs_and_a_restart_catches_up(daemon: Daemon, backend: str) -> None:
    def agree() -> bool:
        return daemon.recorder.view() == on_disk(daemon.root)

    daemon.configure(daemon.rule(backend=backend, changes=CONTENT))
    daemon.start()
    for number in range(20):
        make(daemon.root / f"d{number}" / "deep" / "file", "one")
    eventually(agree, "a job for each file in a new tree")
    quiet(daemon)  # a file in a running job is told deleted and created instead of moved
    make(daemon.root / "d0" / "deep" / "file", "changed")
    (daemon.root / "d1" / "deep" / "file").unlink()
    (daemon.root / "d2").rename(daemon.root / "moved")
    eventually(agree, "a job for each change")
    assert {change["kind"] for change in daemon.recorder.changes()} == {"created", "modified", "deleted", "moved"}
    quiet(daemon)
    daemon.stop()
    before = len(daemon.recorder.changes())
    make(daemon.root / "d3" / "deep" / "file", "changed while it was stopped")
    make(daemon.root / "new" / "file", "made while it was stopped")
    (daemon.root / "d4" / "deep" / "file").unlink()
    daemon.start()
    eventually(agree, "a job for each change while it was stopped")
    assert len(daemon.recorder.changes()) == before + 3, "and for nothing else"
    make(daemon.root / "new" / "later", "after the restart")
    eventually(agree, "it is watched")
    assert "Traceback" not in daemon.log()


def make(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
