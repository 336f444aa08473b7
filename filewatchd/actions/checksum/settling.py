"""What becomes of a batch of looks: judged outside the transaction, written within it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from filewatchd.actions.checksum.judging import Judgement, Track, judge, record_of, state_of, tracked, type_of
from filewatchd.actions.checksum.parcels import Sheet
from filewatchd.actions.checksum.seeing import Presence, Seen
from filewatchd.state.index.editing import Edit, Told
from filewatchd.state.index.rows import (
    DIRECTORY,
    OTHER,
    RACY,
    WAITING,
    Record,
    State,
    Verdict,
    decode,
    flags_of,
    joined,
    split,
)

if TYPE_CHECKING:
    from filewatchd.actions.checksum.keeping import Ledger

_REPLACING = frozenset({Verdict.MODIFIED, Verdict.OLDER, Verdict.REWRITTEN, Verdict.GROWN})


_MENDED = frozenset({Verdict.TOUCHED, Verdict.METADATA, Verdict.MOVED})  # the content is the row's


class Policy(NamedTuple):
    """How a rule judges and what it keeps."""

    track: Track
    approval: bool = False
    versions: int = 10


class Looked(NamedTuple):
    """A look at a path, and what was known when it was asked for.

    ``old_path``: where the row is, if the file was moved. ``label``: why the change is as it should be.
    """

    seen: Seen
    algorithms: tuple[str, ...] = ()
    row: Record | None = None
    old_path: str | None = None
    label: str | None = None

    @property
    def path(self) -> str:
        """Relative to the root."""
        return joined(self.seen.directory, self.seen.name)


class Settled(NamedTuple):
    """What came of a batch: how many of each verdict, changes that are news, and paths to look at once more."""

    verdicts: Counter[Verdict]
    news: list[Told]
    racy: list[str]
    written: bool  # a digest changed, came or went
    bytes: int


class Settling:
    """One batch on its way into the index."""

    def __init__(self, ledger: Ledger, policy: Policy, now: int) -> None:
        self._ledger = ledger
        self._policy = policy
        self._now = now
        self.verdicts: Counter[Verdict] = Counter()
        self.news: list[Told] = []
        self.racy: list[str] = []
        self.written = False
        self.findings = 0
        self.bytes = 0

    def begin(self, looked: Sequence[Looked]) -> dict[str, list[tuple[str, Record]]]:
        """Records, by directory and name, of the files that a build takes as they are: nearly all."""
        track, now = self._policy.track, self._now
        found: dict[str, list[tuple[str, Record]]] = {}
        count = 0
        for each in looked:
            if is_beginning(each):
                seen = each.seen
                record = record_of(seen, each.algorithms, track, now)
                found.setdefault(seen.directory, []).append((seen.name, record))
                count += 1
                if seen.racy:
                    self.racy.append(each.path)
        self.verdicts[Verdict.NEW] += count
        self.written = self.written or count > 0
        return found

    def begun(self, edit: Edit, directory: str, records: Sequence[tuple[str, Record]]) -> None:
        """What waits of them doesn't any more: that they couldn't be read, or changed whenever they were."""
        if self._ledger.has_waiting():
            for name, _ in records:
                self._clear(edit, joined(directory, name))

    def take(self, edit: Edit, sheet: Sheet, filesystem: str) -> None:
        """The same for a sheet, written at once: a first build spends its time here."""
        numbers = [edit.attributes(tracked(each, self._policy.track)) for each in sheet.attributes]
        algorithm = sheet.algorithms[0] if sheet.algorithms else ""
        verified = self._now if algorithm else 0
        flags = [flags_of(algorithm, type_of(each)) for each in sheet.attributes]
        none: list[bytes | None] = [None]
        rows = [
            (name, ino, size, mtime, later, verified, flags[shared] | racy, (digests or none)[0], numbers[shared])
            for name, (_, ino, size, mtime, later, shared, digests, _, racy, _, _) in sheet.files
        ]
        edit.put_rows(self._ledger.id, sheet.directory, rows, filesystem)
        self.racy += [joined(sheet.directory, decode(name)) for name, found in sheet.files if found.racy]
        self.bytes += sum(found.read for _, found in sheet.files)
        self.verdicts[Verdict.NEW] += len(sheet.files)
        self.written = self.written or bool(sheet.files)

    def judge(self, looked: Looked) -> Judgement:
        """The verdict on one look. What the path held before is asked for only if its content is another."""
        row, track = looked.row, self._policy.track
        moved = looked.old_path is not None
        found = judge(row, looked.seen, looked.algorithms, track, self._now, moved=moved)
        if found.verdict is Verdict.MODIFIED and not moved:
            former = self._ledger.former(looked.path)
            found = judge(row, looked.seen, looked.algorithms, track, self._now, former=former) if former else found
        return found

    def write(self, edit: Edit, directory: str, judged: list[tuple[Looked, Judgement]], filesystem: str) -> None:
        """Write what follows from the verdicts on files of one directory."""
        puts: list[tuple[str, Record]] = []
        verified: list[str] = []
        for looked, found in judged:
            self.verdicts[found.verdict] += 1
            if found.record is not None and found.record.flags & RACY:
                self.racy.append(looked.path)
            if found.verdict is Verdict.SAME:
                self._same(edit, looked, found, puts, verified)
            else:
                self._change(edit, looked, found, puts)
        if puts or filesystem:
            edit.put_many(self._ledger.id, directory, puts, filesystem)
        if verified:
            edit.verified(self._ledger.id, directory, verified, self._now)

    def _same(
        self,
        edit: Edit,
        looked: Looked,
        found: Judgement,
        puts: list[tuple[str, Record]],
        verified: list[str],
    ) -> None:
        row, record = looked.row, found.record
        if row is None or record is None:
            if looked.seen.presence is Presence.ABSENT:
                self._clear(edit, looked.path)
            return
        read = looked.seen.digests or row.flags & DIRECTORY or not self._policy.track.content
        if row.flags & WAITING and read:
            self._clear(edit, looked.path)
        elif row.flags & WAITING:
            record = record._replace(flags=record.flags | WAITING)
        if record[:4] == row[:4] and record.flags == row.flags:
            if looked.seen.digests:
                verified.append(looked.seen.name)
        else:
            puts.append((looked.seen.name, record))
            self.written = self.written or record.algorithm != row.algorithm

    def _clear(self, edit: Edit, path: str) -> None:
        if edit.clear(self._ledger.id, path):
            self.written = True  # what is open has to be counted again

    def _change(self, edit: Edit, looked: Looked, found: Judgement, puts: list[tuple[str, Record]]) -> None:
        row, record, path = looked.row, found.record, looked.path
        verdict, state = self._decided(looked, found)
        told = Told(
            self._ledger.id, path, verdict, state, row, record, looked.old_path,
            looked.seen.reason or other_than(row, record), looked.label,
        )  # fmt: skip
        _, news = edit.tell(told)
        if looked.old_path is not None:
            edit.clear(self._ledger.id, looked.old_path)
        if news:
            self.news.append(told)
        if state is not State.ACCEPTED:
            self.findings += news
            if row is not None:
                edit.flag(self._ledger.id, looked.old_path or path, waiting=True)
            return
        edit.clear(self._ledger.id, path)
        self.written = True
        self._accept(edit, looked, found, puts)

    def _decided(self, looked: Looked, found: Judgement) -> tuple[Verdict, State]:
        """What a change is told as. A row that waits stays, whatever becomes of its file, until somebody approves."""
        row, verdict = looked.row, found.verdict
        approval = self._policy.approval
        pinned = False
        if row is not None and row.flags & WAITING:
            waiting = self._ledger.waiting(looked.path)
            pinned = verdict not in _MENDED and any(change.verdict is Verdict.CORRUPT for change in waiting)
            for change in waiting:
                same = change.after is not None and found.record is not None
                if pinned and same and change.after.digest == found.record.digest:  # type: ignore[union-attr]
                    verdict = Verdict.CORRUPT  # the same damage, with other times
        state = state_of(verdict, approval=approval, pinned=pinned, expected=looked.label is not None)
        return verdict, state

    def _accept(self, edit: Edit, looked: Looked, found: Judgement, puts: list[tuple[str, Record]]) -> None:
        row, record, path, number = looked.row, found.record, looked.path, self._ledger.id
        if row is not None and record is not None and found.verdict in _REPLACING and row.digest is not None:
            edit.keep_version(number, path, row, self._policy.versions)
        if record is None:
            edit.drop(number, path)
        elif looked.old_path is not None:
            edit.move(number, looked.old_path, path, record, row)
        else:
            puts.append((looked.seen.name, record))


def other_than(row: Record | None, record: Record | None) -> str:
    """What to say of a path that is another kind of thing now, or of a symlink that leads elsewhere."""
    if row is None or record is None:
        return ""
    if row.type is not record.type:
        return f"a {record.type.value} has its name now"
    old, new = row.attributes.target, record.attributes.target
    return "" if old is None or new is None or old == new else f"target {decode(old)} -> {decode(new)}"


def where_its_row_is(looked: Looked) -> Looked:
    """A file that was moved and is gone by the time of the look: it is deleted where its row is."""
    if looked.old_path is None or looked.seen.presence is not Presence.ABSENT:
        return looked
    directory, name = split(looked.old_path)
    return looked._replace(seen=looked.seen._replace(directory=directory, name=name), old_path=None)


def files_in(looked: Sequence[Looked], sheets: Sequence[Sheet]) -> int:
    """How many files these are of, what has rows besides left out."""
    of_sheets = 0
    for sheet in sheets:
        others = {number for number, each in enumerate(sheet.attributes) if type_of(each)}
        of_sheets += len(sheet.files) - (sum(found[5] in others for _, found in sheet.files) if others else 0)
    return of_sheets + sum(
        not type_of(each.seen.attributes) and (each.row is None or not each.row.flags & OTHER) for each in looked
    )


def is_beginning(looked: Looked) -> bool:
    """Whether a file is there of which nothing is known: in a build that is no change."""
    return looked.row is None and looked.seen.presence is Presence.HERE


def grouped(
    judged: Sequence[tuple[Looked, Judgement]],
) -> Iterable[tuple[str, list[tuple[Looked, Judgement]]]]:
    """By directories."""
    groups: dict[str, list[tuple[Looked, Judgement]]] = {}
    for each in judged:
        groups.setdefault(each[0].seen.directory, []).append(each)
    return groups.items()
