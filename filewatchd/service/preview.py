"""What a rule would do now: what waits for it, and what a comparison of its roots with the disk would find.

Nothing comes of it: no mark is made, no row entered, no baseline begun. The walk is in the pool, and its own; where a
rule has no baseline yet there is nothing to compare with. The first 1,000 paths are resolved, others only counted.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from filewatchd.jobs.binding import Binding
from filewatchd.jobs.pipeline import Pipeline
from filewatchd.jobs.planning import Mark, Plans, plan
from filewatchd.jobs.runner import Key
from filewatchd.model import Hint, RuleSettings, Trigger
from filewatchd.rules.match import Selection
from filewatchd.state.comparison import ManifestReader, TreeComparison
from filewatchd.state.manifest import Baseline
from filewatchd.state.places import Standing
from filewatchd.work.pool import alive

MOST = 1000  # paths resolved
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_GONE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})

Identity = tuple[int, int, int, int]


class Tree(NamedTuple):
    """A rule's root, as the pool needs it. ``top``: the real directory."""

    number: int
    top: str
    rule: RuleSettings
    selection: Selection
    baseline: Baseline
    standing: Standing
    known: frozenset[str]  # relative paths that wait, or are being worked: they are told of anyway


class Differing(NamedTuple):
    """Relative paths that differ, the first ones, and how many there are in all."""

    paths: Sequence[str]
    total: int


async def preview(pipeline: Pipeline, real: Callable[[Binding], str | None]) -> Plans:
    """What the rule would do. ``real``: the real directory of a binding's root, None where there is none to walk.

    Raises:
        StalledError: a filesystem doesn't answer.
        StateError: the manifest can't be read.
    """
    marks = dict(_waiting(pipeline))
    hint = Hint.SCAN | Hint.STRICT if pipeline.settings.strict else Hint.SCAN
    beyond = 0
    for binding in list(pipeline.bindings.values()):
        top = real(binding)
        if top is None or binding.baseline is None or not binding.baseline.closed:
            continue
        known = frozenset(path for number, path in [*marks, *pipeline.taken] if number == binding.number)
        settings, selection = pipeline.settings, pipeline.selection
        tree = Tree(binding.number, top, settings, selection, binding.baseline, binding.standing, known)
        found = await pipeline.engine.pool.run("preview", compare, tree, pipeline.engine.store.database.path)
        beyond += found.total - len(found.paths)
        for path in found.paths:
            marks.setdefault((tree.number, path), hint)
    chosen = [mark for mark in marks.items() if mark[0] not in pipeline.taken]
    trigger = Trigger.CHANGE if any(known & Hint.LIVE for _, known in chosen) else Trigger.RESCAN
    plans = await plan(pipeline, chosen[:MOST], trigger)
    return plans._replace(more=plans.more + beyond + max(0, len(chosen) - MOST))


def _waiting(pipeline: Pipeline) -> Iterator[Mark]:
    """What is dirty, was left while the rule was busy, failed, or is in back-off."""
    others: list[Key] = [*pipeline.failed(), *pipeline.backoff.waiting]
    yield from ((key, Hint.SCAN) for key in others)
    yield from ((key, entry.hint) for key, entry in pipeline.skipped.items())
    yield from ((key, entry.hint) for key in pipeline.window if (entry := pipeline.window.get(key)) is not None)


# ---- in the pool


def compare(tree: Tree, database: str) -> Differing:
    """Compare a tree with its manifest. Blocks as long as the filesystem does.

    Raises:
        StateError: the manifest can't be read.
    """
    paths: list[str] = []
    total = 0
    with ManifestReader(database) as reader:
        comparison = TreeComparison(reader, tree.baseline.id, strict=tree.rule.strict, standing=tree.standing)
        for several in _differing(tree, comparison):
            fresh = [path for path in several if path not in tree.known]
            total += len(fresh)
            paths += fresh[: MOST - len(paths)]
    return Differing(paths, total)


def _differing(tree: Tree, comparison: TreeComparison) -> Iterator[list[str]]:
    for directory, entries in _walk(tree, comparison.skip):
        alive()
        found = comparison.feed(directory, entries)
        yield [*found.new, *found.differing, *found.missing]
    yield from comparison.finish()


def _walk(tree: Tree, skip: Callable[[str], None]) -> Iterator[tuple[str, dict[str, Identity]]]:
    """Each directory that the rule looks into, with its files. ``skip`` is told of those that can't be looked into."""
    stack = [""]
    while stack:
        directory = stack.pop()
        try:
            entries, inner = _list(tree, directory)
        except OSError as error:
            if error.errno not in _GONE:
                skip(directory)
            continue
        stack += inner
        yield directory, entries


def _list(tree: Tree, directory: str) -> tuple[dict[str, Identity], list[str]]:
    files: dict[str, Identity] = {}
    inner: list[str] = []
    fd = os.open(f"{tree.top.rstrip('/')}/{directory}", _OPEN)
    try:
        with os.scandir(fd) as listed:
            for entry in listed:
                path = f"{directory}/{entry.name}" if directory else entry.name
                if entry.is_dir(follow_symlinks=False):
                    if tree.rule.recursive and not tree.selection.prunes_next(path):
                        inner.append(path)
                elif tree.selection.selects(directory, entry.name):
                    files.update(_file(tree, entry))
    finally:
        os.close(fd)
    return files, inner


def _file(tree: Tree, entry: os.DirEntry[str]) -> dict[str, Identity]:
    try:
        found = entry.stat(follow_symlinks=tree.rule.follow_symlinks)
    except OSError:
        return {}  # it has just gone, or leads nowhere
    if not stat.S_ISREG(found.st_mode):
        return {}
    return {entry.name: (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)}
