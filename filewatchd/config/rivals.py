"""Rivals: rules whose actions want one file each for itself (`actions.base.Needs.sole`), as two that rotate one log.

What surely overlaps shows in the patterns: a name is made of each pattern of the one, with characters that nobody's
pattern names in the place of its wildcards. If the other rule selects that name, too, with all its excludes, it
selects whatever the pattern is for. Where two rules only might meet, as ``web-*`` and ``*-error.log`` may, the files
that are there decide: nothing is said of names that nobody uses.
"""

from __future__ import annotations

import glob
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, combinations, product
from typing import NamedTuple

from filewatchd.config.nodes import Node
from filewatchd.config.ownfiles import below
from filewatchd.errors import Mistake
from filewatchd.model import RuleSettings
from filewatchd.notation import MalformedError, one_line
from filewatchd.patterns import Patterns, all_translated, lifted

_ANY, _ONE = "\ue000", "\ue001"  # for use by nobody: no pattern names them
_LIKELY = "0aA_-. ~!@"  # what a bracket may stand for; the first that it matches is taken
_SPECIAL = re.compile(r"[*?\[\\]")
_QUESTIONS = 50_000  # whether a rule selects a file that is there


class Rivals(NamedTuple):
    """Two rules that stand in this order, and what both of them select: a file, or all files of a pattern.

    ``exclude``: the pattern that keeps the others' files out of the rule ``wider``.
    """

    first: int
    second: int
    what: str
    wider: int
    exclude: str


class _Name(NamedTuple):
    """A name that a rule selects: ``path`` with the characters for nobody, ``shown`` as people write it."""

    path: str
    shown: str
    deep: str = ""  # the same in some directory, if the pattern is for all of them


class _Side:
    """One rule, as the comparison needs it."""

    def __init__(self, rule: RuleSettings, real: Mapping[str, str]) -> None:
        wanted = all_translated(rule.include, files_only=True)
        self._rule = rule
        self._include = Patterns(wanted) if wanted else None
        self._exclude = Patterns(all_translated(rule.exclude, files_only=False))
        self.roots = [real[root] for root in rule.roots]
        self.names = [name for root in self.roots for name in self._named(root) if self.place_of(name.path) is not None]

    def place_of(self, path: str) -> tuple[str, str] | None:
        """The root through which the rule selects a path, and the path below it; None if it doesn't select it."""
        found = ((root, below(root, path)) for root in self.roots)
        return next(((root, each) for root, each in found if each is not None and self._selects(each)), None)

    def without(self, path: str, shown: str) -> str:
        """The pattern that leaves a path out of the rule, and nothing else; empty where it can't be said in one."""
        root, relative = self.place_of(path) or ("", "")
        if len(self.roots) > 1 or glob.has_magic(root) or not relative:
            return ""
        pattern = "/" + "/".join(shown.split("/")[len(root.rstrip("/").split("/")) :])
        return pattern if pattern != "/**/*" else ""

    def _selects(self, path: str) -> bool:
        if not path:
            return True
        if not self._rule.recursive and "/" in path:
            return False
        if self._include is not None and not self._include.decide_file(*os.path.split(path)):
            return False
        ways = (path[: slash.end()] for slash in re.finditer("/", path))
        return not any(map(self._exclude.decide, (*ways, path)))

    def _named(self, root: str) -> Iterator[_Name]:
        """Names below a root, one for each pattern; the root's own where it is a file."""
        place, files = _filled(root) if glob.has_magic(root) else root, _are_files(root, self._include is not None)
        if files is not False:
            yield _Name(place, root)
        for pattern in self._rule.include or ("*",) if files is not True else ():
            for name, shown in _names_of(pattern):
                top, deep = place.rstrip("/"), self._rule.recursive and shown.startswith("**/")
                shown = shown if self._rule.recursive else shown.removeprefix("**/")
                yield _Name(f"{top}/{name}", f"{root.rstrip('/')}/{shown}", f"{top}/{_ANY}/{name}" if deep else "")


def _are_files(root: str, chosen: bool) -> bool | None:
    """Whether a root is a file: by what is there, or else by its looks. ``chosen``: the rule says of which files."""
    there = [os.path.isdir(path) for path in glob.iglob(root)] if glob.has_magic(root) else []
    there = there or ([os.path.isdir(root)] if os.path.lexists(root) else [])
    if there:
        return False if all(there) else None if any(there) else True
    return not chosen and "." in os.path.basename(root).lstrip(".")


def _filled(pattern: str) -> str:
    """A name that a pattern matches and nobody's other one does."""
    plain, sets = lifted(pattern)
    for expression in sets:
        matching = next((each for each in _LIKELY if re.fullmatch(expression, each)), "x")
        plain = plain.replace("\0", matching, 1)
    plain = re.sub(r"(?<!\\)\*+", _ANY, plain)
    return re.sub(r"\\(.)", r"\1", re.sub(r"(?<!\\)\?", _ONE, plain))


def _names_of(pattern: str) -> Iterator[tuple[str, str]]:
    """A name for an include pattern, and the pattern written so that it is bound to the root."""
    if pattern.startswith("!"):
        return
    body = pattern.rstrip(" ").removeprefix("/")
    bound = "/" in pattern.rstrip(" ").rstrip("/") and not pattern.startswith("**/")
    body = f"{body}**" if body.endswith("/") else body
    shown = body if bound or body.startswith("**/") else f"**/{body}"
    try:
        yield _filled(body.removeprefix("**/").replace("/**/", "/")), shown
    except MalformedError:  # told elsewhere
        return


def told(action: str, rivalling: Sequence[tuple[RuleSettings, Node]]) -> list[Mistake]:
    """What is to be said of the rules that have an action which wants its files for itself, and of its options there.

    Blocks for as long as the filesystems do.
    """
    active = [(rule, node) for rule, node in rivalling if rule.enabled]
    if len(active) < 2:
        return []
    real = {root: os.path.realpath(root) for rule, _ in active for root in rule.roots}
    return [_mistake(action, active, found) for found in rivals([rule for rule, _ in active], real)]


def _mistake(action: str, active: Sequence[tuple[RuleSettings, Node]], found: Rivals) -> Mistake:
    (before, place), (rule, node) = active[found.first], active[found.second]
    if before.name == rule.name:
        return node.mistake(f"{action} stands in this rule twice: only the first one works", "take one of them out")
    both = f"the rules {before.name} ({place.origin}) and {rule.name} both {action} {one_line(found.what)}"
    hint = "leave it to one of them"
    if found.exclude and found.exclude.isprintable():
        hint = f"add {json.dumps(found.exclude)} to exclude of the rule {active[found.wider][0].name}"
    return node.mistake(f"{both}: only the first does", hint)


def rivals(rules: Sequence[RuleSettings], real: Mapping[str, str]) -> Iterator[Rivals]:
    """Those of these rules that want one file, each two of them once. ``real``: where each root really is."""
    sides = [_Side(rule, real) for rule in rules]
    maybe: dict[tuple[int, int], set[str]] = {}
    for pair, tops in _near(sides).items():
        found = _surely(sides, pair)
        if found is None:
            maybe[pair] = tops
        else:
            yield found
    yield from _by_files(sides, maybe)


def _near(sides: Sequence[_Side]) -> dict[tuple[int, int], set[str]]:
    """Pairs of rules of which a root of the one may be below a root of the other, and where that is."""
    at: dict[str, set[int]] = defaultdict(set)
    for number, side in enumerate(sides):
        for root in side.roots:
            at[_fixed(root)].add(number)
    pairs: dict[tuple[int, int], set[str]] = defaultdict(set)
    for place, here in at.items():
        around = here.union(*(at.get(above, ()) for above in _above(place)))
        for one, other in product(here, around):
            if one != other:
                pairs[min(one, other), max(one, other)].add(place)
    return dict(sorted(pairs.items()))


def _fixed(root: str) -> str:
    """A root as far as no wildcard is in it."""
    parts = root.split("/")
    return "/".join(parts[: next((n for n, part in enumerate(parts) if glob.has_magic(part)), len(parts))]) or "/"


def _above(place: str) -> Iterator[str]:
    while place != "/":
        place = os.path.dirname(place)
        yield place


def _surely(sides: Sequence[_Side], pair: tuple[int, int]) -> Rivals | None:
    """What the patterns say."""
    ways = [(sides[inner], sides[outer], outer) for inner, outer in (pair[::-1], pair)]
    found = [(name, outer, n) for inner, outer, n in ways for name in inner.names if outer.place_of(name.path)]
    for name, outer, number in found:
        if not name.deep or outer.place_of(name.deep):
            same = all(other.place_of(each.deep) for each, other, _ in found if each.deep)
            same = same and any(n != number for _, _, n in found)
            return Rivals(*pair, name.shown, number, "" if same else outer.without(name.path, name.shown))
    return Rivals(*pair, found[0][0].shown, pair[0], "") if found else None


def _by_files(sides: Sequence[_Side], pairs: Mapping[tuple[int, int], set[str]]) -> Iterator[Rivals]:
    """Of rules that might meet, those that do, by the files that are there."""
    left, asked = set(pairs), 0
    tops = set[str]().union(*pairs.values())
    near = sorted({number for pair in left for number in pair})
    for path in chain.from_iterable(_files(top) for top in sorted(tops) if tops.isdisjoint(_above(top))):
        asked += len(near)
        if not left or asked > _QUESTIONS:
            return
        found = [number for number in near if sides[number].place_of(path) is not None]
        for pair in left.intersection(combinations(found, 2)):
            left.discard(pair)
            yield Rivals(*pair, path, pair[0], sides[pair[0]].without(path, _SPECIAL.sub(r"\\\g<0>", path)))


def _files(top: str) -> Iterator[str]:
    if os.path.isfile(top):
        yield top
    for directory, _, files in os.walk(top):
        yield from (os.path.join(directory, name) for name in files)
