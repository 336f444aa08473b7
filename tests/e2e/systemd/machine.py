"""A booted Debian with systemd as PID 1, for one test or one module.

    with contextlib.closing(Machine(stack)) as machine:
        machine.boot()
        machine.run("systemctl", "start", "filewatchd")

Its files are read and written from here, below ``machine.path("/")``; only commands go in. It has a network of its own
in which there is nothing but loopback, so that every machine may have its nginx on port 80.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.e2e.running import eventually
from tests.e2e.systemd.cell import Cell, kill, leader
from tests.e2e.systemd.layers import Stack

#: What systemd-nspawn's exit says when the machine wants to be booted again.
_REBOOT = 133

#: Without the last two a container can't use fanotify: nspawn forbids the calls, and file handles need the capability.
_BOOT = (
    "--boot",
    "--private-network",
    "--system-call-filter=fanotify_init fanotify_mark open_by_handle_at name_to_handle_at",
    "--capability=CAP_DAC_READ_SEARCH",
)


class Machine:
    """One machine; it begins switched off."""

    def __init__(self, stack: Stack, *options: str) -> None:
        """``options``: for systemd-nspawn, besides the usual."""
        self._options = options
        self._cell = Cell(stack.directories)
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._leader = 0

    # ---- its life

    def boot(self) -> None:
        """Switch on; returns when systemd has started all it wants to start, some of it perhaps in vain."""
        console = self._cell.root.parent / "console"
        with console.open("ab") as output:
            nspawn = self._nspawn = self._cell.nspawn(*_BOOT, *self._options, output=output)
        said = "the machine boots"
        self._leader = eventually(lambda: leader(nspawn.pid) if nspawn.poll() is None else -1, said) or 0
        if self._leader < 0:
            raise AssertionError(f"the machine ended while booting: {console.read_text(errors='replace')[-4000:]}")
        eventually(lambda: self.state() in ("running", "degraded"), said)

    def state(self) -> str:
        """What systemd says of itself; waits for the end of booting, once systemd can be asked."""
        return self.run("systemctl", "is-system-running", "--wait", check=False).stdout.strip()

    def poweroff(self) -> None:
        """Shut it down in order. Its files stay."""
        self.run("systemctl", "poweroff", check=False)
        assert self._ended() == 0

    def reboot(self) -> None:
        """Shut it down in order and boot it again."""
        self.run("systemctl", "reboot", check=False)
        assert self._ended() == _REBOOT
        self.boot()

    def crash(self) -> None:
        """Kill all that runs in it at one moment. What was written stays, synced or not."""
        kill(self._leader)
        self._ended()

    def close(self) -> None:
        """Throw it away, whatever runs in it."""
        self._cell.close()
        if self._nspawn is not None:
            self._ended()

    def _ended(self) -> int:
        assert self._nspawn is not None, "the machine was not booted"
        status = self._nspawn.wait(60)
        self._nspawn, self._leader = None, 0
        return status

    # ---- commands in it

    def start(self, *argv: str, user: str | None = None, **more: Any) -> subprocess.Popen[str]:
        """Start a command in it (as a user); ``more`` goes to Popen."""
        return subprocess.Popen([*self._enter(user), *argv], text=True, errors="replace", **more)

    def run(
        self,
        *argv: str,
        check: bool = True,
        timeout: float = 60.0,
        user: str | None = None,
        input: str | None = None,  # noqa: A002, as subprocess.run calls it
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in it to its end, and return status and output.

        Raises:
            AssertionError: it failed (unless ``check`` is false); has what it printed.
            TimeoutExpired: it isn't done after ``timeout`` seconds.
        """
        words = [*self._enter(user), *argv]
        done = subprocess.run(
            words, input=input or "", capture_output=True, text=True, errors="replace", timeout=timeout, check=False
        )
        if check and done.returncode:
            raise AssertionError(f"{' '.join(argv)}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def _enter(self, user: str | None) -> Sequence[str]:
        assert self._leader, "the machine isn't running"
        enter = ("nsenter", "--target", str(self._leader), "--all", "--")
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        if user is None:
            return (*enter, "env", "-i", path, "HOME=/root", "LANG=C.UTF-8")
        return (*enter, "runuser", "-u", user, "--", "env", "-i", path, "LANG=C.UTF-8")

    # ---- its files

    def path(self, inside: str) -> Path:
        """Where an absolute path of the machine is, as seen from here. Don't follow absolute symlinks through it."""
        root = Path(f"/proc/{self._leader}/root") if self._leader else self._cell.root
        return root / inside.lstrip("/")

    def put(self, inside: str, text: str, mode: int = 0o644) -> Path:
        """Write a file, and the directories above it; returns where it is."""
        path = self.path(inside)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def get(self, inside: str) -> str:
        """A file's text."""
        return self.path(inside).read_text(errors="replace")

    def waits_for(self, inside: str) -> None:
        """Wait until there is a file."""
        eventually(self.path(inside).exists, f"there is {inside}")

    # ---- its systemd

    def unit(self, name: str, *properties: str) -> dict[str, str]:
        """A unit's properties (systemctl show); all of them, or those named."""
        wanted = [f"--property={','.join(properties)}"] if properties else []
        lines = self.run("systemctl", "show", *wanted, name).stdout.splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def drop_in(self, unit: str, name: str, text: str) -> None:
        """Add to a unit, and let systemd know."""
        self.put(f"/etc/systemd/system/{unit}.d/{name}.conf", text)
        self.run("systemctl", "daemon-reload")

    def journal(self, *matches: str) -> list[dict[str, Any]]:
        """The journal's entries that match (as journalctl takes it), the oldest first."""
        self.run("journalctl", "--sync")
        lines = self.run("journalctl", "--output=json", "--all", *matches).stdout.splitlines()
        return [json.loads(line) for line in lines]

    def messages(self, unit: str) -> str:
        """What a unit logged, and systemd about it."""
        return "\n".join(str(entry.get("MESSAGE")) for entry in self.journal(f"--unit={unit}"))
