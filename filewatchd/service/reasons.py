"""Why a path is a rule's, or isn't: what the rule asks, one question after the other, with the key that decides."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from filewatchd.config.origins import Origins
from filewatchd.control.api import words
from filewatchd.control.documents import Reason
from filewatchd.jobs.pipeline import Pipeline
from filewatchd.jobs.waiting import Stage, Waiting
from filewatchd.measures import format_duration
from filewatchd.model import Kind, Ready, RuleSettings
from filewatchd.rules.deciding import Decision, decisions, excluded
from filewatchd.service.covering import Covered, away
from filewatchd.service.sight import Sight
from filewatchd.state.rows import Row
from filewatchd.watch.roots import Root

_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a block device",
    stat.S_IFCHR: "a character device",
}


class Case(NamedTuple):
    """A rule and a path, with all that was found out about them.

    ``pipeline`` is None of a disabled rule, ``root`` where nothing is watched by this name. ``known``: what the rule
    handled last of the path. ``writers``: who has it open for writing.
    """

    rule: RuleSettings
    origins: Origins
    pipeline: Pipeline | None
    path: str
    sight: Sight
    cover: Covered | None
    root: Root | None = None
    waiting: Waiting | None = None
    known: Row | None = None
    writers: Sequence[str] = ()


def deciding(case: Case) -> Iterator[Reason]:
    """What makes the path the rule's: all have passed if it is."""
    enabled = case.rule.enabled
    yield _reason(case, "enabled", enabled, "the rule is enabled" if enabled else "the rule is disabled")
    if case.cover is None:
        entry, text = away(case.rule.roots, case.path)
        yield _reason(case, "root", False, text, ("roots", entry))
        return
    yield _root(case, case.cover)
    yield _type(case, case.cover)
    yield from _patterns(case, case.cover)


def besides(case: Case) -> Iterator[Reason]:
    """What else has to be so for the path to become a job's, where it is the rule's."""
    if case.root is not None and (unseen := _unwatched(case.root, case.sight.real)):
        yield _reason(case, "root", False, unseen)
    yield _changes(case)
    yield _ready(case)
    if case.pipeline is not None:
        yield _paused(case, case.pipeline)
    if case.rule.user is not None:
        yield _reason(case, "user", True, f"its work is done as {case.rule.user}", ("user", None))


def _reason(case: Case, about: str, passed: bool, text: str, key: tuple[str, int | None] | None = None) -> Reason:
    where = case.origins.of(*(key or (about, None)))
    return Reason(about=about, passed=passed, text=words(text), where=None if where is None else words(where))  # type: ignore[arg-type]


# ---- root and type


def _root(case: Case, cover: Covered) -> Reason:
    key = ("roots", cover.entry)
    if not case.rule.recursive and "/" in cover.relative:
        text = f"it is in a directory below {cover.root}, and the rule isn't recursive"
        return _reason(case, "root", False, text, ("recursive", None))
    what = f"it is below {cover.root}" if cover.relative else f"it is the root {cover.root} itself"
    if cover.real:
        what = f"by its real name {case.sight.real} {what}, which the rule knows it by"
        what += f" ({cover.root} leads to {cover.real})" if cover.real != cover.root else ""
    if case.root is not None and case.root.why:
        what += f"; the root is {case.root.state.value}: {case.root.why}"
    return _reason(case, "root", True, what, key)


def _unwatched(root: Root, real: str) -> str:
    """Why changes at a path aren't noticed, if they aren't."""
    places: Mapping[str, str] = {**{place: missing.why for place, missing in root.failed.items()}, **root.blind}
    found = next(((p, why) for p, why in places.items() if f"{real}/".startswith(p.rstrip("/") + "/")), None)
    return "" if found is None else f"{found[0]} isn't watched, changes are found by the next scan: {found[1]}"


def _type(case: Case, cover: Covered) -> Reason:
    sight = case.sight
    start = len(cover.root) if not cover.real else len(cover.real)
    seen_from = sight.links if not cover.real else ()
    link = next((link for link in seen_from if len(link) > start), None)
    if link is not None:
        text = f"{link} is a symlink to a directory, and what is behind one is no file of the root's"
        return _reason(case, "type", False, f"{text}; its real name is {sight.real}")
    if sight.error:
        return _reason(case, "type", False, f"it can't be looked at: {sight.error}")
    if sight.mode is None:
        return _reason(case, "type", True, "nothing is there; a file of this name would be looked at")
    if stat.S_ISLNK(sight.mode):
        return _symlink(case, cover)
    passed, text = _of_mode(sight.mode, f"a file of {sight.size:,} bytes", cover)
    return _reason(case, "type", passed, text if passed else text + _told(case))


def _told(case: Case) -> str:
    """Which of the rule's actions are told of what is no file."""
    pipeline = case.pipeline
    names = [] if pipeline is None else pipeline.engine.asking(pipeline)
    return f"; no job comes of it, but {' and '.join(names)} is told of it" if names else ""


def _symlink(case: Case, cover: Covered) -> Reason:
    key = ("follow_symlinks", None)
    if not case.rule.follow_symlinks and cover.relative:
        text = "it is a symlink, and those below a root aren't followed (follow_symlinks: never)"
        return _reason(case, "type", False, text + _told(case), key)
    if case.sight.target is None:
        return _reason(case, "type", True, "it is a symlink that leads nowhere yet, and is followed", key)
    passed, text = _of_mode(case.sight.target, "a file", cover)
    return _reason(case, "type", passed, f"it is a symlink, which leads to something else: {text}", key)


def _of_mode(mode: int, file: str, cover: Covered) -> tuple[bool, str]:
    if stat.S_ISREG(mode):
        return True, f"it is {file}"
    if stat.S_ISDIR(mode):
        whose = "below it" if cover.relative else "below the root"
        return False, f"it is a directory: the files {whose} are looked at, not the directory itself"
    return False, f"it is {_KINDS.get(stat.S_IFMT(mode), 'no file')}: only files are looked at"


# ---- patterns


def _patterns(case: Case, cover: Covered) -> Iterator[Reason]:
    rule, path = case.rule, cover.relative
    if case.sight.kind == "directory" and path:
        yield _pattern(case, excluded(rule.exclude, rule.presets, f"{path}/"))
        return
    for decision in decisions(rule.include, rule.exclude, rule.presets, path):
        yield _pattern(case, decision)


def _pattern(case: Case, decision: Decision) -> Reason:
    about, pattern = decision.about, decision.pattern
    if pattern is None:
        texts = {
            "exclude": "no pattern of exclude or of a preset matches",
            "include": "none of its include patterns matches"
            if case.rule.include
            else "without include, all files are",
        }
        return _reason(case, about, decision.passed, texts[about])
    where = ("presets" if about == "preset" else about, pattern.entry)
    whose = f"the preset {case.rule.presets[pattern.entry]}'s pattern" if about == "preset" else f"the {about} pattern"
    what = f"the directory {decision.matched}" if decision.matched.endswith("/") else "it"
    verb = "brings back" if pattern.text.startswith("!") and about != "include" else "matches"
    return _reason(case, about, decision.passed, f"{whose} {pattern.text} {verb} {what}", where)


# ---- what else


def _changes(case: Case) -> Reason:
    there = case.sight.mode is not None
    kind = (Kind.MODIFIED if there else Kind.DELETED) if case.known is not None else Kind.CREATED
    wanted = [each.value for each in Kind if each in case.rule.changes]
    text = f"the rule wants {', '.join(wanted)}; the next change would be {kind.value}"
    if kind in case.rule.changes:
        return _reason(case, "changes", True, text)
    return _reason(case, "changes", False, f"{text}, of which it only takes note")


def _ready(case: Case) -> Reason:
    settle = format_duration(case.rule.settle)
    texts = {
        Ready.CLOSED: f"a file is complete once it was closed, or moved here, and quiet for {settle}",
        Ready.STABLE: f"a file is complete once nobody has it open for writing, and it was quiet for {settle}",
        Ready.IMMEDIATE: f"a file is taken as it is, once it was quiet for {settle}",
    }
    if case.waiting is not None and case.waiting.stage is Stage.HELD:
        who = ", ".join(case.writers) or "somebody"
        return _reason(case, "ready", False, f"{who} has it open for writing; {texts[case.rule.ready]}")
    return _reason(case, "ready", True, texts[case.rule.ready])


def _paused(case: Case, pipeline: Pipeline) -> Reason:
    if pipeline.holding.why is not None:
        return _reason(case, "paused", False, f"the rule starts no job: {pipeline.holding.why}")
    if not pipeline.engine.gate.is_open:
        return _reason(case, "paused", False, "no job starts: the job journal can't be written")
    return _reason(case, "paused", True, "the rule isn't held")
