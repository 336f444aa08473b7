"""What a daemon at work knows of its own health, as findings of `doctor`: facts on the loop in, findings out."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence

from filewatchd.jobs.pipeline import Pipeline
from filewatchd.model import RootState
from filewatchd.service.findings import Finding, Severity
from filewatchd.service.logging import level
from filewatchd.service.report import Parts, paused
from filewatchd.watch.roots import Root

_OF_ROOTS = frozenset({"stalled", "degraded", "journal"})  # doubts that have findings of their own
_ERROR, _WARNING, _NOTE = Severity.ERROR, Severity.WARNING, Severity.NOTE


def roots(parts: Parts) -> Iterator[Finding]:
    """Roots that aren't live."""
    watched_by = parts.rooting.rules_by_root()
    for root in parts.rooting.roots():
        rule = ", ".join(sorted(watched_by.get(root.path, ())))
        if root.state is RootState.DEGRADED:
            yield Finding(
                _WARNING, "root-degraded", f"not all of it is watched: {root.why}",
                "changes there are noticed only when it is next compared with the disk", _mend(root), rule, root.path,
            )  # fmt: skip
        elif root.state is RootState.STALLED:
            yield Finding(
                _ERROR, "root-stalled", f"its filesystem doesn't answer: {root.why}",
                "no change below it is noticed until it answers again",
                "look at its server or program, and mount it anew: `umount -l` its mount point, then `mount` it",
                rule, root.path,
            )  # fmt: skip
        elif root.state is RootState.WAITING:
            yield Finding(
                _NOTE, "root-waiting", f"it is waited for: {root.why}", "the rule has nothing to do until it appears",
                "nothing, if that is meant; else correct the path, or mount what belongs there", rule, root.path,
            )  # fmt: skip


def _mend(root: Root) -> str:
    if root.limited:
        return "raise fs.inotify.max_user_watches; the daemon notices by itself"
    return "mend what it says, for example let the daemon's user read and enter these directories; or exclude them"


def overflows(parts: Parts) -> Iterator[Finding]:
    """Bursts that were too much for the kernel's queue."""
    backends: Mapping[str, Mapping[str, int]] = parts.rooting.statistics()["backends"]
    for name, found in backends.items():
        if number := found.get("overflows", 0):
            times = "once" if number == 1 else f"{number:,} times"
            yield Finding(
                _NOTE, "queue-overflowed", f"events of {name} were lost {times} since the start",
                "nothing is missed, but each time everything watched is compared with the disk",
                "raise fs.inotify.max_queued_events, for example `sysctl -w fs.inotify.max_queued_events=131072`, and"
                " restart the daemon; or exclude what is written in such bursts",
            )  # fmt: skip


def budget(parts: Parts) -> Iterator[Finding]:
    """Watches that large roots had to give to small ones."""
    for found in parts.rooting.statistics()["backends"].values():
        if given := found["budget"]["given_back"]:
            yield Finding(
                _NOTE, "watches-shared", f"{given:,} watches of large roots were given to smaller ones",
                "there weren't enough for all, so the large roots are watched only in part",
                "raise fs.inotify.max_user_watches; the daemon notices by itself",
            )  # fmt: skip


def journal(parts: Parts) -> Iterator[Finding]:
    """State that can't be written."""
    if not parts.engine.gate.is_open:
        trouble = parts.database.health.trouble
        yield Finding(
            _ERROR, "journal-blocked", f"the job journal can't be written: {trouble or 'it is being tried again'}",
            "no job starts; changes and outcomes wait in memory",
            "mend what it says, jobs go on by themselves", path=parts.database.path,
        )  # fmt: skip


def promise(parts: Parts) -> Iterator[Finding]:
    """Why changes may have been missed."""
    for doubt in parts.promise.statistics()["reasons"]:
        if doubt["about"] not in _OF_ROOTS:
            what = f"{doubt['what']}: " if doubt["what"] else ""
            why = f"changes may not be worked, since {doubt['since']}"
            yield Finding(
                _WARNING, "promise-doubted", f"{what}{doubt['why']}", why,
                "nothing, if it says that it is being mended; else do what it says",
            )  # fmt: skip


def held(parts: Parts) -> Iterator[Finding]:
    """Rules that start no jobs."""
    for name, pipeline in parts.engine.pipelines.items():
        found = paused(pipeline)
        if found is None:
            continue
        meant = found["hold"] == "paused"
        yield Finding(
            _NOTE if meant else _WARNING, "rule-paused" if meant else "rule-held", found["why"],
            f"it starts no jobs since {found['since']}; its paths wait", f"`filewatchctl resume {name}`", name,
        )  # fmt: skip


def failed(parts: Parts) -> Iterator[Finding]:
    """Paths that nothing but a person, or a change, takes further."""
    for name, pipeline in parts.engine.pipelines.items():
        if keys := pipeline.failed():
            number = "1 path has" if len(keys) == 1 else f"{len(keys):,} paths have"
            yield Finding(
                _WARNING, "paths-failed", f"{number} failed for good",
                "they wait until they change, or somebody asks for a retry",
                f"`filewatchctl jobs list --rule {name} --state failed` says why; then"
                f" `filewatchctl jobs retry --rule {name}`, or `drop` in its place",
                name, _first(pipeline, keys),
            )  # fmt: skip


def open_files(parts: Parts) -> Iterator[Finding]:
    """Files that somebody doesn't close."""
    for name, pipeline in parts.engine.pipelines.items():
        if keys := list(pipeline.looking.held):
            number = "1 file is" if len(keys) == 1 else f"{len(keys):,} files are"
            path = _first(pipeline, keys)
            yield Finding(
                _NOTE, "files-held", f"{number} held open for writing for longer than ready_timeout",
                "they are worked once they are complete", f"`filewatchctl explain {shlex.quote(path)}` says by whom",
                name, path,
            )  # fmt: skip


def _first(pipeline: Pipeline, keys: Sequence[tuple[int, str]]) -> str:
    return next(iter(pipeline.named(keys)), "")


def findings(parts: Parts) -> Iterator[Finding]:
    """What actions found."""
    for found in parts.engine.store.findings.all():
        yield Finding(
            _WARNING, "rule-finding", found.message, f"the rule raised it {found.times:,} times ({found.key})",
            "look at it; the rule takes it back once it is settled", found.rule, found.path or "",
        )  # fmt: skip


def configuration(parts: Parts) -> Iterator[Finding]:
    """A reload that was refused."""
    life = parts.life()
    if life.config_error is not None:
        yield Finding(
            _ERROR, "config-refused", f"the last reload was refused: {life.config_error}",
            f"generation {life.generation} goes on, and a restart would fail",
            "`filewatchd check` says what would be right; then `filewatchctl config reload`",
            path=life.configuration.files[0],
        )  # fmt: skip


def log_level(parts: Parts) -> Iterator[Finding]:
    """A log that tells too much."""
    if level() == "debug":
        yield Finding(
            _NOTE, "log-debug", "the log tells everything (debug)", "the log grows fast, and the work is slower",
            "`filewatchctl log-level info`, or set logging.level",
        )  # fmt: skip


#: Every check of a daemon at work.
CHECKS: tuple[Callable[[Parts], Iterator[Finding]], ...] = (
    configuration,
    journal,
    roots,
    promise,
    held,
    failed,
    findings,
    open_files,
    overflows,
    budget,
    log_level,
)
