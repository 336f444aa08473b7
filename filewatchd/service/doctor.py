"""`filewatchd doctor`: examine what the daemon would meet, without one.

Facts are gathered first (`survey`, `limits`), then each check of `CHECKS` judges them. To find something more, add a
small function there.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from filewatchd.config.configuration import Configuration
from filewatchd.errors import StalledError
from filewatchd.patience import attend
from filewatchd.service import checks
from filewatchd.service.findings import Facts, Finding, Report, Severity, StateFacts
from filewatchd.service.limits import INSTANCES, QUEUE, WATCHES, limits, usage
from filewatchd.service.survey import BOUND, PATIENCE, Survey, Surveyor, unanswering
from filewatchd.state.lock import holder
from filewatchd.watch.backends.choose import SHARED
from filewatchd.watch.mounts import MountTable

if TYPE_CHECKING:
    from filewatchd.actions.base import ActionPackage

_TIGHT = 0.8  # of a limit
_LEAST_WATCHES = 524_288
_LEAST_INSTANCES = 512
_ENOUGH_QUEUE = 16_384  # the kernel's default, inotify(7)
_LARGE_TREE = 100_000  # directories or files from which on a longer queue pays
_LONG_QUEUE = 131_072
_LEAST_FREE = 100_000_000  # bytes
_LEAST_SHARE = 0.05
_LEAST_DESCRIPTORS = 1024  # a walk holds one a level, a command four, each backend a few
_FORGETFUL = frozenset({"tmpfs", "ramfs"})


def reached_limits(facts: Facts) -> Iterator[Finding]:
    """Watches or instances that won't suffice, or nearly."""
    what = {WATCHES: ("watches", _LEAST_WATCHES), INSTANCES: ("inotify instances", _LEAST_INSTANCES)}
    for limit in facts.limits:
        if limit.kind not in what or limit.share is None or limit.share <= _TIGHT:
            continue
        noun, least = what[limit.kind]
        taken = f", and other programs of this user take {limit.used:,}" if limit.used else ""
        needed = (limit.needed or 0) + (limit.used or 0)
        why = {
            WATCHES: "directories beyond the limit aren't watched; their roots are degraded, the largest first",
            INSTANCES: "without an instance the daemon doesn't start",
        }[limit.kind]
        yield Finding(
            Severity.ERROR if limit.share > 1 else Severity.WARNING, f"{limit.kind.removeprefix('max_user_')}-limit",
            f"{noun}: {limit.needed:,} are needed{taken}; {limit.name} allows {limit.limit:,}",
            why, _raise(limit.name, max(least, 1 << (2 * needed - 1).bit_length())),
        )  # fmt: skip


def short_queue(facts: Facts) -> Iterator[Finding]:
    """A queue of events that bursts will overflow."""
    for limit in facts.limits:
        if limit.kind != QUEUE:
            continue
        large = max((max(tree.directories, tree.files) for tree in facts.survey.trees), default=0) >= _LARGE_TREE
        wanted = _LONG_QUEUE if large else _ENOUGH_QUEUE
        if limit.limit < wanted:
            message = f"the kernel keeps {limit.limit:,} events"
            yield Finding(
                Severity.NOTE, "queue-short", f"{message}; {wanted:,} are better for trees of this size",
                "a burst that overflows it loses nothing, but costs a scan of everything watched",
                _raise(limit.name, wanted),
            )  # fmt: skip


def _raise(name: str, value: int) -> str:
    keep = f"echo '{name} = {value}' >> /etc/sysctl.d/60-filewatchd.conf"
    return f"`sysctl -w {name}={value}`; to keep it over reboots: `{keep}`"


def state_filesystem(facts: Facts) -> Iterator[Finding]:
    """State where it doesn't last, or can't be locked."""
    place, kind = facts.configuration.daemon.state_dir, facts.state.filesystem if facts.state else ""
    remedy = "put daemon.state_dir on a local disk, for example /var/lib/filewatchd"
    if facts.state is None:
        message = "the state directory's filesystem doesn't answer"
        yield Finding(Severity.ERROR, "state-stalled", message, "the daemon can't start", remedy, path=place)
    elif kind in _FORGETFUL:
        why = "it is lost at reboot: what changed while the daemon was down is then not noticed"
        yield Finding(Severity.WARNING, "state-forgetful", f"the state is kept on {kind}", why, remedy, path=place)
    elif kind in SHARED or kind.startswith("fuse"):
        why = "locks and SQLite's journal are unreliable there: two daemons may run, or the state be damaged"
        yield Finding(Severity.WARNING, "state-network", f"the state is kept on {kind}", why, remedy, path=place)


def state_space(facts: Facts) -> Iterator[Finding]:
    """A disk that is nearly full."""
    state = facts.state
    if state is None or not state.size:
        return
    share = state.free / state.size
    if state.free < _LEAST_FREE or share < _LEAST_SHARE:
        yield Finding(
            Severity.WARNING, "state-space", f"{state.free / 1e6:,.0f} MB ({share:.0%}) are free for the state",
            "once it is full no job can be journaled, so none starts",
            "free some space there, set daemon.state_dir to another disk, or make daemon.history smaller",
            path=state.path,
        )  # fmt: skip


def state_owner(facts: Facts) -> Iterator[Finding]:
    """Doctor sees with the eyes of who runs it."""
    state = facts.state
    if state is not None and state.owner is not None and state.owner != os.geteuid():
        yield Finding(
            Severity.NOTE, "other-user", f"doctor runs as uid {os.geteuid()}, the state is uid {state.owner}'s",
            "permissions and limits of this user were looked at, not those of the daemon's",
            f"`sudo -u '#{state.owner}' filewatchd doctor`", path=state.path,
        )  # fmt: skip


def few_descriptors(facts: Facts) -> Iterator[Finding]:
    """A limit on open files that deep trees and many commands reach."""
    if facts.descriptors < _LEAST_DESCRIPTORS:
        yield Finding(
            Severity.WARNING, "descriptors-limit", f"only {facts.descriptors:,} files may be open at once here",
            "a walk over a deep tree or many commands at once may fail",
            f"`ulimit -n {_LEAST_DESCRIPTORS}` before it starts, or LimitNOFILE={_LEAST_DESCRIPTORS} in its unit",
        )  # fmt: skip


#: Every check: facts in, findings out.
CHECKS: tuple[Callable[[Facts], Iterator[Finding]], ...] = (
    reached_limits,
    checks.stalled_roots,
    checks.missing_roots,
    checks.empty_globs,
    checks.backends,
    checks.unreadable,
    checks.uncounted,
    checks.own_output,
    checks.idle_patterns,
    checks.endless_archives,
    checks.configuration_warnings,
    checks.disabled_rules,
    state_filesystem,
    state_space,
    state_owner,
    short_queue,
    few_descriptors,
)


def examine(
    load: Callable[[], Configuration],
    registry: Mapping[str, ActionPackage],
    *,
    quick: bool = False,
    patience: float = PATIENCE,
    bound: int = BOUND,
    tell: Callable[[int], None] = lambda directories: None,
    watches: int | None = None,
) -> Report:
    """Gather the facts and judge them.

    Args:
        load: loads the configuration.
        registry: action packages by name.
        quick: don't walk trees.
        patience: seconds without progress until a filesystem counts as one that doesn't answer.
        bound: directories to look into at most.
        tell: called while trees are walked, with the directories counted so far.
        watches: those that a daemon at work holds, which is what it needs if they aren't counted.

    Raises:
        ConfigError: the configuration has mistakes.
    """
    table = MountTable.read()
    try:
        configuration = attend(load, patience)
    except StalledError:
        return Report((), (), tuple(_unloadable(table, patience)))
    rules = [rule for rule in configuration.rules if rule.enabled]
    survey = Surveyor(rules, table, quick=quick, patience=patience, bound=bound, tell=tell).survey()
    return judge(gather(configuration, registry, survey, table, patience, watches=watches))


def gather(
    configuration: Configuration,
    registry: Mapping[str, ActionPackage],
    survey: Survey,
    table: MountTable,
    patience: float = PATIENCE,
    *,
    watches: int | None = None,
) -> Facts:
    """The facts beyond the survey. ``watches``: what is needed, where the survey didn't count them."""
    place = configuration.daemon.state_dir
    try:
        state: StateFacts | None = attend(lambda: _state(place, table), patience)
    except StalledError:
        state = None
    daemon = holder(os.path.join(place, "filewatchd.lock")) if state is not None else None
    used = usage(daemon.pid if daemon is not None and daemon.alive else None)
    watching = {root.choice.name for root in survey.roots} - {"poll"}
    watches = sum(survey.watches.values()) if survey.watches is not None else watches
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Facts(configuration, registry, survey, limits(watches, len(watching), used), state, descriptors)


def judge(facts: Facts) -> Report:
    """Let every check look at the facts; the worst finding comes first."""
    order = list(Severity)
    found = sorted((finding for check in CHECKS for finding in check(facts)), key=lambda f: order.index(f.severity))
    return Report(facts.survey.roots, facts.limits, tuple(found))


def _state(place: str, table: MountTable) -> StateFacts:
    """The state directory, or the nearest directory above it: that is where it would be made."""
    owner: int | None = None
    at = os.path.realpath(place)
    if os.path.isdir(at):
        owner = os.stat(at).st_uid
    while not os.path.isdir(at):
        at = os.path.dirname(at)
    space = os.statvfs(at)
    filesystem = table.type_of(at, os.stat(at).st_dev)
    return StateFacts(at, filesystem, space.f_bavail * space.f_frsize, space.f_blocks * space.f_frsize, owner)


def _unloadable(table: MountTable, patience: float) -> Iterator[Finding]:
    """A path in the configuration lies where nothing answers: say where nothing does."""
    why = "the daemon hangs at its start, and so does every program that looks there"
    remedy = "look at its server or program, and mount it anew: `umount -l {0}`, then `mount {0}`"
    for place in list(unanswering(table, patience)) or ["a path in the configuration"]:
        message = "its filesystem doesn't answer, so the configuration can't be checked"
        yield Finding(Severity.ERROR, "root-stalled", message, why, remedy.format(place), path=place)
