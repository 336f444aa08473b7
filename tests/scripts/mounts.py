"""Filesystems for scripts: mounted where nobody but this process and its children see it, and taken away for sure.

The process enters a mount namespace of its own before its first mount (unshare(2), mount_namespaces(7)), with the
propagation to the rest of the system cut: even if it is killed, the kernel takes all mounts away with its last child.
"""

from __future__ import annotations

import ctypes
import functools
import os
import signal
import subprocess
from pathlib import Path

from tests.e2e.running import eventually

_CLONE_NEWNS = 0x00020000

#: How an image is made: its size in MiB, and the command. They are the smallest that the makers accept.
_MAKERS = {
    "ext4": (16, ["mkfs.ext4", "-q", "-m", "0"]),  # what is kept for root would hide that it is full
    "ext4-128": (16, ["mkfs.ext4", "-q", "-I", "128"]),  # timestamps of whole seconds, ext4(5)
    "xfs": (300, ["mkfs.xfs", "-q"]),
    "btrfs": (110, ["mkfs.btrfs", "-q"]),
}


@functools.cache
def private() -> None:
    """Give this process mounts of its own, once."""
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)


def programs(kind: str) -> list[str]:
    """The commands that a kind of filesystem needs."""
    if kind == "bindfs":
        return ["bindfs"]
    return [_MAKERS[kind][1][0]] if kind in _MAKERS else []


class Mounts:
    """The mounts of one script, or of all."""

    def __init__(self, directory: Path) -> None:
        """``directory`` takes the images."""
        self._directory = directory
        self._places: list[str] = []
        self._servers: dict[str, subprocess.Popen[bytes]] = {}

    def mount(self, kind: str, place: str, image: str = "disk", behind: str = "", size: str = "64m") -> None:
        """Mount a filesystem. An image is made once and found again; bindfs shows what is ``behind``.

        ``size`` is a tmpfs's.
        """
        private()
        if kind == "bindfs":
            self._bindfs(behind, place)
        elif kind == "tmpfs":
            _run("mount", "-t", "tmpfs", "-o", f"size={size}", "none", place)
        elif kind == "overlay":
            self._overlay(place)
        else:
            _run("mount", "-o", "loop", self._image(kind, image), place)
        self._places.append(place)

    def bind(self, source: str, place: str) -> None:
        """Show a directory at another place, too."""
        private()
        _run("mount", "--bind", source, place)
        self._places.append(place)

    def umount(self, place: str) -> None:
        """Take away what is mounted last at a place. The daemon may be looking at it just now: then again."""
        eventually(lambda: subprocess.run(["umount", place], stderr=subprocess.DEVNULL).returncode == 0, "umount", 10)
        self._places.remove(place)
        server = self._servers.pop(place, None)
        if server is not None:
            server.wait(10)

    def detach(self, place: str) -> None:
        """Take away what is mounted last at a place, though somebody uses it: he goes on in what nobody else sees."""
        _run("umount", "-l", place)
        self._places.remove(place)

    def freeze(self, place: str) -> None:
        """Stop the server of a bindfs: whoever asks for anything on it waits."""
        self._servers[place].send_signal(signal.SIGSTOP)

    def thaw(self, place: str) -> None:
        """Let the server go on."""
        self._servers[place].send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Take all away, the last one first."""
        for server in self._servers.values():
            server.send_signal(signal.SIGCONT)
        for place in reversed(self._places):
            subprocess.run(["umount", "-l", place], check=False)
        self._places.clear()
        for server in self._servers.values():
            server.terminate()
            server.wait(10)
        self._servers.clear()

    def _image(self, kind: str, name: str) -> str:
        image = self._directory / f"{kind}-{name}.img"
        if not image.exists():
            size, maker = _MAKERS[kind]
            image.touch()
            os.truncate(image, size << 20)
            _run(*maker, str(image))
        return str(image)

    def _overlay(self, place: str) -> None:
        layers = [self._directory / f"overlay-{len(self._places)}-{name}" for name in ("lower", "upper", "work")]
        for layer in layers:
            layer.mkdir()
        options = ",".join(f"{n}dir={p}" for n, p in zip(("lower", "upper", "work"), layers, strict=True))
        _run("mount", "-t", "overlay", "-o", options, "none", place)

    def _bindfs(self, behind: str, place: str) -> None:
        options = "attr_timeout=0,entry_timeout=0,negative_timeout=0"  # else changes behind it show a second late
        server = subprocess.Popen(["bindfs", "-f", "-o", options, behind, place])
        self._servers[place] = server
        eventually(lambda: os.path.ismount(place) or server.poll() is not None, "bindfs serves", 10)
        assert server.poll() is None, "bindfs ended"


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
