"""How fine timestamps are: told by the filesystem's type, the kernel, and what stamps are there."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from filewatchd.work import granularity
from filewatchd.work.granularity import SECOND, TICK, probe_granularity


@pytest.mark.parametrize(
    ("fs_type", "release", "expected"),
    [
        ("ext4", "6.18.0-1-amd64", 0),
        ("ext4", "6.12.9", TICK),
        ("xfs", "7.0", 0),
        ("tmpfs", "6.13-rc1", 0),
        ("btrfs", "5.10.0", TICK),
        ("ramfs", "6.18", TICK),
        ("overlay", "6.18", TICK),
        ("ext3", "6.18", TICK),
        ("vfat", "6.18", 2 * SECOND),
        ("nfs4", "6.18", 2 * SECOND),
        ("fuse.sshfs", "6.18", 2 * SECOND),
        ("hfsplus", "6.18", SECOND),
        ("xfs", "unknown", TICK),
    ],
)
def test_by_type_and_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fs_type: str, release: str, expected: int
) -> None:
    monkeypatch.setattr(granularity, "stamps", lambda directory: iter([5 * SECOND + 1]))
    assert probe_granularity(str(tmp_path), fs_type, release) == expected


def test_whole_seconds_everywhere_mean_whole_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(granularity, "stamps", lambda directory: iter([5 * SECOND, 7 * SECOND]))
    assert probe_granularity(str(tmp_path), "ext4", "6.18") == SECOND
    assert probe_granularity(str(tmp_path), "xfs", "6.18") == 0
    assert probe_granularity(str(tmp_path / "missing"), "ext4", "6.18") == SECOND


def test_the_tick_is_the_kernels() -> None:
    assert 1_000_000 <= TICK <= 10_000_000


@pytest.fixture
def small_inodes(tmp_path: Path) -> Iterator[Path]:
    """An ext4 with inodes of 128 bytes, mounted."""
    if os.geteuid() != 0 or not shutil.which("mkfs.ext4"):
        pytest.skip("needs root and mkfs.ext4 to mount a filesystem")
    image, mount = tmp_path / "image", tmp_path / "mount"
    mount.mkdir()
    with image.open("wb") as file:
        file.truncate(8 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-I", "128", str(image)], check=True, capture_output=True)
    if subprocess.run(["mount", "-o", "loop", str(image), str(mount)], check=False, capture_output=True).returncode:
        pytest.skip("loop mounts aren't allowed here")
    yield mount
    subprocess.run(["umount", str(mount)], check=True)


def test_a_real_filesystem_of_whole_seconds(small_inodes: Path) -> None:
    (small_inodes / "file").touch()
    assert probe_granularity(str(small_inodes), "ext4") == SECOND


def test_a_real_filesystem_of_fractions(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / str(number)).touch()
    assert granularity.keeps_fractions(str(tmp_path))
