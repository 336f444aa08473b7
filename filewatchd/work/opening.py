"""Opening files in directories that others may write, when we are root and they may be hostile.

O_NOFOLLOW guards only a path's last step: whoever may rename a directory above it can put a symlink there between
our check and our open. So the kernel resolves the whole path beneath a directory's descriptor and refuses any symlink
and any way out (openat2 with RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS, Linux 5.6); where that is missing we walk by
components. What is found is taken hold of with O_PATH, which opens nothing: a FIFO doesn't wait, a device does
nothing. Only when the descriptor shows a regular file with one name and the expected owner is it opened, through that
descriptor.
"""

from __future__ import annotations

import ctypes
import os
import stat
from errno import EAGAIN, ELOOP, ENOSYS, EPERM, EXDEV

from filewatchd.errors import ActionError

_OPENAT2 = 437
_RESOLVE_NO_MAGICLINKS, _RESOLVE_NO_SYMLINKS, _RESOLVE_BENEATH = 0x02, 0x04, 0x08
_SAFELY = _RESOLVE_BENEATH | _RESOLVE_NO_SYMLINKS | _RESOLVE_NO_MAGICLINKS
_HOLD = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_LIST = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NOT = " isn't opened:"
_TRIES = 16  # EAGAIN: a rename elsewhere in the tree came between

_How = ctypes.c_uint64 * 3  # struct open_how
_syscall = ctypes.CDLL(None, use_errno=True).syscall
_syscall.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_char_p, _How, ctypes.c_size_t)
_syscall.restype = ctypes.c_long


def safe_open(path: str, beneath: str, flags: int = os.O_RDONLY, owner: int | None = None) -> int:
    """Open a regular file below a directory without following any link below it; the caller closes the descriptor.

    ``beneath`` itself is trusted and may be reached through links; ``flags`` are O_RDONLY, O_RDWR, O_APPEND and the
    like; ``owner`` is the uid the file must have, if any. Blocks.

    Raises:
        ValueError: ``flags`` would create or truncate before anything is checked, or ``path`` isn't below.
        OSError: the system's own refusals.
        ActionError: a link is on the way, or it isn't a regular file with one name and that owner; not retryable.
    """
    if flags & (os.O_CREAT | os.O_TRUNC | os.O_EXCL):
        raise ValueError("safe_open neither creates nor truncates: it checks what is there first")
    held = hold_below(path, beneath)
    try:
        check(held, path, owner)
        return os.open(f"/proc/self/fd/{held}", flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    finally:
        os.close(held)


def open_directory(root: str, relative: str) -> int:
    """Open a directory beneath a root ("" is the root's own) for listing and reading in it; the caller closes it.

    A root that is a file stands for the directory it is in. No link below the root is followed. Blocks.

    Raises:
        OSError: the system's own refusals.
        ActionError: a link is on the way.
    """
    if not relative:
        try:
            return os.open(root, _LIST)
        except NotADirectoryError:
            return os.open(os.path.dirname(root) or "/", _LIST)
    base = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        held = hold(base, relative.split("/"), os.path.join(root, relative))
    finally:
        os.close(base)
    try:
        return os.open(".", _LIST, dir_fd=held)
    finally:
        os.close(held)


def steps_below(path: str, beneath: str) -> list[str]:
    """The components of ``path`` after ``beneath``.

    Raises:
        ValueError: it isn't below, as the two are written.
    """
    top = beneath.rstrip("/") + "/"
    steps = [step for step in path[len(top) :].split("/") if step not in ("", ".")]
    if not path.startswith(top) or not steps or ".." in steps:
        raise ValueError(f"{path} is not below {beneath}")
    return steps


def hold(base: int, steps: list[str], path: str, flags: int = _HOLD) -> int:
    """A descriptor of what the steps lead to: with O_PATH, or as ``flags`` say, which must not open any file."""
    for _ in range(_TRIES):
        try:
            return openat2(base, "/".join(steps), flags)
        except OSError as error:
            if error.errno in (ENOSYS, EPERM):  # an old kernel, or a filter that doesn't know the call
                return walk(base, steps, path, flags)
            if error.errno in (ELOOP, EXDEV):
                raise refusal(path, "a symlink is on its way") from error
            if error.errno != EAGAIN:
                raise OSError(error.errno, error.strerror, path) from None
    raise OSError(EAGAIN, "directories above it are being renamed all the time", path)


def hold_below(path: str, beneath: str, flags: int = _HOLD) -> int:
    """The same of a path, below a directory that is trusted and may be reached through links.

    Raises:
        ValueError: ``path`` isn't below.
        OSError: the system's own refusals.
        ActionError: a link is on the way.
    """
    steps = steps_below(path, beneath)
    base = os.open(beneath, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return hold(base, steps, path, flags)
    finally:
        os.close(base)


def openat2(base: int, relative: str, flags: int) -> int:
    """Open beneath a directory, with the kernel refusing links and ways out.

    Raises:
        OSError: with the kernel's errno.
    """
    fd = _syscall(_OPENAT2, base, os.fsencode(relative), _How(flags, 0, _SAFELY), ctypes.sizeof(_How))
    if fd < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), relative)
    return int(fd)


def walk(base: int, steps: list[str], path: str, flags: int = _HOLD) -> int:
    """The same by components, each opened without following a link, below the one before."""
    fd = os.dup(base)
    for step in steps:
        above = fd
        try:
            fd = os.open(step, _HOLD, dir_fd=above)
        finally:
            os.close(above)
        if stat.S_ISLNK(os.fstat(fd).st_mode):
            os.close(fd)
            raise refusal(path, "a symlink is on its way")
    if flags == _HOLD:
        return fd
    try:
        return os.open(f"/proc/self/fd/{fd}", flags & ~os.O_NOFOLLOW)
    finally:
        os.close(fd)


def check(fd: int, path: str, owner: int | None) -> None:
    """Whether the file behind a descriptor is what may be opened.

    Raises:
        ActionError: it isn't.
    """
    found = os.fstat(fd)
    if stat.S_ISLNK(found.st_mode):
        raise refusal(path, "it is a symlink: name what it points to")
    if not stat.S_ISREG(found.st_mode):
        raise refusal(path, "it is not a regular file")
    if found.st_nlink != 1:
        find = f"`find -xdev -inum {found.st_ino}` finds on its filesystem"
        raise refusal(path, f"it has {found.st_nlink} names: remove the others, which {find}")
    if owner is not None and found.st_uid != owner:
        raise refusal(path, f"it belongs to uid {found.st_uid}, not to {owner}")


def refusal(path: str, why: str) -> ActionError:
    """The error that names the path and the reason."""
    return ActionError(f"{path}{_NOT} {why}", retryable=False)


def reason(error: ActionError, path: str) -> str:
    """Of such an error, why; for who names the path anyway."""
    return str(error).removeprefix(f"{path}{_NOT} ")
