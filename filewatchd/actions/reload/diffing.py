"""Two versions compared for people: which files differ, and how, with secrets masked. Pure.

What is masked is masked before the comparison, in both texts; that a secret changed still shows. The time that a
comparison takes may grow with the square of what differs, so what differs in too much isn't compared.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Sequence

from filewatchd.actions.reload.entries import DIRECTORY, FILE, LINK, Difference, Entry, path_of
from filewatchd.actions.reload.masking import masked

_MOST_BYTES = 1 << 20  # of a file that is compared line by line
_MOST_LINES = 2000  # of a file's differences
_MOST_SHOWN = 20_000  # lines of all differences
_MOST_WORK = 40_000_000  # lines that differ times lines: a second
_HIDDEN = "... what isn't shown is there for who may read the file itself, and for who may act (control.act)"


def lines(
    changed: Sequence[Difference],
    roots: Sequence[str],
    content: Callable[[Entry], bytes],
    sees: Callable[[str], bool],
) -> Iterator[str]:
    """The differences as a unified diff, of a bounded length; of files that aren't to be seen, how many lines."""
    for number, line in enumerate(_lines(changed, roots, content, sees)):
        if number == _MOST_SHOWN:
            yield f"... more than {_MOST_SHOWN} lines in all"
            return
        yield line


def _lines(
    changed: Sequence[Difference],
    roots: Sequence[str],
    content: Callable[[Entry], bytes],
    sees: Callable[[str], bool],
) -> Iterator[str]:
    hidden = False
    for each in changed:
        path = path_of(each.key, roots)
        rights = _rights(each)
        if rights:
            yield f"{each.sign} {path}: {rights}"
        if each.sign in "+-!":
            found = _contents(each, path, content)
            if sees(each.key):
                yield from found
            elif counted := _counted(found, path):
                hidden = True
                yield counted
    if hidden:
        yield _HIDDEN


def _counted(found: Iterator[str], path: str) -> str:
    """A file's differences as their number; "" for none."""
    told = list(found)
    if len(told) < 2:  # sizes, or nothing
        return "".join(told)
    signs = [line[:1] for line in told[2:]]  # after the two names
    return f"! {path}: +{signs.count('+')} -{signs.count('-')} lines, not shown to you"


def _rights(each: Difference) -> str:
    before, after = each.before, each.after
    if before is None or after is None:
        one = after or before
        assert one is not None
        what = {FILE: "", DIRECTORY: "directory, ", LINK: f"symlink to {one.content}, "}.get(one.kind, "special file, ")
        return f"{'new' if before is None else 'gone'}: {what}{_mode(one)}"
    parts = []
    if (before.kind, before.content if before.kind == LINK else "") != (
        after.kind,
        after.content if after.kind == LINK else "",
    ):
        parts.append(f"{_what(before)} -> {_what(after)}")
    if _mode(before) != _mode(after):
        parts.append(f"{_mode(before)} -> {_mode(after)}")
    if before.xattrs != after.xattrs:
        parts.append("extended attributes differ")
    return ", ".join(parts)


def _what(entry: Entry) -> str:
    names = {FILE: "file", DIRECTORY: "directory", LINK: f"symlink to {entry.content}"}
    return names.get(entry.kind, "special file")


def _mode(entry: Entry) -> str:
    return f"{entry.mode:04o} {entry.uid}:{entry.gid}"


def _contents(each: Difference, path: str, content: Callable[[Entry], bytes]) -> Iterator[str]:
    sides = [content(entry) if entry is not None and entry.kind == FILE else b"" for entry in (each.before, each.after)]
    if sides[0] == sides[1]:
        return
    if any(b"\0" in side[:8192] or len(side) > _MOST_BYTES for side in sides):
        yield f"! {path}: {len(sides[0])} -> {len(sides[1])} bytes, not shown"
        return
    before, after = (masked(side.decode("utf-8", "replace")).splitlines() for side in sides)
    if len(set(before) ^ set(after)) * (len(before) + len(after)) > _MOST_WORK:
        yield f"! {path}: {len(before)} -> {len(after)} lines, too different to be shown"
        return
    shown = difflib.unified_diff(before, after, f"a{path}", f"b{path}", lineterm="")
    for number, line in enumerate(shown):
        if number == _MOST_LINES:
            yield f"... more than {_MOST_LINES} lines"
            return
        yield line
