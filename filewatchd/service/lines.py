"""The history's batches as lines of JSON, each encoded once for all who follow."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from filewatchd.control import documents
from filewatchd.control.api import time_text
from filewatchd.jobs.changes import ChangeHistory, Row, Source
from filewatchd.model import Change
from filewatchd.notation import path_fields

Label = Callable[[], Mapping[str, str]]

PAGE = 32  # changes
_KEPT = 8_000  # changes in memory, some MiB

_SOURCES = tuple(source.name.lower() for source in Source)
_encoder = msgspec.json.Encoder()


class Page(NamedTuple):
    """Some changes of a batch, one behind the other."""

    changes: Sequence[Change]
    lines: Sequence[bytes]
    text: bytes  # the lines


class Batch:
    """One row of the history; encoded page by page, as somebody comes to it."""

    def __init__(self, row: Row, history: ChangeHistory, label: Mapping[str, str]) -> None:
        """``label``: host and instance."""
        self._row = row
        self._history = history
        self._label = label
        self._time = time_text(row.time_ns)
        self._pages: dict[int, Page] = {}
        self.changes = row.changes

    def page(self, number: int) -> Page:
        """The changes from ``number * PAGE`` on."""
        page = self._pages.get(number)
        if page is None:
            start = number * PAGE
            changes = self.changes[start : start + PAGE]
            lines = [self._line(change, start + index) for index, change in enumerate(changes)]
            page = self._pages[number] = Page(changes, lines, b"".join(lines))
        return page

    def _line(self, change: Change, index: int) -> bytes:
        try:
            return _encoder.encode(self._document(change, index)) + b"\n"
        except UnicodeEncodeError:  # a name that isn't UTF-8: rare, so it isn't looked for
            return _encoder.encode(self._document(change, index, **_not_utf8(change))) + b"\n"

    def _document(self, change: Change, index: int, **others: str) -> documents.ChangeLine:
        row = self._row
        document = documents.ChangeLine(
            host=self._label["host"],
            instance=self._label["instance"],
            cursor=self._history.cursor(row.first + index),
            time=self._time,
            kind=change.kind.value,
            path=change.path,
            is_dir=False,
            root=change.root,
            rules=[row.rule],
            job=row.job,
            source=_SOURCES[row.sources[index]],  # type: ignore[arg-type]
        )
        if change.old_path is not None:
            document.old_path = change.old_path
        for name, value in others.items():
            setattr(document, name, value)
        return document


def _not_utf8(change: Change) -> dict[str, str]:
    paths = {"path": change.path, "old_path": change.old_path, "root": change.root}
    fields: dict[str, str] = {}
    for name, path in paths.items():
        if path is not None:
            fields |= path_fields(name, path)
    return fields


class Batches:
    """Those that were asked for last."""

    def __init__(self, history: ChangeHistory, label: Label) -> None:
        self._history = history
        self._label = label
        self._kept: OrderedDict[int, Batch] = OrderedDict()  # by their first number; asked for last at the end
        self._changes = 0

    def get(self, first: int) -> Batch | None:
        """The batch that begins with this number; None if it is forgotten. May raise `StateError`."""
        batch = self._kept.get(first)
        if batch is not None:
            self._kept.move_to_end(first)
            return batch
        row = self._history.row(first)
        if row is None:
            return None
        batch = self._kept[first] = Batch(row, self._history, self._label())
        self._changes += len(batch.changes)
        while self._changes > _KEPT and len(self._kept) > 1:
            _, oldest = self._kept.popitem(last=False)
            self._changes -= len(oldest.changes)
        return batch

    def clear(self) -> None:
        """Nobody follows: keep none."""
        self._kept.clear()
        self._changes = 0

    def missed(self, number: int, count: int) -> bytes:
        """The line that tells of forgotten changes, up to this number."""
        label, cursor = self._label(), self._history.cursor(number)
        line = documents.Missed(host=label["host"], instance=label["instance"], cursor=cursor, missed=count)
        return _encoder.encode(line) + b"\n"
