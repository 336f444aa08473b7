"""The pool: lanes that don't hold each other up, threads that come and go."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from filewatchd.testing import FakeClock, eventually
from filewatchd.work.pool import LaneStatistics, Pool, alive


def play(scene: Callable[[Pool], Awaitable[None]], pool: Pool | None = None) -> None:
    """Run a scene and end the pool."""

    async def main() -> None:
        used = pool or Pool()
        try:
            await scene(used)
        finally:
            used.close()

    asyncio.run(main())


def pool_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("pool")]


def fail() -> None:
    raise LookupError("from the thread")


def stop_iteration() -> None:
    raise StopIteration("from the thread")


def test_results_and_errors_travel() -> None:
    async def scene(pool: Pool) -> None:
        assert await pool.run("", sum, [1, 2, 3]) == 6
        with pytest.raises(LookupError, match="from the thread"):
            await pool.run("", fail)
        with pytest.raises(RuntimeError, match="StopIteration: from the thread"):
            await pool.run("", stop_iteration)

    play(scene)


def test_a_lane_has_at_most_two_threads_and_holds_up_no_other() -> None:
    async def scene(pool: Pool) -> None:
        hung = threading.Event()
        waiting = [pool.run("nfs", hung.wait) for _ in range(5)]
        assert await pool.run("ext4", abs, -1) == 1
        assert pool_threads().count("pool nfs") == 2
        await eventually(lambda: pool.statistics()["nfs"][:2] == (3, 2), "both threads to have work")
        hung.set()
        assert await asyncio.gather(*waiting) == [True] * 5

    play(scene)


def test_statistics_tell_how_long_the_oldest_has_been_running() -> None:
    clock = FakeClock()

    async def scene(pool: Pool) -> None:
        hung = threading.Event()
        waiting = pool.run("nfs", hung.wait)
        await eventually(lambda: pool.statistics()["nfs"].running, "the work to begin")
        clock.advance(90)
        assert pool.statistics() == {"nfs": LaneStatistics(0, 1, 90.0)}
        hung.set()
        await waiting

    play(scene, Pool(clock=clock))


def test_one_thread_does_where_work_comes_one_by_one() -> None:
    async def scene(pool: Pool) -> None:
        threads = {await pool.run("", threading.get_ident) for _ in range(100)}
        assert len(threads) <= 2
        assert await pool.run("", lambda: threading.current_thread().daemon)

    play(scene)


def test_idle_threads_end_and_come_back() -> None:
    async def scene(pool: Pool) -> None:
        assert await pool.run("idle", abs, -1) == 1
        await eventually(lambda: not pool.statistics(), "the idle lane to go")
        await eventually(lambda: "pool idle" not in pool_threads(), "its threads to end")
        assert await pool.run("idle", abs, -2) == 2

    play(scene, Pool(linger=0.01))


def test_threads_that_end_lose_no_work() -> None:
    async def scene(pool: Pool) -> None:
        for number in range(3000):
            assert await pool.run("", abs, -number) == number

    play(scene, Pool(linger=0.0))


def test_cancelled_work_that_has_not_begun_is_left_out() -> None:
    async def scene(pool: Pool) -> None:
        hung, done = threading.Event(), list[int]()
        busy = [pool.run("", hung.wait) for _ in range(2)]
        doomed = pool.run("", done.append, 1)
        kept = pool.run("", done.append, 2)
        doomed.cancel()
        busy[0].cancel()  # begun: its result is abandoned
        hung.set()
        await kept
        assert await busy[1] is True
        assert done == [2]

    play(scene)


def test_a_closed_pool_ends_its_threads_and_takes_no_more() -> None:
    async def scene(pool: Pool) -> None:
        done = pool.run("", abs, -1)
        pool.close()
        assert await done == 1
        await eventually(lambda: not pool_threads(), "the threads to end")
        with pytest.raises(RuntimeError, match="closed"):
            pool.run("", abs, -1)

    play(scene)


def test_a_result_for_a_closed_loop_is_dropped() -> None:
    pool, hung = Pool(), threading.Event()

    async def leave() -> None:
        pool.run("", hung.wait)

    asyncio.run(leave())
    hung.set()

    async def again() -> None:
        assert await pool.run("", abs, -1) == 1

    asyncio.run(again())
    pool.close()


# ---- lanes that hang


def test_a_lane_that_hangs_is_told_and_told_again_when_it_goes_on() -> None:
    async def scene(pool: Pool) -> None:
        told: list[tuple[str, bool]] = []
        pool.hangs = lambda lane, does: told.append((lane, does))
        hung = threading.Event()
        waiting = pool.run("nfs", hung.wait)
        assert await pool.run("ext4", abs, -1) == 1
        await eventually(lambda: told == [("nfs", True)], "the lane hangs")
        hung.set()
        await waiting
        await eventually(lambda: told == [("nfs", True), ("nfs", False)], "the lane goes on")

    play(scene, Pool(patience=0.05))


def test_long_work_that_shows_that_it_is_alive_doesnt_hang() -> None:
    async def scene(pool: Pool) -> None:
        told: list[tuple[str, bool]] = []
        pool.hangs = lambda lane, does: told.append((lane, does))
        over = threading.Event()
        steps = threading.Semaphore(0)

        def long() -> None:
            while not over.wait(0.005):
                alive()
                steps.release()

        working = pool.run("scan", long)
        await eventually(lambda: steps._value > 60, "three times the patience")
        over.set()
        await working
        assert told == []

    play(scene, Pool(patience=0.1))


def test_an_idle_pool_asks_nothing() -> None:
    async def scene(pool: Pool) -> None:
        await pool.run("", abs, -1)
        await eventually(lambda: not pool._supervised, "the last question")

    play(scene, Pool(patience=0.01))


def test_the_next_question_is_asked_when_a_lane_may_begin_to_hang() -> None:
    pool = Pool(patience=10.0)
    assert pool._until_next([]) == 10.0
    assert pool._until_next([0.0, 4.0]) == 6.0
    assert pool._until_next([9.9]) == 1.0
    assert pool._until_next([0.0, 25.0]) == 1.0, "it hangs: it may go on at any time"


def test_where_no_thread_may_be_had_work_waits_until_one_can(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The unit's TasksMax= may be full, or the system's number of processes: that passes, and the lane goes on."""
    start = threading.Thread.start
    refused: list[threading.Thread] = []

    def refusing(thread: threading.Thread) -> None:
        if len(refused) < 4:
            refused.append(thread)
            raise RuntimeError("can't start new thread")
        start(thread)

    async def scene(pool: Pool) -> None:
        monkeypatch.setattr(threading.Thread, "start", refusing)
        assert await asyncio.gather(*(pool.run("", abs, -number) for number in range(5))) == [0, 1, 2, 3, 4]
        monkeypatch.undo()
        assert await pool.run("", abs, -5) == 5

    monkeypatch.setattr("filewatchd.work.pool._AGAIN", 0.01)
    play(scene, Pool())
    assert [record.message.partition(":")[0] for record in caplog.records] == ["can't start new thread"]
