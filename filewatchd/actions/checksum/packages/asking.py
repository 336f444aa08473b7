"""Labels for a batch of changed files, from whichever package databases this machine has.

Asking costs a third of a second of a thread for a batch, however many files it has: so ask for batches, and only where
something changed. While dpkg runs, its lists may be a version behind the files: `busy` says that asking again makes
sense.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from filewatchd.actions.base import Pool, Spawn, Worker
from filewatchd.actions.checksum.packages.claim import Attributes, Claim, attributes_agree
from filewatchd.actions.checksum.packages.dpkg import Dpkg
from filewatchd.actions.checksum.packages.labels import Asked, agreeing
from filewatchd.actions.checksum.packages.rpm import Rpm, running
from filewatchd.errors import ActionError


class Changed(NamedTuple):
    """A changed file: ``path`` absolute, ``beneath`` as of `safe_open`, its new digest, its attributes then and now."""

    path: str
    beneath: str
    algorithm: str
    digest: bytes
    before: Attributes | None
    after: Attributes


class Host(Protocol):
    """What of an action's context is needed."""

    @property
    def pool(self) -> Pool: ...
    @property
    def worker(self) -> Worker: ...
    @property
    def spawn(self) -> Spawn: ...


class Databases:
    """Asks the databases below a root."""

    def __init__(self, host: Host, root: str = "/") -> None:
        self._host = host
        self._dpkg = Dpkg(root)
        self._rpm = Rpm(running(host.spawn), root)

    async def busy(self) -> bool:
        """Whether a package manager runs, so that files without a label may get one later."""
        return await self._host.pool.run("", self._dpkg.busy)

    async def concerned(self, roots: Sequence[str]) -> list[str]:
        """Those of some directories beneath which packages have files; with rpm that isn't known, so all."""
        if await self._has_rpm():
            return list(roots)
        try:
            return await self._host.pool.run("", self._dpkg.with_files_below, list(roots))
        except OSError:
            return []

    async def versions(self) -> dict[str, str]:
        """The versions of all installed packages, by ``dpkg NAME`` or ``rpm NAME``."""
        found = await self._host.pool.run("", self._dpkg.versions)
        named = {f"dpkg {name}": version for name, version in found.items()}
        if await self._has_rpm():
            named |= {f"rpm {name}": version for name, version in (await self._rpm.versions()).items()}
        return named

    async def label(self, changed: Sequence[Changed]) -> dict[str, str]:
        """The labels of those that agree with a package, by path. An unreadable database labels nothing."""
        if not changed:
            return {}
        paths = [each.path for each in changed]
        try:
            claims = await self._host.pool.run("", self._claims, paths)
            if await self._has_rpm():
                for path, more in (await self._rpm.claims(paths)).items():
                    claims[path] = (*claims.get(path, ()), *more)
            fitting = _fitting(changed, claims)
            asked = [Asked(*each[:4]) for each in changed if each.path in fitting]
            return await self._host.worker.call(agreeing, asked, fitting) if asked else {}
        except (OSError, ActionError):
            return {}

    def _claims(self, paths: Sequence[str]) -> dict[str, tuple[Claim, ...]]:
        return self._dpkg.claims(paths) if self._dpkg.present() else {}

    async def _has_rpm(self) -> bool:
        try:
            return await self._rpm.present()
        except ActionError:
            return False


def _fitting(changed: Iterable[Changed], claims: Mapping[str, Sequence[Claim]]) -> dict[str, tuple[Claim, ...]]:
    """Claims that mode and owner don't contradict, by path."""
    found = {}
    for each in changed:
        fitting = tuple(
            claim for claim in claims.get(each.path, ()) if attributes_agree(claim, each.before, each.after)
        )
        if fitting:
            found[each.path] = fitting
    return found
