"""Which backend a root gets, and why."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from filewatchd import extras
from filewatchd.clock import SystemClock
from filewatchd.errors import FatalError
from filewatchd.watch.backends.choose import MADE_UP, SHARED, choose, make
from filewatchd.watch.mounts import MountTable
from filewatchd.work.pool import Pool


@pytest.mark.parametrize(
    ("wanted", "filesystem", "platform", "name", "reason"),
    [
        ("auto", "ext4", "linux", "inotify", "ext4 is local"),
        ("auto", "overlay", "linux", "inotify", "overlay is local"),
        ("auto", "", "linux", "inotify", "its filesystem is local"),
        ("auto", "nfs4", "linux", "poll", "other hosts write to nfs4 unseen"),
        ("auto", "cifs", "linux", "poll", "other hosts write to cifs unseen"),
        ("auto", "9p", "linux", "poll", "other hosts write to 9p unseen"),
        ("auto", "fuse.sshfs", "linux", "poll", "what is behind fuse.sshfs may change unseen"),
        ("auto", "fuse", "linux", "poll", "what is behind fuse may change unseen"),
        ("auto", "fusectl", "linux", "inotify", "fusectl is local"),
        ("auto", "proc", "linux", "poll", "proc tells of no changes"),
        ("auto", "apfs", "darwin", "watchdog", "the native way on darwin"),
        ("inotify", "nfs4", "linux", "inotify", "the rule asks for it"),
        ("poll", "ext4", "linux", "poll", "the rule asks for it"),
    ],
)
def test_the_choice_and_its_reason(wanted: str, filesystem: str, platform: str, name: str, reason: str) -> None:
    assert choose(wanted, filesystem, platform) == (name, reason)


def test_every_backend_can_be_made_and_says_what_it_cant_do() -> None:
    for name in extras.BACKENDS:
        backend = make(name, Pool(), SystemClock())
        assert backend.name == name
        assert backend.limits
        assert all(limit == limit.strip(". ") and limit for limit in backend.limits)
        backend.stop()


def test_one_that_cant_work_here_is_an_error_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(extras.EXTRAS, "pyinotify", ("no_such_module",))
    with pytest.raises(FatalError, match=r"the extra pyinotify is not installed .no_such_module.; pip install"):
        make("pyinotify", Pool(), SystemClock())
    assert extras.backend_lacks("inotify", "darwin") == ("the backend inotify needs linux", "write `backend: auto`")
    assert extras.backend_lacks("auto") is None
    assert extras.backend_lacks("watchdog", "darwin") is None


MOUNTS = r"""
21 26 0:20 / /proc rw - proc proc rw
26 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
40 26 0:50 / /srv/a\040b rw - nfs4 host:/x rw
41 26 0:51 / /srv rw - xfs /dev/b rw
42 41 0:52 / /srv rw - tmpfs tmpfs rw
""".strip()


@pytest.mark.parametrize(
    ("path", "device", "kind"),
    [
        ("/", None, "ext4"),
        ("/srv/a b", None, "nfs4"),
        ("/srv/a b/c/d", None, "nfs4"),
        ("/srv/a bc", None, "tmpfs"),
        ("/srv", None, "tmpfs"),
        ("/srvx", None, "ext4"),
        ("/proc/1", None, "proc"),
        ("/somewhere", os.makedev(0, 51), "xfs"),
        ("/srv/a b", os.makedev(9, 9), "nfs4"),
    ],
)
def test_the_type_of_a_place(path: str, device: int | None, kind: str) -> None:
    assert MountTable(MOUNTS).type_of(path, device) == kind


def test_the_table_of_this_system() -> None:
    table = MountTable.read()
    assert table.type_of("/proc/self") == "proc"
    assert table.type_of("/", os.stat("/").st_dev)
    assert MountTable("").type_of("/a") == ""
    assert Path("/proc/self/mountinfo").exists()


def test_the_reference_lists_what_each_backend_cant_do() -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference" / "backends.md").read_text()
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## )", page, re.DOTALL | re.MULTILINE))
    for name in extras.BACKENDS:
        backend = make(name, Pool(), SystemClock())
        backend.stop()
        assert re.findall(r"^- (.*)$", sections[name], re.MULTILINE) == list(backend.limits)
    for filesystem in SHARED | MADE_UP:
        assert f"`{filesystem}`" in page
