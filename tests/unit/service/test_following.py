"""The route `changes`: what a reader gets of the history, from where, and what it is told when that is gone."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from filewatchd.control import documents
from filewatchd.control.api import Peer, RequestError
from filewatchd.control.arguments import Changes
from filewatchd.errors import StateError
from filewatchd.jobs.changes import ChangeHistory, Source
from filewatchd.jobs.journal import Journal, NewJob
from filewatchd.model import Change, FileIdentity, Kind, Trigger
from filewatchd.service.following import NEWEST, Following
from filewatchd.service.lines import PAGE, Batch, Batches
from filewatchd.state.database import Database
from filewatchd.testing.clock import FakeClock, settle

_ROOT = Peer(1, 0, 0)
_LABEL = {"host": "here", "instance": "main"}


class Scene:
    """A history to write, and readers of it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.journal = Journal(database)
        self.history = self.journal.history
        self.configured = asyncio.Event()
        self.configured.set()
        idle = SimpleNamespace(window=(), taken=())
        store, pipelines = SimpleNamespace(journal=self.journal), {"rule": idle, "other": idle}
        generations = SimpleNamespace(digest=lambda rule: "")
        engine: Any = SimpleNamespace(
            store=store, pipelines=pipelines, rules=pipelines, clock=FakeClock(), generations=generations
        )
        self.following = Following(engine, lambda: _LABEL, self.configured)

    def write(self, *names: str, rule: str = "rule", root: str = "/in", **more: Any) -> None:
        changes = [Change(Kind.CREATED, f"{root}/{name}", root, FileIdentity(1, 2, 3, 4)) for name in names]
        self.write_changes(changes, rule, **more)

    def write_changes(self, changes: Sequence[Change], rule: str = "rule", sources: bytes = b"") -> None:
        self.journal.start(NewJob(rule, Trigger.CHANGE, 1, changes, 1_750_000_000_123_456_789, 1, sources=sources))

    def forget(self, rows: int) -> None:
        oldest = "SELECT first FROM changes ORDER BY first LIMIT ?"
        self.database.execute(f"DELETE FROM changes WHERE first IN ({oldest})", (rows,))

    async def pieces(self, **asked: Any) -> AsyncIterator[bytes]:
        return (await self.following.changes(Changes(**asked), _ROOT)).pieces

    async def ask(self, **asked: Any) -> list[dict[str, Any]]:
        return lines([piece async for piece in await self.pieces(**asked)])

    async def paths(self, **asked: Any) -> list[str]:
        return [line["path"].removeprefix("/in/") for line in await self.ask(**asked)]


def lines(pieces: Sequence[bytes]) -> list[dict[str, Any]]:
    assert all(piece.endswith(b"\n") for piece in pieces)
    found = [json.loads(line) for line in b"".join(pieces).splitlines()]
    for line in found:
        kind: Any = documents.Missed if "missed" in line else documents.ChangeLine
        assert msgspec.to_builtins(msgspec.convert(line, kind)) == line
    return found


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database(str(tmp_path / "journal.db")) as opened:
        yield opened


def play(database: Database, story: Callable[[Scene], Awaitable[None]]) -> None:
    async def staged() -> None:
        await story(Scene(database))

    asyncio.run(staged())


def test_a_line_has_the_documented_fields(database: Database) -> None:
    async def story(scene: Scene) -> None:
        moved = Change(Kind.MOVED, "/in/b", "/in", FileIdentity(1, 2, 3, 4), "/in/a")
        scene.write_changes([moved], sources=bytes([Source.RESCAN]))
        (line,) = await scene.ask()
        assert line == {
            "host": "here",
            "instance": "main",
            "cursor": scene.history.cursor(scene.history.newest),
            "time": "2025-06-15T15:06:40.123456+00:00",
            "kind": "moved",
            "path": "/in/b",
            "old_path": "/in/a",
            "is_dir": False,
            "root": "/in",
            "rules": ["rule"],
            "job": 1,
            "source": "rescan",
        }

    play(database, story)


def test_names_of_any_bytes_are_told(database: Database) -> None:
    async def story(scene: Scene) -> None:
        name = os.fsdecode(b"\xff")
        scene.write("ä", name, root=f"/in{name}")
        scene.write_changes([Change(Kind.MOVED, "/in/b", "/in", FileIdentity(1, 2, 3, 4), f"/in/{name}")])
        plain, odd, moved = await scene.ask()
        assert (plain["path"], base64.b64decode(plain["path_b64"])) == ("/in\ufffd/ä", b"/in\xff/\xc3\xa4")
        assert (odd["path"], base64.b64decode(odd["path_b64"])) == ("/in\ufffd/\ufffd", b"/in\xff/\xff")
        assert base64.b64decode(odd["root_b64"]) == b"/in\xff"
        assert (moved["path"], "path_b64" in moved) == ("/in/b", False)
        assert (moved["old_path"], base64.b64decode(moved["old_path_b64"])) == ("/in/\ufffd", b"/in/\xff")

    play(database, story)


def test_the_newest_are_told_unless_something_else_is_said(database: Database) -> None:
    async def story(scene: Scene) -> None:
        assert await scene.paths() == []
        for start in range(0, 300, 50):
            scene.write(*(f"{number}" for number in range(start, start + 50)))
        assert await scene.paths() == [f"{number}" for number in range(300 - NEWEST, 300)]
        assert await scene.paths(limit=3) == ["297", "298", "299"]
        assert await scene.paths(limit=1000) == [f"{number}" for number in range(300)]
        assert await scene.paths(since="0") == [f"{number}" for number in range(300)]
        assert await scene.paths(since="0", limit=70) == [f"{number}" for number in range(70)]

    play(database, story)


def test_from_any_cursor_all_that_came_after_it_is_told(database: Database) -> None:
    async def story(scene: Scene) -> None:
        for size in (1, PAGE - 1, PAGE, PAGE + 1, 5 * PAGE, 1, 2):
            begin = scene.history.newest
            scene.write(*(f"{begin + number}" for number in range(size)))
        everything = await scene.ask(since="0")
        for place, line in enumerate(everything):
            assert await scene.ask(since=line["cursor"]) == everything[place + 1 :]

    play(database, story)


def test_only_the_changes_of_one_rule_or_below_one_path_are_told(database: Database) -> None:
    async def story(scene: Scene) -> None:
        for number in range(3):
            scene.write(f"a/{number}", f"ab/{number}")
            scene.write(f"a/other{number}", rule="other")
        identity = FileIdentity(1, 2, 3, 4)
        scene.write_changes([Change(Kind.MOVED, "/in/b", "/in", identity, "/in/a/moved")])
        ours = ["a/0", "ab/0", "a/1", "ab/1", "a/2", "ab/2", "b"]
        assert await scene.paths(rule="rule") == await scene.paths(rule="rule", since="0") == ours
        assert await scene.paths(rule="other", limit=2) == ["a/other1", "a/other2"]
        below = ["a/0", "a/1", "a/2", "b"]
        for path in ("/in/a", "/in/a/"):
            assert await scene.paths(rule="rule", path=path, since="0") == below
        assert await scene.paths(rule="rule", path="/in/a", limit=2) == ["a/2", "b"]
        assert await scene.paths(rule="rule", path="/in/a", since="0", limit=2) == ["a/0", "a/1"]
        assert await scene.paths(path_b64=base64.b64encode(b"/in/ab/1").decode()) == ["ab/1"]
        assert len(await scene.paths(path="/")) == 10
        assert await scene.paths(rule="never") == []

    play(database, story)


async def refused(scene: Scene, **asked: Any) -> RequestError:
    with pytest.raises(RequestError) as caught:
        await scene.ask(**asked)
    return caught.value


def test_what_is_wrong_with_the_arguments_is_said(database: Database) -> None:
    async def story(scene: Scene) -> None:
        for asked, message in (
            ({"path": "a"}, "isn't absolute"),
            ({"path_b64": "!"}, "isn't base64"),
            ({"path": "/a", "path_b64": "L2E="}, "give one of them"),
            ({"since": "yesterday"}, "since: 'yesterday' is no cursor"),
        ):
            error = await refused(scene, **asked)
            assert error.status == 400
            assert message in str(error)
        error = await refused(scene, rule="never", follow=True)
        assert (error.status, str(error)) == (404, "there is no rule never; there are rule, other")

    play(database, story)


def test_a_cursor_that_cant_be_gone_on_from_is_gone_and_the_oldest_is_named(database: Database) -> None:
    async def story(scene: Scene) -> None:
        for number in range(5):
            scene.write(f"{number}")
        first = (await scene.ask(since="0"))[0]["cursor"]
        scene.forget(3)
        for cursor, why in ((first, "forgotten"), (f"{'0' * 16}-1", "began anew")):
            error = await refused(scene, since=cursor)
            assert error.status == 410
            assert why in str(error)
            assert await scene.paths(since=error.more["oldest"]) == ["3", "4"]

    play(database, story)


async def take(pieces: AsyncIterator[bytes], most: int) -> list[dict[str, Any]]:
    """So many lines, or more if they come in one piece."""
    found: list[dict[str, Any]] = []
    while len(found) < most:
        found += lines([await anext(pieces)])
    return found


def test_a_follower_gets_what_comes(database: Database) -> None:
    async def story(scene: Scene) -> None:
        scene.write("before")
        since = scene.history.cursor(scene.history.newest)
        live, resumed, counted, one = [
            await scene.pieces(follow=True, **asked)
            for asked in ({}, {"since": since}, {"since": "0", "limit": 3}, {"rule": "other"})
        ]
        waiting = asyncio.ensure_future(anext(live))
        await settle()
        assert not waiting.done()
        scene.write("a", "b")
        assert [line["path"] for line in lines([await waiting])] == ["/in/a", "/in/b"]
        scene.write("c", rule="other")
        assert [line["path"] for line in await take(live, 1)] == ["/in/c"]
        assert [line["path"] for line in await take(resumed, 3)] == ["/in/a", "/in/b", "/in/c"]
        assert [line["path"] for line in lines([piece async for piece in counted])] == ["/in/before", "/in/a", "/in/b"]
        assert [line["path"] for line in await take(one, 1)] == ["/in/c"]

    play(database, story)


def test_a_follower_of_a_rule_waits_until_the_rules_are_known(database: Database) -> None:
    async def story(scene: Scene) -> None:
        scene.configured.clear()
        asked = asyncio.ensure_future(scene.pieces(rule="rule", follow=True))
        await settle()
        assert not asked.done()
        scene.configured.set()
        await asked

    play(database, story)


def test_a_follower_that_falls_behind_is_told_how_much_it_missed(database: Database) -> None:
    async def story(scene: Scene) -> None:
        scene.write("a")
        pieces = await scene.pieces(since="0", follow=True)
        await take(pieces, 1)
        for number in range(4):
            scene.write(f"lost{number}", f"lost too{number}")
        scene.write("b", "c")
        scene.forget(5)
        missed, *rest = await take(pieces, 3)
        assert missed["missed"] == 8
        assert [line["path"] for line in rest] == ["/in/b", "/in/c"]
        assert await scene.paths(since=missed["cursor"]) == ["b", "c"]

    play(database, story)


def test_what_is_forgotten_under_a_reader_is_told_too(database: Database) -> None:
    """It had looked which batches come next."""

    async def story(scene: Scene) -> None:
        names = [f"{number:0>200}" for number in range(3 * PAGE)]
        for _ in range(3):
            scene.write(*names)
        pieces = await scene.pieces(since="0")
        got = await take(pieces, 1)
        scene.forget(2)
        rest = lines([piece async for piece in pieces])
        (missed,) = [line["missed"] for line in rest if "missed" in line]
        assert len(got) + len(rest) - 1 + missed == 9 * PAGE
        assert [line["path"].removeprefix("/in/") for line in rest[-3 * PAGE :]] == names

    play(database, story)


def test_a_piece_is_bounded_however_long_the_names(database: Database) -> None:
    async def story(scene: Scene) -> None:
        scene.write(*(f"{number}" for number in range(1000)))
        pieces = [piece async for piece in await scene.pieces(since="0")]
        assert len(lines(pieces)) == 1000
        assert max(map(len, pieces)) < 32 * 1024

    play(database, story)


def test_a_line_is_encoded_once_for_all_and_kept_while_somebody_reads(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded: list[int] = []
    line = Batch._line

    def counting(batch: Batch, change: Change, index: int) -> bytes:
        encoded.append(index)
        return line(batch, change, index)

    monkeypatch.setattr(Batch, "_line", counting)

    async def story(scene: Scene) -> None:
        followers = [await scene.pieces(since="0", follow=True) for _ in range(20)]
        scene.write(*(f"{number}" for number in range(100)))
        for follower in followers:
            await take(follower, 100)
        assert len(encoded) == 100
        for follower in followers:
            await follower.aclose()  # type: ignore[attr-defined]
        assert len(await scene.paths(since="0")) == 100
        assert len(encoded) == 200

    play(database, story)


def test_few_batches_are_kept_in_memory(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("filewatchd.service.lines._KEPT", 10)
    journal = Journal(database)
    history: ChangeHistory = journal.history
    change = Change(Kind.CREATED, "/in/a", "/in", FileIdentity(1, 2, 3, 4))
    for size in (4, 4, 4, 20):
        journal.start(NewJob("rule", Trigger.CHANGE, 1, [change] * size, 1, 1))
    first, second, third, large = (stub.first for stub in history.after(history.begin(), 10))
    batches = Batches(history, lambda: _LABEL)
    kept = [batches.get(first), batches.get(second)]
    assert batches.get(first) is kept[0]
    batches.get(third)
    assert batches.get(first) is kept[0]
    assert batches.get(second) is not kept[1]
    assert batches.get(large) is batches.get(large)
    assert batches.get(first) is not kept[0]
    assert batches.get(large + 1) is None


def test_a_history_that_cant_be_read_cuts_the_reader_off(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(scene: Scene) -> None:
        scene.write("a")
        pieces = await scene.pieces(since="0")

        def fail(*_: Any) -> None:
            raise StateError("the disk fails", path="journal.db")

        monkeypatch.setattr(ChangeHistory, "row", fail)
        with pytest.raises(ConnectionAbortedError, match="the disk fails"):
            await anext(pieces)

    play(database, story)
