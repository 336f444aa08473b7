"""Reloads under random saves and random kill -9: ``python -m tests.reloading --count 100 [--seed N]``.

The service is a directory: telling it copies the live files there, and it is ill while a file says so. Somebody saves
good, bad (the check refuses them) and ill files all the time, in place and by rename, while the daemon is killed and
started again. At every look the service has a set that passed its check; at the end disk and service agree, nobody's
last save is lost, and nothing of ours lies about.

One seed in three guards; the others publish, into a directory or behind a symlink. There somebody edits the live files
now and then, too, and what they wrote is in a version at the end.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.e2e.running import Daemon, eventually
from tests.e2e.servicing import Record, rule

NAMES = ("a", "b", "c/d", "c/e")


class Round:
    """One seed."""

    def __init__(self, seed: int, place: Path) -> None:
        self.chance = random.Random(seed)
        self.mode = ("guard", "exchange", "flip")[seed % 3]
        self.etc, self.running = place / "etc", place / "running"
        self.live = self.etc if self.mode == "guard" else place / "live"
        self.edits: list[str] = []
        self.daemon = Daemon(place)
        self.record = Record(self.daemon)
        self.saved = 0

    def start(self) -> None:
        """The first set is good."""
        for name in NAMES:
            self.save(name, "good")
        shutil.copytree(self.etc, self.running)
        if self.mode == "flip":
            (self.live.parent / "first").mkdir()
            self.live.symlink_to("first")
        copy = f"rm -rf {self.running}.new && cp -a {self.live}/ {self.running}.new"
        turn = (
            f"rm -rf {self.running}.old && mv {self.running} {self.running}.old; mv {self.running}.new {self.running}"
        )
        options = {
            "mode": "guard", "check": ["sh", "-c", f"! grep -rq bad {self.live}/"], "cooldown": 0, "on_bad": "restore",
            "apply": ["sh", "-c", f"{copy} && ! grep -rq bad {self.running}.new && {turn}"],
            "healthy": {"command": ["sh", "-c", f"! grep -rq ill {self.running}"], "within": "50ms"},
        }  # fmt: skip
        if self.mode != "guard":
            options |= {"mode": "publish", "publish": {"from": str(self.etc), "to": str(self.live)}}
        self.daemon.configure(rule(self.etc, options, retry={"attempts": 5, "backoff": "50ms"}))
        self.daemon.start()
        self.record.becomes("synced", good=1)

    def save(self, name: str, word: str) -> str:
        """Somebody saves a file."""
        self.saved += 1
        path, text = self.etc / name, f"{word} {self.saved}\n"
        path.parent.mkdir(parents=True, exist_ok=True)
        if self.chance.random() < 0.5:
            path.write_text(text)
        else:
            fresh = path.with_name("fresh.tmp~")
            fresh.write_text(text)
            fresh.rename(path)
        return text

    def play(self) -> None:
        """Save and kill."""
        for _ in range(self.chance.randrange(3, 12)):
            for _ in range(self.chance.randrange(1, 4)):
                self.save(self.chance.choice(NAMES), self.chance.choice(("good", "good", "bad", "ill")))
            if self.mode != "guard" and self.chance.random() < 0.3:
                self.edit()
            time.sleep(self.chance.random() * 0.4)
            if self.chance.random() < 0.5:
                self.daemon.kill()
                self.passed()
                self.daemon.start()
        last = {name: self.save(name, "good") for name in NAMES}
        eventually(lambda: self.agree(last), f"disk and service agree: {self.record()} {self.daemon.log()[-3000:]}", 40)
        self.daemon.stop()
        left = [path.name for path in self.etc.rglob("*") if path.name.startswith(".filewatchd")]
        left += [path.name for path in self.live.parent.glob(".live.filewatchd-new")]
        assert left == [], left
        kept = [path.read_text() for path in self.daemon.state_dir.glob("versions/service/blobs/*/*")]
        assert set(self.edits) <= set(kept), self.edits

    def edit(self) -> None:
        """Somebody edits a live file, in one step: an edit that goes on while the tree is exchanged may be lost."""
        self.saved += 1
        text, fresh = f"edit {self.saved}\n", self.live.parent / "edit.tmp"
        fresh.write_text(text)
        with contextlib.suppress(FileNotFoundError):
            fresh.rename(self.live / f"by-hand-{self.saved}")
            self.edits.append(text)
            time.sleep(0.1)

    def passed(self) -> None:
        """What the service has is no set that its check refused."""
        assert not any("bad" in path.read_text() for path in self.running.rglob("*") if path.is_file())

    def agree(self, last: dict[str, str]) -> bool:
        """The last saves are on the disk and in the service, and the record says so."""
        found = self.record()
        texts = [{name: (place / name).read_text() for name in NAMES} for place in (self.etc, self.live, self.running)
                 if all((place / name).exists() for name in NAMES)]  # fmt: skip
        return texts == [last, last, last] and found["state"] == "synced" and found["sure"]


def main() -> None:
    """So many rounds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for seed in range(arguments.seed, arguments.seed + arguments.count):
        place = Path(tempfile.mkdtemp(prefix="filewatchd-reloading-"))
        played = Round(seed, place)
        try:
            played.start()
            played.play()
        except BaseException:
            print(f"seed {seed} failed; all of it is in {place}", file=sys.stderr)
            played.daemon.kill()
            raise
        shutil.rmtree(place)
        print(f"seed {seed}: {played.saved} saves", flush=True)


if __name__ == "__main__":
    main()
