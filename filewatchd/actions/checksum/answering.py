"""Answers to what is asked of a rule's index over the control socket, but for runs: `documents` says what that is.

What reads or writes the index runs in pool threads. Who asks is kept with every decision and seal. An action
hands on to `Answers.answer_to` the endpoints that `documents.ENDPOINTS` has.
"""

from __future__ import annotations

import base64
import binascii
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

from filewatchd.actions.base import Caller, Pool
from filewatchd.actions.checksum import documents as d
from filewatchd.actions.checksum.choosing import chosen
from filewatchd.actions.checksum.importing import take
from filewatchd.actions.checksum.packages.claim import labelled
from filewatchd.errors import ActionError
from filewatchd.state.index.audit import Snapshot, unpacked
from filewatchd.state.index.forgetting import forget
from filewatchd.state.index.reading import Reader
from filewatchd.state.index.rows import Change, State
from filewatchd.state.index.writing import Index
from filewatchd.state.pack import unpack

T = TypeVar("T")
_PAGE = 2000  # changes at once


class Engine(Protocol):
    """What a rule's opened action does of it."""

    async def rewritten(self) -> None:
        """Rows were changed by a decision or a list. It counts all that waits."""
        ...

    def sealed(self, number: int, head: str, files: int) -> None:
        """A seal has its signature."""
        ...

    def uses(self, rule: str) -> bool:
        """Whether a rule keeps this index."""
        ...


class Answers:
    """Answers for one rule."""

    def __init__(self, index: Index, rule: str, pool: Pool, engine: Engine, versions: Callable[[], int]) -> None:
        """``versions``: how many earlier records of a path the rule keeps."""
        self._index = index
        self._rule = rule
        self._pool = pool
        self._engine = engine
        self._versions = versions
        self._ways: dict[str, Callable[[Any, Caller], Awaitable[Any]]] = {
            "approve": self._approve, "reject": self._reject, "import": self._import, "seal": self._seal,
            "sealed": self._sealed, "forget": self._forget,
        }  # fmt: skip

    async def answer_to(self, endpoint: str, arguments: Any, caller: Caller) -> Any:
        """See `actions.base.AnsweringTo`."""
        return await self._ways[endpoint](arguments, caller)

    async def _blocking(self, work: Callable[..., T], *args: Any) -> T:
        return await self._pool.run("", work, *args)

    # ---- decisions

    async def _approve(self, choice: d.Choice, caller: Caller) -> d.Decided:
        return await self._decide(choice, State.APPROVED, caller)

    async def _reject(self, choice: d.Choice, caller: Caller) -> d.Decided:
        return await self._decide(choice, State.REJECTED, caller)

    async def _decide(self, choice: d.Choice, state: State, caller: Caller) -> d.Decided:
        """Page by page: there may be as many changes as files."""
        count, after = 0, 0
        try:
            while True:
                changes, after = await self._blocking(_chosen, self._index.path, self._rule, choice, state, after)
                if changes and not choice.dry_run:
                    changes = await self._blocking(
                        _decide, self._index, changes, state, caller.uid, choice.comment, self._versions()
                    )
                count += len(changes)
                if not after:
                    break
        finally:
            if count and not choice.dry_run:
                await self._engine.rewritten()
        waiting = await self._blocking(_waiting, self._index.path, self._rule)
        return d.Decided(rule=self._rule, state=state.value, changes=count, waiting=waiting, dry_run=choice.dry_run)

    # ---- lists

    async def _import(self, asked: d.Import, caller: Caller) -> d.Imported:
        found = await self._blocking(take, self._index, self._rule, asked)
        if not asked.dry_run:
            await self._engine.rewritten()
        return found

    async def _forget(self, asked: d.Forget, caller: Caller) -> d.Forgotten:
        if self._engine.uses(asked.former):
            text = f"rule {asked.former} is configured and keeps the index; take it out of the configuration first"
            raise ActionError(text, retryable=False)
        found = await self._blocking(forget, self._index, asked.former, caller.uid)
        return d.Forgotten(rule=asked.former, roots=found.roots, files=found.files)

    # ---- seals

    async def _seal(self, asked: d.Nothing, caller: Caller) -> d.Sealing:
        link = await self._blocking(self._index.seal)
        head, when, taken = await self._blocking(_entry, self._index.path, link.number)
        files = sum(root.files for root in taken.roots)
        moment = datetime.fromtimestamp(when / 1e9, UTC).isoformat(timespec="microseconds")
        return d.Sealing(number=link.number, head=head, time=moment, files=files)

    async def _sealed(self, asked: d.Signature, caller: Caller) -> d.Sealed:
        try:
            key, signature = (base64.b64decode(each, validate=True) for each in (asked.key, asked.signature))
        except (binascii.Error, ValueError):
            raise ActionError("key and signature must be base64", retryable=False) from None

        def keep() -> bool:
            return self._index.sealed(asked.number, asked.statement, key, signature, uid=caller.uid)

        if not await self._blocking(keep):
            raise ActionError(f"the chain has no seal {asked.number}", retryable=False)
        head, _, taken = await self._blocking(_entry, self._index.path, asked.number)
        self._engine.sealed(asked.number, head, sum(root.files for root in taken.roots))
        return d.Sealed(number=asked.number)


def _chosen(path: str, rule: str, choice: d.Choice, state: State, after: int) -> tuple[list[Change], int]:
    """The changes of a page that are meant, and where the next page begins; 0: there is none."""
    with Reader(path) as reader:
        roots = {root.id: root for root in reader.roots(rule)}
        waiting = reader.changes(rule=rule, after=after, limit=_PAGE)
    unlike = [change for change in waiting if change.state is not state]
    return chosen(unlike, roots, choice), waiting[-1].id if len(waiting) == _PAGE else 0


def _waiting(path: str, rule: str) -> int:
    """How many changes wait."""
    with Reader(path) as reader:
        return sum(sum(reader.waiting_by_state(root.id).values()) for root in reader.roots(rule))


def _decide(
    index: Index, changes: Sequence[Change], state: State, uid: int, comment: str, versions: int
) -> list[Change]:
    decided = index.decide([each.id for each in changes], state, uid=uid, comment=comment, versions=versions)
    if state is State.APPROVED:
        note_packages(index, decided)
    return decided


def note_packages(index: Index, accepted: Sequence[Change]) -> None:
    """Remember the versions of packages whose files were accepted: the next upgrade is told as from them."""
    labels = Counter(change.label for change in accepted if change.label)
    found = [parts for label, _ in labels.most_common() if (parts := labelled(label)) is not None]
    if found:
        with index.edit() as edit:
            edit.packages({f"{parts.database} {parts.package}": parts.version for parts in found})


def _entry(path: str, number: int) -> tuple[str, int, Snapshot]:
    """The head, time and rows of a seal."""
    with Reader(path) as reader:
        head, when, note = reader.connection.execute(
            "SELECT hash, time_ns, note FROM chain WHERE number = ?", (number,)
        ).fetchone()  # fmt: skip
    return head.hex(), when, unpacked(unpack(note))
