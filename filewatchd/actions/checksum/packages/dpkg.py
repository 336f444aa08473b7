"""What dpkg knows of files: ``info/*.md5sums`` and, of configuration files, ``Conffiles:`` in ``status``.

Both hold MD5 digests of the files as the package shipped them. They tell an upgrade from damage and edits, and prove
nothing against somebody who forges MD5 or writes to ``/var/lib/dpkg`` (docs/decisions/0022). A package counts where it
is installed whole: while dpkg unpacks one, its lists are those of the version before. The files are read anew for each
batch of paths, since keeping what they say in memory would cost 100 MB on a large system.
"""

from __future__ import annotations

import fcntl
import os
import re
import struct
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from filewatchd.actions.checksum.packages.claim import Claim, Owner
from filewatchd.actions.checksum.packages.names import Listed, Names, diversions, merged
from filewatchd.actions.checksum.packages.reading import contents

_DIRECTORY = b"/var/lib/dpkg"
_INSTALLED = (b"installed", b"triggers-pending", b"triggers-awaited")
_REMOVED = (b"config-files", b"not-installed")
_LINE = re.compile(rb"([0-9a-f]{32})  (.+)")
_CONFFILE = re.compile(rb" (/.+?) ([0-9a-f]{32})(?: (?:obsolete|remove-on-upgrade))*", re.DOTALL)
_REMEMBERED = 100  # directories
_FLOCK = struct.Struct("@hhqqi4x")  # struct flock, 64 bits


_below: dict[tuple[bytes, bytes], tuple[tuple[int, int, int], bool]] = {}  # by database and directory


class Package(NamedTuple):
    """A package. ``conffiles``: path -> digest. ``state``: the last word of its status."""

    name: str  # libc6:amd64 where several architectures may be installed side by side, else hello
    version: str
    conffiles: Mapping[bytes, bytes]
    state: bytes


class Dpkg:
    """The database below a root. Everything here blocks."""

    def __init__(self, root: str = "/") -> None:
        self._root = os.fsencode(root).rstrip(b"/")
        self._base = self._root + _DIRECTORY

    def present(self) -> bool:
        """Whether there is one."""
        return os.path.exists(self._base + b"/status")

    def busy(self) -> bool:
        """Whether dpkg runs, so that its lists may be a version behind the files; False if that can't be told."""
        return any(_locked(self._base + name) for name in (b"/lock-frontend", b"/lock"))

    def versions(self) -> dict[str, str]:
        """The versions of all packages that are installed, by name."""
        return {package.name: package.version for package in self._packages().values()}

    def standing(self) -> dict[str, str | None]:
        """The same, and None of those that are half installed: those that aren't here are removed.

        Raises:
            OSError: the database can't be read.
        """
        return {
            package.name: package.version if package.state in _INSTALLED else None
            for _, package in self._known()
            if package.state not in _REMOVED
        }

    def written_ns(self) -> int:
        """When the database was written; 0: there is none."""
        try:
            return os.stat(self._base + b"/status").st_mtime_ns
        except FileNotFoundError:
            return 0

    def names(self) -> Names:
        """What the lists call files.

        Raises:
            OSError: the database can't be read.
        """
        return Names(merged(self._root), diversions(contents(self._base + b"/diversions")))

    def files_below(self, directory: str, packages: Collection[str]) -> Iterator[tuple[str, list[bytes]]]:
        """Each of these packages with the canonical names of its files beneath a directory.

        Raises:
            OSError: the database can't be read.
        """
        names = self.names()
        top = names.canonical(os.fsencode(directory).rstrip(b"/") + b"/")
        for key, package in self._packages().items():
            if package.name in packages:
                lines = contents(self._base + b"/info/" + key + b".md5sums").split(b"\n")
                listed = (*package.conffiles, *(b"/" + line[34:] for line in lines if len(line) > 34))
                yield package.name, [name for each in listed if (name := names.canonical(each)).startswith(top)]

    def owned(self, wanted: Collection[bytes]) -> set[bytes]:
        """Those canonical names that a package owns in any state, with or without a digest: a list has them.

        Raises:
            OSError: the database can't be read.
        """
        names = self.names()
        found: set[bytes] = set()
        with os.scandir(self._base + b"/info") as entries:
            lists = [entry.path for entry in entries if entry.name.endswith(b".list")]
        for path in lists:
            found.update(name for line in contents(path).split(b"\n") if (name := names.canonical(line)) in wanted)
        return found

    def with_files_below(self, directories: Collection[str]) -> list[str]:
        """Those directories beneath which a package has a file; asked once for each state of the database.

        Raises:
            OSError: the database can't be read.
        """
        try:
            found = os.stat(self._base + b"/status")
        except FileNotFoundError:
            return []
        state = found.st_mtime_ns, found.st_ino, found.st_size
        return [each for each in directories if self._has_files_below(state, os.fsencode(each))]

    def _has_files_below(self, state: tuple[int, int, int], directory: bytes) -> bool:
        key = self._base, directory
        if key not in _below or _below[key][0] != state:
            if len(_below) >= _REMEMBERED:
                _below.clear()
            _below[key] = state, self._look_below(directory.rstrip(b"/") + b"/")
        return _below[key][1]

    def _look_below(self, directory: bytes) -> bool:
        if directory == b"/":
            return True
        real = Names(merged(self._root), ()).canonical(directory)
        names = {real, real.removeprefix(b"/usr")}  # as packages from before merged /usr list it
        if any(b" " + name in contents(self._base + b"/status") for name in names):
            return True
        with os.scandir(self._base + b"/info") as entries:
            lists = [entry.path for entry in entries if entry.name.endswith(b".md5sums")]
        return any(b"  " + name[1:] in data for data in map(contents, lists) for name in names)

    def claims(self, paths: Collection[str]) -> dict[str, tuple[Claim, ...]]:
        """What packages say of these absolute paths, below the root and named without it; only those they know.

        Raises:
            OSError: the database can't be read.
        """
        names = self.names()
        wanted: dict[bytes, list[tuple[str, Listed]]] = {}
        for path in paths:
            listed = names.listed(os.fsencode(path))
            wanted.setdefault(listed.name, []).append((path, listed))
        owners = self._owners(names)
        found: dict[str, list[Claim]] = {}
        for key, package in self._packages().items():
            bare = key.partition(b":")[0]
            for name, digest in self._lines(key, package, names, wanted.keys()):
                for path, listed in wanted[name]:
                    if listed.of(bare):
                        owner = owners.get(names.canonical(os.fsencode(path)))
                        claim = Claim("dpkg", package.name, package.version, "md5", digest, owner)
                        found.setdefault(path, []).append(claim)
        return {path: tuple(claims) for path, claims in found.items()}

    def _lines(
        self, key: bytes, package: Package, names: Names, wanted: Collection[bytes]
    ) -> Iterator[tuple[bytes, bytes]]:
        """Canonical name and digest of those lines of a package that are wanted."""
        for conffile, digest in package.conffiles.items():
            if (name := names.canonical(conffile)) in wanted:
                yield name, digest
        merged_ones = tuple(prefix[1:] for prefix in names.prefixes)
        for line in contents(self._base + b"/info/" + key + b".md5sums").split(b"\n"):
            listed = line[34:]
            name = names.canonical(b"/" + listed) if listed.startswith(merged_ones) else b"/" + listed
            if name in wanted and (parts := _LINE.fullmatch(line)) is not None:
                yield name, bytes.fromhex(parts[1].decode())

    def _packages(self) -> dict[bytes, Package]:
        """Those installed whole, by the name that their files in ``info`` have."""
        return {key: package for key, package in self._known() if package.state in _INSTALLED}

    def _known(self) -> Iterator[tuple[bytes, Package]]:
        """Those that the database says anything of."""
        for stanza in contents(self._base + b"/status").split(b"\n\n"):
            fields = _fields(stanza)
            name, architecture = fields.get(b"Package", b""), fields.get(b"Architecture", b"")
            if not name or b"/" in name:
                continue
            key = name + b":" + architecture if fields.get(b"Multi-Arch") == b"same" else name
            version = fields.get(b"Version", b"").decode("ascii", "replace")
            state = fields.get(b"Status", b"").rpartition(b" ")[2]
            conffiles = _conffiles(fields.get(b"Conffiles", b""))
            yield key, Package(key.decode("ascii", "replace"), version, conffiles, state)

    def _owners(self, names: Names) -> dict[bytes, Owner]:
        """What dpkg-statoverride says: user, group, mode, path on a line; ``#123`` is a number."""
        found = {}
        for line in contents(self._base + b"/statoverride").split(b"\n"):
            parts = line.split(b" ", 3)
            if len(parts) == 4 and parts[2].isdigit():
                user, group, mode, path = parts
                try:
                    owner = Owner(user.decode(), group.decode(), int(mode, 8))
                except ValueError:
                    continue
                found[names.canonical(path)] = owner
        return found


def _fields(stanza: bytes) -> dict[bytes, bytes]:
    """A stanza's fields; the lines that go on one stay in it."""
    found: dict[bytes, bytes] = {}
    last = b""
    for line in stanza.split(b"\n"):
        if line.startswith((b" ", b"\t")):
            found[last] = found.get(last, b"") + b"\n" + line
        else:
            last, _, value = line.partition(b":")
            found[last] = value.strip()
    return found


def _conffiles(field: bytes) -> dict[bytes, bytes]:
    lines = map(_CONFFILE.fullmatch, field.split(b"\n"))
    return {found[1]: bytes.fromhex(found[2].decode()) for found in lines if found is not None}


def _locked(path: bytes) -> bool:
    """Whether another process holds a write lock of this file (fcntl's, as dpkg and apt use)."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        return bool(_FLOCK.unpack(fcntl.fcntl(fd, fcntl.F_GETLK, asked))[0] != fcntl.F_UNLCK)
    except OSError:
        return False
    finally:
        os.close(fd)
