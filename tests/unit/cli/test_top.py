"""`filewatchctl top`: what it makes of documents, and its keys, without a terminal."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from textual.widgets import DataTable, Static
from textual.worker import WorkerCancelled

from filewatchd.cli.top import figures
from filewatchd.cli.top.app import Pausing, Story, Top
from filewatchd.control.api import RequestError

RULE: dict[str, Any] = {
    "state": "idle",
    "counters": {"changes": 10},
    "dirty": 0,
    "running": 0,
    "failed": 2,
    "held": 0,
    "last": {"outcomes": {"ok": 3, "failed": 1}},
}
STATUS: dict[str, Any] = {
    "host": "h",
    "instance": "main",
    "state": "running",
    "uptime": 65.0,
    "generation": 2,
    "promise": {"kept": True, "reasons": []},
    "process": {"memory": 41 * 2**20, "descriptors": 33},
    "watch": {"watches": 512},
    "state_dir": "/var/lib/filewatchd",
    "config_error": None,
    "rules": {"logs": RULE, "other": {**RULE, "state": "paused", "last": None}},
}
JOB: dict[str, Any] = {
    "id": 7,
    "rule": "logs",
    "state": "failed",
    "trigger": "change",
    "attempt": 2,
    "created": "2026-01-01T00:00:00.000000+00:00",
    "started": "2026-01-01T00:00:01.000000+00:00",
    "finished": "2026-01-01T00:00:03.000000+00:00",
    "paths": 3,
    "open": 1,
    "progress": "",
    "message": "exit \x1b[31m1",
}


# ---- figures


def test_a_rate_is_what_was_counted_over_the_time_between() -> None:
    rate = figures.Rate()
    assert rate.now is None
    for now, count in ((0.0, 100), (1.0, 100), (3.0, 120), (4.0, 5)):
        rate.add(now, count)
    assert list(rate.history) == [0.0, 10.0, 0.0]  # it began anew: nothing is known of that second
    assert rate.now == 0.0


def test_rates_forget_what_is_gone() -> None:
    rates = figures.Rates()
    rates.add(0.0, {"a": 1, "b": 1})
    rates.add(1.0, {"a": 3})
    rates.add(2.0, {"a": 3, "b": 9})
    assert rates.of("a").now == 0.0
    assert rates.of("b").now is None


def test_a_sparkline_has_its_newest_on_the_right_and_shows_what_is_little() -> None:
    assert figures.sparkline([]) == " " * figures.SECONDS
    assert figures.sparkline([0, 0.001, 4, 8], 6) == "   ▁▄█"
    assert figures.sparkline(range(9), 3) == "▆▇█"


@pytest.mark.parametrize(
    ("value", "text"), [(0, "0"), (0.42, "0.4"), (3, "3"), (17.3, "17"), (1234, "1.2k"), (3.4e6, "3.4M")]
)
def test_numbers_are_short(value: float, text: str) -> None:
    assert figures.number(value) == text


def test_the_headline_tells_of_doubt_and_of_a_refused_configuration() -> None:
    assert "promise kept" in figures.headline(STATUS)
    doubt = {"kept": False, "reasons": [{"why": "events were lost"}]}
    line = figures.headline({**STATUS, "promise": doubt, "config_error": "x"})
    assert "IN DOUBT: events were lost" in line
    assert "CONFIGURATION REFUSED" in line


def test_progress_has_a_bar_and_a_rate() -> None:
    rate = figures.Rate()
    rate.add(0.0, 40)
    rate.add(2.0, 50)
    cells = figures.job_cells({**JOB, "done": 50, "total": 100, "unit": "files"}, 3.0, rate)
    assert cells[4:] == ["━━━━━━──────  50%", "5 files/s"]
    assert figures.job_cells({**JOB, "progress": "line \x07"}, 3.0, figures.Rate())[4:] == ["line \\x07", ""]


# ---- keys


class Asked:
    """A daemon's answers, and what was asked of it."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Mapping[str, Any]]] = []

    def __call__(self, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        self.asked.append((name, arguments))
        if name == "status":
            return STATUS
        if name == "jobs":
            return {"jobs": [] if arguments.get("state") == "running" else [JOB]}
        if name == "job":
            told = {"kind": "created", "path": "/a", "outcome": "failed", "message": "no"}
            empty: dict[str, Any] = {"events": [], "attempts": [], "steps": []}
            return {"job": JOB, "delays": {"running": 2.0}, "changes": [told], "output": "text", **empty}
        if name == "retry":
            return {"paths": 1}
        if name == "pause":
            raise RequestError(403, "you may not")
        return {}


async def settled(app: Top) -> None:
    """Wait until nothing is being asked; a look that a newer one took the place of was cancelled."""
    while True:
        try:
            return await app.workers.wait_for_complete()
        except WorkerCancelled:
            await asyncio.sleep(0)


def press(*keys: str) -> tuple[Asked, str, list[str]]:
    """Press keys, each once the last has done its work: what was asked, what is said, and the screens."""

    async def scene() -> tuple[Asked, str, list[str]]:
        asked = Asked()
        app = Top(asked)
        async with app.run_test(size=(120, 40)) as pilot:
            await settled(app)
            await pilot.pause()
            for key in keys:
                await pilot.press(key)
                await settled(app)
                await pilot.pause()
            said = str(app.screen_stack[0].query_one("#message", Static).render())
            assert app.screen_stack[0].query_one("#rules", DataTable).row_count == 2
            return asked, said, [type(screen).__name__ for screen in app.screen_stack[1:]]

    return asyncio.run(scene())


def test_a_jobs_story_opens_and_closes() -> None:
    asked, _, screens = press("tab", "tab", "enter")
    assert ("job", {"id": 7}) in asked.asked
    assert screens == [Story.__name__]
    assert press("tab", "tab", "enter", "escape")[2] == []
    assert ("jobs", {"rule": "logs", "limit": 1}) in press("s")[0].asked


def test_failed_paths_of_a_rule_or_of_a_job_are_retried() -> None:
    asked, said, _ = press("r")
    assert ("retry", {"rule": "logs"}) in asked.asked
    assert said == "1 path tried again"
    assert ("retry", {"id": 7}) in press("tab", "tab", "r")[0].asked


def test_a_rule_is_paused_with_a_reason_and_resumed() -> None:
    assert press("p")[2] == [Pausing.__name__]
    asked, said, screens = press("p", "x", "enter")
    assert ("pause", {"rule": "logs", "seconds": 1800.0, "reason": "x"}) in asked.asked
    assert (said, screens) == ("you may not", [])
    asked, said, _ = press("down", "p")
    assert ("resume", {"rule": "other"}) in asked.asked
    assert said == "other goes on"
