"""Our findings as AIDE would tell them, and where the two part."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from filewatchd.state.index.rows import Change, Record
from tests.integrity.peers import Difference

_NAMES = ("mode", "uid", "gid", "links", "xattr", "acl")


def seen(rows: Mapping[str, Record], waiting: Iterable[Change]) -> dict[str, Record]:
    """What the index saw last: its rows, and what waits in their places."""
    found = dict(rows)
    changes = list(waiting)
    for change in changes:
        found.pop(change.path, None)
        if change.old_path is not None:
            found.pop(change.old_path, None)
    found.update((change.path, change.after) for change in changes if change.after is not None)
    return found


def difference(before: Mapping[str, Record], after: Mapping[str, Record], root: str) -> Difference:
    """What became of the files, by absolute path."""
    changed = {}
    for path in before.keys() & after.keys():
        what = frozenset(_others(before[path], after[path]))
        if what:
            changed[f"{root}/{path}"] = what
    added, removed = after.keys() - before.keys(), before.keys() - after.keys()
    return Difference(
        frozenset(f"{root}/{path}" for path in added), frozenset(f"{root}/{path}" for path in removed), changed
    )


def _others(old: Record, new: Record) -> Iterator[str]:
    if old.digest != new.digest:
        yield "digest"
    if old.identity.size != new.identity.size:
        yield "size"
    yield from (name for name in _NAMES if getattr(old.attributes, name) != getattr(new.attributes, name))


def parted(ours: Difference, theirs: Difference) -> list[str]:
    """Every file of which the two say something else, in words.

    One difference is explained and left out: to AIDE an ACL holds the permission bits too, so each new mode is a new
    ACL; to us an ACL is what goes beyond them, as in the file's xattrs.
    """
    found = []
    for name in ("added", "removed"):
        mine, other = getattr(ours, name), getattr(theirs, name)
        found += [f"only we say {name}: {path!r}" for path in sorted(mine - other)]
        found += [f"only AIDE says {name}: {path!r}" for path in sorted(other - mine)]
    for path in sorted(ours.changed.keys() | theirs.changed.keys()):
        mine = set(ours.changed.get(path, ())) - {"acl"}
        other = set(theirs.changed.get(path, ())) - {"acl"}
        if mine != other:
            found.append(f"{path!r}: we say {sorted(mine)}, AIDE {sorted(other)}")
    return found
