"""The daemon's own directories: state 0700, runtime 0755.

A directory that is there already keeps its mode (it may be an operator's choice, or a mistyped path that must not be
closed to everybody else), but one that others can write is refused: they could swap the files in it.
"""

from __future__ import annotations

import os
import stat

from filewatchd.errors import FatalError


def state_directory(path: str) -> str:
    """Make the state directory (0700) where it is missing and return its absolute path.

    Raises:
        FatalError: exit code 77; it can't be made or written, isn't ours, or others can write it.
    """
    return _directory("state directory", "--state-dir", path, 0o700)


def runtime_directory(path: str) -> str:
    """Make the runtime directory (0755: the control socket is for everybody) and return its absolute path.

    Raises:
        FatalError: exit code 77; it can't be made or written, isn't ours, or others can write it.
    """
    return _directory("runtime directory", "--runtime-dir", path, 0o755)


def _directory(what: str, flag: str, path: str, mode: int) -> str:
    path = os.path.abspath(path)
    try:
        _make(path, mode)
        found = os.stat(path)
    except OSError as error:
        why = error.strerror or str(error)
        raise _refused(what, path, why, f"make it for the daemon's user, or set {flag}") from error
    if not stat.S_ISDIR(found.st_mode):
        raise _refused(what, path, "it isn't a directory", f"set {flag} to a directory")
    if found.st_uid not in {0, os.geteuid()}:
        raise _refused(what, path, f"it is uid {found.st_uid}'s", f"chown it to uid {os.geteuid()}, or set {flag}")
    if found.st_mode & 0o022:
        raise _refused(what, path, "others can write it", f"chmod {mode:o} it, or set {flag}")
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        hint = f"dmesg may tell why; mount it writable, or set {flag}"
        raise _refused(what, path, "its filesystem is read-only", hint)
    if not os.access(path, os.W_OK | os.X_OK, effective_ids=True):
        raise _refused(what, path, "this user can't write it", f"chown it to uid {os.geteuid()}, or set {flag}")
    return path


def _make(path: str, mode: int) -> None:
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path)
    if not os.path.lexists(parent):
        _make(parent, 0o755)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        return  # somebody else made it meanwhile, or it is no directory: the caller looks
    if mode != 0o700:
        os.chmod(path, mode)  # whatever the umask


def _refused(what: str, path: str, why: str, remedy: str) -> FatalError:
    return FatalError(f"the {what} {path} can't be used: {why}; {remedy}", exit_code=77)
