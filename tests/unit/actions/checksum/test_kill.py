"""kill -9 at every commit of a build, a verify, a scrub and an approval, just before it: just behind the one before.

A child of this process does the work and kills itself; then another life goes on where it was. Which commits there are
is found by doing it until the child comes through.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import msgspec
import pytest

from filewatchd.actions.base import Caller
from filewatchd.actions.checksum import documents, leftovers, listing, walking
from filewatchd.actions.checksum.options import Options, Scrub
from filewatchd.state.index.audit import audit
from filewatchd.state.index.editing import Edit
from filewatchd.state.index.writing import Index
from tests.unit.actions.checksum.scene import Scene, written
from tests.unit.actions.checksum.test_action import corrupted

NAMES = [f"d{number}/{file}" for number in range(4) for file in range(5)]
MOVED = [f"there/{file}" for file in range(5)]


def killing(number: int) -> Callable[..., AbstractContextManager[Edit]]:
    """`Index.edit` that ends this process at the transaction of that number."""
    real, count = Index.edit, iter(range(10_000))

    @contextmanager
    def edit(self: Index, *, durable: bool = False) -> Iterator[Edit]:
        here = next(count) == number
        with real(self, durable=durable) as opened:
            yield opened
            if here:
                os.kill(os.getpid(), signal.SIGKILL)

    return edit


def lives(place: Path, work: Callable[[Scene], Awaitable[None]], number: int, **options: Any) -> bool:
    """Do the work in a child that dies at the transaction of that number; False if there are not so many."""
    pid = os.fork()
    if pid == 0:
        try:
            with mock.patch.object(Index, "edit", killing(number)):
                asyncio.run(one_life(place, work, **options))
        except BaseException:  # noqa: BLE001 - a child of a fork must not come back to pytest
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return True
    assert os.WEXITSTATUS(status) == 0, "the child failed"
    return False


async def one_life(place: Path, work: Callable[[Scene], Awaitable[None]], **options: Any) -> None:
    async with Scene(place, **options) as scene:
        await work(scene)


async def nothing(scene: Scene) -> None:
    """Only what goes on by itself."""


async def edits(scene: Scene) -> None:
    """What a verify will find."""
    root = scene.root
    (root / "d0/0").write_text("other")
    (root / "d0/1").unlink()
    (root / "new").write_text("x")
    (root / "d1").rename(root / "there")
    await corrupted(scene, "d2/0")


async def verify(scene: Scene) -> None:
    await scene.verify("full")


async def scrub(scene: Scene) -> None:
    scene.clock.advance(1e6)
    scene.action.reconfigure(Options(scrub=Scrub(every=1e6, rate=1e12, files=7.0)))
    with mock.patch.object(asyncio, "sleep", mock.AsyncMock()):
        await scene.follow()


async def approve(scene: Scene) -> None:
    waiting = tuple(change.id for change in scene.changes("pending", "open"))
    await scene.ask("approve", ids=waiting)


def agrees(scene: Scene) -> None:
    """Every file's row has its digest; no row is of something else."""
    on_disk = {
        str(path.relative_to(scene.root)): hashlib.sha256(path.read_bytes()).digest()
        for path in scene.root.rglob("*")
        if path.is_file()
    }
    assert {path: row.digest for path, row in scene.rows().items()} == on_disk
    with scene.reader() as reader:
        assert audit(reader.connection).faults == []


FOUND = sorted(
    [("corrupt", "d2/0"), ("deleted", "d0/1"), ("modified", "d0/0"), ("new", "new"), *(("moved", m) for m in MOVED)]
)


@pytest.fixture(autouse=True)
def small() -> Iterator[None]:
    """Batches of a few files, so that there are many commits."""
    places = ((listing, "_BATCH", 4), (walking, "SOME", 3), (leftovers, "SOME", 3))
    with ExitStack() as stack:
        for place in places:
            stack.enter_context(mock.patch.object(*place))
        yield


def prepared(place: Path, **options: Any) -> None:
    place.mkdir()
    (place / "root").mkdir()
    written(place / "root", NAMES)


def test_a_build_goes_on(tmp_path: Path) -> None:
    deaths = 0
    for number in range(200):
        place = tmp_path / f"{number}"
        prepared(place)
        if not lives(place, nothing, number):
            break
        deaths += 1

        async def check(scene: Scene) -> None:
            agrees(scene)
            assert scene.told() == []
            assert [run.state for run in (await scene.ask("runs")).runs] == ["done"]

        asyncio.run(one_life(place, check))
    assert deaths >= 7


def test_a_verify_tells_each_change_once(tmp_path: Path) -> None:
    deaths = 0
    for number in range(200):
        place = tmp_path / f"{number}"
        prepared(place)
        asyncio.run(one_life(place, edits))
        if not lives(place, verify, number):
            break
        deaths += 1

        async def check(scene: Scene) -> None:
            if (await scene.ask("runs")).runs[0].kind == "build":
                await scene.verify()  # it hadn't even begun
            assert sorted(scene.told()) == FOUND
            await scene.verify()
            assert sorted(scene.told()) == FOUND
            assert {run.state for run in (await scene.ask("runs")).runs} == {"done"}

        asyncio.run(one_life(place, check))
    assert deaths >= 10


TYPES = ("files", "directories", "symlinks")


async def linked(scene: Scene) -> None:
    """What was there besides files, and is built."""
    for number in range(6):
        (scene.root / f"d{number % 3}/link{number}").symlink_to("0")
    (scene.root / "empty").mkdir()
    scene.ctx.scan(str(scene.root))
    await scene.follow()


def relinked(root: Path) -> None:
    (root / "d0/link0").unlink()
    (root / "d0/link0").symlink_to("1")
    (root / "d1/link1").unlink()
    (root / "d2/link2").rename(root / "moved")
    (root / "d3").chmod(0o700)
    (root / "empty").rename(root / "d0/now")


RELINKED = [
    ("deleted", "d1/link1"), ("metadata", "d3/"), ("modified", "d0/link0"), ("moved", "d0/now/"), ("moved", "moved"),
]  # fmt: skip


def test_a_sweep_tells_each_change_once(tmp_path: Path) -> None:
    """What happened to symlinks and directories while the daemon was down, found by a life that is killed."""
    deaths = 0
    for number in range(200):
        place = tmp_path / f"{number}"
        prepared(place)
        asyncio.run(one_life(place, linked, types=TYPES))
        relinked(place / "root")
        if not lives(place, nothing, number, types=TYPES):
            break
        deaths += 1

        async def check(scene: Scene) -> None:
            assert sorted(each for each in scene.told() if each[0] != "new") == RELINKED
            await scene.verify()
            assert sorted(each for each in scene.told() if each[0] != "new") == RELINKED
            with scene.reader() as reader:
                assert audit(reader.connection).faults == []

        asyncio.run(one_life(place, check, types=TYPES))
    assert deaths >= 3


def test_a_scrub_goes_on(tmp_path: Path) -> None:
    deaths = 0
    for number in range(200):
        place = tmp_path / f"{number}"
        prepared(place)

        async def rot(scene: Scene) -> None:
            await corrupted(scene, "d3/2")

        asyncio.run(one_life(place, rot))
        if not lives(place, scrub, number):
            break
        deaths += 1

        async def check(scene: Scene) -> None:
            await scrub(scene)
            assert scene.told() == [("corrupt", "d3/2")]
            runs = [run for run in (await scene.ask("runs")).runs if run.kind == "scrub"]
            assert [(run.state, run.files) for run in runs] == [("done", len(NAMES))]

        asyncio.run(one_life(place, check))
    assert deaths >= 5


def test_an_approval_is_whole_or_not_there(tmp_path: Path) -> None:
    deaths = 0
    for number in range(200):
        place = tmp_path / f"{number}"
        prepared(place)

        async def pending(scene: Scene) -> None:
            await edits(scene)
            await scene.verify()
            assert len(scene.changes("pending", "open")) == len(FOUND)

        asyncio.run(one_life(place, pending, approval="required"))
        if not lives(place, approve, number, approval="required"):
            break
        deaths += 1

        async def check(scene: Scene) -> None:
            assert len(scene.changes("pending", "open")) in (0, len(FOUND))
            if scene.changes("pending", "open"):
                await approve(scene)
            agrees(scene)
            await scene.verify()
            assert scene.told("pending", "open") == []

        asyncio.run(one_life(place, check, approval="required"))
    assert deaths >= 1


async def sealed(scene: Scene) -> None:
    """A list is taken over, and then the index is sealed."""
    files = [
        {"path": str(scene.root / name), "algorithm": "sha256", "digest": hashlib.sha256(name.encode()).hexdigest()}
        for name in NAMES
    ]
    taken = msgspec.convert({"files": files}, documents.Import)
    await scene.action.answer_to("import", taken, Caller(0, 1))
    sealing = await scene.ask("seal")
    await scene.ask("sealed", number=sealing.number, statement="said", key="a2V5", signature="c2ln")


def test_a_seal_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    deaths = 0
    for number in range(200):
        place = tmp_path / f"{number}"
        prepared(place)
        asyncio.run(one_life(place, nothing))
        if not lives(place, sealed, number):
            break
        deaths += 1

        async def check(scene: Scene) -> None:
            agrees(scene)
            await sealed(scene)
            with scene.reader() as reader:
                (newest,) = reader.connection.execute("SELECT max(number) FROM seals").fetchone()
                assert audit(reader.connection, newest).faults == []

        asyncio.run(one_life(place, check))
    assert deaths >= 3
