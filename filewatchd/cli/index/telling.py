"""Records and changes of the index as JSON, and as lines for people."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from filewatchd.cli.index.opening import absolute
from filewatchd.cli.page import BAD, FAINT, GOOD, WARNING
from filewatchd.cli.text import path_in
from filewatchd.cli.text import size as size_text
from filewatchd.notation import path_fields

if TYPE_CHECKING:
    from filewatchd.state.index.rows import Change, Record, Root, Run

STYLES = {
    "new": GOOD, "modified": WARNING, "metadata": WARNING, "touched": FAINT, "moved": GOOD, "older": WARNING,
    "deleted": BAD, "corrupt": BAD, "rewritten": BAD, "unreadable": BAD, "unstable": WARNING, "root-gone": BAD,
}  # fmt: skip
STATE_STYLES = {
    "open": BAD,
    "pending": WARNING,
    "rejected": BAD,
    "approved": GOOD,
    "cleared": FAINT,
}


def moment(nanoseconds: int | None) -> str | None:
    """RFC 3339 with microseconds; None for none, or for one that no calendar has."""
    if nanoseconds is None:
        return None
    try:
        return datetime.fromtimestamp(nanoseconds / 1e9, UTC).isoformat(timespec="microseconds")
    except (ValueError, OverflowError, OSError):
        return None


def seconds(verified: int | None) -> str | None:
    """The moment of a whole second; None for 0, which is never."""
    return moment(verified * 1_000_000_000) if verified else None


def record(found: Record | None) -> dict[str, Any] | None:
    """What is known of a file."""
    if found is None:
        return None
    attributes = found.attributes
    is_directory = found.type.value == "directory"
    target = {} if attributes.target is None else path_fields("target", os.fsdecode(attributes.target))
    document: dict[str, Any] = {
        "type": found.type.value,
        **target,
        "size": None if is_directory else found.identity.size,
        "mtime": None if is_directory else moment(found.identity.mtime_ns),
        "inode": found.identity.ino,
        "algorithm": found.algorithm or None,
        "digest": None if found.digest is None else found.digest.hex(),
        "verified": seconds(found.verified),
        "mode": None if attributes.mode is None else f"{attributes.mode & 0o7777:04o}",
        "uid": attributes.uid,
        "gid": attributes.gid,
        "links": attributes.links,
    }
    return document | {
        name: value.hex() for name, value in (("xattr", attributes.xattr), ("acl", attributes.acl)) if value
    }


def row(root: Root, path: str, found: Record) -> dict[str, Any]:
    """A path and its row."""
    return {"rule": root.rule, **path_fields("path", absolute(root.root, path)), **(record(found) or {})}


def change(found: Change, root: Root) -> dict[str, Any]:
    """A change."""
    old = {} if found.old_path is None else path_fields("old_path", absolute(root.root, found.old_path))
    return {
        "id": found.id, "rule": root.rule, **path_fields("path", absolute(root.root, found.path)), **old,
        "verdict": found.verdict.value, "state": found.state.value, "found": moment(found.found_ns),
        "last": moment(found.last_ns), "times": found.times, "message": found.message, "label": found.label,
        "before": record(found.before), "after": record(found.after), "decided": moment(found.decided_ns),
        "uid": found.uid, "comment": found.comment,
    }  # fmt: skip


def run(found: Run) -> dict[str, Any]:
    """A build, verify or scrub."""
    return {
        "id": found.id, "rule": found.rule, "kind": found.kind, "mode": found.mode, **path_fields("scope", found.scope),
        "state": found.state, "began": moment(found.began_ns), "ended": moment(found.ended_ns), "files": found.files,
        "total": found.total, "bytes": found.bytes, "findings": found.findings, "uid": found.uid,
    }  # fmt: skip


# ---- for people


def digest_text(document: Mapping[str, Any], digits: int = 16) -> str:
    """``sha256:0123...``; 0 digits: all."""
    digest = document.get("digest")
    if digest is None:
        return ""
    return f"{document['algorithm']}:{digest[:digits] if digits else digest}"


def content_text(document: Mapping[str, Any]) -> str:
    """Where a symlink led, or a file's digest."""
    return _text(document, "target") if "target" in document else digest_text(document)


def difference(document: Mapping[str, Any]) -> str:
    """What is other than before, shortly: ``size 1 B -> 2 B, mode 0644 -> 0600``."""
    before, after = document.get("before"), document.get("after")
    if before is None or after is None:
        return str(document.get("message") or "")
    found = [f"{name} {_text(before, name)} -> {_text(after, name)}" for name in ("type", "target")
             if _text(before, name) != _text(after, name)]  # fmt: skip
    names = ("uid", "gid") if found else ("size", "mode", "uid", "gid", "links")  # the others are other with it
    for name in names:
        if None not in (before[name], after[name]) and before[name] != after[name]:
            old, new = (size_text(each[name]) if name == "size" else str(each[name]) for each in (before, after))
            found.append(f"{name} {old} -> {new}")
    if "size" in names and before["digest"] != after["digest"] and before["size"] == after["size"]:
        found.append("content")
    found += [name for name in ("xattr", "acl") if before.get(name) != after.get(name)]
    return ", ".join(found) or str(document.get("message") or "")


def _text(document: Mapping[str, Any], name: str) -> str:
    return path_in(document, name) if name in document else "nowhere"
