"""Which roots a directory belongs to: asked for every directory in every drain, so answers are remembered."""

from __future__ import annotations

from collections.abc import Iterator

from filewatchd.watch.roots import Root, RootKey

_CACHE = 4096  # directories remembered


class Cover:
    """The roots, by key and by the real directory they are at."""

    def __init__(self) -> None:
        self.roots: dict[RootKey, Root] = {}
        self._by_top: dict[str, list[Root]] = {}
        self._known: dict[str, list[tuple[Root, str]]] = {}

    def __iter__(self) -> Iterator[Root]:
        return iter(list(self.roots.values()))

    def changed(self) -> None:
        """Roots came, went, moved or want other directories."""
        self._known.clear()
        self._by_top.clear()
        for root in self.roots.values():
            if root.top is not None:
                self._by_top.setdefault(root.top, []).append(root)

    def of(self, directory: str) -> list[tuple[Root, str]]:
        """The roots that cover a real directory, each with its path in it."""
        known = self._known.get(directory)
        if known is None:
            known = [found for above in _up(directory) for found in self._at(above, directory)]
            if len(self._known) >= _CACHE:
                self._known.clear()
            self._known[directory] = known
        return known

    def _at(self, top: str, directory: str) -> Iterator[tuple[Root, str]]:
        for root in self._by_top.get(top, ()):
            inside = root.relative(directory)
            if inside is not None and (not inside or root.descends(inside)):
                yield root, inside

    def below(self, directory: str, name: str) -> list[tuple[Root, str]]:
        """The roots that cover this directory's child, each with the child's path in it."""
        children = ((root, f"{inside}/{name}" if inside else name) for root, inside in self.of(directory))
        return [(root, child) for root, child in children if root.file is None and root.recursive]


def _up(directory: str) -> Iterator[str]:
    yield directory
    while directory != "/":
        directory = directory.rpartition("/")[0] or "/"
        yield directory
