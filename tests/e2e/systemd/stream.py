"""Somebody who makes, rewrites, renames and deletes files all the time."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path


class Stream:
    """How far it is."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._more = threading.Event()
        self.rounds = 0

    def run(self) -> None:
        """Of each five files made, one is deleted at once, one later, one rewritten, and one gets another name."""
        while not self._more.wait(0.002):
            number = self.rounds
            folder = self._root / str(number % 7) / str(number // 100)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number}").write_text(f"content {number}")
            if number % 5 == 0:
                (folder / f"{number}").unlink()
            if number % 5 == 1:
                (folder / f"{number}").rename(folder / f"{number}.renamed")
            if number % 5 == 2:
                (folder / f"{number}").write_text(f"other content {number}")
            if number % 5 == 3 and number > 35:
                (self._root / str((number - 35) % 7) / str((number - 35) // 100) / f"{number - 35}").unlink()
            self.rounds += 1

    def stop(self) -> None:
        """No more changes."""
        self._more.set()


@contextlib.contextmanager
def streaming(root: Path) -> Iterator[Stream]:
    """Changes go on below a directory as long as the block runs."""
    stream = Stream(root)
    thread = threading.Thread(target=stream.run)
    thread.start()
    try:
        yield stream
    finally:
        stream.stop()
        thread.join()
    assert stream.rounds, "nothing was changed"
