"""A worker: a process that does a rule's file work with the rights of the rule's ``user:``, or with the daemon's.

A daemon that runs as root must not touch files in a directory that somebody else may write with root's rights: every
check of a name is a race with its owner. So the work itself is done by a process that has become that user for good,
which the spawner starts and ends like any command. It is asked over a socket, its standard input, and its functions
are those that a thread of the daemon would run for a rule without a user.

It starts as root, since the user need not be able to read the interpreter or our files, imports the modules it is
told, and drops its rights before it listens. As there is no exec afterwards, the user can't trace it either. One that
is there only to do much work beside the daemon's interpreter keeps the daemon's rights.

Asked is ``{id, work: "module:function", args, series, alone}``. The answer is ``{id, value}`` or ``{id, error}``. Of a
series each value is ``{id, value}``, after which the function waits for ``{id, go: true}`` (or ``false``: it is
closed where it stands), and the end is ``{id, over: true}``. Calls run side by side, each in a thread of its own; those
that are ``alone`` one after the other, so that the next one is there when one ends. How many there are at once is the
daemon's business. When the daemon is gone, the socket ends and so does the process,
in the middle of whatever it does: as with kill -9, the next recovery finds what was journaled.
"""

from __future__ import annotations

import importlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from queue import SimpleQueue
from typing import Any

from filewatchd.work.child import PR_SET_PDEATHSIG, drop_rights, prctl
from filewatchd.work.wire import LONGEST, arguments_for, function_of, pack, told, unpack

#: What Python itself imports only when it is wanted, which may be when we may not read it any more.
_LATER = (
    "encodings.ascii", "encodings.idna", "encodings.latin_1", "encodings.utf_8", "encodings.utf_16", "encodings.utf_32",
    "encodings.unicode_escape", "grp", "linecache", "locale", "pwd", "tempfile", "traceback", "zoneinfo",
)  # fmt: skip


class Calls:
    """The calls under way, and the one writer's lock."""

    def __init__(self, send: Callable[[bytes], object]) -> None:
        self._send = send
        self._lock = threading.Lock()
        self._turn = threading.Lock()  # for those that run alone
        self._waiting: dict[int, SimpleQueue[bool]] = {}

    def take(self, message: dict[str, Any]) -> None:
        """Begin a call, or let one go on."""
        number = int(message["id"])
        if "go" in message:
            if number in self._waiting:
                self._waiting[number].put(bool(message["go"]))
            return
        if message["series"]:
            self._waiting[number] = SimpleQueue()
        threading.Thread(target=self._run, args=(number, message), daemon=True).start()

    def _run(self, number: int, message: dict[str, Any]) -> None:
        try:
            with self._turn if message["alone"] else nullcontext():
                self._work(number, message)
        except BaseException as error:  # noqa: BLE001 - it travels to whoever asked
            self._tell({"id": number, "error": told(error)})
        finally:
            self._waiting.pop(number, None)

    def _work(self, number: int, message: dict[str, Any]) -> None:
        work = function_of(message["work"])
        args = arguments_for(work, message["args"])
        if message["series"]:
            self._serve(number, work(*args))
            self._tell({"id": number, "over": True})
        else:
            self._tell({"id": number, "value": work(*args)})

    def _serve(self, number: int, series: Iterator[Any]) -> None:
        try:
            for value in series:
                self._tell({"id": number, "value": value})
                if not self._waiting[number].get():
                    return
        finally:
            close = getattr(series, "close", None)
            if close is not None:
                close()

    def _tell(self, message: dict[str, Any]) -> None:
        line = pack(message)
        if len(line) > LONGEST:
            line = pack({"id": message["id"], "error": told(ValueError(f"an answer of {len(line)} bytes is too long"))})
        with self._lock:
            self._send(line)


def main(uid: str, gid: str, groups: str, *modules: str) -> None:
    """Become a user for good and serve the daemon at the other end of standard input until it is gone.

    ``uid``: empty to stay who it is; ``groups``: numbers with commas between; ``modules``: those that hold the work.
    """
    for module in (*_LATER, *modules):
        importlib.import_module(module)
    if uid:
        drop_rights(int(uid), int(gid), tuple(int(number) for number in groups.split(",") if number))
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # the change of user cleared it
    sock = socket.socket(fileno=os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    calls = Calls(sock.sendall)
    try:
        for line in sock.makefile("rb"):
            calls.take(unpack(line))
    except ConnectionError:
        pass
    finally:
        sys.stdout.flush()
        os._exit(0)  # a thread that hangs in the kernel must not hold the process
