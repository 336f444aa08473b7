"""The action ``reload``: a service gets a set of configuration files whole, checked, or not at all.

`attempt` is the work, `states` its table, `desk` what it works with. A set is looked at and read (`looking`, `taking`),
kept (`entries`, `store`, `record`), staged (`staging`) and checked in the live place (`checking`); it may be put into a
live directory (`publishing`), and the last good one put back (`restoring`). `answers` is what can be asked.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from filewatchd.actions import probes, telling
from filewatchd.actions.base import Context, Needs, Problem
from filewatchd.actions.reload.action import ReloadAction
from filewatchd.actions.reload.answers import ENDPOINTS as endpoints  # noqa: N811 - the protocol's word
from filewatchd.actions.reload.options import Options as Options
from filewatchd.actions.telling import Telling
from filewatchd.model import RuleSettings
from filewatchd.security import others_may_write

name = "reload"
_CHANGES = ["created", "modified", "deleted", "moved", "metadata"]

__all__ = ["Options", "check", "endpoints", "name", "needs", "open", "rule_defaults"]


def check(options: Options, rule: RuleSettings) -> Iterable[Problem]:
    """Everything that can be known without doing it."""
    yield from _roots(rule)
    yield from _modes(options, rule)
    if options.check is not None:
        command = options.check
        as_told = Telling(command=command.command, user=command.user, env=command.env, cwd=command.cwd)
        for problem in telling.problems(as_told, rule):
            yield problem._replace(where=("check", *problem.where))
    yield from telling.problems(options.apply, rule, ("apply",))
    yield from probes.problems(options.probes, rule, ("healthy",))


def _roots(rule: RuleSettings) -> Iterator[Problem]:
    for root in rule.roots:
        if set("*?[") & set(root):
            yield Problem(f"{root} is a glob: a set needs to know its roots", "name the directory above, and `include`")
        if os.path.realpath(root) == "/":
            yield Problem("the whole system is no set of configuration files", "name narrower roots")
    if not rule.recursive:
        yield Problem("a set is everything below its roots", "remove `recursive: false`")


def _modes(options: Options, rule: RuleSettings) -> Iterator[Problem]:
    if options.mode == "check" and options.on_bad == "restore":
        hint = "write `mode: guard`, or `on_bad: hold`"
        yield Problem("`mode: check` never writes the live set, so nothing can be restored", hint, ("on_bad",))
    if options.mode == "check" and probes.listed(options.healthy):
        yield Problem("`mode: check` watches no health", "write `mode: guard`, or remove healthy", ("healthy",))
    if options.check is None and options.mode == "check" and options.apply is None:
        yield Problem("there is nothing to do", "add check, apply, or both")
    if (options.mode == "publish") != (options.publish is not None):
        hint = "write `mode: publish` and `publish: {from: DIR, to: DIR}`, or neither"
        yield Problem("publish goes with its mode", hint, ("publish",) if options.publish else ("mode",))
    if options.publish is not None:
        yield from _publish(options.publish.source, options.publish.target, rule)


def _publish(source: str, target: str, rule: RuleSettings) -> Iterator[Problem]:
    one, other = (os.path.realpath(path) + "/" for path in (source, target))
    if one.startswith(other) or other.startswith(one):
        yield Problem("the live directory and its source lie within one another", "keep them apart", ("publish", "to"))
    if rule.roots != (source,):
        hint = f"write `roots: [{source}]`"
        yield Problem("what is published must be the rule's only root", hint, ("publish", "from"))
    if os.geteuid() == 0 and (why := others_may_write(target)):
        hint = "name a directory that, with all above it, only root may write"
        yield Problem(f"others could lead what root writes elsewhere: {why}", hint, ("publish", "to"))
    if rule.user is not None:
        yield Problem("what is published is written by the daemon itself", "remove `user:`", ("publish",))


def rule_defaults(options: Options) -> Mapping[str, Any]:
    """One batch once the whole rule is quiet; all kinds of change count, and files behind symlinks too."""
    return {"batch": "rule", "changes": _CHANGES, "follow_symlinks": "files"}


def needs(options: Options) -> Needs:
    """What telling and probing need."""
    both = telling.needs(options.apply), probes.needs(options.probes)
    extras = dict.fromkeys(extra for each in both for extra in each.extras)
    return Needs(extras=tuple(extras), capabilities=tuple(name for each in both for name in each.capabilities))


def open(options: Options, ctx: Context) -> ReloadAction:  # noqa: A001 - the protocol's word
    """The action, opened."""
    return ReloadAction(options, ctx)
