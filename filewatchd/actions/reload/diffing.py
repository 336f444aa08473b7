"""Two versions compared for people: which files differ, and how, with secrets masked. Pure.

What is masked is masked before the comparison is shown, in both texts; that a secret changed still shows. A value is a
secret if its key says so, a block if it is a private key.
"""

from __future__ import annotations

import difflib
import hashlib
import re
import secrets
from collections.abc import Callable, Iterator, Sequence

from filewatchd.actions.reload.entries import DIRECTORY, FILE, LINK, Difference, Entry, path_of

_MOST_BYTES = 1 << 20  # of a file that is compared line by line
_MOST_LINES = 2000  # of a file's differences
_MOST_SHOWN = 20_000  # lines of all differences
_WORDS = r"pass(?:word|wd|phrase)?|secret|token|api[_-]?key|credential|private[_-]?key|auth(?:orization)?|community"
# KEY = VALUE, KEY: VALUE, KEY VALUE; the key may have more words around, and quotes.
_KEYED = re.compile(
    rf"""(?ix) ( ["']? (?:[\w.-]*[_.-])? (?:{_WORDS}) (?:[_.-][\w.-]*)? ["']?
    \s* (?:[:=]+|\s|,) \s* ) (\S.*?) (?=\s*$) """
)
_TAGGED = re.compile(rf"(?i)(<([\w:.-]*(?:{_WORDS}))\b[^>]*>)([^<]+)(?=</)")
_URL = re.compile(r"(?i)(\b[a-z][a-z0-9+.-]*://[^\s:/@]*:)([^\s@/]+)(?=@)")
_SALT = secrets.token_bytes(16)  # a short secret can't be guessed from what stands for it
_BEGIN, _END = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"), re.compile(r"-----END [A-Z ]*PRIVATE KEY-----")


def masked(text: str) -> str:
    """The text with what looks secret replaced; equal secrets look equal."""
    lines, inside = [], False
    for line in text.split("\n"):
        if inside or _BEGIN.search(line):
            begins, inside = not inside, not _END.search(line)
            lines.append(line if begins or not inside else _mask(line))
        else:
            line = _TAGGED.sub(lambda found: found[1] + _mask(found[3]), line)
            line = _URL.sub(lambda found: found[1] + _mask(found[2]), line)
            lines.append(_KEYED.sub(lambda found: found[1] + _mask(found[2]), line))
    return "\n".join(lines)


def _mask(secret: str) -> str:
    digest = hashlib.blake2b(secret.encode("utf-8", "surrogateescape"), digest_size=16, key=_SALT).hexdigest()
    return f"(masked {digest[:6]})"


def lines(
    changed: Sequence[Difference], roots: Sequence[str], content: Callable[[Entry], bytes], *, plain: bool = False
) -> Iterator[str]:
    """The differences as a unified diff, of a bounded length. ``plain``: with secrets as they are."""
    for number, line in enumerate(_lines(changed, roots, content, plain)):
        if number == _MOST_SHOWN:
            yield f"... more than {_MOST_SHOWN} lines in all"
            return
        yield line


def _lines(
    changed: Sequence[Difference], roots: Sequence[str], content: Callable[[Entry], bytes], plain: bool
) -> Iterator[str]:
    for each in changed:
        path = path_of(each.key, roots)
        rights = _rights(each)
        if rights:
            yield f"{each.sign} {path}: {rights}"
        if each.sign in "+-!":
            yield from _contents(each, path, content, plain)


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


def _contents(each: Difference, path: str, content: Callable[[Entry], bytes], plain: bool) -> Iterator[str]:
    sides = [content(entry) if entry is not None and entry.kind == FILE else b"" for entry in (each.before, each.after)]
    if sides[0] == sides[1]:
        return
    if any(b"\0" in side[:8192] or len(side) > _MOST_BYTES for side in sides):
        yield f"! {path}: {len(sides[0])} -> {len(sides[1])} bytes, not shown"
        return
    texts = [side.decode("utf-8", "replace") for side in sides]
    before, after = (text if plain else masked(text) for text in texts)
    shown = difflib.unified_diff(before.splitlines(), after.splitlines(), f"a{path}", f"b{path}", lineterm="")
    for number, line in enumerate(shown):
        if number == _MOST_LINES:
            yield f"... more than {_MOST_LINES} lines"
            return
        yield line
