"""Putting a version back where its rule's files are, name by name; and what a live directory had is kept."""

from __future__ import annotations

import hashlib
import os
import stat

from filewatchd.actions.base import JobContext
from filewatchd.actions.reload import foreign, publishing, restoring
from filewatchd.actions.reload.desk import FINDING, Desk
from filewatchd.actions.reload.entries import FILE, OUTSIDE, Difference, differences, path_of, root_of
from filewatchd.actions.reload.looking import OURS
from filewatchd.actions.reload.record import Version
from filewatchd.actions.reload.restoring import Item


async def tidy(desk: Desk, job: JobContext | None) -> None:
    """Clear what a crash left beside the live directory; edits that nobody has kept are kept first."""
    publish = desk.options.publish
    if publish is None:
        return
    if left := await desk.ctx.pool.run("", publishing.leftover, publish.target):
        await put_away(desk, publish.target, left, job)
    await desk.ctx.pool.run("", publishing.clear, publish.target)


async def keep_former(desk: Desk) -> None:
    """Trees that a live symlink led to before are removed by the next flip, and a kill may have come before a look."""
    if desk.options.publish is not None:
        for tree in await desk.ctx.pool.run("", publishing.former, desk.options.publish.target):
            await keep_tree(desk, tree, None)


async def put_away(desk: Desk, live: str, old: str, job: JobContext | None) -> None:
    """An old tree is kept as a version, and goes; unless there is in it what no version can have."""
    await keep_tree(desk, old, job)
    if old != f"{publishing.Place(live).fresh}/0":
        return  # a symlink's: the next flip removes it
    what = await desk.ctx.pool.run("", _foreign, old)
    if what:
        name = await desk.ctx.pool.run("", publishing.set_aside, live)
        desk.ctx.finding(f"{FINDING}-kept", f"{what} when {live} was exchanged: what it was is {name}; move it away")
    await desk.ctx.pool.run("", publishing.clear, live)


def _foreign(old: str) -> str:
    return foreign.foreign(old) if stat.S_ISDIR(os.lstat(old).st_mode) else f"{old} is no directory"


async def keep_tree(desk: Desk, tree: str, job: JobContext | None) -> None:
    """What was live is kept as a version, unless it is one."""
    taken = await desk.taker_of([tree]).take()
    if not taken.missing and taken.entries and desk.record.find(taken.digest) is None and len(taken.entries) > 1:
        version = await desk.enter(taken, job.id if job is not None else 0, "live")
        version.fate, version.why = "replaced", "found in the live directory"
        desk.ctx.finding(
            f"{FINDING}-live", f"the live directory had been edited: that is kept as version {version.number}"
        )
        await desk.save()


async def put_back(desk: Desk, job: JobContext | None, bad: Version, good: Version) -> str:
    """Put the files of the good version back where the disk has the bad one's. Returns why not; "" if it is done.

    It may have been begun by an attempt that was killed: names that are good already are left alone.
    """
    before, after = await desk.load_set(bad), await desk.load_set(good)
    changed = await desk.ctx.pool.run("state", differences, before, after)
    outside = [each.key for each in changed if each.key.startswith(OUTSIDE)]
    if outside:
        return f"{outside[0][1:]} is outside the roots, and not ours to write; add its directory to the roots"
    async with desk.ctx.lock([path_of(each.key, desk.roots) for each in changed]):
        return await put_back_all(desk, job, changed)


async def put_back_all(desk: Desk, job: JobContext | None, changed: list[Difference]) -> str:
    """As `put_back`; other rules' actions are kept off these files."""
    for each in ordered(changed):
        path = path_of(each.key, desk.roots)
        if each.key.isdigit() and (each.before is None or each.after is None):
            return f"{path} itself came or went"
        item = await desk.ctx.pool.run("state", item_of, desk, each, path)
        try:
            why = await desk.ctx.worker.call(restoring.put_back, item)
        except PermissionError as error:
            owner = f", and to give it to {each.after.uid}:{each.after.gid}" if each.after is not None else ""
            why = f"{error.strerror}: the rule's user must be able to write there{owner}"
        except OSError as error:
            why = error.strerror or str(error)
        if why:
            left = await desk.ctx.pool.run("", os.path.lexists, item.beside)
            return f"{path}: {why}" + (f"; {item.beside} is left, look at it" if left else "")
        if job is not None:
            job.wrote(path)
    folders = sorted({os.path.dirname(path_of(each.key, desk.roots)) for each in changed})
    try:
        await desk.ctx.worker.call(restoring.sync, folders)
    except OSError as error:
        return f"it is back, but may not survive a power loss: {error.strerror}"
    return ""


def ordered(changed: list[Difference]) -> list[Difference]:
    """What goes comes first: a directory after what was in it. A directory that comes precedes what is in it."""
    return [each for each in reversed(changed) if each.after is None] + [each for each in changed if each.after]


def item_of(desk: Desk, each: Difference, path: str) -> Item:
    """What is to be done at a path."""
    data = desk.store.content(each.after) if each.after is not None and each.after.kind == FILE else b""
    name = hashlib.sha256(f"{desk.ctx.rule.name} {each.key}".encode("utf-8", "surrogateescape")).hexdigest()[:16]
    folder = os.path.dirname(path)
    return Item(path, each.before, each.after, data, f"{folder}/{OURS}{name}", root_of(each.key, desk.roots) or folder)
