"""A log under writers, a rotation that dies again and again, and whether every line is there once, in order.

After each death the writers are stopped (SIGSTOP) and the log's stream is read as a reader without a daemon reads it:
whatever the moment, it must be a whole beginning of what each writer wrote. In the end all that was written must be
there, and nothing else: no temporary file, no foreign byte.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from filewatchd import codecs
from filewatchd.actions.rotate.ledger import Part
from filewatchd.actions.rotate.reader import Reader
from filewatchd.testing.waiting import wait_until
from tests.rotation.process import Case
from tests.rotation.writing import line

_HERE = Path(__file__).parents[2]
_LINE = re.compile(rb"(\w+) (\d{8}) (\d{3}) (x*)\n")


class Trial:
    """One log."""

    def __init__(self, directory: Path, root: Path, options: dict[str, Any], *, short: bool = False) -> None:
        """``directory`` takes the state, ``root`` the log and its archives."""
        self.directory = directory
        self.root = root
        self.live = root / "app.log"
        self.options = options
        self.short = short
        self.fixed = False
        self.stop_file = directory / "stop"
        self.log = directory / "output"
        self._writers: dict[str, subprocess.Popen[bytes]] = {}
        self._written: dict[str, int] = {}  # lines of writers that have ended
        self.deaths = 0
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "state").mkdir(exist_ok=True)

    # ---- writers

    def write(self, *modes: str) -> None:
        """Start writers."""
        for number, mode in enumerate(modes):
            name = f"w{number}{mode}"
            command = [sys.executable, "-S", "-E", str(_HERE / "tests/rotation/writing.py"), mode, str(self.live), name]
            self._writers[name] = subprocess.Popen([*command, str(self.directory / name)], cwd=_HERE)
        for name in self._writers:
            wait_until((self.directory / f"{name}.pid").exists, f"writer {name} writes")

    @property
    def writing(self) -> bool:
        """Whether there are writers."""
        return bool(self._writers)

    def fill(self, count: int) -> None:
        """Add so many lines, and be done."""
        begin = self._written.get("filler", 0)
        with self.live.open("ab") as log:
            log.writelines(line("filler", number) for number in range(begin, begin + count))
        self._written["filler"] = begin + count

    def count(self) -> int:
        """How many lines `fill` has added."""
        return self._written.get("filler", 0)

    def pidfile(self, mode: str) -> str:
        """The pid file of the first writer of a kind, to be."""
        return str(self.directory / f"w0{mode}.pid")

    def signal(self, number: signal.Signals) -> None:
        """Send all writers a signal."""
        for writer in self._writers.values():
            writer.send_signal(number)

    def end_writers(self) -> None:
        """Let them end after a line."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        for name, writer in self._writers.items():
            assert writer.wait(10) == 0, name

    # ---- lives

    def start(
        self, death: tuple[str, str] | None = None, *, once: bool = False, through: Sequence[str] = ()
    ) -> subprocess.Popen[bytes]:
        """A life of the rotating process; ``through`` a program that becomes it, or runs it."""
        path = self.directory / "case.json"
        path.write_bytes(msgspec.json.encode(self.case(death, once=once)))
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [*through, sys.executable, "-m", "tests.rotation.process", str(path)],
                cwd=_HERE, stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": str(_HERE)},
            )  # fmt: skip

    def case(self, death: tuple[str, str] | None = None, *, once: bool = False) -> Case:
        """A life, as it is told to its process."""
        return Case(
            str(self.root), str(self.live), str(self.directory / "state"), self.options, death, self.short, self.fixed,
            once, str(self.stop_file),
        )  # fmt: skip

    def die(self, step: str, when: str, within: float = 30.0) -> None:
        """A life that ends at a step; then what is there is read."""
        process = self.start((step, when))
        try:
            status = process.wait(within)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"no {step} came within {within:.0f} s\n{self.output()}") from None
        assert status == -signal.SIGKILL, f"{step} {when}: status {status}\n{self.output()}"
        self.deaths += 1
        self.look(f"{when} {step}")

    def die_after(self, seconds: float) -> None:
        """A life that ends at some moment."""
        process = self.start()
        time.sleep(seconds)
        assert process.poll() is None, self.output()
        process.kill()
        process.wait()
        self.deaths += 1
        self.look(f"after {seconds:.3f} s")

    def output(self) -> str:
        """What the processes printed, and what the ledger says."""
        with Reader(str(self.directory / "state")) as reader:
            rows = "\n".join(str(row) for row in reader.archives(str(self.live)))
        printed = self.log.read_text() if self.log.exists() else ""
        return f"{printed[-4000:]}\n{rows}\n{sorted(os.listdir(self.root))}"

    # ---- what must be true

    def look(self, moment: str) -> None:
        """With the writers stopped, what a reader sees is a beginning of what was written."""
        self.signal(signal.SIGSTOP)
        for writer in self._writers.values():
            wait_until(partial(stopped, writer.pid), "the writer is stopped")
        try:
            self.check(self.read(), None, moment)
        finally:
            self.signal(signal.SIGCONT)

    def read(self) -> bytes:
        """The log's whole stream, without a daemon."""
        with Reader(str(self.directory / "state")) as reader:
            parts = reader.parts(str(self.live)) or [Part(str(self.live), "none", 0, None, 0, None, None)]
        return b"".join(map(content, parts))

    def check(self, stream: bytes, counts: dict[str, int] | None, moment: str) -> None:
        """Every writer's lines in order, none missing, doubled or torn; so many of each.

        With ``keep`` the oldest may be gone.
        """
        names = [*self._writers, *self._written]
        seen: dict[str, int | None] = dict.fromkeys(names, None if "keep" in self.options else 0)
        position = 0
        while position < len(stream):
            found = _LINE.match(stream, position)
            if found is None or stream[found.start() : found.end()] != line(found[1].decode(), int(found[2])):
                raise AssertionError(
                    f"{moment}: {stream[max(0, position - 80) : position + 120]!r} at {position}\n{self.output()}"
                )
            name, number = found[1].decode(), int(found[2])
            expected = seen[name]
            if expected not in (None, number):
                raise AssertionError(f"{moment}: line {number} of {name} where {expected} should be\n{self.output()}")
            seen[name] = number + 1
            position = found.end()
        if counts is not None:
            assert seen == counts, f"{moment}\n{self.output()}"

    def finish(self) -> int:
        """Writers end, what is left is done, and everything is where it belongs. Returns the number of lines."""
        self.end_writers()
        assert self.start(once=True).wait(60) == 0, self.output()
        counts = {name: int((self.directory / name).read_text()) for name in self._writers} | self._written
        self.check(self.read(), counts, "at the end")
        self.complete()
        return sum(counts.values())

    def complete(self) -> None:
        """Nothing is left to be done, and there is no file but the log and its archives."""
        with Reader(str(self.directory / "state")) as reader:
            archives = [row for row in reader.archives(str(self.live)) if row.state != "gone"]
        assert {row.state for row in archives} <= {"done"}, self.output()
        known = {str(self.live), *(row.path for row in archives)}
        places = {self.root, *(Path(row.path).parent for row in archives if row.path is not None)}
        found = {str(path) for place in places for path in place.rglob("*") if path.is_file()}
        assert found == known, self.output()
        if "after" in self.options:
            told = (self.directory / "state/afters").read_text().splitlines()
            assert {row.path for row in archives} <= set(told), (told, self.output())


def stopped(pid: int) -> bool:
    """Whether a process stands still."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "TZ"


def content(part: Part) -> bytes:
    """A part's bytes, decoded."""
    fd = os.open(part.path, os.O_RDONLY)
    try:
        if part.codec == "none":
            end = os.fstat(fd).st_size if part.end is None else part.end
            data = os.pread(fd, end - part.start, part.start)
            assert len(data) == max(0, end - part.start), part
            return data
        assert part.start == 0, part
        if part.end is None:
            return b"".join(codecs.read(fd, codecs.codec(part.codec)))
        return counted(part, fd)
    finally:
        os.close(fd)


def counted(part: Part, fd: int) -> bytes:
    """What of an unfinished archive counts."""
    with open(os.memfd_create("part"), "wb") as copy:
        copy.write(os.pread(fd, part.end or 0, 0))
        copy.flush()
        return b"".join(codecs.read(copy.fileno(), codecs.codec(part.codec)))


def options(method: str, **more: Any) -> dict[str, Any]:
    """A rotation every few dozen kilobytes."""
    return {"when": {"size": 24576}, "method": method, "compress": {"codec": "gzip", "level": 1}, **more}
