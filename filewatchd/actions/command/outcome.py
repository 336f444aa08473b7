"""From the way a command ended to an outcome that says why."""

from __future__ import annotations

import signal
from collections.abc import Callable

from filewatchd.actions.base import Finished
from filewatchd.model import OK, Outcome, Verdict

_KEPT = 2048  # bytes of output in which the last line is looked for


class Tail:
    """Passes output on and remembers its end."""

    def __init__(self, output: Callable[[bytes], None]) -> None:
        self._output = output
        self._kept = b""

    def __call__(self, data: bytes) -> None:
        """Take a piece of output."""
        self._kept = (self._kept + data[-_KEPT:])[-_KEPT:]
        self._output(data)

    @property
    def last_line(self) -> str:
        """The last line that isn't blank, as it may be shown to people."""
        for line in reversed(self._kept.decode("utf-8", "replace").splitlines()):
            if line.strip():
                return "".join(character if character.isprintable() else "?" for character in line.strip())
        return ""


def outcome_of(finished: Finished, timeout: float | None, tail: Tail) -> Outcome:
    """Exit status 0 is success, everything else a failure that may be tried again."""
    if finished.timed_out:
        why = f"timed out after {timeout or 0:.3g} s"
    elif finished.code == 0:
        return OK
    elif finished.code is not None:
        why = f"exit status {finished.code}"
    else:
        why = f"ended by {signal_name(finished.signal or 0)}"
    if finished.reason:
        why = f"{why} ({finished.reason})"
    said = tail.last_line
    return Outcome(Verdict.FAILED, f"{why}: {said}" if said else why)


def signal_name(number: int) -> str:
    """SIGSEGV rather than 11."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
