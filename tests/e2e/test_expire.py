"""The action expire in a real daemon: a quiet tree, kill -9, and what is told."""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.running import Daemon, eventually
from tests.e2e.steps import ask, configure, rule


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that other users get to."""
    path = Path(tempfile.mkdtemp(prefix="filewatchd-test-", dir="/var/tmp"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def aged(path: Path, days: float) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("content")
    when = time.time() - days * 86400
    os.utime(path, (when, when))
    return path


def left(daemon: Daemon) -> list[str]:
    return sorted(path.name for path in daemon.root.rglob("*") if path.is_file())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has a rule's work done by another user")
def test_the_work_is_done_with_the_rights_of_the_rules_user(daemon: Daemon, public: Path) -> None:
    mine, others = aged(public / "mine/a", 40), aged(public / "others/b", 40)
    os.chown(mine.parent, pwd.getpwnam("nobody").pw_uid, -1)
    others.parent.chmod(0o755)
    expiring(daemon, "{age: 30d}", root=public, user="nobody")
    daemon.start()
    eventually(lambda: not mine.exists(), "what nobody may delete is deleted", 20)
    (finding,) = eventually(lambda: ask(daemon, "status")["findings"], "what can't be is a finding", 20)
    assert str(others) in finding["message"]
    assert "Permission denied" in finding["message"]
    assert others.exists()


def fewer(daemon: Daemon, most: int) -> bool:
    return len(left(daemon)) <= most


def expiring(daemon: Daemon, keep: str, root: Path | None = None, **keys: str) -> None:
    actions = f"expire: {{keep: {keep}, every: 1s}}"
    configure(daemon, rule("uploads", actions, roots=[str(root or daemon.root)], **keys))


def test_a_quiet_tree_is_looked_at_by_the_timer(daemon: Daemon) -> None:
    for name, days in (("a", 40), ("deep/b", 31), ("c", 1)):
        aged(daemon.root / name, days)
    expiring(daemon, "{age: 30d}")
    daemon.start()
    eventually(lambda: left(daemon) == ["c"], "what is too old is deleted", 20)
    (job,) = [row for row in ask(daemon, "jobs")["jobs"] if "deleted" in ask(daemon, "job", id=row["id"])["output"]]
    assert "it is 40d old, and 30d are kept" in ask(daemon, "job", id=job["id"])["output"]
    planned = ask(daemon, "trigger", rule="uploads", dry_run=True)
    assert planned["together"] == ["delete nothing: no limit is exceeded"]


def test_over_kills_nothing_but_the_oldest_goes(daemon: Daemon) -> None:
    for number in range(400):
        aged(daemon.root / f"f{number:03}", 400 - number)
    expiring(daemon, "{count: 100}")
    for most in (390, 290, 190):
        daemon.start()
        eventually(partial(fewer, daemon, most), "some are deleted", 20)
        daemon.kill()
    daemon.start()
    eventually(lambda: len(left(daemon)) <= 100, "all are deleted that have to be", 20)
    assert left(daemon) == [f"f{number:03}" for number in range(300, 400)]
