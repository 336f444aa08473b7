"""What rpm knows of files, asked of the program ``rpm``: its database has had four formats, and only it reads them all.

Two questions for a batch: whose the paths are, and what those packages say of all their files. Answers are lines of our
own making; whatever else rpm prints (complaints, "not owned by any package") isn't one and falls away.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Awaitable, Callable, Iterator, Sequence

from filewatchd.actions.base import Command, Spawn
from filewatchd.actions.checksum.packages.claim import Claim, Owner
from filewatchd.actions.checksum.packages.names import Names, merged
from filewatchd.errors import ActionError

Run = Callable[[Sequence[str]], Awaitable[bytes]]

_FILES = ("rpmdb.sqlite", "Packages.db", "Packages")  # of its formats
_ALGORITHMS = {"(none)": "md5", "1": "md5", "2": "sha1", "8": "sha256", "9": "sha384", "10": "sha512", "11": "sha224"}
_OWNER = "filewatchd\t%{NVRA}\n"
_OWNED = (
    "[filewatchd\t%{=NAME}\t%{=EVR}\t%{=FILEDIGESTALGO}\t%{FILEDIGESTS}\t%{FILEMODES}\t%{FILEUSERNAME}\t"
    "%{FILEGROUPNAME}\t%{FILENAMES}\n]"
)
_AT_ONCE = 200  # paths in one command; each has at most 4 KiB
_LARGEST = 64 * 1024 * 1024  # bytes of an answer
_TIMEOUT = 120.0


class Rpm:
    """The database below a root. ``run``: runs rpm and returns what it prints."""

    def __init__(self, run: Run, root: str = "/") -> None:
        self._run = run
        self._root = root

    async def present(self) -> bool:
        """Whether there are the program and a database where it looks for one.

        Raises:
            ActionError: rpm can't be run.
        """
        if shutil.which("rpm") is None:
            return False
        where = os.fsdecode((await self._run(("rpm", "--eval", "%{_dbpath}"))).strip()).lstrip("/")
        return any(os.path.exists(os.path.join(self._root, where, name)) for name in _FILES)

    async def claims(self, paths: Sequence[str]) -> dict[str, tuple[Claim, ...]]:
        """What packages say of these absolute paths of files that exist; only of those they know.

        Raises:
            ActionError: rpm can't be run, or takes too long.
        """
        names = Names(merged(os.fsencode(self._root).rstrip(b"/")), ())
        wanted: dict[bytes, list[str]] = {}
        for path in paths:
            wanted.setdefault(names.canonical(os.fsencode(path)), []).append(path)
        found: dict[str, list[Claim]] = {}
        for package in await self._owners(paths):
            answer = await self._ask("-q", "--queryformat", _OWNED, "--", package)
            for name, claim in owned(answer):
                for path in wanted.get(names.canonical(name), ()):
                    found.setdefault(path, []).append(claim)
        return {path: tuple(claims) for path, claims in found.items()}

    async def versions(self) -> dict[str, str]:
        """The versions of all packages, by name.

        Raises:
            ActionError: as above.
        """
        answer = await self._ask("-q", "--all", "--queryformat", "filewatchd\t%{NAME}\t%{EVR}\n")
        return {parts[0].decode(): parts[1].decode() for parts in _lines(answer, 2)}

    async def _owners(self, paths: Sequence[str]) -> list[str]:
        """The packages that own any of these, as rpm takes them."""
        found: dict[str, None] = {}
        for start in range(0, len(paths), _AT_ONCE):
            answer = await self._ask("-q", "-f", "--queryformat", _OWNER, "--", *paths[start : start + _AT_ONCE])
            found.update((name.decode("utf-8", "replace"), None) for (name,) in _lines(answer, 1))
        return list(found)

    async def _ask(self, *arguments: str) -> bytes:
        root = () if self._root == "/" else ("--root", self._root)
        return await self._run(("rpm", *root, *arguments))


def owned(answer: bytes) -> Iterator[tuple[bytes, Claim]]:
    """Names and claims of an answer to `_OWNED`; directories and links have no digest and fall away."""
    for package, version, number, digits, mode, user, group, name in _lines(answer, 8):
        algorithm = _ALGORITHMS.get(number.decode())
        try:
            digest, bits = bytes.fromhex(digits.decode("ascii")), int(mode) & 0xFFFF
            owner = Owner(user.decode(), group.decode(), stat.S_IMODE(bits))
            text = package.decode(), version.decode()
        except ValueError:
            continue
        if algorithm is not None and digest and stat.S_ISREG(bits):
            yield name, Claim("rpm", *text, algorithm, digest, owner)


def _lines(answer: bytes, fields: int) -> Iterator[Sequence[bytes]]:
    for line in answer.split(b"\n"):
        first, *parts = line.split(b"\t", fields)
        if first == b"filewatchd" and len(parts) == fields:
            yield parts


def running(spawn: Spawn) -> Run:
    """Runs commands as an action may."""

    async def run(argv: Sequence[str]) -> bytes:
        answer = bytearray()
        command = Command(tuple(argv), {"LC_ALL": "C", "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"}, timeout=_TIMEOUT)
        finished = await spawn.run(command, lambda data: answer.extend(data[: _LARGEST - len(answer)]))
        if finished.timed_out:
            raise ActionError(f"rpm took longer than {_TIMEOUT:.0f}s")
        if len(answer) >= _LARGEST:
            raise ActionError(f"rpm says more than {_LARGEST} bytes")
        return bytes(answer)

    return run
