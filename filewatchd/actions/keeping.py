"""The option ``keep``: how long files are kept. Shared by the actions that delete old ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from filewatchd.actions.base import Problem
from filewatchd.values import Duration, Room, Size
from filewatchd.work.retention import Limits

_Count = Annotated[int, Meta(ge=0)]


class Keep(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Limits of what is kept: exceeding any one of them deletes, oldest first."""

    instead: ClassVar[str] = "write {count: 14}, or {age: 30d}"

    count: Annotated[_Count | None, Meta(description="So many are kept.")] = None
    age: Annotated[Duration | None, Meta(description="Older ones go.")] = None
    total: Annotated[Size | None, Meta(description="Together they may have so many bytes.")] = None
    min_free: Annotated[
        Room | None, Meta(description="They go as long as less of the filesystem is free: a share or a size.")
    ] = None
    min_count: Annotated[
        _Count | None, Meta(description="So many of the newest always stay: 1 of a log's archives, else 0.")
    ] = None

    def limits(self, min_count: int) -> Limits:
        """As numbers; ``min_count`` where none is written."""
        least = min_count if self.min_count is None else self.min_count
        return Limits(self.count, self.age, self.total, self.min_free, least)


def problems(keep: Keep, min_count: int) -> Iterator[Problem]:
    """Limits that keep nothing apart."""
    limits = keep.limits(min_count)
    if not limits.any:
        yield Problem(
            "nothing would ever be deleted: keep has no limit", "name one of count, age, total, min_free", ("keep",)
        )
    if limits.count is not None and limits.count < limits.min_count:
        yield Problem(
            f"count is {limits.count}, and the newest {limits.min_count} always stay (min_count)",
            "make count larger, or min_count smaller",
            ("keep", "count"),
        )
