"""A value that follows a file, for other people's services."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from filewatchd import reloadable
from filewatchd.reloadable import Reloadable, ReloadableError
from filewatchd.testing import FakeClock, wait_until


class Service:
    """A file, its reloadable value, and what it was told."""

    def __init__(self, path: Path, **keys: Any) -> None:
        self.path, self.clock = path, FakeClock()
        self.parsed = 0
        self.changes: list[Any] = []
        self.errors: list[ReloadableError] = []
        self.file: Reloadable[Any] = Reloadable(
            path, self.parse, on_change=self.changes.append, on_error=self.errors.append, clock=self.clock.monotonic,
            **keys,
        )  # fmt: skip

    def parse(self, data: bytes) -> Any:
        self.parsed += 1
        return json.loads(data)

    def later(self) -> Any:
        self.clock.advance(1.0)
        return self.file.value


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "settings.json"
    path.write_text("1")
    return path


def replace(path: Path, text: str) -> None:
    other = path.with_name("other")
    other.write_text(text)
    other.replace(path)


def test_the_value_follows_edits_and_replacements(path: Path) -> None:
    service = Service(path)
    assert service.file.value == 1
    replace(path, "2")
    assert service.file.value == 1  # it isn't due
    assert service.later() == 2
    path.write_text("3")
    assert service.later() == 3
    assert (service.changes, service.errors, service.file.version) == ([2, 3], [], 3)


def test_a_bad_file_never_raises_and_is_told_once(path: Path) -> None:
    service = Service(path)
    for bad in ("{", "["):
        replace(path, bad)
        assert [service.later(), service.later(), service.file.value] == [1, 1, 1]
    assert len(service.errors) == 2
    assert str(service.errors[0]).startswith(f"{path} isn't taken: JSONDecodeError: ")
    assert isinstance(service.errors[0].__cause__, json.JSONDecodeError)
    assert [service.file.error] == service.errors[1:]
    assert service.parsed == 3
    replace(path, "1")  # put right: the value is the one that holds
    assert service.later() == 1
    assert service.file.error is None
    assert (service.changes, service.parsed) == ([], 3)


def test_a_file_that_goes_and_comes_back(path: Path) -> None:
    service = Service(path)
    path.unlink()
    assert [service.later(), service.later()] == [1, 1]
    assert [str(error) for error in service.errors] == [f"{path} can't be read: No such file or directory"]
    path.write_text("2")
    assert service.later() == 2
    assert service.file.error is None


def test_an_identical_rewrite_and_a_touch_are_no_change(path: Path) -> None:
    service = Service(path)
    replace(path, "1")
    service.later()
    os.utime(path)
    service.later()
    assert (service.parsed, service.changes) == (1, [])


def test_a_flip_of_kubernetes_data_is_seen(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"..{number}").mkdir()
        (tmp_path / f"..{number}/settings.json").write_text(f"{number}{number}")
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "settings.json").symlink_to("..data/settings.json")
    service = Service(tmp_path / "settings.json")
    assert service.file.value == 11
    (tmp_path / "..new").symlink_to("..2")
    (tmp_path / "..new").replace(tmp_path / "..data")
    assert service.later() == 22


def test_a_rewrite_that_looks_the_same_is_read_while_the_file_is_young(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(path)
    same = reloadable.identity(path.stat())
    monkeypatch.setattr(reloadable, "identity", lambda found: same)  # a coarse clock
    path.write_text("2")
    assert service.later() == 2
    old = time.time_ns() + 3_000_000_000
    monkeypatch.setattr(time, "time_ns", lambda: old)
    service.later()
    parsed = service.parsed
    path.write_text("3")
    assert service.later() == 2
    assert service.parsed == parsed


def test_a_file_that_is_being_written_is_left_until_it_is_whole(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(path)
    fstat, calls = os.fstat, [0]

    def writing(fd: int) -> os.stat_result:
        calls[0] += 1
        if calls[0] == 2:
            path.write_text("[1, 2")
        return fstat(fd)

    replace(path, "[1")
    monkeypatch.setattr(os, "fstat", writing)
    assert service.later() == 1
    assert not service.errors
    monkeypatch.undo()
    path.write_text("[1, 2]")
    assert service.later() == [1, 2]


def test_a_bad_file_at_the_start_needs_a_default(path: Path) -> None:
    path.write_text("{")
    with pytest.raises(ReloadableError, match="isn't taken"):
        Reloadable(path, json.loads)
    service = Service(path, default={})
    assert service.file.value == {}
    assert service.errors == [service.file.error]
    replace(path, '{"a": 1}')
    assert service.later() == {"a": 1}


def test_a_file_that_is_being_written_at_the_start_is_waited_for(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fstat, calls = os.fstat, [0]

    def writing(fd: int) -> os.stat_result:
        calls[0] += 1
        if calls[0] in (2, 4):
            path.write_text("1" * calls[0])
        return fstat(fd)

    monkeypatch.setattr(os, "fstat", writing)
    assert Reloadable(path, json.loads).value == 1111


def test_no_other_kind_of_file_hangs_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(path)
    path.unlink()
    path.mkdir()
    assert service.later() == 1
    path.rmdir()
    os.mkfifo(path)
    assert service.later() in (1, None)
    path.unlink()
    monkeypatch.setattr(reloadable, "MOST", 10)
    path.write_text("1" * 11)
    service.later()
    assert "larger than" in str(service.errors[-1])


def test_callbacks_may_fail_and_may_ask(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    seen: list[Any] = []

    def ask(value: Any) -> None:
        seen.append((value, file.value, file.reload()))
        raise RuntimeError("a bug")

    file = Reloadable(path, json.loads, on_change=ask, interval=0.0)
    replace(path, "2")
    assert file.value == 2
    assert seen == [(2, 2, True)]
    assert "a callback of a reloadable value failed" in caplog.text


def test_reload_looks_now_and_says_whether_all_is_well(path: Path) -> None:
    service = Service(path)
    replace(path, "2")
    assert service.file.reload()
    replace(path, "{")
    assert not service.file.reload()
    assert service.file.value == 2


def test_who_asks_while_another_parses_gets_the_value_that_there_is(path: Path) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def parse(data: bytes) -> Any:
        if data == b"2":
            begun.set()
            assert go_on.wait(30)
        return json.loads(data)

    file = Reloadable(path, parse, interval=0.0)
    replace(path, "2")
    thread = threading.Thread(target=file.reload)
    thread.start()
    assert begun.wait(30)
    assert file.value == 1
    go_on.set()
    thread.join()
    assert file.value == 2


def test_a_thread_calls_back_without_anybody_who_asks(path: Path) -> None:
    changes: list[Any] = []
    with Reloadable(path, json.loads, on_change=changes.append, interval=0.01) as file:
        replace(path, "2")
        wait_until(lambda: changes == [2], "the callback")
        assert file.watch() is file
    file.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "reloadable"]


def test_a_signal_makes_a_look_due(path: Path) -> None:
    came: list[int] = []
    former = signal.signal(signal.SIGHUP, lambda number, frame: came.append(number))
    try:
        service = Service(path, interval=1000.0)
        service.file.follow_signal()
        replace(path, "2")
        os.kill(os.getpid(), signal.SIGHUP)
        wait_until(lambda: came == [signal.SIGHUP], "the former handler")
        assert service.file.value == 2
    finally:
        signal.signal(signal.SIGHUP, former)


def test_many_threads_see_whole_values_in_their_order(path: Path) -> None:
    file = Reloadable(path, json.loads, interval=0.0)
    wrong: list[Any] = []
    stop = threading.Event()

    def follow() -> None:
        last = 0
        while not stop.is_set():
            value = file.value
            number = value if isinstance(value, int) else value[0]
            if number < last or (isinstance(value, list) and value != [number] * 500):
                wrong.append(value)
            last = number

    threads = [threading.Thread(target=follow) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(2, 30):
        replace(path, json.dumps([number] * 500) if number % 5 else "{")
    replace(path, json.dumps([30] * 500))
    wait_until(lambda: file.value == [30] * 500, "the last value")
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_forked_process_follows_the_file_by_itself(path: Path) -> None:
    """Servers load their settings and then fork; a thread of the parent's may be looking just then."""
    settings = Reloadable(path, json.loads, interval=0.01).watch()
    with settings._lock:
        child = os.fork()
        if child == 0:
            signal.alarm(20)
            with contextlib.suppress(BaseException):
                replace(path, '{"from": "the child"}')
                well = settings.reload() and settings.value == {"from": "the child"}
                os._exit(0 if well and settings.watch()._thread.is_alive() else 1)  # type: ignore[union-attr]
            os._exit(2)
    _, status = os.waitpid(child, 0)
    settings.close()
    assert os.waitstatus_to_exitcode(status) == 0


def test_it_imports_nothing_of_ours_but_errors() -> None:
    program = "import sys, filewatchd.reloadable; print(sorted(m for m in sys.modules if m.startswith('filewatchd')))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['filewatchd', 'filewatchd.errors', 'filewatchd.reloadable']"
