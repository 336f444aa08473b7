"""Which filesystem stands where below a root, by names that hold over remounts and reboots.

A device number is given out anew at every mount, so it names nothing. What does:

- ext2, ext3, ext4, btrfs and bcachefs make the f_fsid of statfs(2) from the filesystem's UUID; btrfs adds the
  subvolume.
- xfs makes it from the device number, but tells its UUID to whoever asks (ioctl_xfs_fsgeometry(2)).
- Others on a block device: the name that udev gives it in /dev/disk/by-uuid, if there is one.
- overlay is named by its upper directory, or by its lower ones where it has none.
- tmpfs and ramfs keep nothing beyond an unmount: the next one at their place counts as the same, with all of it gone.
- The rest (nfs, cifs, 9p, FUSE, zfs) by what is mounted: server and export, pool and dataset.

A bind mount shows a directory of a filesystem at another place. It has no name of its own, so its *shift* is added:
what is left of its two paths without their common end. A mount that shows what would stand there anyway (systemd binds
paths to themselves for ReadWritePaths=) has the shift of the mount above, and is as if it weren't there.
"""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from filewatchd.model import Region
from filewatchd.watch.backends.choose import choose
from filewatchd.watch.mounts import Mount, MountTable

_NAMED_BY_FSID = frozenset({"ext2", "ext3", "ext4", "btrfs", "bcachefs"})
_VOLATILE = frozenset({"tmpfs", "ramfs", "devtmpfs"})
_GEOMETRY = 0x80705864  # XFS_IOC_FSGEOMETRY_V1 of xfs_fs.h: _IOR('X', 100, 112 bytes)
_UUID = slice(64, 80)  # of struct xfs_fsop_geom_v1, behind eight numbers of 32 bits and four of 64
_BY_UUID = "/dev/disk/by-uuid"
_REMEDY = "make it a root of its own with `backend: poll`, or exclude it"
_FILE = f"a file that is mounted here tells its changes where it comes from: {_REMEDY}"
_ALIAS = f"it shows what the root has at another place already: {_REMEDY}"


class Ground(NamedTuple):
    """What a root stands on.

    ``blind``: path -> why changes there can't be seen; ``files``: those of them that are files. ``aliases``: relative
    to the root, mount points that show what the root has at another place already, and that aren't entered: a
    directory has one watch, and so one path.
    """

    mounts: tuple[Mount, ...] = ()
    regions: tuple[Region, ...] = ()
    blind: Mapping[str, str] = {}
    files: frozenset[str] = frozenset()
    aliases: frozenset[str] = frozenset()

    def begins_at(self, path: str) -> bool:
        """Whether the root itself is a mount point, and so was mounted rather than made."""
        return bool(self.mounts) and self.mounts[0].place == path


def survey(path: str, table: MountTable, backend: str) -> Ground:
    """What is mounted at a real path and below it. Asks local filesystems only: blocks no longer than these do."""
    mounts = table.under(path)
    if not mounts:
        return Ground((), (Region("", ""),))
    below = [mount for mount in mounts[1:] if not _is_transparent(mount, table)]
    inside = {mount: mount.place[len(path.rstrip("/")) + 1 :] for mount in below}
    regions = (Region("", _name(mounts[0], table)), *(Region(inside[mount], _name(mount, table)) for mount in below))
    twice = _shown_twice(path, mounts[0], below)
    blind = dict.fromkeys((mount.place for mount in twice), _ALIAS)
    files: set[str] = set()
    if backend != "poll":
        own = [mounts[0]] if mounts[0].place == path else []
        files = {mount.place for mount in (*own, *below) if _is_file(mount)}
        blind = {**{mount.place: why for mount in below if (why := _blindness(mount))}, **blind}
        blind.update(dict.fromkeys(files, _FILE))
    return Ground(mounts, regions, blind, frozenset(files), frozenset(inside[mount] for mount in twice))


def _shown_twice(path: str, own: Mount, below: Sequence[Mount]) -> list[Mount]:
    """The mounts of which the root has something at another place already."""
    shown = [(own.device, own.shows(path))]
    twice = []
    for mount in below:
        if any(device == mount.device and _overlap(part, mount.root) for device, part in shown):
            twice.append(mount)
        else:
            shown.append((mount.device, mount.root))
    return twice


def _overlap(one: str, other: str) -> bool:
    one, other = one.rstrip("/") + "/", other.rstrip("/") + "/"
    return one.startswith(other) or other.startswith(one)


def _blindness(mount: Mount) -> str:
    """Why the kernel doesn't tell of all changes on a filesystem; "" if it does."""
    choice = choose("auto", mount.kind)
    return f"{choice.reason}: {_REMEDY}" if choice.name == "poll" else ""


def _is_file(mount: Mount) -> bool:
    """Whether a file was mounted on a file. What may hang isn't asked: it is a directory, then."""
    try:
        return choose("auto", mount.kind).name != "poll" and stat.S_ISREG(os.lstat(mount.place).st_mode)
    except OSError:
        return False


# ---- names


def _above(mount: Mount, table: MountTable) -> Mount | None:
    """The mount that a mount's place is on."""
    return table.at(os.path.dirname(mount.place)) if mount.place != "/" else None


def _is_transparent(mount: Mount, table: MountTable) -> bool:
    """Whether it shows what would stand there without it."""
    above = _above(mount, table)
    return above is not None and mount.device == above.device and _shift(mount) == _shift(above)


def _name(mount: Mount, table: MountTable) -> str:
    """The filesystem's name, with its shift if it has one."""
    while _is_transparent(mount, table):
        mount = _above(mount, table) or mount
    above = _above(mount, table)
    root, place = _shift(mount)
    name = filesystem_name(mount)
    if above is not None and above.device == mount.device:
        return f"{name} /{root} at /{place}"
    return f"{name} /{root}" if root else name


def _shift(mount: Mount) -> tuple[str, str]:
    """Root and place without their common end."""
    root = [part for part in mount.root.removesuffix("//deleted").split("/") if part]
    place = [part for part in mount.place.split("/") if part]
    while root and place and root[-1] == place[-1]:
        root.pop()
        place.pop()
    return "/".join(root), "/".join(place)


def filesystem_name(mount: Mount) -> str:
    """What names a filesystem for good; see the module's first paragraph."""
    kind = "nfs" if mount.kind == "nfs4" else mount.kind
    if kind in _VOLATILE:
        return kind
    try:
        if kind in _NAMED_BY_FSID:
            return f"{'ext' if kind.startswith('ext') else kind} {os.statvfs(mount.place).f_fsid:016x}"
        if kind == "xfs":
            return f"xfs {_xfs_uuid(mount.place)}"
        if kind == "overlay":
            return f"overlay {_layer(mount.options)}"
        if choose("auto", kind).name == "inotify":
            return f"{kind} {next(_links_to(mount.device), mount.source)}"
    except OSError:
        pass  # it went just now, or may not be asked: its source has to do
    return f"{kind} {mount.source}"


def _xfs_uuid(place: str) -> str:
    fd = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return fcntl.ioctl(fd, _GEOMETRY, bytes(112))[_UUID].hex()
    finally:
        os.close(fd)


def _layer(options: str) -> str:
    """The directory that an overlay keeps its changes in, or those that it shows."""
    given = dict(option.partition("=")[::2] for option in options.split(","))
    return given.get("upperdir") or given.get("lowerdir", "")


def _links_to(device: str) -> Iterator[str]:
    """The UUIDs that udev knows for a block device, major:minor."""
    for entry in sorted(os.listdir(_BY_UUID)):
        number = os.stat(f"{_BY_UUID}/{entry}").st_rdev
        if f"{os.major(number)}:{os.minor(number)}" == device:
            yield entry
