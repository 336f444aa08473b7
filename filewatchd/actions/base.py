"""The Action protocol: what an action package offers, and what it is given.

An action package is any object (a module will do) with the members of `ActionPackage`, found by the entry
point group ``filewatchd.actions``. Everything it may touch of the daemon comes through `Context` and
`JobContext`; `filewatchd.testing` has public fakes of both. Unless said otherwise, coroutines and callbacks
run on the daemon's one asyncio thread: blocking work belongs in ``ctx.pool``, ``ctx.worker`` or ``ctx.spawn``.
What stands here is what a package offers; what it is given stands in `filewatchd.actions.given`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple, Protocol, runtime_checkable

from filewatchd.actions.given import Context as Context
from filewatchd.actions.given import Ground as Ground
from filewatchd.actions.given import JobContext as JobContext
from filewatchd.actions.given import Pool as Pool
from filewatchd.actions.given import Schedule as Schedule
from filewatchd.actions.given import Services as Services
from filewatchd.actions.given import Spawn as Spawn
from filewatchd.actions.given import Step as Step
from filewatchd.actions.given import Steps as Steps
from filewatchd.actions.given import Tables as Tables
from filewatchd.actions.given import Timers as Timers
from filewatchd.actions.given import Unfinished as Unfinished
from filewatchd.actions.given import Worker as Worker
from filewatchd.model import Outcome, RuleSettings
from filewatchd.work.command import Bind as Bind
from filewatchd.work.command import Command as Command
from filewatchd.work.command import Finished as Finished
from filewatchd.work.services import UnitState as UnitState


class Problem(NamedTuple):
    """A mistake `check` found. ``where`` is the key path inside the action's options, to find its line."""

    message: str
    hint: str = ""
    where: tuple[str | int, ...] = ()


class OwnFile(NamedTuple):
    """A file that an action writes as its own, by its full path. ``where``: the key path that says so."""

    path: str
    where: tuple[str | int, ...] = ()


class Use(StrEnum):
    """How an action uses the files it is given, while other rules' actions may want them too."""

    ANY = "any"  # as they are, whoever else uses them
    SHARED = "shared"  # while nobody changes them
    EXCLUSIVE = "exclusive"  # alone


class Needs(NamedTuple):
    """What an action with these options needs beyond the usual. What can't be had is told by `filewatchd check`."""

    per_path: bool = False  # outcomes, timeouts and retries go path by path: `run` gets one change at a time
    events: frozenset[str] = frozenset()  # beyond writes, names and attributes; no backend tells of any yet
    capabilities: tuple[str, ...] = ()  # e.g. ("CAP_DAC_READ_SEARCH",)
    extras: tuple[str, ...] = ()  # pip extras of filewatchd, e.g. ("zstd",)
    writes: bool = True  # False, of all actions of a rule that is ready at once: a write to a file is no event
    sole: bool = False  # no two rules should have it for one file: `check` warns, and see `Context.preceding`
    use: Use = Use.ANY  # of the paths themselves, by (dev, ino), for as long as `run` runs


class Endpoint(NamedTuple):
    """Something that can be asked of an opened action, or done, over the control socket.

    It is a GET of /v1/actions/ACTION/NAME; one that acts is a POST. Besides its own arguments it takes ``rule``.

    Attributes:
        name: small letters, digits and `-`.
        summary: a sentence.
        answer: a msgspec.Struct, the document.
        arguments: a msgspec.Struct, or None for none; those of a GET are plain values.
        acts: it changes something, so that only who may act may use it.
    """

    name: str
    summary: str
    answer: type[Any]
    arguments: type[Any] | None = None
    acts: bool = False


class Action(Protocol):
    """An opened action of one rule."""

    async def recover(self) -> None:
        """Finish or undo journaled steps before the rule's roots go live."""
        ...

    async def run(self, job: JobContext) -> Outcome | Mapping[str, Outcome]:
        """Do the work. One outcome for all, or one per path; an `ActionError` fails all of them."""
        ...

    def plan(self, job: JobContext) -> Sequence[str]:
        """The steps `run` would take, in words, without effect."""
        ...

    def reconfigure(self, options: Any) -> bool:
        """Take these options in place, the rule's new settings (`Context.rule`) too; False to be opened anew.

        If the reload fails later on, the old ones are given in the same way. A job that runs goes on meanwhile.
        """
        ...

    async def stop(self, grace: float) -> None:
        """End within ``grace`` seconds."""
        ...

    def statistics(self) -> Mapping[str, Any]: ...


@runtime_checkable
class Answering(Protocol):
    """What an opened action can do besides if its package has ``endpoints``, a sequence of `Endpoint`."""

    async def answer(self, endpoint: str, arguments: Any) -> Any:
        """The document of an endpoint, an instance of its ``answer``; ``arguments`` is one of its own type, or None.

        Raises:
            ActionError: it can't be answered; the text says why.
        """
        ...


class Caller(NamedTuple):
    """Who asks over the control socket, as the kernel knows them."""

    uid: int
    pid: int
    groups: frozenset[int] = frozenset()  # all that it is in, its own one, too
    acts: bool = False  # whether it may act on the daemon


@runtime_checkable
class AnsweringTo(Protocol):
    """Instead of `Answering`, if the action keeps who decided something, or doesn't show everything to everybody."""

    async def answer_to(self, endpoint: str, arguments: Any, caller: Caller) -> Any:
        """As `Answering.answer`."""
        ...


class ActionPackage(Protocol):
    """What an entry point in ``filewatchd.actions`` names.

    It may have ``endpoints``, too: see `Answering` and `AnsweringTo`.

    It may have ``own_files``, a function of its options and the rule that returns `OwnFile`s: no two actions of a
    configuration may have the same.

    It may also have ``example``, the text of a rule file that works as it is: `filewatchd init --for NAME` writes it.
    """

    name: str
    Options: type[Any]  # a msgspec.Struct; its schema is the YAML's

    def check(self, options: Any, rule: RuleSettings) -> Iterable[Problem]:
        """Static problems of these options in this rule."""
        ...

    def rule_defaults(self, options: Any) -> Mapping[str, Any]:
        """Better defaults for the rule: batch, ready, initial, changes, retry, follow_symlinks; as YAML values."""
        ...

    def needs(self, options: Any) -> Needs: ...
    def open(self, options: Any, ctx: Context) -> Action: ...
