"""A publish that dies at any of its calls: the live path leads to all of one set, and nobody's edit is lost."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest

from filewatchd.actions.base import Unfinished
from filewatchd.actions.reload import deeds, publishing, putting, staging
from filewatchd.actions.reload import record as records
from filewatchd.actions.reload.entries import Difference
from filewatchd.actions.reload.states import State
from filewatchd.actions.reload.store import Store
from filewatchd.testing import FakeJob
from filewatchd.testing.job import FakeSteps
from tests.unit.actions.reload.scene import Scene, save, within
from tests.unit.actions.reload.test_reload_lives import Killed

CALLS = [
    (publishing, "build"), (publishing, "exchange"), (publishing, "rename_free"),
    (publishing, "sync_directory"),
    (os, "symlink"), (publishing, "discard"), (deeds, "keep_tree"), (putting, "keep_tree"),
    (publishing, "clear"), (records, "save"),
]  # fmt: skip
NEVER = [  # linked, and the call
    (True, publishing, "clear"), (False, publishing, "rename_free"), (False, os, "symlink"),
    (False, deeds, "keep_tree"),
]  # fmt: skip


class Deadly:
    """A function that dies at one of its calls, before or after it is done."""

    def __init__(self, real: Any, number: int, done: bool) -> None:
        self._real, self._left, self._done = real, number, done

    def __call__(self, *args: Any, **more: Any) -> Any:
        self._left -= 1
        if self._left != 0:
            return self._real(*args, **more)
        found = self._real(*args, **more) if self._done else None
        if asyncio.iscoroutine(found):
            return self._after(found)
        raise Killed

    async def _after(self, found: Any) -> None:
        await found
        raise Killed


class Publishing:
    """One life that may die while it publishes, and the next; each has texts of its own."""

    def __init__(self, place: Path, linked: bool) -> None:
        self.place, self.live, self.number = place, place / "live", 0
        self.linked = linked
        if linked:
            (place / "first").mkdir()
            self.live.symlink_to("first")
        publish = {"from": str(place / "etc"), "to": str(self.live)}
        self.options: dict[str, Any] = {"mode": "publish", "publish": publish}

    @property
    def text(self) -> str:
        """What all the live files say."""
        (text,) = {path.read_text() for path in self.live.iterdir() if path.name != "edit"}
        return text

    def write(self, scene: Scene, text: str) -> None:
        """Two files that belong together."""
        for name in ("app.conf", "other.conf"):
            (scene.root / name).write_text(text)

    def dies(self, patch: pytest.MonkeyPatch, where: Any, name: str, done: bool) -> bool:
        """Publish, and die at the next of these calls; False if there are no more of them."""
        self.number += 1
        steps, dead = FakeSteps(), []

        async def first(scene: Scene) -> None:
            self.write(scene, f"one {self.number}")
            await save(scene, None)
            (self.live / "edit").write_text(f"by hand {self.number}")
            self.write(scene, f"two {self.number}")
            with patch.context() as patched:
                patched.setattr(where, name, Deadly(getattr(where, name), self.number, done))
                try:
                    await scene.action.run(FakeJob(steps=steps))
                except Killed:
                    dead.append(name)
            assert self.text in (f"one {self.number}", f"two {self.number}")

        within(first, self.place, **self.options)
        asyncio.run(self.goes_on(steps, bool(dead)))
        return bool(dead)

    async def goes_on(self, steps: FakeSteps, dead: bool) -> None:
        """The next life."""
        scene = Scene(self.place, **self.options)
        scene.ctx.interrupted = [Unfinished(1, steps)] if dead else []
        await scene.action.recover()
        await scene.action.run(FakeJob())
        record, store = scene.record, scene.action._desk.store
        assert (self.text, record.state, record.differs) == (f"two {self.number}", State.SYNCED, "")
        beside = sorted(path.name for path in self.place.glob(".live*"))
        assert beside == ([".live.filewatchd"] if self.linked else [])
        for version in record.versions:
            assert version.origin == "disk" or "0/edit" in store.load(version.digest)  # nothing half made is a version
        edits = [store.load(version.digest).get("0/edit") for version in record.versions]
        assert f"by hand {self.number}".encode() in [store.content(edit) for edit in edits if edit is not None]


@pytest.mark.parametrize("linked", [False, True], ids=["directory", "symlink"])
@pytest.mark.parametrize(("where", "name"), CALLS, ids=[name for _, name in CALLS])
@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
def test_a_death_at_any_call_leaves_a_whole_set_and_loses_no_edit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, linked: bool, where: Any, name: str, done: bool
) -> None:
    scene = Publishing(tmp_path, linked)
    while scene.dies(monkeypatch, where, name, done):
        pass
    assert scene.number > 1 or (linked, where, name) in NEVER


@pytest.mark.parametrize("linked", [False, True], ids=["directory", "symlink"])
def test_an_edit_between_the_last_look_and_the_exchange_is_kept_over_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, linked: bool
) -> None:
    scene, steps, switch = Publishing(tmp_path, linked), FakeSteps(), publishing.switch

    def late(live: str, digest: str) -> str:
        (tmp_path / "live/edit").write_text("by hand 0")
        switch(live, digest)
        raise Killed

    async def first(played: Scene) -> None:
        scene.write(played, "one 0")
        await save(played, None)
        scene.write(played, "two 0")
        monkeypatch.setattr(publishing, "switch", late)
        with pytest.raises(Killed):
            await played.action.run(FakeJob(steps=steps))
        monkeypatch.undo()

    within(first, tmp_path, **scene.options)
    asyncio.run(scene.goes_on(steps, dead=True))


@pytest.mark.parametrize("linked", [False, True], ids=["directory", "symlink"])
def test_half_a_tree_is_no_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, linked: bool) -> None:
    scene, steps, change = Publishing(tmp_path, linked), FakeSteps(), staging.change

    def dies(store: Store, directory: str, changed: list[Difference]) -> None:
        change(store, directory, changed if "filewatchd-new" not in directory else changed[:-1])
        if "filewatchd-new" in directory:
            raise Killed

    async def first(played: Scene) -> None:
        scene.write(played, "one 0")
        await save(played, None)
        (tmp_path / "live/edit").write_text("by hand 0")
        scene.write(played, "two 0")
        monkeypatch.setattr(staging, "change", dies)
        with pytest.raises(Killed):
            await played.action.run(FakeJob(steps=steps))
        monkeypatch.undo()

    within(first, tmp_path, **scene.options)
    asyncio.run(scene.goes_on(steps, dead=True))
