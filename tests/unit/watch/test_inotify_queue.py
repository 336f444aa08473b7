"""The thread that reads inotify's queue."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

import pytest

from filewatchd.watch.backends import inotify_queue
from filewatchd.watch.backends.inotify_queue import Descriptor, Reader
from filewatchd.watch.dirty import IN_CREATE


def test_a_reader_that_fails_by_a_bug_is_not_deaf(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(inotify_queue, "_AGAIN_AFTER", 1)
    descriptor, told = Descriptor(), threading.Event()
    descriptor.add(str(tmp_path), IN_CREATE)
    reader, failures = Reader(descriptor.fd), iter([RuntimeError("a bug")])

    def wake() -> None:
        for failure in failures:
            raise failure
        told.set()

    with caplog.at_level(logging.ERROR):
        reader.start(wake)
        (tmp_path / "created").touch()
        assert told.wait(20)
        data = b"".join(reader.take())
        reader.stop()
    assert b"created" in data
    assert "failed by a bug" in caplog.text
