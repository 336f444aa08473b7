"""``filewatchctl reload`` without a daemon: what the store says."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest

from filewatchd.actions.reload import record as records
from filewatchd.actions.reload.entries import Entry, digest_of, encode
from filewatchd.actions.reload.record import Record, Version
from filewatchd.actions.reload.states import State
from filewatchd.actions.reload.store import Store
from filewatchd.cli.control import main


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Two versions of a file; the second one is bad."""
    store = Store(str(tmp_path / "versions/nginx"))
    store.prepare()
    record = Record(roots=["/etc/nginx"], state=State.HELD, desired=2, applied=1, good=1, sure=True)
    for number, (text, fate) in enumerate(
        [("password: one\nuser: a\n", "good"), ("password: two\nuser: b\n", "refused")], 1
    ):
        (content,) = store.put([text.encode()])
        encoded = encode({"0": Entry("d", 0o755, 0, 0), "0/app.conf": Entry("f", 0o640, 0, 33, len(text), content)})
        assert store.put_set(encoded) == digest_of(encoded)
        digest = digest_of(encoded)
        record.add(Version(number=0, digest=digest, selected=digest, seen=1_800_000_000.0, fate=fate, why="why\nmore"))
        record.next_number = number + 1
    records.save(store.directory, records.encode(record))
    return tmp_path


def ctl(state: Path, *words: str) -> int:
    return main(["reload", words[0], "nginx", *words[1:], "--state-dir", str(state)])


def test_history(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ctl(state, "history") == 0
    text = capsys.readouterr().out
    assert "held: the disk has version 2, the service 1" in text
    assert [line.split()[0] for line in text.splitlines()[-2:]] == ["2", "1"]
    assert "more" not in text
    assert ctl(state, "history", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [version["fate"] for version in found["versions"]] == ["refused", "good"]


def test_history_of_what_waits_says_until_when(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    directory = str(state / "versions/nginx")
    record, _ = records.load(directory)
    record.state, record.not_before = State.WAITING, time.time() + 3600
    records.save(directory, records.encode(record))
    assert ctl(state, "history") == 0
    text = capsys.readouterr().out
    assert re.search(r"^due: .*\(in [\dhms]+\); `filewatchctl reload retry nginx` doesn't wait$", text, re.MULTILINE)


def test_show(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ctl(state, "show", "applied") == 0
    text = capsys.readouterr().out
    assert "1 of nginx" in text
    assert "0640  0:33" in text
    assert "/etc/nginx/app.conf" in text
    assert ctl(state, "show", "17") == 1
    assert "there is no version 17" in capsys.readouterr().err


def test_diff_masks_and_has_an_exit_code(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ctl(state, "diff") == 3
    text = capsys.readouterr().out
    assert "+user: b" in text
    assert "password: (masked" in text
    assert "password: two" not in text
    assert ctl(state, "diff", "1", "1") == 0
    assert "nothing differs" in capsys.readouterr().out


def test_what_is_not_there_or_damaged_is_told(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reload", "history", "other", "--state-dir", str(state)]) == 1
    assert "no rule other with the action reload has kept versions here" in capsys.readouterr().err
    (state / "versions/nginx/record.json").write_text("{")
    assert ctl(state, "history") == 1
    assert "is damaged" in capsys.readouterr().err
    assert (state / "versions/nginx/record.json").read_text() == "{"
