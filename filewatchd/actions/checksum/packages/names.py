"""Which name a package has for a path: merged /usr, and diversions.

Packages still list ``/lib/x`` where the root has ``/lib -> usr/lib``. dpkg-divert moves the file of one package aside
(``/var/lib/dpkg/diversions``: three lines each: from, to, the package whose file keeps the name, or ``:`` for the
administrator). So what lies at ``to`` is the others' ``from``, and what lies at ``from`` is that package's alone.
Source: dpkg-divert(1), and dpkg 1.21.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import NamedTuple

_MERGED = (b"/bin", b"/lib", b"/lib32", b"/lib64", b"/libo32", b"/libx32", b"/sbin")
_LOCAL = b":"


class Listed(NamedTuple):
    """A name to look for in the packages' lists. ``only``: of this package; ``never``: not of that one."""

    name: bytes
    only: bytes | None = None
    never: bytes | None = None

    def of(self, package: bytes) -> bool:
        """Whether a package's line of this name is meant; ``package``: without its architecture."""
        return package != self.never and (self.only is None or package == self.only)


class Names:
    """The names of one root; ``merged``: directory -> where it leads, both absolute."""

    def __init__(self, merged: Mapping[bytes, bytes], diversions: Iterable[tuple[bytes, bytes, bytes]]) -> None:
        self._merged = tuple(merged.items())
        self.prefixes = tuple(name + b"/" for name in merged)
        self._diverted = {self.canonical(old): package for old, _, package in diversions}
        self._originals = {self.canonical(new): (self.canonical(old), package) for old, new, package in diversions}

    def canonical(self, path: bytes) -> bytes:
        """A path without the links of merged /usr."""
        if path.startswith(self.prefixes):
            for name, target in self._merged:
                if path.startswith(name + b"/"):
                    return target + path[len(name) :]
        return path

    def listed(self, path: bytes) -> Listed:
        """What the lists call the file at a path, in its canonical form."""
        name = self.canonical(path)
        if name in self._originals:
            original, package = self._originals[name]
            return Listed(original, never=package)
        if name in self._diverted:
            return Listed(name, only=self._diverted[name])
        return Listed(name)


def merged(root: bytes) -> dict[bytes, bytes]:
    """The directories at the top of a root that lead into /usr."""
    found = {}
    for name in _MERGED:
        try:
            target = os.readlink(root + name)
        except OSError:
            continue
        if b"/" + target.strip(b"/") == b"/usr" + name:
            found[name] = b"/usr" + name
    return found


def diversions(data: bytes) -> list[tuple[bytes, bytes, bytes]]:
    """From, to and package of each; a file that ends in the middle of one loses it."""
    lines = data.split(b"\n")
    return [(lines[at], lines[at + 1], lines[at + 2]) for at in range(0, len(lines) - 2, 3)]
