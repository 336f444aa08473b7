"""A plug-in for the daemon under test, laid out as pip does; its action ``probe`` writes down what is done to it."""

from __future__ import annotations

from pathlib import Path

_PLUGIN = '''
import json, os
from typing import Annotated, Any
from msgspec import Struct
from filewatchd.actions.base import Needs, Use
from filewatchd.errors import ActionError
from filewatchd.model import OK

name = "probe"


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens to an action, line by line."""

    record: str
    mark: str = ""
    anew: bool = False  # can't be taken in place
    broken: bool = False  # can't be opened nor taken
    wait: bool = False
    use: str = "any"
    extras: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    events: tuple[str, ...] = ()


def check(options, rule):
    return ()


def rule_defaults(options):
    return {}


def needs(options):
    return Needs(
        use=Use(options.use), extras=options.extras, capabilities=options.capabilities, events=frozenset(options.events)
    )


def open(options, ctx):
    if options.broken:
        raise ActionError("a broken probe")
    return Probe(options, ctx)


class Probe:
    def __init__(self, options, ctx):
        self.options, self.ctx, self.jobs = options, ctx, 0
        ctx.tables.migrate(["CREATE TABLE {seen} (path TEXT)"])
        self.say("open")

    def say(self, what):
        with __builtins__["open"](self.options.record, "a") as record:
            record.write(f"{what} {self.options.mark}\\n")

    async def recover(self):
        self.say(f"recover {len(self.ctx.unfinished())}")

    async def run(self, job):
        self.jobs += 1
        await job.steps.record("begun")
        for change in job.changes:
            self.ctx.tables.execute("INSERT INTO {seen} VALUES (?)", (change.path,))
        self.say(f"begin {self.ctx.rule.settle:g}")
        if self.options.wait:
            await self.ctx.pool.run("", self.wait)
        seen = self.ctx.tables.execute("SELECT count(*) FROM {seen}")[0][0]
        self.say(f"end {seen}")
        await job.steps.clear()
        return OK

    def wait(self):
        with __builtins__["open"](self.options.record + ".door") as door:
            door.read()

    def plan(self, job):
        return []

    def reconfigure(self, options):
        if options.broken:
            raise RuntimeError("a broken probe")
        if options.anew:
            return False
        self.options = options
        self.say("reconfigure")
        return True

    async def stop(self, grace):
        self.say("stop")

    def statistics(self):
        return {"jobs": self.jobs}
'''


def install(site: Path) -> None:
    """Put the plug-in into a directory for PYTHONPATH."""
    info = site / "filewatchd_probe-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "filewatchd_probe.py").write_text(_PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: filewatchd-probe\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[filewatchd.actions]\nprobe = filewatchd_probe\n")
