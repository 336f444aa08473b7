"""Who may use a file: sharers together, owners alone, first come first served, and no waiting for oneself."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from filewatchd.jobs.filelocks import FileLocks, holding_nothing
from filewatchd.testing import FakePool, settle

Hold = Callable[..., asyncio.Task[None]]


class Users:
    """Tasks that hold files until they are let go."""

    def __init__(self) -> None:
        self.locks = FileLocks(FakePool())
        self.doors: dict[str, asyncio.Event] = {}
        self.inside: list[str] = []

    def enter(self, who: str, *paths: object, shared: bool = False) -> asyncio.Task[None]:
        self.doors[who] = asyncio.Event()
        work = self._hold(who, [str(path) for path in paths], shared)
        return asyncio.get_running_loop().create_task(work, context=holding_nothing())

    async def _hold(self, who: str, paths: list[str], shared: bool) -> None:
        async with self.locks.hold(paths, shared=shared):
            self.inside.append(who)
            await self.doors[who].wait()
            self.inside.remove(who)

    async def leave(self, who: str) -> None:
        self.doors[who].set()
        await settle()


def play(work: Callable[[Users], Awaitable[None]]) -> None:
    async def main() -> None:
        users = Users()
        await work(users)
        for door in users.doors.values():
            door.set()
        await settle()
        assert not users.locks._turns, "nothing is remembered of files that nobody uses"

    asyncio.run(main())


def test_one_has_a_file_to_itself_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    os.link(tmp_path / "a", tmp_path / "b")

    async def work(users: Users) -> None:
        users.enter("first", tmp_path / "a")
        users.enter("second", tmp_path / "b")
        users.enter("other", tmp_path / "missing")
        await settle()
        assert users.inside == ["first", "other"]
        await users.leave("first")
        assert users.inside == ["other", "second"]

    play(work)


def test_sharers_are_together_and_who_came_first_is_first(tmp_path: Path) -> None:
    async def work(users: Users) -> None:
        users.enter("reader 1", tmp_path, shared=True)
        users.enter("reader 2", tmp_path, shared=True)
        users.enter("writer", tmp_path)
        users.enter("reader 3", tmp_path, shared=True)
        await settle()
        assert users.inside == ["reader 1", "reader 2"]
        await users.leave("reader 1")
        assert users.inside == ["reader 2"]
        await users.leave("reader 2")
        assert users.inside == ["writer"]
        await users.leave("writer")
        assert users.inside == ["reader 3"]

    play(work)


def test_who_gives_up_waiting_lets_the_next_one_in(tmp_path: Path) -> None:
    async def work(users: Users) -> None:
        users.enter("reader 1", tmp_path, shared=True)
        waiting = users.enter("writer", tmp_path)
        users.enter("reader 2", tmp_path, shared=True)
        await settle()
        waiting.cancel()
        await settle()
        assert users.inside == ["reader 1", "reader 2"]

    play(work)


def test_who_is_cancelled_as_it_is_let_in_gives_the_file_back(tmp_path: Path) -> None:
    async def work(users: Users) -> None:
        users.enter("first", tmp_path)
        second = users.enter("second", tmp_path)
        users.enter("third", tmp_path)
        await settle()
        users.doors["first"].set()
        await asyncio.sleep(0)  # the first goes, and lets the second in, which will know it in its next turn
        second.cancel()
        await settle()
        assert users.inside == ["third"]

    play(work)


def test_two_files_in_any_order_are_no_deadlock(tmp_path: Path) -> None:
    async def work(users: Users) -> None:
        for who, paths in (("first", ("a", "b")), ("second", ("b", "a")), ("third", ("a", "b"))):
            users.enter(who, *(tmp_path / path for path in paths))
        for who in ("first", "second", "third"):
            await settle()
            assert users.inside == [who]
            await users.leave(who)

    play(work)


def test_what_a_task_holds_it_may_ask_for_again(tmp_path: Path) -> None:
    async def work(users: Users) -> None:
        path = str(tmp_path)
        async with users.locks.hold([path]), users.locks.hold([path], shared=True), users.locks.hold([path]):
            users.enter("other", path)
            await settle()
            assert users.inside == []
        await settle()
        assert users.inside == ["other"]

    play(work)


def test_what_a_task_started_meanwhile_held_ends_with_it(tmp_path: Path) -> None:
    async def work(users: Users) -> None:
        path, go_on = str(tmp_path), asyncio.Event()

        async def outlives() -> None:
            async with users.locks.hold([path]):  # held by who started it
                users.inside.append("within")
            await go_on.wait()
            async with users.locks.hold([path]):
                users.inside.append("later")

        async with users.locks.hold([path]):
            task = asyncio.ensure_future(outlives())
            await settle()
            assert users.inside == ["within"]
        users.enter("other", path)
        await settle()
        go_on.set()
        await settle()
        assert users.inside == ["within", "other"]
        await users.leave("other")
        await task
        assert users.inside == ["within", "later"]

    play(work)


def test_a_shared_file_is_not_asked_for_alone(tmp_path: Path) -> None:
    async def work(users: Users) -> None:
        async with users.locks.hold([str(tmp_path)], shared=True):
            with pytest.raises(RuntimeError, match="exclusive use from the start"):
                async with users.locks.hold([str(tmp_path)]):
                    raise AssertionError("it waits for itself")

    play(work)
