"""Patterns: which files a rule selects, and which directories nobody needs to look into.

`filewatchd.patterns` translates gitignore patterns to regular expressions; deciding is ours, because pathspec's own
matching has no notion of the question "is this *directory* out", which pruning needs. A pattern is asked about the
whole path of a file, or of a directory with a slash behind it; the last one that matches decides.

- ``exclude``: a directory that is out takes all below it along, as git does.
- ``include``: files only. A pattern that ends in a slash selects what lies below such a directory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from filewatchd.patterns import Patterns, all_translated

# fmt: off
PRESETS: dict[str, tuple[str, ...]] = {
    # What editors leave beside the file they save: vim, emacs, nano, joe, kate, gedit, sed -i, KDE and office locks.
    "editors": (
        "*~", ".*.sw?", ".*.swpx", "4913", "\\#*#", ".#*", "*.save", "*.save.[0-9]*", "sed" + 6 * "[A-Za-z0-9]",
        "*.kate-swp", ".goutputstream-*", ".~lock.*#", "*.un~", "___jb_tmp___", "___jb_old___",
    ),
    # What package managers leave beside configuration files.
    "packages": (
        "*.dpkg-new", "*.dpkg-old", "*.dpkg-dist", "*.dpkg-tmp", "*.dpkg-bak", "*.ucf-new", "*.ucf-old", "*.ucf-dist",
        "*.rpmnew", "*.rpmsave", "*.rpmorig", "*.pacnew", "*.pacsave", "*;[0-9a-f]*",
    ),
    # Version control's own directories and lock files.
    "vcs": (".git/", ".hg/", ".svn/", ".bzr/", "CVS/", "_darcs/", ".jj/", "*.orig", "*.rej"),
}
# fmt: on


_CACHE = 4096  # directories remembered per selection


class Selection:
    """The compiled ``include``, ``exclude`` and ``presets`` of a rule. Paths are relative to a root."""

    __slots__ = ("_everything", "_exclude", "_include", "_pruned", "digest", "names", "suffixes")

    def __init__(self, include: Sequence[str], exclude: Sequence[str], presets: Sequence[str] = ()) -> None:
        """Raises MalformedError for a bad pattern, KeyError for an unknown preset."""
        out = [pattern for preset in presets for pattern in PRESETS[preset]] + list(exclude)
        included = all_translated(include, files_only=True)
        self._include = Patterns(included)
        self._everything = not included
        self._exclude = Patterns(all_translated(out, files_only=False))
        self._pruned: dict[str, bool] = {}
        #: literal name ends and whole names one of which a selected file must have; both empty: any name
        self.suffixes = frozenset(p.name_suffix for p in included if p.name_suffix)
        self.names = frozenset(p.name_exact for p in included if p.name_exact)
        if any(p.positive and not p.name_suffix and not p.name_exact for p in included):
            self.suffixes = self.names = frozenset()
        self.digest = hashlib.sha256(repr((tuple(include), tuple(out))).encode("utf-8", "surrogateescape")).hexdigest()

    def prunes(self, directory: str) -> bool:
        """True if this directory ("" is the root) is out, with all below it."""
        if not directory:
            return False
        known = self._pruned.get(directory)
        if known is None:
            parent, _, _ = directory.rpartition("/")
            known = self.prunes(parent) or self._exclude.decide(directory + "/")
            if len(self._pruned) >= _CACHE:
                self._pruned.clear()
            self._pruned[directory] = known
        return known

    def prunes_next(self, directory: str) -> bool:
        """`prunes` for a directory whose parent is known not to be out: what a walk asks, once for each directory."""
        return self._exclude.decide(directory + "/")

    def selects(self, directory: str, name: str) -> bool:
        """True if the file ``name`` in ``directory`` is the rule's."""
        if directory and self.prunes(directory):
            return False
        if not self._everything and not self._include.decide_file(directory, name):
            return False
        return not self._exclude.decide_file(directory, name)

    def chooser(self, directory: str) -> Callable[[str], bool]:
        """`selects` for the names in one directory."""
        if self.prunes(directory):
            return lambda name: False
        include, exclude = self._include.decide_file, self._exclude.decide_file
        if self._everything:
            return lambda name: not exclude(directory, name)
        return lambda name: include(directory, name) and not exclude(directory, name)

    def selects_path(self, path: str) -> bool:
        """`selects` for a relative path; a file root's own path is "" and always selected."""
        if not path:
            return True
        directory, _, name = path.rpartition("/")
        return self.selects(directory, name)
