"""Files that take one another's names, in whatever order that is told and approved."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from filewatchd.model import Change, Kind
from tests.unit.actions.checksum.scene import Scene, story, written

ORDERS = list(itertools.permutations(range(3)))


def shifted(scene: Scene) -> list[Change]:
    """Three files in three directories, each moved to where the next one was."""
    for old, new in [("r/z", "s/new"), ("q/y", "r/z"), ("p/x", "q/y")]:
        (scene.root / new).parent.mkdir(exist_ok=True)
        (scene.root / old).rename(scene.root / new)
    moves = [("s/new", "r/z"), ("r/z", "q/y"), ("q/y", "p/x")]
    return [scene.change(new, Kind.MOVED, old) for new, old in moves]


@pytest.mark.parametrize("order", ORDERS)
@story
async def test_moves_in_a_row_in_one_job(tmp_path: Path, order: tuple[int, ...]) -> None:
    async with Scene(tmp_path) as scene:
        written(scene.root, ["p/x", "q/y", "r/z"])
        await scene.verify()
        digests = {path: row.digest for path, row in scene.rows().items()}
        changes = shifted(scene)
        await scene.job(*(changes[position] for position in order))
        after = {path: row.digest for path, row in scene.rows().items()}
        assert after == {"s/new": digests["r/z"], "r/z": digests["q/y"], "q/y": digests["p/x"]}
        await scene.verify()
        assert {path: row.digest for path, row in scene.rows().items()} == after


@pytest.mark.parametrize("order", ORDERS)
@story
async def test_moves_in_a_row_that_are_approved_one_by_one(tmp_path: Path, order: tuple[int, ...]) -> None:
    async with Scene(tmp_path, approval="required") as scene:
        written(scene.root, ["p/x", "q/y", "r/z"])
        await scene.verify()
        await scene.ask("approve", all=True)
        changes = shifted(scene)
        await scene.job(*(changes[position] for position in order))
        await scene.verify()
        while scene.changes("pending"):
            waiting = scene.changes("pending")
            await scene.ask("approve", ids=(waiting[order[0] % len(waiting)].id,))
        assert sorted(scene.rows()) == ["q/y", "r/z", "s/new"]
        await scene.verify()
        assert scene.changes("pending", "open") == []
