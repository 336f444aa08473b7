"""One attempt at a job: the rule's actions in order over its paths, until each path has an outcome.

A rejected or failed path drops out and the rest goes on; an action that moves a file rewrites its path for the
next one. Actions that work path by path get one change a call, each with its own timeout; the others get the
batch. A retry resumes each path at the first action it has not passed.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, NamedTuple

from filewatchd.actions.base import Action, Needs, Steps
from filewatchd.errors import ActionError, StateError
from filewatchd.jobs.changes import Source
from filewatchd.jobs.noticed import NOTHING, Noticed
from filewatchd.model import OK, Change, FileIdentity, Notice, Outcome, Trigger, Verdict

if TYPE_CHECKING:
    from filewatchd.jobs.context import ActionContext
    from filewatchd.jobs.story import Start

log = logging.getLogger("filewatchd.jobs")

Key = tuple[int, str]  # (binding, path relative to its root)
_TAIL = 64 * 1024


class OpenAction(NamedTuple):
    """A configured action, opened."""

    name: str
    action: Action
    needs: Needs
    context: ActionContext

    def statistics(self) -> dict[str, object]:
        """What the action says of itself; a bug of its own shows as its error."""
        try:
            return {"name": self.name, **self.action.statistics()}
        except Exception as error:  # noqa: BLE001
            return {"name": self.name, "error": f"{type(error).__name__}: {error}"}


class Item:
    """One path of a job: its change, the action it has come to, and how it fared."""

    __slots__ = ("change", "flags", "key", "next_action", "old_key", "outcome", "source")

    def __init__(
        self, key: Key, change: Change, flags: int = 0, old_key: Key | None = None, source: Source = Source.LIVE
    ) -> None:
        self.key = key
        self.old_key = old_key  # of a moved path: where it was
        self.change = change
        self.flags = flags  # of the manifest row its look will make
        self.source = source
        self.next_action = 0
        self.outcome: Outcome | None = None


class Record:
    """A job over all its attempts."""

    __slots__ = (
        "alone", "attempt", "cancelled_by", "created_ns", "id", "items", "notice", "noticed", "output", "run", "since",
        "start", "started_ns", "told", "told_until", "trigger",
    )  # fmt: skip

    def __init__(self, trigger: Trigger, items: list[Item], created_ns: int, noticed: Noticed = NOTHING) -> None:
        self.id = 0
        self.trigger = trigger
        self.items = {item.key: item for item in items}
        self.alone: Outcome | None = None if items else OK  # of a job over no path: how it fared; None: of no such job
        self.attempt = 0
        self.cancelled_by: str | None = None  # who asked for that
        self.created_ns = created_ns
        self.started_ns = created_ns
        self.since = math.inf  # monotonic, once it is in back-off: since when the first of its paths was dirty
        self.output = b""
        self.start: Start | None = None  # of the attempt that runs
        self.noticed = noticed
        self.run: JobRun | None = None  # its last call of an action
        self.notice: Notice | None = None  # of a job of notifications: what it tells
        self.told: dict[int, Outcome] = {}  # by which of its actions, and how that went
        self.told_until = 0  # the number of the last thing it tells

    def renew(self) -> None:
        """Other actions take it over, and tell what there is then."""
        self.notice, self.told, self.told_until = None, {}, 0

    @property
    def reached(self) -> tuple[int, int, str] | None:
        """How far it is (done, total, unit): what the action says, or how many of its paths it is done with."""
        if self.run is not None and self.run.done is not None:
            return self.run.done
        come = [item.next_action for item in self.items.values() if item.outcome is None]
        behind = sum(number < max(come) for number in come)
        return (len(self.items) - behind, len(self.items), "paths") if behind else None

    @property
    def progress(self) -> str:
        """The same in words."""
        return in_words(self.reached)


def in_words(reached: tuple[int, int, str] | None) -> str:
    """How far something is; nothing where that isn't known."""
    return "" if reached is None else f"{reached[0]:,} of {reached[1]:,} {reached[2]}"


class JobRun:
    """A call of one action within an attempt: what the action sees as `JobContext`."""

    dry_run = False

    def __init__(
        self,
        record: Record,
        rule: str,
        generation: int,
        items: Sequence[Item],
        timeout: float,
        steps: Steps,
        effects: Callable[[str, str, str | None], None],
        wrote: Callable[[str, FileIdentity | None], None],
        shut: Callable[[], bool] = lambda: False,
    ) -> None:
        """``shut``: the job journal can't be written."""
        self.id = record.id
        self.attempt = record.attempt
        self.trigger = record.trigger
        self.rule = rule if record.notice is None else record.notice.rule
        self.notice = record.notice
        self.generation = generation
        self.timeout = timeout
        self.steps = steps
        self.cancelled = False
        self.done: tuple[int, int, str] | None = None
        self._record = record
        self._items = items
        self._effects = effects
        self._wrote = wrote
        self._shut = shut

    @property
    def changes(self) -> list[Change]:
        """The changes of this call."""
        return [item.change for item in self._items]

    def progress(self, done: int, total: int, unit: str) -> None:
        """Say how far the work is."""
        self.done = (done, total, unit)

    def output(self, data: bytes) -> None:
        """Log what the work printed and keep its tail."""
        self._record.output = (self._record.output + data)[-_TAIL:]
        if log.isEnabledFor(logging.INFO):
            if self._record.start is not None:
                self._record.start.tell()
            for line in data.decode("utf-8", "replace").splitlines():
                log.info("%s", line, extra={"rule": self.rule, "job": self.id, "event": "output"})

    def wrote(self, path: str, identity: FileIdentity | None = None) -> None:
        """Declare an own write."""
        self._wrote(path, identity)

    def failed(self, name: str, error: StateError) -> Outcome:
        """What comes of a state that the action couldn't write: its own failure, or cut off if it is the journal's."""
        if self._shut():
            return Outcome(Verdict.CANCELLED, f"{name} was cut off: {error}")
        return Outcome(Verdict.FAILED, f"{name}: {error}")

    def effect(self, kind: str, old: str, new: str | None = None) -> None:
        """Tell the other actions; a moved path is rewritten for those that follow."""
        if kind == "moved" and new is not None:
            for item in self._items:
                if item.change.path == old:
                    first = item.change.original_path or old
                    item.change = item.change._replace(path=new, original_path=first)
        self._effects(kind, old, new)


Calls = Callable[[OpenAction, Sequence[Item]], AbstractAsyncContextManager[JobRun]]


async def run_actions(actions: Sequence[OpenAction], record: Record, calls: Calls) -> None:
    """Run the attempt; every item has an outcome afterwards. Cancelling gives those without one ``cancelled``.

    ``calls`` gives the `JobContext` of one call of an action, which is entered once its files may be used.
    """
    for item in record.items.values():
        item.outcome = None
    if record.alone is not None:
        record.alone = OK
    try:
        if record.notice is not None:
            await _tell(actions, record, record.notice, calls)
        else:
            for index, opened in enumerate(actions):
                await _run_action(index, opened, record, calls)
    except asyncio.CancelledError:
        by = f" by {record.cancelled_by}" if record.cancelled_by is not None else ""
        cancelled = Outcome(Verdict.CANCELLED, f"cancelled{by}")
        for item in record.items.values():
            item.outcome = item.outcome or cancelled
        record.alone = record.alone and cancelled
        raise
    for item in record.items.values():
        if item.outcome is None:
            item.outcome = OK


async def _run_action(index: int, opened: OpenAction, record: Record, calls: Calls) -> None:
    items = [i for i in record.items.values() if i.outcome is None and i.next_action <= index]
    shares = [[item] for item in items] if opened.needs.per_path else [items] if items else []
    if record.alone is not None:  # a job without paths runs each action once, until one fails
        if record.alone.handled:
            async with calls(opened, []) as run:
                result = await _call(opened, run)
            record.alone = result if isinstance(result, Outcome) else OK
        return
    for share in shares:
        async with calls(opened, share) as run:
            _apply(opened.name, share, await _call(opened, run))
        for item in share:
            _pass(item, index)


async def _tell(actions: Sequence[OpenAction], record: Record, notice: Notice, calls: Calls) -> None:
    """Have every action tell a notice; in a retry those that have failed and may try again."""
    for index, opened in enumerate(actions if notice.entries else ()):
        before = record.told.get(index)
        if before is not None and (before.handled or not before.retryable):
            continue
        async with calls(opened, []) as run:
            result = await _call(opened, run)
        record.told[index] = result if isinstance(result, Outcome) else OK
    bad = [outcome for outcome in record.told.values() if not outcome.handled]
    if bad:
        first = next((outcome for outcome in bad if outcome.retryable), bad[0])
        record.alone = first._replace(after=max(outcome.after for outcome in bad))


def _pass(item: Item, index: int) -> None:
    """An item without a final outcome goes on to the next action."""
    if item.outcome is not None and item.outcome.verdict in (Verdict.OK, Verdict.SKIPPED):
        item.outcome = None
    if item.outcome is None:
        item.next_action = index + 1


async def _call(opened: OpenAction, run: JobRun) -> Outcome | Mapping[str, Outcome]:
    try:
        async with asyncio.timeout(run.timeout):
            return await opened.action.run(run)
    except TimeoutError:
        return Outcome(Verdict.FAILED, f"{opened.name}: timed out after {run.timeout:g} s")
    except ActionError as error:
        return Outcome(Verdict.FAILED, f"{opened.name}: {error}", error.retryable, error.after)
    except StateError as error:
        return run.failed(opened.name, error)
    except asyncio.CancelledError:
        run.cancelled = True
        raise
    except Exception as error:
        log.exception("action %s of rule %s failed by a bug of its own", opened.name, run.rule)
        return Outcome(Verdict.FAILED, f"{opened.name}: {type(error).__name__}: {error}")


def _apply(name: str, items: Sequence[Item], result: Outcome | Mapping[str, Outcome]) -> None:
    missing = Outcome(Verdict.FAILED, f"{name}: gave no outcome for this path", retryable=False)
    for item in items:
        item.outcome = result if isinstance(result, Outcome) else result.get(item.change.path, missing)


def counts(items: Sequence[Item]) -> dict[str, int]:
    """How many items have which verdict."""
    found = Counter([item.outcome.verdict for item in items if item.outcome is not None])
    return {verdict.value: number for verdict, number in found.items()}
