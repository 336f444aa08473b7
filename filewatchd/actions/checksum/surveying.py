"""What packages have beneath a rule's roots, remembered, and which deletions are theirs by that; all in pool threads.

Surveys follow each walk and each batch of labels, but not while a package manager runs, whose database may be a version
behind the files. Only dpkg's database is remembered.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from filewatchd.actions.checksum.packages import former
from filewatchd.actions.checksum.packages.dpkg import Dpkg
from filewatchd.actions.checksum.paths import full
from filewatchd.state.index import shipped
from filewatchd.state.index.reading import Reader
from filewatchd.state.index.rows import Change, Root
from filewatchd.state.index.writing import Index


def knows_any(path: str, rule: str) -> bool:
    """Whether any package's files beneath a rule's roots are remembered: the last of them may have been removed."""
    with Reader(path) as reader:
        return any(shipped.surveyed(reader, root.id) for root in reader.roots(rule))


def survey(index: Index, rule: str, dpkg: Dpkg, concerned: Collection[str], asked_ns: int) -> None:
    """Remember what is otherwise than it was. ``concerned``: roots with packages' files; ``asked_ns``: since when.

    Raises:
        StateError: it can't be written.
    """
    if not dpkg.present():
        return
    for root in _roots(index.path, rule):
        with Reader(index.path) as reader:
            known, before = shipped.current(reader, root.id), shipped.surveyed(reader, root.id)
        if before or root.root in concerned:
            try:
                news = former.survey(dpkg, root.root, known, asked_ns)
            except OSError:
                return  # an unreadable database says nothing
            with index.edit() as edit:
                shipped.note(edit, root.id, news)


def labels(path: str, dpkg: Dpkg, changes: Sequence[tuple[Root, Change]]) -> dict[str, str]:
    """The labels of those deletions that are a package's doing, by absolute path."""
    found: dict[str, str] = {}
    for root in {root.id for root, _ in changes}:
        deleted = [
            former.Deleted(full(of.root, change.path), change.found_ns, change.before.identity.ctime_ns)
            for of, change in changes
            if of.id == root and change.before is not None
        ]
        with Reader(path) as reader:
            lists, asked_ns = shipped.shipped(reader, root), shipped.surveyed(reader, root)
        try:
            found |= former.labels(dpkg, deleted, lists, asked_ns)
        except OSError:
            continue  # as above
    return found


def _roots(path: str, rule: str) -> list[Root]:
    with Reader(path) as reader:
        return reader.roots(rule)
