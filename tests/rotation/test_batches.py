"""Several logs in one job share their commits: it dies at each, and every log has each of its lines once."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from filewatchd.actions.rotate.machine import Step
from filewatchd.actions.rotate.reader import Reader
from tests.rotation.process import Case
from tests.rotation.trial import content, options

_HERE = Path(__file__).parents[2]
_LOGS = 5
_STEPS = (Step.BEGIN, Step.SWAP, Step.CLOSE, Step.MEMBER, Step.NAME, Step.FREE)


class Logs:
    """Some logs of one rule. Nobody writes to them while they are rotated."""

    def __init__(self, place: Path, **more: Any) -> None:
        self.place = place
        self.options = options("exchange", **more)
        self.written = {str(place / "root" / f"app{number}.log"): b"" for number in range(_LOGS)}
        for name in ("root", "state"):
            (place / name).mkdir()

    def write(self) -> None:
        """More lines, different in each."""
        for log, before in self.written.items():
            lines = b"".join(b"%s %d\n" % (os.path.basename(log).encode(), len(before) + n) for n in range(200))
            with open(log, "ab") as file:
                file.write(lines)
            self.written[log] += lines

    def live(self, death: tuple[str, str] | None) -> int:
        """A life of the rotating process; one that isn't to die finishes what is left."""
        first, *others = self.written
        case = Case(
            str(self.place / "root"), first, str(self.place / "state"), self.options, death, once=death is None,
            others=others, stop=str(self.place / "stop"),
        )  # fmt: skip
        path = self.place / "case.json"
        path.write_bytes(msgspec.json.encode(case))
        command = [sys.executable, "-m", "tests.rotation.process", str(path)]
        return subprocess.run(command, cwd=_HERE, env={**os.environ, "PYTHONPATH": str(_HERE)}, timeout=30).returncode

    def read(self) -> dict[str, bytes]:
        """Each log's stream, as a reader without a daemon reads it."""
        with Reader(str(self.place / "state")) as reader:
            return {log: b"".join(map(content, reader.parts(log))) for log in self.written}


@pytest.mark.parametrize("codec", ["gzip", "none"])
def test_logs_that_share_commits_die_together_and_lose_nothing(codec: str, tmp_path: Path) -> None:
    logs = Logs(tmp_path, when={"size": 1000}, compress={"codec": codec})
    for step, when in itertools.product(_STEPS if codec == "gzip" else _STEPS[:2], ("before", "after")):
        logs.write()
        assert logs.live((step.name, when)) == -signal.SIGKILL, step
        assert logs.read() == logs.written, (step, when)
    assert logs.live(None) == 0
    assert logs.read() == logs.written
    assert [name for name in os.listdir(tmp_path / "root") if name.startswith(".")] == []
