"""Where commands' cgroups go, on hosts of many kinds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from filewatchd.errors import FilewatchdError
from filewatchd.work import cgroup
from filewatchd.work.processes import members

HYBRID = (
    b"31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
    b"40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n"
    b"41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
)
UNIFIED = b"30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
CONTAINER = b"50 40 0:26 /docker/abc /sys/fs/cgroup\\040two ro - cgroup2 cgroup rw\n"


def pretend(monkeypatch: pytest.MonkeyPatch, own: bytes, mounts: bytes) -> None:
    files = {"/proc/self/cgroup": own, "/proc/self/mountinfo": mounts}
    monkeypatch.setattr(cgroup, "read", files.__getitem__)


@pytest.mark.parametrize(
    ("own", "mounts", "expected"),
    [
        (b"9:name=systemd:/\n0::/\n", HYBRID, "/sys/fs/cgroup/unified"),
        (b"0::/system.slice/filewatchd.service\n", UNIFIED, "/sys/fs/cgroup/system.slice/filewatchd.service"),
        (b"0::/docker/abc/inner\n", CONTAINER, "/sys/fs/cgroup two/inner"),
        (b"0::/docker/abc\n", CONTAINER, "/sys/fs/cgroup two"),
    ],
)
def test_the_own_cgroup_is_found(monkeypatch: pytest.MonkeyPatch, own: bytes, mounts: bytes, expected: str) -> None:
    pretend(monkeypatch, own, mounts)
    assert cgroup.own() == expected


@pytest.mark.parametrize(
    ("own", "mounts"),
    [(b"3:memory:/\n", HYBRID), (b"0::/\n", b"23 1 8:1 / / rw - ext4 /dev/sda1 rw\n"), (b"0::/other\n", CONTAINER)],
)
def test_without_one_it_is_best_effort_and_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, own: bytes, mounts: bytes
) -> None:
    pretend(monkeypatch, own, mounts)
    monkeypatch.delenv(cgroup.VARIABLE, raising=False)
    kind, text = cgroup.find(str(tmp_path)).describe()
    assert kind == "best effort"
    assert "cgroup v2" in text


def test_delegation_is_told_by_the_service_manager(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    inner = tmp_path / "unit" / "inner"
    inner.mkdir(parents=True)
    marks: dict[tuple[str, str], bytes] = {}

    def getxattr(path: str, name: str) -> bytes:
        try:
            return marks[path, name]
        except KeyError:
            raise OSError(61, "No data available") from None

    monkeypatch.setattr(os, "getxattr", getxattr)
    monkeypatch.setattr(cgroup, "_SYSTEMD", str(tmp_path))
    with pytest.raises(FilewatchdError, match="Delegate=yes"):
        cgroup.delegated(str(inner))
    marks[str(inner.parent), "user.delegate"] = b"1"
    assert cgroup.delegated(str(inner)) == str(inner.parent)
    marks[str(inner), "trusted.delegate"] = b"1"
    assert cgroup.delegated(str(inner)) == str(inner)


def test_without_systemd_a_writable_one_is_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cgroup, "_SYSTEMD", str(tmp_path / "missing"))
    assert cgroup.delegated(str(tmp_path)) == str(tmp_path)
    with pytest.raises(FilewatchdError, match="isn't writable"):
        cgroup.delegated("/no/such/cgroup")


def test_the_variable_names_a_directory_or_turns_it_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(cgroup.VARIABLE, "off")
    assert cgroup.find(str(tmp_path)).describe()[0] == "best effort"
    monkeypatch.setenv(cgroup.VARIABLE, str(tmp_path))
    groups = cgroup.find(str(tmp_path))
    assert groups.describe()[0] == "cgroup"
    assert groups.directory == f"{tmp_path}/filewatchd-{groups.key}"
    monkeypatch.setenv(cgroup.VARIABLE, "/proc/self/no")
    assert "can be made" in cgroup.find(str(tmp_path)).why


def test_each_state_directory_has_its_own(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    keys = [cgroup.find(str(path)).key for path in (tmp_path, tmp_path / "link", tmp_path / "other")]
    assert keys[0] == keys[1] != keys[2]
    assert len(keys[0]) == 16


def test_nobody_sweeps_itself_away() -> None:
    assert {os.getpid(), os.getppid(), 1} <= cgroup.ancestors()


def test_processes_of_another_pid_namespace_are_nobodys(tmp_path: Path) -> None:
    """The kernel lists them as 0, and to kill 0 would end the daemon's own process group."""
    (tmp_path / "cgroup.events").write_text("populated 1\nfrozen 0\n")
    (tmp_path / "cgroup.procs").write_text("0\n4711\n0\n")
    assert members(str(tmp_path)) == {4711}
