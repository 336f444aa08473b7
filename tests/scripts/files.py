"""What a script does to files: each command is one call, made by the test's own process."""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import shutil
import socket
import stat
import struct
from collections.abc import Callable, Iterator, Mapping

_LONG = 3000  # bytes of a path that a system call is sure to take; the limit, PATH_MAX, is 4096
_RENAME_EXCHANGE = 2  # renameat2(2)
_AT_FDCWD = -100
_IN_OPEN = 0x20  # inotify(7)
_libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def reached(path: str) -> Iterator[str]:
    """A path that system calls take, however long this one is: through descriptors of directories on the way."""
    held: list[int] = []
    try:
        while len(os.fsencode(path)) > _LONG:
            cut = path.rindex("/", 0, _LONG // 4)
            held.append(os.open(path[:cut], os.O_PATH | os.O_DIRECTORY))
            path = f"/proc/self/fd/{held[-1]}{path[cut:]}"
        yield path
    finally:
        for descriptor in held:
            os.close(descriptor)


class Files:
    """Carries out the commands that change files; paths are relative to a place."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._open: dict[str, io.FileIO] = {}
        self._guard = -1  # an inotify descriptor of the test's own
        self._guarded: dict[int, str] = {}
        self.commands: Mapping[str, Callable[..., None]] = {
            "write": self.write,
            "append": self.append,
            "truncate": self.truncate,
            "touch": self.touch,
            "mkdir": self.mkdir,
            "rm": self.rm,
            "mv": self.mv,
            "swap": self.swap,
            "ln": self.ln,
            "chmod": self.chmod,
            "mknod": self.mknod,
            "tmpfile": self.tmpfile,
            "open": self.open,
            "put": self.put,
            "close": self.close_file,
            "guard": self.guard,
        }

    def at(self, path: str) -> str:
        """Where a path of the script is; a slash at its end stays."""
        return f"{self._place}/{path}"

    def write(self, path: str, text: str, times: str = "x1") -> None:
        """``write PATH TEXT [xN]``: open, write, close, N times."""
        with reached(self.at(path)) as place:
            for _ in range(int(times.removeprefix("x"))):
                with open(place, "wb") as file:
                    file.write(os.fsencode(text))

    def append(self, path: str, text: str) -> None:
        """``append PATH TEXT``."""
        with open(self.at(path), "ab") as file:
            file.write(os.fsencode(text))

    def truncate(self, path: str, size: str) -> None:
        """``truncate PATH SIZE``: by path, without a descriptor; makes a sparse file longer, too."""
        os.truncate(self.at(path), int(size))

    def touch(self, path: str) -> None:
        """``touch PATH``: sets the times of what is there."""
        os.utime(self.at(path))

    def mkdir(self, *words: str) -> None:
        """``mkdir [-p] PATH...``."""
        if words[0] != "-p":
            for path in words:
                os.mkdir(self.at(path))
            return
        for path in words[1:]:
            steps = self.at(path).split("/")
            for end in range(self._place.count("/") + 2, len(steps) + 1):
                with reached("/".join(steps[:end])) as place, contextlib.suppress(FileExistsError):
                    os.mkdir(place)

    def rm(self, *words: str) -> None:
        """``rm [-r] PATH...``."""
        for path in words:
            if words[0] != "-r":
                os.unlink(self.at(path))
            elif path != "-r":
                shutil.rmtree(self.at(path))

    def mv(self, old: str, new: str) -> None:
        """``mv OLD NEW``: rename(2), nothing more clever."""
        with reached(self.at(old)) as source, reached(self.at(new)) as target:
            os.rename(source, target)

    def swap(self, one: str, other: str) -> None:
        """``swap A B``: both change places at once."""
        paths = os.fsencode(self.at(one)), os.fsencode(self.at(other))
        if _libc.renameat2(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_EXCHANGE):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), one)

    def ln(self, *words: str) -> None:
        """``ln OLD NEW`` is a hard link, ``ln -s TEXT NEW`` a symbolic one with just this text."""
        if words[0] == "-s":
            os.symlink(words[1], self.at(words[2]))
        else:
            os.link(self.at(words[0]), self.at(words[1]))

    def chmod(self, mode: str, path: str) -> None:
        """``chmod MODE PATH``, the mode in octal."""
        os.chmod(self.at(path), int(mode, 8))

    def mknod(self, kind: str, path: str) -> None:
        """``mknod fifo|socket|char PATH``; the device is /dev/null's."""
        if kind == "fifo":
            os.mkfifo(self.at(path))
        elif kind == "char":
            os.mknod(self.at(path), stat.S_IFCHR | 0o666, os.makedev(1, 3))
        else:
            directory, name = os.path.split(self.at(path))
            descriptor = os.open(directory, os.O_PATH)
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(f"/proc/self/fd/{descriptor}/{name}")  # an address has at most 107 bytes, unix(7)
            os.close(descriptor)

    def tmpfile(self, path: str, text: str) -> None:
        """``tmpfile PATH TEXT``: a file without a name, O_TMPFILE, then linked in, linkat(2)."""
        directory = os.open(os.path.dirname(self.at(path)), os.O_PATH)
        descriptor = os.open(os.path.dirname(self.at(path)), os.O_TMPFILE | os.O_WRONLY, 0o644)
        os.write(descriptor, os.fsencode(text))
        source = f"/proc/self/fd/{descriptor}"
        os.link(source, os.path.basename(path), src_dir_fd=directory, dst_dir_fd=directory, follow_symlinks=True)
        os.close(descriptor)
        os.close(directory)

    def open(self, name: str, path: str, mode: str) -> None:
        """``open NAME PATH MODE``: hold a file open, in one of Python's modes."""
        self._open[name] = io.FileIO(self.at(path), mode)

    def put(self, name: str, text: str) -> None:
        """``put NAME TEXT``: write to an open file."""
        self._open[name].write(os.fsencode(text))

    def close_file(self, name: str) -> None:
        """``close NAME``."""
        self._open.pop(name).close()

    def guard(self, *paths: str) -> None:
        """``guard PATH...``: if anybody opens these, the script fails."""
        if self._guard < 0:
            self._guard = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        for path in paths:
            watch = _libc.inotify_add_watch(self._guard, os.fsencode(self.at(path)), _IN_OPEN)
            assert watch > 0, os.strerror(ctypes.get_errno())
            self._guarded[watch] = path

    def opened(self) -> set[str]:
        """Which guarded files somebody opened."""
        try:
            data = os.read(self._guard, 65536) if self._guard >= 0 else b""
        except BlockingIOError:
            return set()
        found, at = set(), 0
        while at < len(data):
            watch, mask, _, length = struct.unpack_from("iIII", data, at)
            at += 16 + length
            if mask & _IN_OPEN:
                found.add(self._guarded[watch])
        return found

    def end(self) -> None:
        """Close what is open."""
        for file in self._open.values():
            file.close()
        if self._guard >= 0:
            os.close(self._guard)
            self._guard = -1
