"""How ``seal`` works: it uses everything that an action is given."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Protocol

from msgspec import Meta, Struct

from filewatchd.actions.base import Command, Context, JobContext, Schedule
from filewatchd.errors import ActionError
from filewatchd.model import OK, Change, Kind, Outcome, Trigger, Verdict

_TABLES = (
    "CREATE TABLE {seals} (path BLOB PRIMARY KEY, digest TEXT NOT NULL)",
    "ALTER TABLE {seals} ADD COLUMN sealed_ns INTEGER NOT NULL DEFAULT 0",
)
_CHUNK = 1 << 20


class Which(Struct, frozen=True, kw_only=True):
    """Which seals."""

    limit: Annotated[int, Meta(ge=1, le=1000, description="At most so many.")] = 100


class Seals(Struct, kw_only=True):
    """Seals."""

    seals: Annotated[dict[str, str], Meta(description="The checksum of each file.")]


class Forget(Struct, frozen=True, kw_only=True):
    """Which seal."""

    path: Annotated[str, Meta(min_length=1, description="The file's path.")]


class Forgotten(Struct, kw_only=True):
    """A seal that was forgotten."""

    digest: str


class SealOptions(Protocol):
    """The options, as this module needs them."""

    @property
    def into(self) -> str: ...
    @property
    def move(self) -> bool: ...
    @property
    def tool(self) -> tuple[str, ...]: ...
    @property
    def audit_every(self) -> float: ...


class SealAction:
    """See `filewatchd.actions.base.Action`."""

    def __init__(self, options: SealOptions, ctx: Context) -> None:
        self._options = options
        self._ctx = ctx
        self._forget: dict[str, Any] = {}  # path -> cancels its wake-up
        ctx.tables.migrate(_TABLES)
        ctx.on_effect(self._other_effect)
        ctx.timers.every("audit", options.audit_every, self._audit)
        ctx.timers.calendar("report", Schedule("day", at="03:30"), self._report)

    # ---- life

    async def recover(self) -> None:
        """Undo seals that were begun and not finished: the file is sealed again by its next attempt."""
        for job in self._ctx.unfinished():
            for step in job.steps.recorded():
                if step.name == "sealing":
                    await self._ctx.pool.run("", remove, str(step.data["seal"]))
            await job.steps.clear()
            self._ctx.log.info("undid an interrupted seal of job %d", job.job)

    def reconfigure(self, options: SealOptions) -> bool:
        """The period can change in place, another directory can't."""
        if options.into != self._options.into:
            return False
        self._options = options
        self._ctx.timers.cancel("audit")
        self._ctx.timers.every("audit", options.audit_every, self._audit)
        return True

    async def stop(self, grace: float) -> None:
        """Stop listening for writes."""
        for cancel in self._forget.values():
            cancel()
        self._forget.clear()

    def statistics(self) -> Mapping[str, Any]:
        """How many files are sealed."""
        return {"sealed": self._count(), "watched": len(self._forget)}

    # ---- what may be asked over the control socket

    async def answer(self, endpoint: str, arguments: Any) -> Seals | Forgotten:
        """The seals, or one of them forgotten."""
        if endpoint == "seals":
            rows = self._ctx.tables.execute(
                "SELECT path, digest FROM {seals} ORDER BY path LIMIT ?", (arguments.limit,)
            )
            return Seals(seals={os.fsdecode(path): digest for path, digest in rows})
        path = os.fsencode(arguments.path)
        rows = self._ctx.tables.execute("DELETE FROM {seals} WHERE path = ? RETURNING digest", (path,))
        if not rows:
            raise ActionError(f"{arguments.path} has no seal")
        return Forgotten(digest=rows[0][0])

    # ---- work

    def plan(self, job: JobContext) -> Sequence[str]:
        """What would be sealed and forgotten."""
        return [f"{'forget' if c.kind is Kind.DELETED else 'seal'} {c.path}" for c in job.changes]

    async def run(self, job: JobContext) -> Mapping[str, Outcome]:
        """Seal what is there, forget what is gone."""
        if job.dry_run:
            return {change.path: Outcome(Verdict.SKIPPED, "dry run") for change in job.changes}
        outcomes = {}
        for done, change in enumerate(list(job.changes), 1):
            if job.cancelled:
                break
            outcomes[change.path] = await self._one(job, change)
            job.progress(done, len(job.changes), "files")
        return outcomes

    async def _one(self, job: JobContext, change: Change) -> Outcome:
        if change.kind is Kind.DELETED:
            self._ctx.tables.execute("DELETE FROM {seals} WHERE path = ?", (os.fsencode(change.path),))
            job.effect("removed", change.path)
            return OK
        try:
            digest = await self._ctx.pool.run("", self._digest, change.path)
        except FileNotFoundError:
            return Outcome(Verdict.SKIPPED, "it is gone")
        except ActionError as error:
            return Outcome(Verdict.REJECTED, str(error))
        await self._seal(job, change.path, digest)
        return OK

    async def _seal(self, job: JobContext, path: str, digest: str) -> None:
        """Write the seal, step by step, so that an interruption can be undone."""
        seal = os.path.join(self._options.into, f"{os.path.basename(path)}.seal")
        async with self._ctx.lock([seal]):  # another rule's may lie in the same directory
            await job.steps.record("sealing", {"seal": seal})
            await self._ctx.pool.run("", write, seal, digest)
            job.wrote(seal)
            await self._sign(job, seal)
        if self._options.move:
            moved = os.path.join(self._options.into, os.path.basename(path))
            await self._ctx.pool.run("", os.rename, path, moved)
            job.effect("moved", path, moved)
        now = self._ctx.clock.wall_ns()
        row = (os.fsencode(path), digest, now)
        self._ctx.tables.execute("INSERT OR REPLACE INTO {seals} VALUES (?, ?, ?)", row)
        await job.steps.clear()
        job.output(f"{digest}  {path}\n".encode("utf-8", "surrogateescape"))
        self._ctx.count("sealed")
        self._ctx.clear_finding(f"broken:{path}")
        self._forget[path] = self._ctx.wake_on_write(path, lambda: self._written(path))
        self._ctx.timers.at(f"expire:{path}", now / 1e9 + 86400, lambda: self._expire(path))

    async def _sign(self, job: JobContext, seal: str) -> None:
        if not self._options.tool:
            return
        command = Command((*self._options.tool, seal), {"PATH": "/usr/bin:/bin"}, timeout=job.timeout)
        finished = await self._ctx.spawn.run(command, job.output)
        if finished.code != 0:
            raise ActionError(f"{self._options.tool[0]} didn't sign {seal}: exit status {finished.code}")

    def _digest(self, path: str) -> str:
        fd = self._ctx.safe_open(path)
        hasher = hashlib.sha256()
        try:
            while piece := os.read(fd, _CHUNK):
                hasher.update(piece)
        finally:
            os.close(fd)
        return hasher.hexdigest()

    # ---- what happens between jobs

    def _written(self, path: str) -> None:
        """Somebody writes to a sealed file: a person should know."""
        self._forget.pop(path, None)
        self._ctx.finding(f"broken:{path}", "a sealed file was written", path)

    def _expire(self, path: str) -> None:
        self._ctx.request_job(Trigger.SCHEDULE, [path])

    def _report(self) -> None:
        self._ctx.log.info("rule %s has %d seals", self._ctx.rule.name, self._count())

    def _audit(self) -> None:
        self._ctx.follow_up("audit", self._count_seals())

    async def _count_seals(self) -> None:
        """Whether there is a seal for each row; takes its time, so it holds no job's place."""
        await asyncio.sleep(0)
        there = await self._ctx.pool.run("", count_files, self._options.into)
        if there < self._count():
            self._ctx.finding("missing", f"{self._count() - there} seals are missing", self._options.into)

    def _other_effect(self, kind: str, old: str, new: str | None) -> None:
        """Another action moved a sealed file: the seal's row moves along."""
        if kind == "moved" and new is not None:
            self._ctx.tables.execute("UPDATE {seals} SET path = ? WHERE path = ?", (os.fsencode(new), os.fsencode(old)))

    def _count(self) -> int:
        return int(self._ctx.tables.execute("SELECT count(*) FROM {seals}")[0][0])


def write(path: str, text: str) -> None:
    """Write a small file."""
    with open(path, "w", encoding="ascii") as file:
        file.write(f"{text}\n")


def remove(path: str) -> None:
    """Remove a file that may be there."""
    if os.path.exists(path):
        os.unlink(path)


def count_files(directory: str) -> int:
    """How many seals a directory has."""
    return sum(name.endswith(".seal") for name in os.listdir(directory))
