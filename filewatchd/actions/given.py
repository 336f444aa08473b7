"""What an action is given: `Context` when it is opened, `JobContext` for each attempt at a batch, and their parts.

Unless said otherwise, coroutines and callbacks run on the daemon's one asyncio thread: blocking work belongs in
``ctx.pool``, ``ctx.worker`` or ``ctx.spawn``. `filewatchd.testing` has public fakes of all of it. An action imports
these from `filewatchd.actions.base`, with the rest of the protocol.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple, Protocol, TypeVar

from filewatchd.clock import Clock
from filewatchd.model import Change, FileIdentity, Found, Notice, Region, RuleSettings, Trigger
from filewatchd.work.command import Command, Finished
from filewatchd.work.services import UnitState

T = TypeVar("T")


class Step(NamedTuple):
    """A durable, named step of a job."""

    name: str
    data: Mapping[str, Any]


class Steps(Protocol):
    """Durable steps of one job; `recover` finds those of jobs that were cut off."""

    async def record(self, name: str, data: Mapping[str, Any] | None = None) -> None:
        """Journal a step; when this returns it survives power loss (synchronous=FULL)."""
        ...

    def recorded(self) -> Sequence[Step]:
        """The steps recorded so far, oldest first."""
        ...

    async def clear(self) -> None:
        """Forget them: the work they guarded is finished or undone."""
        ...


class Unfinished(NamedTuple):
    """Steps of a job that was cut off, as `Context.unfinished` gives them."""

    job: int
    steps: Steps


class JobContext(Protocol):
    """One attempt at a batch, as an action sees it."""

    @property
    def id(self) -> int: ...
    @property
    def attempt(self) -> int: ...
    @property
    def rule(self) -> str: ...
    @property
    def generation(self) -> int: ...
    @property
    def trigger(self) -> Trigger: ...
    @property
    def changes(self) -> Sequence[Change]: ...
    @property
    def notice(self) -> Notice | None:
        """What is to be told, where the action stands in ``on_failure`` or its like; there are no changes then."""
        ...

    @property
    def dry_run(self) -> bool: ...
    @property
    def cancelled(self) -> bool:
        """True once the job was cancelled; `run` is cancelled as a task as well."""
        ...

    @property
    def timeout(self) -> float:
        """Seconds this call to `run` may take; the runner enforces it too."""
        ...

    @property
    def steps(self) -> Steps: ...

    def progress(self, done: int, total: int, unit: str) -> None: ...
    def output(self, data: bytes) -> None:
        """What the work printed: goes to the log; its last 64 KiB go to the job journal."""
        ...

    def wrote(self, path: str, identity: FileIdentity | None = None) -> None:
        """Declare an own write (None: whatever the path is now), so that it doesn't trigger the rule again."""
        ...

    def effect(self, kind: str, old: str, new: str | None = None) -> None:
        """Tell other actions: ``moved``, ``archived`` or ``removed``. ``moved`` rewrites the path for later actions."""
        ...


class Pool(Protocol):
    """Threads for blocking work, one lane per filesystem."""

    def run(self, lane: str, work: Callable[..., T], *args: Any) -> Awaitable[T]:
        """Run ``work(*args)`` in a thread of the lane ("" is the common lane). Dispatch batches, not single files."""
        ...


class Worker(Protocol):
    """Runs blocking file work with the rule's rights: in the pool, or, with a ``user:``, in a process of that user.

    So what a hostile owner of a directory could make it do, that user could do anyway. The work is a function of a
    module; its arguments and results are plain values (str, with any path in it, int, bool, bytes, tuples, named
    tuples, msgspec.Structs) that its annotations tell. OSError and ActionError come through; an error of the process
    itself is an `ActionError`. Descriptors don't travel: open and close files within one function. Its module imports
    all it needs when it is imported: afterwards the process may no longer be allowed to.
    """

    def call(self, work: Callable[..., T], *args: Any) -> Coroutine[Any, Any, T]:
        """Run ``work(*args)``. Cancelling abandons the result, as with the pool."""
        ...

    def apart(self, work: Callable[..., T], *args: Any) -> Coroutine[Any, Any, T]:
        """The same, for much work: always in a process, with the rule's rights, and as many at once as `abreast`."""
        ...

    @property
    def abreast(self) -> int:
        """How many processes share the work of `apart`."""
        ...

    def steps(self, work: Callable[..., Iterator[T]], *args: Any) -> AsyncGenerator[T]:
        """The values of a generator function, each as a step that is taken: it goes on when the next is asked for.

        Use it in ``async with contextlib.aclosing(...)``: what is left early is closed where it stands, and not
        before the step under way has ended.
        """
        ...


class Spawn(Protocol):
    """Runs commands so that nothing they start outlives them (cgroup where delegated, else best effort)."""

    def foresee(self) -> None:
        """Hint: a command with a ``unit`` comes within milliseconds. What it would wait for may begin now."""
        ...

    async def run(self, command: Command, output: Callable[[bytes], None]) -> Finished:
        """Run to the end; merged stdout and stderr go to ``output``. Cancelling ends the command and what it started.

        Raises:
            ActionError: it can't be started (not retryable where the program or user doesn't exist).
        """
        ...


class Services(Protocol):
    """systemd's units: told to reload or restart, and asked how they are. Needs the extra ``systemd``.

    ``manager`` is ``system`` or ``user``; None is the system's for root, and the daemon's user's for everybody else.
    """

    async def job(self, unit: str, verb: str, seconds: float, manager: str | None = None) -> None:
        """Have a job of a unit done (``reload``, ``restart``, ``start``, ...) and wait so long for its end.

        Raises:
            ActionError: it can't be asked for, or ended badly; says what systemd says of it.
        """
        ...

    async def state(self, unit: str, seconds: float, manager: str | None = None) -> UnitState:
        """How a unit is.

        Raises:
            ActionError: systemd can't be asked.
        """
        ...


class Timers(Protocol):
    """Durable timers: a missed time fires once after a restart. Names are the action's own."""

    def at(self, name: str, when: float, callback: Callable[[], None]) -> None:
        """Fire once at ``when`` (seconds since the epoch)."""
        ...

    def every(self, name: str, seconds: float, callback: Callable[[], None]) -> None: ...
    def calendar(self, name: str, schedule: Schedule, callback: Callable[[], None]) -> None: ...
    def cancel(self, name: str) -> None: ...


class Ground(NamedTuple):
    """One of the rule's roots, as it stands now.

    Attributes:
        root: its path; a glob's roots are each one.
        lane: of the pool, for its filesystem.
        regions: which filesystem stands at it and at mount points below it, by names that hold over remounts.
        granularity_ns: of timestamps there (`filewatchd.work.granularity`).
        include, exclude: the rule's patterns; those of its presets are among ``exclude``.
        since_ns: from when on every change brings a job (wall clock); later than the daemon's own beginning if its
            journal was lost. 0: all that is there brings one.
    """

    root: str
    lane: str
    regions: tuple[Region, ...]
    granularity_ns: int
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    since_ns: int = 0


class Schedule(NamedTuple):
    """``{every: 1d, at: "03:30", weekday, timezone, splay}``; ``every`` is seconds or hour, day, week, month."""

    every: float | str
    at: str | None = None
    weekday: str | None = None
    timezone: str | None = None
    splay: float = 0.0


class Tables(Protocol):
    """The action's own tables in the job journal's database; names get a prefix for ``{name}`` placeholders.

    A statement names a table as ``{table}``, e.g. ``SELECT * FROM {seen}``. They outlive a journal that is set aside as
    damaged if they all are whole; numbers of jobs begin anew then.
    """

    def migrate(self, steps: Sequence[str]) -> None:
        """Bring the tables to version ``len(steps)``; each statement runs once, ever."""
        ...

    def execute(self, statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement in a transaction of its own and return its rows."""
        ...

    def durable(self, statements: Sequence[tuple[str, Sequence[Any]]]) -> None:
        """Run statements with their parameters in one transaction; when this returns it survives power loss."""
        ...


class Context(Protocol):
    """All an action may touch of the daemon."""

    @property
    def rule(self) -> RuleSettings: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def log(self) -> logging.Logger | logging.LoggerAdapter[Any]: ...
    @property
    def pool(self) -> Pool: ...
    @property
    def worker(self) -> Worker: ...
    @property
    def spawn(self) -> Spawn: ...
    @property
    def services(self) -> Services: ...
    @property
    def timers(self) -> Timers: ...
    @property
    def tables(self) -> Tables: ...

    @property
    def state_dir(self) -> str:
        """The daemon's state directory (0700), for what an action keeps as files, in a directory of its own there."""
        ...

    def selects(self, path: str) -> bool:
        """Whether the rule's patterns select a file with this full path below one of its roots."""
        ...

    def preceding(self, path: str) -> str | None:
        """The rule that has a file instead of this one: it stands before it, has this action and selects the file, too.

        It is this one if the action stands in it twice; None: the file is this one's. See `Needs.sole`.
        """
        ...

    def grounds(self) -> Sequence[Ground]:
        """The rule's roots that stand where they are known to, and are watched. One that is unmounted is none."""
        ...

    def on_scan(self, callback: Callable[[str], None]) -> None:
        """Be told when a full scan of one of the rule's roots is over: what changed there since it began brings a job.

        A walk that begins then isn't in the way of the scan, and all of a rule's changes are told meanwhile.
        """
        ...

    def on_other(self, callback: Callable[[str, str, bool], None] | None) -> None:
        """Be told of paths where something happened and no file is: a symlink, a directory, nothing.

        The callback gets the root, the path relative to it, and whether what is beneath the path is meant, too, as of a
        directory that came or went. No job comes of them, and nothing is told of the time before the last `on_scan`.
        The backend poll doesn't tell of a directory's attributes. None: be told no more.
        """
        ...

    def safe_open(self, path: str, flags: int = 0) -> int:
        """Open a regular file beneath the rule's roots without following links; the caller closes the descriptor.

        Blocking: call it in the pool. Raises OSError, or ActionError for what is refused (links, FIFOs, owners).
        In a function for `worker` it is ``work.opening.safe_open(path, beneath, flags)``.
        """
        ...

    def beneath(self, path: str) -> str:
        """The directory beneath which `safe_open` opens a path: its root, or the one that holds a root that is a file.

        Raises:
            PermissionError: it is below no root of the rule.
        """
        ...

    def wake_on_write(self, path: str, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back once when the file is next written; returns a function that cancels."""
        ...

    def follow_up(self, name: str, work: Awaitable[None]) -> None:
        """A task that holds no job slot; cancelled at stop after the grace, errors are logged."""
        ...

    def lock(self, paths: Sequence[str], *, shared: bool = False) -> AbstractAsyncContextManager[None]:
        """Exclude other actions from these files, by (dev, ino); missing files by path.

        ``shared``: exclude only those that want them for themselves. What `Needs.use` asks for is held already.
        """
        ...

    def unfinished(self) -> Sequence[Unfinished]:
        """Jobs of this rule with steps that a crash cut off, oldest first."""
        ...

    def request_job(self, trigger: Trigger, paths: Sequence[str] = ()) -> None:
        """Ask for a job of this rule over these paths (none: an empty batch)."""
        ...

    def on_effect(self, callback: Callable[[str, str, str | None], None]) -> None:
        """Be told of every action's `JobContext.effect`: (kind, old, new)."""
        ...

    def finding(self, key: str, message: str, path: str | None = None) -> None:
        """Raise, or renew, something a person should look at."""
        ...

    def raise_findings(self, found: Sequence[Found]) -> None:
        """Raise, or renew, several at once: whoever is to be told of them (``on_finding``) gets one message."""
        ...

    def announce(self, key: str, message: str) -> None:
        """Tell whoever is to be told of findings (``on_finding``), and the log, of something that nobody need mend."""
        ...

    def clear_finding(self, key: str) -> None:
        """It doesn't stand any more, by itself: whoever is to be told of recoveries is told."""
        ...

    def count(self, name: str, by: int = 1) -> None:
        """Add to a counter shown in status."""
        ...
