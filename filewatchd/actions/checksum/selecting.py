"""Which files a rule selects, asked by whoever walks its roots; the daemon's own answer is `rules.match.Selection`."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from filewatchd.patterns import Patterns, all_translated


class Selected:
    """Compiled patterns; presets are among those of ``exclude``."""

    def __init__(self, include: tuple[str, ...], exclude: tuple[str, ...]) -> None:
        wanted = all_translated(include, files_only=True)
        self._everything = not wanted
        self._include = Patterns(wanted)
        self._exclude = Patterns(all_translated(exclude, files_only=False))

    def prunes(self, directory: str) -> bool:
        """Whether a directory is out, whose parent isn't."""
        return self._exclude.decide(directory + "/")

    def leaves_out(self, directory: str) -> bool:
        """Whether a directory is out, or one above it."""
        steps = directory.split("/") if directory else []
        return any(self.prunes("/".join(steps[: end + 1])) for end in range(len(steps)))

    def has(self, directory: str, name: str) -> bool:
        """Whether a file is the rule's."""
        return not self.leaves_out(directory) and self.chooser(directory)(name)

    def chooser(self, directory: str) -> Callable[[str], bool]:
        """Whether a name in a directory that isn't out is the rule's."""
        include, exclude = self._include.decide_file, self._exclude.decide_file
        if self._everything:
            return lambda name: not exclude(directory, name)
        return lambda name: include(directory, name) and not exclude(directory, name)


@lru_cache(maxsize=64)
def selected(include: tuple[str, ...], exclude: tuple[str, ...]) -> Selected:
    """Patterns, compiled once."""
    return Selected(include, exclude)
