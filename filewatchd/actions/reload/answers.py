"""What can be asked of a reload, and the documents it answers with. Without a daemon the store answers the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from msgspec import Meta, Struct

from filewatchd.actions import probes, telling
from filewatchd.actions.base import Endpoint
from filewatchd.actions.reload import diffing, units
from filewatchd.actions.reload.desk import Desk, plain
from filewatchd.actions.reload.entries import FILE, Set, differences, path_of
from filewatchd.actions.reload.record import Record, Version
from filewatchd.actions.reload.sight import Sight, Viewer
from filewatchd.actions.reload.store import Store
from filewatchd.errors import ActionError
from filewatchd.notation import path_fields

_MOST_NAMES = 1000


class Seen(Struct, kw_only=True):
    """A version. `fate`: new, passed, good, refused, failed, unhealthy or replaced."""

    version: int
    digest: str
    seen: str
    fate: str
    why: str
    origin: str
    files: int
    bytes: int
    added: int
    changed: int
    removed: int
    applied: str | None
    job: int
    marks: list[str]


class History(Struct, kw_only=True):
    """A rule's versions, the newest first, and where disk and service stand to each other."""

    rule: str
    state: str
    desired: int | None
    applied: int | None
    sure: bool
    good: int | None
    differs: str
    due: Annotated[str | None, Meta(description="When the version that waits is applied.")]
    versions: list[Seen]


class Shown(Struct, kw_only=True):
    """A version and its files. `content`: a file's SHA-256, or "" if it isn't yours to see; a symlink's target."""

    rule: str
    version: Seen
    files: list[dict[str, Any]]
    more: int


class Compared(Struct, kw_only=True):
    """Two versions and what differs."""

    rule: str
    before: str
    after: str
    lines: list[str]


class Planned(Struct, kw_only=True):
    """What a reload would do now. `passed` is null where there is no check."""

    rule: str
    version: str
    passed: bool | None
    output: str
    blind: str
    lines: list[str]
    steps: list[str]


class Asked(Struct, kw_only=True):
    """What has been begun; how it ends stands in the rule's jobs and its history."""

    rule: str
    text: str


class Which(Struct, kw_only=True):
    """A version."""

    version: Annotated[str, Meta(description="A number, the beginning of a digest, or desired, applied, good.")]


class Two(Struct, kw_only=True):
    """Two versions; the good one and what is on the disk where they aren't named."""

    before: Annotated[str, Meta(description="As for show.")] = "good"
    after: Annotated[str, Meta(description="As for show; disk: what is there now.")] = "disk"


ENDPOINTS = (
    Endpoint("history", "The versions of a rule's set, and what became of them.", History),
    Endpoint("show", "A version and its files.", Shown, Which),
    Endpoint("diff", "What differs, secrets masked, in files that who asks may read or act on.", Compared, Two),
    Endpoint("plan", "Check the set on the disk, and say what would be done.", Planned, acts=True),
    Endpoint("rollback", "Put an earlier version back on the disk, check and apply it.", Asked, Which, acts=True),
    Endpoint("retry", "Try the set on the disk again, whatever became of it.", Asked, acts=True),
)


# ---- from record and store alone


def seen(version: Version, record: Record) -> Seen:
    """A version as it is told."""
    marks = [name for name in ("desired", "applied", "good", "live") if getattr(record, name) == version.number]
    return Seen(
        version=version.number, digest=version.digest, seen=moment(version.seen), fate=version.fate, why=version.why,
        origin=version.origin, files=version.files, bytes=version.size, added=version.added, changed=version.changed,
        removed=version.removed, applied=_moment(version.applied or None), job=version.job,
        marks=marks,
    )  # fmt: skip


def moment(seconds: float) -> str:
    """A time as JSON has it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds")


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else moment(seconds)


def history(rule: str, record: Record) -> History:
    """All versions."""
    return History(
        rule=rule, state=record.state.value, desired=record.desired, applied=record.applied, sure=record.sure,
        good=record.good, differs=record.differs, due=_moment(record.due),
        versions=[seen(version, record) for version in reversed(record.versions)],
    )  # fmt: skip


def chosen(record: Record, word: str) -> Version:
    """A version by a word for it.

    Raises:
        ActionError: there is none.
    """
    version = record.resolve(word)
    if version is None and word in ("good", "applied", "desired"):
        raise ActionError(
            f"no version is {word} yet; `filewatchctl reload history` lists those there are", retryable=False
        )
    if version is None:
        raise ActionError(f"there is no version {word}; `filewatchctl reload history` lists them", retryable=False)
    return version


def show(rule: str, record: Record, store: Store, viewer: Viewer, roots: Sequence[str], word: str) -> Shown:
    """A version and its files. Blocks."""
    version = chosen(record, word)
    entries, sight = store.load(version.digest), Sight(viewer, roots)
    files = [
        {**path_fields("path", path_of(key, roots)), "kind": entry.kind, "mode": f"{entry.mode:04o}", "uid": entry.uid,
         "gid": entry.gid, "size": entry.size,
         "content": entry.content if entry.kind != FILE or sight.sees(entries, key) else ""}
        for key, entry in sorted(entries.items())[:_MOST_NAMES]
    ]  # fmt: skip
    return Shown(rule=rule, version=seen(version, record), files=files, more=len(entries) - len(files))


def compare(
    rule: str, store: Store, viewer: Viewer, roots: Sequence[str], one: tuple[str, Set], other: tuple[str, Set]
) -> Compared:
    """Two sets, as far as the viewer may see them. Blocks."""
    changed, sight = differences(one[1], other[1]), Sight(viewer, roots)

    def sees(key: str) -> bool:
        return sight.sees(one[1], key) and sight.sees(other[1], key)

    told = [plain(line) for line in diffing.lines(changed, roots, store.content, sees)]
    return Compared(rule=rule, before=one[0], after=other[0], lines=told)


# ---- with the daemon


def status(desk: Desk) -> Mapping[str, Any]:
    """For `status`."""
    record = desk.record
    return {
        "state": record.state.value,
        "desired": record.desired,
        "applied": record.applied,
        "sure": record.sure,
        "good": record.good,
        "differs": record.differs,
        "due": _moment(record.due),
        "versions": len(record.versions),
        "files_read": desk.taker.read,
        "check": desk.checker.way.value,
    }


def steps(desk: Desk) -> Sequence[str]:
    """What a new set goes through, in words."""
    options = desk.options
    found = [f"check it: {' '.join(options.check.command)}"] if options.check is not None else []
    if options.publish is not None:
        found.append(f"put it into {options.publish.target}")
    found += [telling.describe(options.apply)] if options.apply is not None else []
    found += [f"see that it is healthy: {probes.describe(probe)}" for probe in options.probes]
    if options.mode != "check" and options.on_bad == "restore":
        found.append("if it is bad, put the last good set back")
    return found


def asked(desk: Desk, text: str) -> Asked:
    """What has been begun."""
    return Asked(rule=desk.ctx.rule.name, text=text)


async def answer(desk: Desk, endpoint: str, arguments: Any, viewer: Viewer) -> History | Shown | Compared | Planned:
    """The document of an endpoint, as far as the viewer may see it.

    Raises:
        ActionError: it can't be answered.
    """
    rule, run = desk.ctx.rule.name, desk.ctx.pool.run
    if endpoint == "history":
        return history(rule, desk.record)
    if endpoint == "show":
        return await run("state", show, rule, desk.record, desk.store, viewer, desk.roots, arguments.version)
    if endpoint == "plan":
        return await plan(desk, viewer)
    async with desk.lock:
        one, other = [await named_set(desk, word) for word in (arguments.before, arguments.after)]
    return await run("", compare, rule, desk.store, viewer, desk.roots, one, other)  # it may take a while


async def named_set(desk: Desk, word: str) -> tuple[str, Set]:
    """A version's set, or the disk's, with what it is called."""
    if word == "disk":
        return "disk", (await desk.taker.take()).entries
    version = chosen(desk.record, word)
    return str(version.number), await desk.load_set(version)


async def plan(desk: Desk, viewer: Viewer) -> Planned:
    """Check what is on the disk, and say what would follow; nothing is applied or written down."""
    record, rule = desk.record, desk.ctx.rule.name
    async with desk.lock:
        taken = await desk.taker.take()
        if taken.missing:
            raise ActionError(f"{', '.join(taken.missing)} isn't there", retryable=False)
        verdict = await desk.try_out(taken.entries)
        applied = record.version(record.applied)
        known = await desk.load_set(applied)
    both = ("", known), ("", taken.entries)
    if applied is None:  # all of it would be new
        both = ("", {}), ("", {})
    compared = await desk.ctx.pool.run("", compare, rule, desk.store, viewer, desk.roots, *both)
    found = record.find(taken.digest)
    would = list(steps(desk))
    if found is not None and found.number == record.desired and record.due is not None:
        would.insert(0, f"wait {desk.left()} more ({record.state.value}); `filewatchctl reload retry {rule}` doesn't")
    if record.sure and applied is not None and applied.selected == taken.selected:
        would = ["nothing: the service has this set"]
    elif not verdict.passed:
        would = ["nothing is applied: the check fails"]
        if desk.options.mode == "guard" and desk.options.on_bad == "restore" and record.good is not None:
            would.append(f"version {record.good} is put back")
    if trouble := await units.foretold(desk):
        would.append(trouble)
    return Planned(
        rule=rule, version=str(found.number) if found is not None else "new", output=verdict.text,
        passed=verdict.passed if desk.options.check is not None else None, blind=verdict.blind, lines=compared.lines,
        steps=would,
    )  # fmt: skip
