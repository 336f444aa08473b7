"""File work with a rule's rights, in threads and in real processes of another user."""

from __future__ import annotations

import asyncio
import os
import pwd
import signal
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from posixpath import basename
from typing import NamedTuple

import pytest

from filewatchd.errors import ActionError
from filewatchd.testing import FakeWorker
from filewatchd.work import employee as module
from filewatchd.work import workers
from filewatchd.work.cgroup import Groups
from filewatchd.work.helper import Commands
from filewatchd.work.pool import Pool
from filewatchd.work.workers import RuleWorker, Workers
from tests.e2e.users import let_through
from tests.unit.work import chores

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
USER = "nobody"


class Bench(NamedTuple):
    workers: Workers
    rule: RuleWorker


def at_work(user: str | None, test: Callable[[Bench], Awaitable[None]]) -> None:
    async def run() -> None:
        pool = Pool()
        commands = Commands(Groups("workers-test", "", "none is wanted"), pool)
        workers = Workers(commands, pool)
        try:
            async with asyncio.timeout(30):
                await test(Bench(workers, RuleWorker(workers, lambda: user, lambda: "")))
        finally:
            await workers.stop()
            await commands.stop()
            pool.close()

    asyncio.run(run())


@pytest.fixture(params=[None, pytest.param(USER, marks=needs_root)], ids=["thread", "process"])
def user(request: pytest.FixtureRequest) -> str | None:
    found: str | None = request.param
    return found


def test_a_call_brings_its_result(user: str | None) -> None:
    async def test(bench: Bench) -> None:
        asked = chores.Parcel("/a/\udcff\n", 7, b"\x00\xff", (1, 2))
        assert await bench.rule.call(chores.same, asked) == asked
        await bench.rule.call(chores.nothing)

    at_work(user, test)


def test_errors_come_through(user: str | None) -> None:
    async def test(bench: Bench) -> None:
        with pytest.raises(FileNotFoundError) as missing:
            await bench.rule.call(chores.size, "/does/not/exist")
        assert missing.value.filename == "/does/not/exist"
        with pytest.raises(ActionError, match="not today") as refused:
            await bench.rule.call(chores.refuse)
        assert not refused.value.retryable

    at_work(user, test)


def test_a_series_goes_on_only_when_asked(user: str | None, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    let_through(tmp_path)
    mark = tmp_path / "mark"

    async def test(bench: Bench) -> None:
        async with aclosing(bench.rule.steps(chores.stepping, str(mark), 3)) as steps:
            async for number in steps:
                assert mark.read_text() == f"before {number}"
        assert mark.read_text() == "closed"

    at_work(user, test)


def test_a_series_that_is_left_is_closed_where_it_stands(user: str | None, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    let_through(tmp_path)
    mark = tmp_path / "mark"

    async def test(bench: Bench) -> None:
        async with aclosing(bench.rule.steps(chores.stepping, str(mark), 3)) as steps:
            async for _ in steps:
                break
        assert mark.read_text() == "closed"  # and not "before 2"

    at_work(user, test)


@needs_root
def test_the_work_is_done_with_the_users_rights_alone(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("root's")
    secret.chmod(0o600)

    async def test(bench: Bench) -> None:
        entry = pwd.getpwnam(USER)
        rights = await bench.rule.call(chores.rights)
        assert rights == (entry.pw_uid, entry.pw_gid, tuple(sorted(os.getgrouplist(USER, entry.pw_gid))), 0)
        with pytest.raises(PermissionError):
            await bench.rule.call(chores.size, str(secret / "x"))

    at_work(USER, test)


@needs_root
def test_calls_of_a_worker_that_dies_fail_and_the_next_starts_another() -> None:
    async def test(bench: Bench) -> None:
        with pytest.raises(ActionError, match="signal 9") as died:
            await bench.rule.call(chores.die, int(signal.SIGKILL))
        assert died.value.retryable
        assert await bench.rule.call(chores.same, chores.Parcel("", 1, b"", ())) == chores.Parcel("", 1, b"", ())

    at_work(USER, test)


@needs_root
def test_an_idle_worker_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "IDLE", 0.0)

    async def test(bench: Bench) -> None:
        await bench.rule.call(chores.nothing)
        while bench.workers.statistics():  # noqa: ASYNC110 - it ends by a timer, and tells nobody
            await asyncio.sleep(0)

    at_work(USER, test)


@needs_root
def test_work_of_another_module_goes_to_another_worker() -> None:
    async def test(bench: Bench) -> None:
        await bench.rule.call(chores.nothing)
        assert await bench.rule.call(basename, "/a/b") == "b"
        await bench.rule.call(chores.nothing)

    at_work(USER, test)


@needs_root
def test_a_worker_that_lies_is_an_error() -> None:
    async def test(bench: Bench) -> None:
        with pytest.raises(ActionError, match="doesn't answer as it should"):
            await bench.rule.call(chores.liar)

    at_work(USER, test)


async def whole(series: AsyncGenerator[int]) -> list[int]:
    async with aclosing(series) as steps:
        return [step async for step in steps]


@needs_root
def test_a_worker_that_answers_what_nobody_asked_is_ended(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It floods us and then stands still, so that only a kill ends it: `at_work` waits for that."""
    monkeypatch.setattr(module, "_GRACE", 0.1)

    async def test(bench: Bench) -> None:
        with pytest.raises(ActionError, match="has ended"):
            await whole(bench.rule.steps(chores.flood))
        await bench.rule.call(chores.nothing)

    at_work(USER, test)
    assert "it answers what it wasn't asked" in caplog.text


@needs_root
def test_a_series_that_is_cancelled_twice_is_forgotten() -> None:
    async def test(bench: Bench) -> None:
        task = asyncio.ensure_future(anext(bench.rule.steps(chores.slow)))
        while not bench.workers.statistics().get(USER):  # noqa: ASYNC110 - the call tells nobody that it is under way
            await asyncio.sleep(0)
        for _ in range(2):
            task.cancel()
            await asyncio.sleep(0)
        await asyncio.wait([task])
        assert bench.workers.statistics() == {USER: 0}

    at_work(USER, test)


def test_much_work_is_shared_by_processes(user: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Two of them wait for each other, so they are there at once; with the rule's rights, and one more does no good."""
    monkeypatch.setattr(workers, "abreast", lambda: 2)
    tmp_path.chmod(0o777)
    let_through(tmp_path)

    async def test(bench: Bench) -> None:
        met = [bench.rule.apart(chores.meet, str(tmp_path), name, other) for name, other in ("ab", "ba")]
        pids = {pid for pid, _ in await asyncio.gather(*met)}
        assert len(pids) == 2
        assert os.getpid() not in pids
        more = [bench.rule.apart(chores.who) for _ in range(8)]
        found = await asyncio.gather(*more)
        assert {pid for pid, _ in found} == pids
        assert {uid for _, uid in found} == {os.geteuid() if user is None else pwd.getpwnam(user).pw_uid}

    at_work(user, test)


def test_one_that_dies_in_much_work_is_replaced(user: str | None) -> None:
    async def test(bench: Bench) -> None:
        with pytest.raises(ActionError, match="signal 9") as died:
            await bench.rule.apart(chores.die, int(signal.SIGKILL))
        assert died.value.retryable
        pid, _ = await bench.rule.apart(chores.who)
        assert pid != os.getpid()

    at_work(user, test)


def test_those_that_share_work_go_when_it_is_done(user: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_LINGER", 0.0)

    async def test(bench: Bench) -> None:
        await bench.rule.apart(chores.who)
        while bench.workers.statistics():  # noqa: ASYNC110 - it ends by a timer, and tells nobody
            await asyncio.sleep(0)

    at_work(user, test)


def test_an_unknown_user_is_told() -> None:
    async def test(bench: Bench) -> None:
        with pytest.raises(ActionError, match="no user"):
            await bench.rule.call(chores.nothing)

    at_work("no-such-user", test)


def test_more_calls_than_turns_wait(user: str | None) -> None:
    async def test(bench: Bench) -> None:
        parcels = [chores.Parcel("", number, b"", ()) for number in range(20)]
        assert await asyncio.gather(*(bench.rule.call(chores.same, parcel) for parcel in parcels)) == parcels

    at_work(user, test)


def test_a_cancelled_series_ends_its_step_first() -> None:
    reached, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def slow() -> Iterator[int]:
        try:
            reached.set()
            assert go_on.wait(20)
            yield 1
        finally:
            ended.set()

    async def take(bench: Bench) -> None:
        async with aclosing(bench.rule.steps(slow)) as steps:
            async for _ in steps:
                raise AssertionError("it was cancelled before")

    async def test(bench: Bench) -> None:
        task = asyncio.ensure_future(take(bench))
        await asyncio.to_thread(reached.wait, 20)
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended.is_set()

    at_work(None, test)


def test_the_fake_refuses_what_could_not_travel() -> None:
    async def test() -> None:
        with pytest.raises(TypeError, match="function of a module"):
            await FakeWorker().call(lambda: 1)
        assert await FakeWorker().call(chores.same, chores.Parcel("x", 1, b"y", (3,))) == chores.Parcel(
            "x", 1, b"y", (3,)
        )

    asyncio.run(test())
