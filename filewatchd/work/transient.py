"""What systemd is told of a transient unit, and what it says when the unit has ended. Pure.

systemd.exec(5) and org.freedesktop.systemd1(5) have the properties' names. What systemd 252 does with a command line
given over D-Bus was tried: it replaces ``$NAME``, ``${NAME}`` and ``$$``, but no ``%`` specifiers; it takes no word
that isn't UTF-8; and the text of `Description=` goes into a unit file as it is, line ends included. From that file
it reads the unit again when it is reloaded or executed anew, also between a start's request and the start, and finds a
backslash before each ``;`` that stands in a longer word. So words that others choose don't go that way at all
(`filewatchd.work.launcher`), ours have each ``$`` doubled and no ``;``, and names of rules consist of letters, digits,
``_``, ``.`` and ``-``.
"""

from __future__ import annotations

import marshal
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from filewatchd.errors import ActionError
from filewatchd.work import failures
from filewatchd.work.command import Bind, Command, Finished, Limits, Unit
from filewatchd.work.launcher import BEGUN

SLICE = "filewatchd.slice"
STDIN, STDOUT, STDERR = 0, 1, 2  # places of the descriptors in the message
# Seconds after which systemd does what a dead daemon can't do any more. It must not be quicker than one that lives: so
# long it waits after SIGKILL, too, and then takes the unit for ended whatever still runs in it.
_BACKSTOP = 60.0
_EXITED = 1  # CLD_EXITED of waitid(2); 2 and 3 are CLD_KILLED and CLD_DUMPED, 0 that nothing was started
_HOME = str(Path(__file__).parents[2])
_PROGRAM = "import sys\nsys.path.append(sys.argv[1])\nfrom filewatchd.work.launcher import main\nmain()"
_PLAIN = re.compile(r"/[\w./+@,=~-]*", re.ASCII)
_MS_REC = 0x4000  # of mount(2)
_EXIT_EXEC = 203  # of systemd.exec(5)


class Property(NamedTuple):
    """A unit's property with its D-Bus type."""

    name: str
    signature: str
    value: Any


# ---- names


def prefix(key: str) -> str:
    """How the names of this instance's units begin; the key is the one of `filewatchd.work.cgroup`."""
    return f"filewatchd-{key}-"


def name_of(key: str, unit: Unit, number: int) -> str:
    """A name that no other unit has: ``number`` counts in one life, and those of earlier lives are gone."""
    return f"{prefix(key)}job{unit.job}-{number}.service"


def path_of(name: str) -> str:
    """A unit's object path. Whatever isn't a letter or digit, and a leading digit, is written in hex."""
    label = "".join(
        character if character.isascii() and character.isalnum() and (index or not character.isdigit())
        else "".join(f"_{byte:02x}" for byte in character.encode())
        for index, character in enumerate(name)
    )  # fmt: skip
    return f"/org/freedesktop/systemd1/unit/{label}"


# ---- properties


def properties(command: Command, unit: Unit, instance: str, *, rights: bool, before: str = "") -> list[Property]:
    """All there is to say of a command's unit.

    ``rights``: user and group are others than the service manager's. ``before``: the daemon's own unit; at a shutdown
    of the system what stands after another is stopped first, so the daemon still sees its commands through.
    """
    launcher = [word.replace("$", "$$") for word in (sys.executable, "-I", "-S", "-c", _PROGRAM, _HOME)]
    said = [
        Property("Description", "s", f"filewatchd {instance}: rule {unit.rule}, job {unit.job}"),
        Property("Slice", "s", SLICE),
        Property("CollectMode", "s", "inactive-or-failed"),
        Property("AddRef", "b", True),  # it stays until its end has been read, or we have gone
        Property("Type", "s", "exec"),
        Property("ExecStart", "a(sasb)", [[sys.executable, launcher, False]]),
        Property("StandardInputFileDescriptor", "h", STDIN),
        Property("StandardOutputFileDescriptor", "h", STDOUT),
        Property("StandardErrorFileDescriptor", "h", STDERR),
        Property("LogExtraFields", "aay", [f"FILEWATCHD_RULE={unit.rule}".encode(), b"FILEWATCHD_JOB=%d" % unit.job]),
        Property("KillSignal", "i", command.stop_signal),
        Property("TimeoutStopUSec", "t", usec(command.stop_timeout + _BACKSTOP)),
        Property("IgnoreSIGPIPE", "b", False),
        *limits(unit.limits),
    ]
    if before:
        said.append(Property("Before", "as", [before]))
    if command.binds:
        said.append(Property("BindReadOnlyPaths", "a(ssbt)", [bound(bind) for bind in command.binds]))
    if command.timeout is not None:
        said.append(Property("RuntimeMaxUSec", "t", usec(command.timeout + _BACKSTOP)))
    if rights:
        said += [
            Property("User", "s", command.user or "root"),
            *([Property("Group", "s", command.group)] if command.group else []),
            Property("NoNewPrivileges", "b", True),
        ]
    return said


def bound(bind: Bind) -> list[Any]:
    """A bind mount, all that is mounted below included.

    Raises:
        ActionError: a path has characters that a unit file doesn't keep.
    """
    for path in bind:
        if not _PLAIN.fullmatch(path):
            hint = "use letters, digits and . _ + @ , = ~ - in its path"
            raise failures.PlaceError(f"systemd can't be told to mount {path!r}; {hint}", retryable=False)
    return [bind.source, bind.target, False, _MS_REC]


def limits(wanted: Limits) -> list[Property]:
    """The limits that are set."""
    said = [
        Property("MemoryMax", "t", wanted.memory),
        Property("CPUQuotaPerSecUSec", "t", None if wanted.cpu is None else max(1000, usec(wanted.cpu))),
        Property("TasksMax", "t", wanted.tasks),
        Property("IOWeight", "t", wanted.io_weight),
        Property("Nice", "i", wanted.nice),
    ]
    return [each for each in said if each.value is not None]


def usec(seconds: float) -> int:
    """Microseconds, systemd's unit of time."""
    return int(seconds * 1e6)


# ---- ends


def has_ended(state: Mapping[str, Any]) -> bool:
    """Whether nothing of the unit is left, and nothing is about to begin."""
    return state.get("ActiveState") in ("inactive", "failed") and state.get("Job", (0,))[0] == 0


def has_leftover(state: Mapping[str, Any]) -> bool:
    """Whether the command itself has ended, but not all that it started."""
    return bool(state.get("ExecMainCode")) and state.get("ActiveState") == "deactivating"


def finished(
    command: Command, state: Mapping[str, Any], report: bytes, leftover: int, stopped: bool, timed_out: bool
) -> Finished:
    """How the command of an ended unit ended. ``stopped``: we asked for it.

    Raises:
        ActionError: it wasn't started.
    """
    code, status = state.get("ExecMainCode", 0), state.get("ExecMainStatus", 0)
    begun = report.startswith(BEGUN)
    if begun and report != BEGUN and not stopped:
        raise failures.explain(command, *marshal.loads(report[len(BEGUN) :]))
    if not stopped and (code == 0 or (code == _EXITED and not begun)):
        raise _unstarted(command, state.get("Result", ""), status, report)
    reason = "it met the memory limit of its unit" if state.get("Result") == "oom-kill" else ""
    if code == _EXITED:
        return Finished(status, None, timed_out, leftover, reason)
    return Finished(None, status or command.stop_signal, timed_out, leftover, reason)


def _unstarted(command: Command, result: str, status: int, report: bytes) -> ActionError:
    said = report.decode("utf-8", "replace").strip().splitlines()  # Python's own, where our files can't be read
    why = f'exit status {status}, see "Process Exit Codes" in systemd.exec(5)' if status else result
    why = said[-1] if said else why
    hint = f"; its user must be able to read {_HOME} and run {sys.executable}" if said or status == _EXIT_EXEC else ""
    return ActionError(f"systemd could not start {command.argv[0]!r}: {why}{hint}", retryable=not hint)
