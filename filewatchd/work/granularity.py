"""How fine a filesystem's timestamps are: what a later write could hide behind (see `filewatchd.work.files`).

It is told without writing anything in people's trees:

- Linux since 6.13 gives the first write after each look a fresh stamp, on ext4, xfs, btrfs and tmpfs: 0.
- Elsewhere the kernel's clock for files stands still for a tick, 1 to 10 ms.
- ext2, ext3, and ext4 made with inodes of 128 bytes (small or old filesystems) keep whole seconds. The inode's size
  can't be asked without the device, so we look for proof: one timestamp in the directory with a fraction shows that
  fractions are kept. Where there is none, whole seconds are assumed, which only costs a second look at fresh files.
- FAT keeps even seconds. On network filesystems the server's clock stamps, and we know nothing: two seconds.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import time
from collections.abc import Iterator

SECOND = 1_000_000_000
COARSE_CLOCK = 5  # CLOCK_REALTIME_COARSE of linux/time.h: the clock that stamps files; Python has no name for it
TICK = int(time.clock_getres(COARSE_CLOCK) * 1e9)
_FRESH_STAMPS = frozenset({"ext4", "xfs", "btrfs", "tmpfs"})
_LOCAL = frozenset({"ramfs", "f2fs", "bcachefs", "zfs", "overlay", "ntfs3", "nilfs2", "jfs", "udf", "reiserfs"})
_SAMPLES = 64  # entries of a directory that are looked at for a fraction of a second


def probe_granularity(directory: str, fs_type: str, release: str | None = None) -> int:
    """Nanoseconds; 0 where a write after a look always shows. Blocks for a few lstat calls.

    ``fs_type`` is the filesystem's name as in mountinfo; ``release`` the kernel's (this one's if it isn't given).
    """
    if fs_type in ("ext2", "ext3", "ext4") and not keeps_fractions(directory):
        return SECOND
    if fs_type in _FRESH_STAMPS and version(release or os.uname().release) >= (6, 13):
        return 0
    if fs_type in _FRESH_STAMPS | _LOCAL | {"ext2", "ext3"}:
        return TICK
    return SECOND if fs_type in ("hfs", "hfsplus", "minix", "isofs") else 2 * SECOND


def keeps_fractions(directory: str) -> bool:
    """Whether a timestamp of the directory, or in it, has a fraction of a second. mke2fs gives the root none."""
    return any(stamp % SECOND for stamp in stamps(directory))


def stamps(directory: str) -> Iterator[int]:
    """The ctimes of a directory and of its first entries; ctime, because nobody can set it."""
    with contextlib.suppress(OSError):
        yield os.lstat(directory).st_ctime_ns
        with os.scandir(directory) as entries:
            for entry in itertools.islice(entries, _SAMPLES):
                with contextlib.suppress(OSError):
                    yield entry.stat(follow_symlinks=False).st_ctime_ns


def version(release: str) -> tuple[int, int]:
    """Major and minor of a kernel release like ``6.18.0-1-amd64``; (0, 0) if it is written otherwise."""
    match = re.match(r"(\d+)\.(\d+)", release)
    return (int(match[1]), int(match[2])) if match else (0, 0)
