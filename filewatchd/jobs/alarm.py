"""The alarm of the durable timers: the kernel's wall-clock timer on the asyncio loop.

What the kernel does: a timerfd on CLOCK_REALTIME with an absolute time runs on through suspend and follows the wall
clock; with TFD_TIMER_CANCEL_ON_SET it also becomes readable (ECANCELED) when somebody sets that clock, and so does
arming it, once. So no periodic look at the clock is needed: without timers it is disarmed, and the daemon sleeps.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
from collections.abc import Callable
from typing import Protocol

_NS = 1_000_000_000


class Alarm(Protocol):
    """Calls back at a wall-clock time, and whenever that clock was set."""

    def start(self, callback: Callable[[], None]) -> None: ...
    def set(self, due_ns: int | None) -> None:
        """Call back at this time, or only when it is given anew."""
        ...

    def close(self) -> None: ...


class _TimeSpec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _TimerSpec(ctypes.Structure):
    _fields_ = (("interval", _TimeSpec), ("value", _TimeSpec))


class TimerFd:
    """The kernel's alarm (timerfd_create(2)) on the running asyncio loop."""

    _ABSTIME, _CANCEL_ON_SET = 1, 2

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.timerfd_create(0, os.O_NONBLOCK | os.O_CLOEXEC)  # 0: CLOCK_REALTIME
        if self._fd < 0:
            number = ctypes.get_errno()
            raise OSError(number, f"timerfd_create: {os.strerror(number)}")
        self._due_ns: int | None = None

    def start(self, callback: Callable[[], None]) -> None:
        """Call this when the time comes, and when the clock was set."""
        self._callback = callback
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._fd, self._ring)

    def set(self, due_ns: int | None) -> None:
        """Arm for this time (1 ns at the least: 0 would disarm), or disarm."""
        if due_ns == self._due_ns:
            return
        self._due_ns = due_ns
        if self._settime(due_ns) == errno.ECANCELED:  # the clock was set since it was armed last; that is told once
            self._settime(due_ns)
            self._loop.call_soon(self._callback)

    def _settime(self, due_ns: int | None) -> int:
        seconds, rest = divmod(max(due_ns, 1), _NS) if due_ns is not None else (0, 0)
        spec = _TimerSpec(_TimeSpec(0, 0), _TimeSpec(seconds, rest))
        if self._libc.timerfd_settime(self._fd, self._ABSTIME | self._CANCEL_ON_SET, ctypes.byref(spec), None) == 0:
            return 0
        number = ctypes.get_errno()
        if number != errno.ECANCELED:
            raise OSError(number, f"timerfd_settime: {os.strerror(number)}")
        return number

    def _ring(self) -> None:
        try:
            os.read(self._fd, 8)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ECANCELED:  # the clock was set
                raise
        self._due_ns = None  # whatever comes next is to be armed
        self._callback()

    def close(self) -> None:
        """Give the descriptor back. A second call does nothing."""
        if self._fd >= 0:
            self._loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1
