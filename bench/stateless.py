"""The daemon without manifest and job journal, for comparison only: changes go to jobs, and nothing is kept."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from typing import Any

from filewatchd.cli.daemon import main
from filewatchd.jobs.runner import Record
from filewatchd.jobs.store import Store
from filewatchd.state.manifest import Manifest

_numbers = itertools.count(1)


def _begin(_store: Store, _pipeline: Any, record: Record) -> None:
    record.id = record.id or next(_numbers)


def _nothing(*_: Any, **__: Any) -> None:
    return None


def _no_rows(_manifest: Manifest, _baseline: int, _paths: Sequence[str]) -> dict[str, Any]:
    return {}


if __name__ == "__main__":
    for owner, name, replacement in (
        (Store, "begin", _begin),
        (Store, "settle", _nothing),
        (Store, "record", _nothing),
        (Manifest, "rows", _no_rows),
    ):
        setattr(owner, name, replacement)
    sys.exit(main())
