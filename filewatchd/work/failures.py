"""Why a command can't be started: the kernel's number turned into what happened and what to do."""

from __future__ import annotations

import errno
import os
from itertools import chain
from typing import NamedTuple

from filewatchd.errors import ActionError
from filewatchd.work.command import Command

# Trying again later may help against these; not against what is missing, forbidden or malformed.
_PASSING = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EINTR, errno.ETXTBSY, errno.EIO})
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})  # somebody moves things about


class Encoded(NamedTuple):
    """A command as the kernel takes it."""

    argv: list[bytes]
    env: dict[bytes, bytes]
    cwd: bytes | None
    binds: list[tuple[bytes, bytes]]


class PlaceError(ActionError):
    """A command can't be shown other files in the place of those that are there."""


def encode(command: Command) -> Encoded:
    """A command's words as bytes.

    Raises:
        ActionError: it is empty, or a word holds a NUL, which the kernel can't take.
    """
    if not command.argv or not command.argv[0]:
        raise ActionError("there is no program to run: the command is empty", retryable=False)
    words = [*command.argv, *command.env.keys(), *command.env.values(), command.cwd or "", *chain(*command.binds)]
    if any("\0" in word for word in words):
        raise ActionError(f"can't start {command.argv[0]!r}: an argument or variable holds a NUL", retryable=False)
    env = {os.fsencode(name): os.fsencode(value) for name, value in command.env.items()}
    binds = [(os.fsencode(bind.source), os.fsencode(bind.target)) for bind in command.binds]
    cwd = os.fsencode(command.cwd) if command.cwd else None
    return Encoded(list(map(os.fsencode, command.argv)), env, cwd, binds)


def explain(command: Command, number: int, stage: str) -> ActionError:
    """The error for a command whose start failed with this errno, at this stage of the spawner's work."""
    program, why = command.argv[0], os.strerror(number)
    retryable = number in _PASSING
    if stage == "exec":
        return ActionError(f"can't start {program!r}: {_exec_reason(command, number)}", retryable=retryable)
    if stage == "cwd":
        text = f"can't work in {command.cwd}: {why}; create the directory, let the user in, or set another cwd"
        return ActionError(text, retryable=retryable or number == errno.ENOENT)  # it may be mounted later
    if stage == "place":
        places = ", ".join(bind.target for bind in command.binds)
        text = f"can't show {program!r} other files in the place of {places}: {why}"
        if retryable or number in _GONE:  # that says nothing of the next time
            return ActionError(text, retryable=True)
        return PlaceError(text, retryable=False)
    if stage == "user":
        text = f"can't run {program!r} as {command.user or command.group}: {why}"
        return ActionError(f"{text}; filewatchd needs CAP_SETUID and CAP_SETGID for that", retryable=False)
    return ActionError(f"can't start {program!r}: {why} ({stage})", retryable=True)


def _exec_reason(command: Command, number: int) -> str:
    program = command.argv[0]
    if number == errno.ENOENT and "/" not in program:
        path = command.env.get("PATH", "/usr/bin:/bin")
        return f"there is no such program on its PATH ({path}); install it or write its whole path"
    if number == errno.ENOENT and os.path.lexists(os.path.join(command.cwd or "", program)):
        return "its interpreter is missing; correct its first line (#!), or install what that names"
    if number == errno.ENOENT:
        return "no such file; install it, or correct the path"
    if number == errno.EACCES:
        return "not an executable file for this user; make it executable (chmod +x), or run it by its interpreter"
    if number == errno.ENOEXEC:
        return "the kernel can't run such a file; give a script a first line like #!/bin/sh"
    if number == errno.E2BIG:
        return "its arguments are too long (128 KiB each, about 2 MB with the environment); pass paths on stdin instead"
    return os.strerror(number)
