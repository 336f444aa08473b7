"""Patterns: which files a rule selects, and which directories nobody needs to look into.

pathspec translates gitignore patterns to regular expressions; deciding is ours, because its own matching has
no notion of the question "is this *directory* out", which pruning needs, and because its expressions stop at
newlines, which names may hold. A pattern is asked about the whole path of a file, or of a directory with a
slash behind it; the last one that matches decides.

- ``exclude``: a directory that is out takes all below it along, as git does.
- ``include``: files only. A pattern that ends in a slash selects what lies below such a directory.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from pathspec.patterns.gitignore.spec import GitIgnoreSpecPattern

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


class PatternError(ValueError):
    """A pattern that gitignore's syntax doesn't allow."""


class _Pattern(NamedTuple):
    regex: str
    positive: bool
    name_suffix: str | None  # the pattern is `*SUFFIX`: any directory, literal end of the name
    name_exact: str | None  # the pattern is a literal name in any directory


@lru_cache(maxsize=4096)
def _compile(text: str, files_only: bool) -> _Pattern | None:
    """Translate one pattern; None for blank lines and comments. Raises PatternError."""
    try:
        regex, positive = GitIgnoreSpecPattern.pattern_to_regex(text)
    except ValueError as error:
        raise PatternError(str(error)) from None
    if regex is None or positive is None:
        return None
    regex = regex.replace("(?P<ps_d>/)", "/").removeprefix("^")
    if regex == "/":  # `*/`: any directory
        regex = ".+/"
    if regex == "." or (regex.endswith("/") and (files_only or not text.rstrip().endswith("/"))):
        regex += ".+" if regex.endswith("/") else ".*"
    regex = regex.replace("(?:/|$)", "/?" if not files_only else "")
    try:
        re.compile(regex)
    except re.error as error:
        raise PatternError(str(error)) from None
    body = text.removeprefix("**/")
    literal = not re.search(r"[*?\[\]\\/!# ]", body.removeprefix("*"))
    suffix = body[1:] if literal and body.startswith("*") and len(body) > 1 else None
    exact = body if literal and not body.startswith("*") else None
    return _Pattern(regex, positive, suffix, exact)


class _Patterns:
    """An ordered list of patterns; the last match decides."""

    __slots__ = ("_all", "_ordered")

    def __init__(self, patterns: Iterable[_Pattern]) -> None:
        listed = list(patterns)
        self._all = None
        self._ordered: list[tuple[re.Pattern[str], bool]] = []
        if all(pattern.positive for pattern in listed):
            joined = "|".join(f"(?:{pattern.regex})" for pattern in listed)
            self._all = re.compile(joined, re.DOTALL) if listed else None
        else:
            self._ordered = [(re.compile(p.regex, re.DOTALL), p.positive) for p in reversed(listed)]

    def decide(self, path: str) -> bool:
        if self._all is not None:
            return self._all.fullmatch(path) is not None
        for regex, positive in self._ordered:
            if regex.fullmatch(path):
                return positive
        return False


_CACHE = 4096  # directories remembered per selection


class Selection:
    """The compiled ``include``, ``exclude`` and ``presets`` of a rule. Paths are relative to a root."""

    __slots__ = ("_everything", "_exclude", "_include", "_pruned", "digest", "names", "suffixes")

    def __init__(self, include: Sequence[str], exclude: Sequence[str], presets: Sequence[str] = ()) -> None:
        """Raises PatternError for a bad pattern, KeyError for an unknown preset."""
        out = [pattern for preset in presets for pattern in PRESETS[preset]] + list(exclude)
        included = [p for p in (_compile(text, True) for text in include) if p]
        self._include = _Patterns(included)
        self._everything = not included
        self._exclude = _Patterns(p for p in (_compile(text, False) for text in out) if p)
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
        path = f"{directory}/{name}" if directory else name
        if not self._everything and not self._include.decide(path):
            return False
        return not self._exclude.decide(path) and not (directory and self.prunes(directory))

    def selects_path(self, path: str) -> bool:
        """`selects` for a relative path; a file root's own path is "" and always selected."""
        if not path:
            return True
        directory, _, name = path.rpartition("/")
        return self.selects(directory, name)
