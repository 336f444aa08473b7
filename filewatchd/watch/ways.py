"""The names that paths run through: what is looked for again when one of them comes, goes or is written to."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

from filewatchd.watch.backends.base import ANY, Backend, WatchLimitError
from filewatchd.watch.locate import Hop

T = TypeVar("T", bound=Hashable)


class Arming:
    """Arms the directories of one way for names in them, in the pool.

    ``limited``: for one of them no watch was left.
    """

    def __init__(self, backend: Backend, *, contents: bool = False) -> None:
        """``contents``: also for what is written to the names."""
        self._backend = backend
        self._contents = contents
        self.limited = False

    def __call__(self, fd: int) -> int:
        """The token of an open directory. Raises as `Backend.arm_anchor`."""
        try:
            return self._backend.arm_anchor(fd, contents=self._contents)
        except WatchLimitError:
            self.limited = True
            raise


class Ways(Generic[T]):
    """Which targets (roots, globs, followed symlinks) hang on which names; keeps the backend's anchors in step."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._hanging: dict[str, dict[str, set[T]]] = {}
        self._of: dict[T, set[tuple[str, str]]] = {}

    def __contains__(self, target: T) -> bool:
        return target in self._of

    def lead(self, target: T, hops: Iterable[Hop]) -> None:
        """A target's path runs through these hops, and no longer through those it had."""
        hops = list(hops)
        self.forget(target, keep={hop.directory for hop in hops})
        self._of[target] = {(hop.directory, hop.name) for hop in hops}
        for hop in hops:
            self._hanging.setdefault(hop.directory, {}).setdefault(hop.name, set()).add(target)
            if hop.token is not None:
                self._backend.anchor(hop.token, hop.directory, hop.name)

    def forget(self, target: T, keep: Iterable[str] = ()) -> None:
        """Nothing is wanted of a target. Anchors nobody needs are given back, but those in ``keep``."""
        for directory, name in self._of.pop(target, ()):
            names = self._hanging[directory]
            names[name].discard(target)
            if not names[name]:
                del names[name]
            if not names:
                del self._hanging[directory]
                if directory not in keep:
                    self._backend.unanchor(directory)

    def through(self, directory: str, name: str) -> list[T]:
        """The targets whose path runs through this name."""
        names = self._hanging.get(directory, {})
        return [target for key in (name, ANY) for target in names.get(key, ())]

    def targets(self) -> list[T]:
        """All of them."""
        return list(self._of)
