"""Each watcher as a process: how it is started on a tree, when it is ready, and how many files it told of."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

BENCH = Path(__file__).parent
PEERS = BENCH / "peers"
PEERS_PYTHON = BENCH / ".venv/bin/python"
FILEWATCHD = Path(sys.executable).parent / "filewatchd"


class Job(NamedTuple):
    """What a scenario wants of a watcher. ``work``: a directory outside the tree for its own files."""

    tree: Path
    work: Path
    probe: tuple[str, ...] = ()  # run this command for each file, the path behind it
    settle: str | None = None  # filewatchd's; None is its default
    rules: str | None = None  # filewatchd's rules in YAML, instead of one for the tree


class Running:
    """A watcher that was started."""

    def __init__(self, process: subprocess.Popen[bytes], output: Path, job: Job) -> None:
        self.process = process
        self.pid = process.pid
        self.output = output
        self.job = job

    def wait_for(self, word: str, within: float = 60.0) -> float:
        """Seconds until its output has ``word``; asks every millisecond."""
        start = time.monotonic()
        while word not in self.output.read_text(errors="replace"):
            if self.process.poll() is not None:
                raise RuntimeError(f"ended early: {self.output.read_text(errors='replace')[-2000:]}")
            if time.monotonic() - start > within:
                raise TimeoutError(f"no {word!r} after {within:.0f} s")
            time.sleep(0.001)
        return time.monotonic() - start

    def stop(self) -> None:
        """End it and all it started."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Watcher:
    """A program to measure. ``ready``: what it prints when its watches stand."""

    name = ""
    ready = "ready"

    def command(self, job: Job) -> list[str]:
        """The words that start it."""
        raise NotImplementedError

    def told(self, running: Running) -> int:
        """How many distinct files it told of; called after it was stopped."""
        found = re.search(r"^paths (\d+)$", running.output.read_text(), re.MULTILINE)
        if found is None:
            raise RuntimeError(f"{self.name} did not say how many paths it saw")
        return int(found[1])

    @contextmanager
    def running(self, job: Job, within: float = 60.0) -> Iterator[Running]:
        """Start it, wait until it is ready, and stop it at the end."""
        running = self.start(job)
        try:
            running.wait_for(self.ready, within)
            yield running
        finally:
            running.stop()

    def start(self, job: Job) -> Running:
        """Start it and wait for nothing."""
        output = job.work / f"{self.name.replace(' ', '-')}.log"
        with output.open("wb") as log:
            process = subprocess.Popen(
                self.command(job), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=job.work
            )
        return Running(process, output, job)


class Filewatchd(Watcher):
    """Ours, with manifest and journal on, as always."""

    name = "filewatchd"

    def command(self, job: Job) -> list[str]:
        config = job.work / "filewatchd.yaml"
        config.write_text(self.configuration(job))
        state, runtime = job.work / "state", job.work / "run"
        return [
            str(FILEWATCHD),
            "run",
            "--config",
            str(config),
            "--state-dir",
            str(state),
            "--runtime-dir",
            str(runtime),
        ]

    def configuration(self, job: Job) -> str:
        """One rule for the tree, or the scenario's own rules."""
        if job.rules is not None:
            return job.rules
        if job.probe:
            action = f"exec: {{command: {json.dumps([*job.probe, '{path}'])}}}"
        else:
            # One process for a batch, and the paths counted by nobody of ours: dd appends them, NUL-separated.
            words = ["dd", f"of={self.paths(job)}", "oflag=append", "conv=notrunc", "status=none"]
            action = f"exec: {{command: {json.dumps(words)}, stdin: nul}}"
        settle = f"    settle: {job.settle}\n" if job.settle else ""
        return (
            f"version: 1\nrules:\n  - name: measured\n    roots: ['{job.tree}']\n{settle}"
            f"    actions:\n      - {action}\n"
        )

    def paths(self, job: Job) -> Path:
        """Where the paths of finished jobs are collected."""
        return job.work / "paths"

    def told(self, running: Running) -> int:
        return len(set(self.paths(running.job).read_bytes().split(b"\0")) - {b""})


class Watchdog(Watcher):
    """watchdog's own observer with a handler that only remembers paths."""

    name = "watchdog"
    script = "watchdog_paths.py"

    def command(self, job: Job) -> list[str]:
        return [str(PEERS_PYTHON), str(PEERS / self.script), str(job.tree), *job.probe]


class Watchfiles(Watchdog):
    """watchfiles at its defaults, remembering paths."""

    name = "watchfiles"
    script = "watchfiles_paths.py"


class Inotifywait(Watcher):
    """The shell loop that everybody writes first."""

    ready = "Watches established"

    def __init__(self, shell: str = "bash") -> None:
        self.shell = shell
        self.name = f"inotifywait loop in {shell}"

    def command(self, job: Job) -> list[str]:
        watch = f"inotifywait -m -r -e close_write --format %w%f '{job.tree}'"
        loop = f'while IFS= read -r path; do {shlex.join(job.probe)} "$path"; done'
        # The shell ends its children with it: kill 0 reaches the group that start_new_session made.
        return ["setsid", self.shell, "-c", f"trap 'trap - TERM; kill 0' TERM; {watch} | {loop} & wait"]


class InotifywaitAlone(Inotifywait):
    """inotifywait without a loop behind it, for its own start and memory: each event is a line of its output."""

    def __init__(self) -> None:
        super().__init__()
        self.name = "inotifywait"

    def command(self, job: Job) -> list[str]:
        return ["inotifywait", "-m", "-r", "-e", "close_write", "--format", "%w%f", str(job.tree)]


class Incron(Watcher):
    """incron's daemon with a table of its own."""

    name = "incron"
    ready = ""

    def command(self, job: Job) -> list[str]:
        tables = job.work / "incron.d"
        tables.mkdir()
        (job.work / "users").mkdir()
        (tables / "measured").write_text(f"{job.tree} IN_CLOSE_WRITE {' '.join(job.probe)} $@/$#\n")
        config = job.work / "incron.conf"
        places = {"system_table_dir": tables, "user_table_dir": job.work / "users", "lockfile_dir": job.work}
        config.write_text("".join(f"{key} = {value}\n" for key, value in places.items()) + "lockfile_name = incrond\n")
        return ["incrond", "-n", "-f", str(config)]


class Watchman(Watcher):
    """watchman with one watch, in the foreground and with a place of its own; it runs nothing and is asked."""

    name = "watchman"
    ready = ""

    def command(self, job: Job) -> list[str]:
        places = [f"--{name}={job.work / name}" for name in ("sockname", "statefile", "logfile", "pidfile")]
        return ["watchman", *places, "--foreground"]

    @staticmethod
    def client(job: Job) -> list[str]:
        """The words that ask it."""
        return ["watchman", f"--sockname={job.work / 'sockname'}", "--no-spawn"]

    @contextmanager
    def running(self, job: Job, within: float = 60.0) -> Iterator[Running]:
        with super().running(job, within) as running:
            deadline = time.monotonic() + within
            while subprocess.run(
                [*self.client(job), "watch", str(job.tree)], capture_output=True, check=False
            ).returncode:
                if time.monotonic() > deadline:
                    raise TimeoutError("watchman doesn't watch the tree")
            yield running
