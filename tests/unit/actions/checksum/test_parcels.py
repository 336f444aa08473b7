"""Many looks as one value: as looks one by one, and nothing else is believed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from filewatchd.actions.checksum import parcels, walking
from filewatchd.actions.checksum.looking import look
from filewatchd.actions.checksum.seeing import Presence, Tracking, Wanted
from filewatchd.errors import ActionError
from filewatchd.state.index.rows import NO_ATTRIBUTES
from filewatchd.testing import FakeWorker
from tests.unit.actions.checksum.scene import Scene, story

TRACKING = Tracking()
ODD = ["plain", "with\nnewline", "\udcff\udc80", "ünï", "empty"]


def tree(root: Path) -> list[Wanted]:
    """Files of all kinds in two directories, and what is asked of them."""
    (root / "below").mkdir(parents=True)
    for name in ODD:
        (root / name).write_bytes(b"" if name == "empty" else os.fsencode(name))
        (root / "below" / name).write_bytes(b"below")
    os.chmod(root / "plain", 0o640)
    (root / "link").symlink_to("plain")
    here = [Wanted("", name, ("sha256",)) for name in [*ODD, "link", "missing"]]
    grown = [Wanted("below", name, ("sha256", "blake2b"), 2) for name in ODD]
    return [*here, *grown, Wanted("below", "plain", ())]


def test_what_travels_is_what_was_seen(tmp_path: Path) -> None:
    wanted = tree(tmp_path)
    answer = parcels.look_many(str(tmp_path), parcels.packed(wanted), TRACKING)
    assert parcels.unpacked(answer, wanted) == look(str(tmp_path), wanted, TRACKING)


def test_what_is_there_stands_on_sheets_and_the_rest_beside(tmp_path: Path) -> None:
    wanted = tree(tmp_path)
    answer = parcels.look_many(str(tmp_path), parcels.packed(wanted), TRACKING)
    sheets, others, seen = parcels.sheets(answer, wanted)
    assert [each.name for each in others] == ["link", "missing"]
    assert seen == look(str(tmp_path), others, TRACKING)
    assert [os.fsdecode(name) for name, _ in sheets[0].files] == ODD
    left = sheets[0].without({"plain"})
    assert [os.fsdecode(name) for name, _ in left.files] == ODD[1:]


def found(**other: Any) -> parcels.Found:
    here = parcels.Found(list(Presence).index(Presence.HERE), 1, 1, 1, 0, 0, [b"x" * 32], None, False, 1, "")
    return here._replace(**other)


LIES = {
    "another number of groups": parcels.Answer([NO_ATTRIBUTES], []),
    "another number of files": parcels.Answer([NO_ATTRIBUTES], [[found(), found()]]),
    "no such presence": parcels.Answer([NO_ATTRIBUTES], [[found(presence=99)]]),
    "a digest too many": parcels.Answer([NO_ATTRIBUTES], [[found(digests=[b"x", b"y"])]]),
    "no digest": parcels.Answer([NO_ATTRIBUTES], [[found(digests=[])]]),
    "attributes that aren't there": parcels.Answer([NO_ATTRIBUTES], [[found(attributes=1)]]),
    "attributes before the first": parcels.Answer([NO_ATTRIBUTES], [[found(attributes=-1)]]),
    "more than SQLite holds": parcels.Answer([NO_ATTRIBUTES], [[found(size=2**63)]]),
    "text for a number": parcels.Answer([NO_ATTRIBUTES], [[found(ino="1")]]),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_an_answer_that_does_not_fit_is_an_error(lie: parcels.Answer) -> None:
    wanted, answer = [Wanted("", "a", ("sha256",))], msgspec.msgpack.encode(lie)
    for opening in (parcels.unpacked, parcels.sheets):
        with pytest.raises(ActionError, match="doesn't answer as it should"):
            opening(answer, wanted)


@pytest.mark.parametrize("answer", [b"", b"\xc1", b"{}", parcels.NOTHING + b"x"])
def test_nonsense_is_an_error(answer: bytes) -> None:
    with pytest.raises(ActionError, match="doesn't answer as it should"):
        parcels.unpacked(answer, [Wanted("", "a")])


@story
async def test_a_build_by_processes_leaves_the_same_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path / "root")
    (tmp_path / "apart").mkdir()
    async with Scene(tmp_path) as scene:
        one_by_one = scene.rows()
        quiet = scene.told()
    monkeypatch.setattr(walking, "_MANY", 0)
    monkeypatch.setattr(walking, "_FEW", 0)
    clock = scene.clock
    async with Scene(tmp_path / "apart", clock, root=tmp_path / "root") as scene:
        assert scene.rows() == one_by_one
        assert scene.told() == quiet
        (tmp_path / "root/plain").write_bytes(b"other")
        await scene.verify()
        assert ("modified", "plain") in scene.told()


@story
async def test_a_process_that_dies_ends_no_walk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def dies(*args: Any) -> bytes:
        raise ActionError("what works with the rights of root has ended (signal 9)")

    wanted = tree(tmp_path / "root")
    monkeypatch.setattr(walking, "_MANY", 0)
    monkeypatch.setattr(walking, "_FEW", 0)
    monkeypatch.setattr(FakeWorker, "apart", dies)
    async with Scene(tmp_path) as scene:
        assert len(scene.rows()) == len({(each.directory, each.name) for each in wanted}) - len(["link", "missing"])
        assert scene.told() == []


@story
async def test_a_build_by_processes_tracks_what_it_shall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree(tmp_path / "root")
    monkeypatch.setattr(walking, "_MANY", 0)
    monkeypatch.setattr(walking, "_FEW", 0)
    async with Scene(tmp_path, track=["mode"]) as scene:
        rows = scene.rows()
    assert {row.digest for row in rows.values()} == {None}
    assert rows["plain"].attributes.mode is not None
    assert {row.attributes.uid for row in rows.values()} == {None}
