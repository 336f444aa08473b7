"""Atomic replacement of small files: after any failure or crash the old content is there or the new, never neither.

What the kernel does: rename over a name is atomic for everybody who opens it, but says nothing about what a power
loss leaves. Data reaches the disk at fsync of the file, the name at fsync of its directory; a rename that reaches
the disk before its data leaves an empty file. So: write a fresh file beside the old one, fsync it, rename it over,
fsync the directory. The directory is opened first and everything is named relative to its descriptor: once the
rename has happened nothing but that last fsync can fail, and a renamed directory takes the new file along.

A crash leaves at most one file named ``.NAME.<16 hex digits>.tmp``; `clean_leftovers` removes those at start, when
the instance lock says that no other process is writing one.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat

from filewatchd.errors import StateError

_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{16}\.tmp", re.DOTALL)
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

_REMEDIES = {
    errno.ENOSPC: "free space on this filesystem",
    errno.EDQUOT: "raise the disk quota of the daemon's user or free space",
    errno.EROFS: "mount the filesystem read-write, or choose another state_dir",
    errno.EACCES: "let the daemon's user write there, or choose another state_dir",
    errno.EPERM: "let the daemon's user write there, or choose another state_dir",
    errno.EMFILE: "raise the open-files limit (LimitNOFILE=)",
    errno.ENFILE: "raise the system's open-files limit (fs.file-max)",
    errno.EIO: "check the disk (journalctl -k, smartctl)",
    errno.ENOENT: "make the directory, or restart the daemon, which makes it",
}


def remedy(number: int) -> str:
    """What an operator can do about this errno."""
    return _REMEDIES.get(number, "check the filesystem and its mount options")


def replace(path: str, data: bytes, mode: int = 0o600) -> None:
    """Make ``path`` hold ``data``, durably, in one step. A symlink at ``path`` is itself replaced.

    Raises:
        StateError: something failed. The old file is untouched, unless the message says that only the
            directory's fsync failed: then the new one is in place but may not survive a power loss.
    """
    directory, name = os.path.split(path)
    temporary = f".{name}.{secrets.token_hex(8)}.tmp"
    try:
        folder = os.open(directory or ".", _DIRECTORY)
    except OSError as error:
        raise _kept(path, error) from error
    try:
        _write_beside(folder, temporary, path, data, mode)
        try:
            os.fsync(folder)
        except OSError as error:
            raise _failed(f"{path} was replaced, but may not survive a power loss", path, error) from error
    finally:
        _close(folder)


def _write_beside(folder: int, temporary: str, path: str, data: bytes, mode: int) -> None:
    created = False
    try:
        fd = os.open(temporary, _NEW_FILE, mode, dir_fd=folder)
        created = True
        try:
            _write_all(fd, data)
            os.fchmod(fd, mode)  # the umask may have taken bits away
            os.fsync(fd)
        finally:
            _close(fd)
        os.rename(temporary, os.path.basename(path), src_dir_fd=folder, dst_dir_fd=folder)
    except OSError as error:
        if created:
            _discard(temporary, folder)
        raise _kept(path, error) from error


def _write_all(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _close(fd: int) -> None:
    # After fsync a close has nothing left to report; repeated, it might close somebody else's descriptor.
    try:
        os.close(fd)
    except OSError:
        return


def _discard(name: str, folder: int) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except OSError:
        return  # `clean_leftovers` finds it at the next start


def _kept(path: str, error: OSError) -> StateError:
    return _failed(f"{path} could not be replaced, the old file is kept", path, error)


def _failed(what: str, path: str, error: OSError) -> StateError:
    number = error.errno or 0
    return StateError(f"{what}: {error.strerror or error}; {remedy(number)}", path=path, errno=number)


def sync_directory(path: str) -> None:
    """Make names made, renamed or removed in this directory survive a power loss.

    Raises:
        OSError: it can't be opened or synced.
    """
    fd = os.open(path, _DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        _close(fd)


def clean_leftovers(directory: str) -> list[str]:
    """Remove what crashes left of `replace` in this directory, and return the names. Hold the instance lock.

    Only our own regular files with one link and a temporary's name are touched; one that can't be removed stays.
    """
    removed = []
    for name in sorted(filter(_TEMPORARY.fullmatch, os.listdir(directory))):
        path = os.path.join(directory, name)
        try:
            found = os.lstat(path)
            if stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid() and found.st_nlink == 1:
                os.unlink(path)
                removed.append(name)
        except OSError:
            continue
    return removed
