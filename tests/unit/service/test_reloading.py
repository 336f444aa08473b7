"""Generations of one life: who is remembered, what is refused, and that no two reloads run at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from filewatchd.config.configuration import Configuration
from filewatchd.config.generation import Generation
from filewatchd.config.load import load
from filewatchd.config.schema import Daemon
from filewatchd.control.api import RequestError
from filewatchd.errors import ConfigError, FatalError, Mistake
from filewatchd.service.configuring import Configuring, changed_values
from filewatchd.service.ownfiles import OwnFiles, content_of
from filewatchd.service.reloading import Force, Reloading
from filewatchd.testing.waiting import eventually
from filewatchd.watch.roots import RootKey
from filewatchd.work.pool import Pool


def of(max_running: int) -> Configuration:
    empty = load(Path("filewatchd.yaml"), registry={}, environ={}, flags={}, text="version: 1\n", with_rows=True)
    return empty._replace(daemon=Daemon(max_running=max_running))


class Scene:
    """Reloads of what ``disk`` says; an error there is raised."""

    def __init__(self) -> None:
        self.disk: Configuration | ConfigError = of(1)
        self.refuses: FatalError | None = None
        self.happened: list[str] = []
        self.begun: list[bool] = []
        self.hold: asyncio.Event | None = None
        self.reloading = Reloading(self._load)

    def _load(self) -> Configuration:
        if isinstance(self.disk, ConfigError):
            raise self.disk
        return self.disk

    async def _prepare(self, generation: Generation, fresh: bool) -> None:
        if not fresh:
            return
        self.happened.append(f"begin {generation.number}")
        if self.hold is not None:
            await self.hold.wait()
        if self.refuses is not None:
            raise self.refuses
        self.happened.append(f"end {generation.number}")

    def play(self, story: Callable[[], Awaitable[None]]) -> None:
        async def staged() -> None:
            pool = Pool()
            take_over: Callable[[Configuration, bool], None] = lambda _, fresh: self.happened.append(f"fresh {fresh}")  # noqa: E731
            ended = lambda: self.happened.append("changed")  # noqa: E731
            await self.reloading.begin(Force(self._prepare, take_over, lambda: self.begun.append(True), ended), pool)
            self.happened.clear()
            await story()
            pool.close()

        asyncio.run(staged())


def test_two_reloads_follow_one_another() -> None:
    scene = Scene()

    async def story() -> None:
        scene.hold = asyncio.Event()
        scene.disk = of(2)
        first = asyncio.create_task(scene.reloading.reload())
        await eventually(lambda: scene.happened == ["begin 2"], "the first has begun")
        scene.disk = of(3)
        second = asyncio.create_task(scene.reloading.reload())
        scene.hold.set()
        assert (await first).generation.number == 2
        assert (await second).generation.number == 3
        rest = ["fresh True", "changed"]
        assert scene.happened == ["begin 2", "end 2", *rest, "begin 3", "end 3", *rest]
        assert scene.begun == [True, True]

    scene.play(story)


def test_what_says_the_same_makes_no_generation() -> None:
    scene = Scene()

    async def story() -> None:
        found = await scene.reloading.reload()
        assert found.generation.number == 1
        assert scene.happened == ["fresh False", "changed"]

    scene.play(story)


def test_what_is_refused_leaves_the_old_one_and_is_told_until_it_is_mended() -> None:
    scene = Scene()

    async def story() -> None:
        scene.disk, scene.refuses = of(2), FatalError("no such backend")
        with pytest.raises(FatalError):
            await scene.reloading.reload()
        assert (scene.reloading.generation.number, scene.reloading.error) == (1, "no such backend")
        scene.refuses = None
        assert (await scene.reloading.reload()).generation.number == 2
        assert scene.reloading.error is None

    scene.play(story)


def test_the_last_ten_are_remembered() -> None:
    scene = Scene()

    async def story() -> None:
        for number in range(2, 15):
            scene.disk = of(number)
            await scene.reloading.reload()
        assert scene.reloading.numbers == list(range(5, 15))
        assert scene.reloading.kept(4) is None

    scene.play(story)


def test_mistakes_are_listed_as_check_does() -> None:
    scene = Scene()

    async def story() -> None:
        ready = asyncio.Event()
        ready.set()
        scene.disk = ConfigError([Mistake("f.yaml", 2, 3, "wrong", "right")])
        handlers = Configuring(scene.reloading, ready).handlers()
        with pytest.raises(RequestError, match=r"a mistake: f\.yaml:2:3: wrong; right; generation 1 goes on") as error:
            await handlers["reload"](None, None)  # type: ignore[arg-type]
        listed = [{"file": "f.yaml", "line": 2, "column": 3, "message": "wrong", "hint": "right"}]
        assert (error.value.status, error.value.more["mistakes"]) == (422, listed)

    scene.play(story)


def test_a_key_that_is_gone_has_no_new_value() -> None:
    old = of(1)
    rows = [row for row in old.rows if row.key != ("daemon", "instance")]
    (found,) = changed_values(old, old._replace(rows=tuple(rows)))
    assert (found.key, found.old, found.new, found.origin) == ("daemon.instance", "main", None, None)


def test_own_files_are_roots_and_so_are_the_directories_of_globs() -> None:
    configuration = of(1)._replace(
        files=("/etc/f.yaml", "/etc/rules.d/a.yaml"), globs=("/etc/rules.d/*.yaml", "/x/**/y")
    )
    own = OwnFiles(Pool(), asyncio.sleep)  # type: ignore[arg-type]
    assert own.roots(configuration) == {}
    found = own.roots(configuration._replace(daemon=Daemon(reload_on_change=True)))
    assert list(found) == [
        RootKey("/etc/f.yaml"),
        RootKey("/etc/rules.d/a.yaml"),
        RootKey("/etc/rules.d", recursive=False),
        RootKey("/x"),
    ]


def test_the_content_of_own_files_is_what_a_reload_would_read(tmp_path: Path) -> None:
    main = tmp_path / "main.yaml"
    main.write_text("version: 1\n")
    configuration = of(1)._replace(files=(str(main),), globs=(f"{tmp_path}/rules.d/*.yaml",))
    seen = {content_of(configuration)}

    def is_new() -> bool:
        before = len(seen)
        seen.add(content_of(configuration))
        return len(seen) > before

    assert not is_new()
    main.touch()
    assert not is_new()
    main.chmod(0o600)
    assert is_new()
    (tmp_path / "rules.d").mkdir()
    (tmp_path / "rules.d" / "a.txt").write_text("x")
    assert not is_new()
    (tmp_path / "rules.d" / "a.yaml").write_text("rules: []\n")
    assert is_new()
    main.unlink()
    assert is_new()
