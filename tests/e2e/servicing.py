"""Real services whose configuration a daemon reloads: nginx, haproxy, rsyslog, PostgreSQL, and what became of it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.e2e.running import Daemon, eventually

CTL = "import sys; from filewatchd.cli.control import main; sys.exit(main())"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def answer(port: int) -> str:
    """What an HTTP server says, its status first."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as reply:
            return f"{reply.status} {reply.read().decode()}"
    except urllib.error.HTTPError as error:
        return f"{error.code} {error.read().decode()}"
    except OSError as error:
        return f"none: {error}"


@contextlib.contextmanager
def process(*command: str, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A program that runs for the length of the block."""
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, **options) as running:
        try:
            yield running
        finally:
            running.send_signal(signal.SIGTERM)
            try:
                running.wait(10)
            except subprocess.TimeoutExpired:
                running.kill()


class Nginx:
    """nginx with a configuration of its own: ``site`` is included, by an absolute path."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.etc = place / "etc"
        self.port = free_port()
        self.pidfile = place / "nginx.pid"
        (self.etc / "conf.d").mkdir(parents=True)
        temporary = " ".join(
            f"{name}_temp_path {place}/temp-{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (self.etc / "nginx.conf").write_text(
            f"daemon off; pid {self.pidfile}; error_log {place}/error.log; events {{}}\n"
            f"http {{ access_log off; {temporary} include {self.etc}/conf.d/*.conf; }}\n"
        )
        self.site = self.etc / "conf.d/site.conf"
        self.write("one")

    def write(self, text: str, status: int = 200) -> None:
        """Save the site in place."""
        self.site.write_text(self.text(text, status))

    def text(self, text: str, status: int = 200) -> str:
        """A site that answers so."""
        return f"server {{ listen 127.0.0.1:{self.port}; location / {{ return {status} '{text}'; }} }}\n"

    def runs(self) -> contextlib.AbstractContextManager[subprocess.Popen[bytes]]:
        """Have it run."""
        return process("nginx", "-c", str(self.etc / "nginx.conf"))

    @property
    def says(self) -> str:
        """What it answers."""
        return answer(self.port)

    def rule(self, **options: Any) -> str:
        """The rule that reloads it."""
        given: dict[str, Any] = {
            "mode": "guard",
            "check": ["nginx", "-t", "-c", f"{self.etc}/nginx.conf"],
            "apply": {"signal": "HUP", "pidfile": str(self.pidfile)},
            "healthy": {"http": f"http://127.0.0.1:{self.port}/", "within": "500ms", "stay": "300ms"},
            "cooldown": 0,
        }
        return rule(self.etc, {**given, **options})


def rule(root: Path, options: dict[str, Any], **keys: Any) -> str:
    """A rule ``service`` with the action."""
    lines = ["  - name: service", f"    roots: [{root}]"]
    lines += [f"    {key}: {json.dumps(value)}" for key, value in keys.items()]
    return "\n".join([*lines, "    actions:", f"      - reload: {json.dumps(options)}"])


class Record:
    """What the daemon's store says of the rule, read as people without a daemon do."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon

    def __call__(self) -> dict[str, Any]:
        path = self.daemon.state_dir / "versions/service/record.json"
        return dict(json.loads(path.read_text())) if path.exists() else {"state": "", "versions": []}

    def becomes(self, state: str, **fields: Any) -> dict[str, Any]:
        """Wait for a state, and for fields to be so."""

        def reached() -> dict[str, Any] | None:
            found = self()
            known = {"fate": (found["versions"] or [{"fate": ""}])[-1]["fate"], **found}
            return found if state == found["state"] and all(known[name] == fields[name] for name in fields) else None

        try:
            return eventually(reached, f"{state}, {fields}", 20) or {}
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {self()}\n{self.daemon.log()[-3000:]}") from None

    def version(self, number: int) -> dict[str, Any]:
        """One of the versions."""
        return next(version for version in self()["versions"] if version["number"] == number)


def control(daemon: Daemon, *words: str) -> tuple[int, str]:
    """Exit code and output of ``filewatchctl``."""
    command = [sys.executable, "-c", CTL, "--socket", str(daemon.directory / "run/control.sock"), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "NO_COLOR": "1"})
    return done.returncode, done.stdout + done.stderr
