"""Changes of one package's upgrade as one thing: ``libc6:amd64 2.36-8 → 2.36-9, 4,000 files``. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from filewatchd.actions.checksum.packages.claim import labelled
from filewatchd.state.index.rows import Change


class Upgrade(NamedTuple):
    """The changes that agree with a version of a package. ``old``: the version accepted before, "" if none is known."""

    database: str
    package: str
    old: str
    new: str
    changes: tuple[Change, ...]

    @property
    def text(self) -> str:
        """In words."""
        step = f"{self.old} \N{RIGHTWARDS ARROW} {self.new}" if self.old not in ("", self.new) else self.new
        files = len(self.changes)
        return f"package {self.package} {step}, {files:,} file{'' if files == 1 else 's'}"


def grouped(changes: Iterable[Change], versions: Mapping[str, str]) -> tuple[list[Upgrade], list[Change]]:
    """The upgrades among some changes, and the changes that belong to none; ``versions`` as `Reader.packages`."""
    groups: dict[str, list[Change]] = {}
    others = []
    for change in changes:
        if change.label is not None and labelled(change.label) is not None:
            groups.setdefault(change.label, []).append(change)
        else:
            others.append(change)
    return [_upgrade(label, members, versions) for label, members in groups.items()], others


def _upgrade(label: str, members: list[Change], versions: Mapping[str, str]) -> Upgrade:
    parts = labelled(label)
    assert parts is not None
    old = versions.get(f"{parts.database} {parts.package}", "")
    return Upgrade(parts.database, parts.package, old, parts.version, tuple(members))
