"""The action ``expire``: deletes old files of a rule, such as exports and uploads, so that limits are kept.

A pass looks at all files that the rule selects, not only at those that changed, because files grow old in silence: by
a durable timer, and, where a limit is on how many or how much there is, also when something came.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from msgspec import Meta, Struct

from filewatchd.actions.base import Context, Needs, Problem
from filewatchd.actions.expire.action import ExpireAction
from filewatchd.actions.keeping import Keep, problems
from filewatchd.model import RuleSettings
from filewatchd.values import Duration

name = "expire"


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Delete the oldest of the rule's files as long as a limit is exceeded."""

    keep: Annotated[
        Keep, Meta(description="The limits: of all the rule's files together, by their modification times.")
    ]
    every: Annotated[Duration, Meta(description="How often all files are looked at.")] = 3600.0


def check(options: Options, rule: RuleSettings) -> Iterable[Problem]:
    """Limits that can't be meant."""
    yield from problems(options.keep, 0)
    if options.every < 1:
        yield Problem("files would be looked at all the time", "write 1s or more", ("every",))
    if rule.follow_symlinks:
        yield Problem("expire deletes no file behind a symlink", "leave out follow_symlinks", ())


def rule_defaults(options: Options) -> Mapping[str, Any]:
    """One job for all that came, as it is."""
    return {"batch": "rule", "ready": "immediate"}


def needs(options: Options) -> Needs:
    """Nothing but the directories' own rights."""
    return Needs()


def open(options: Options, ctx: Context) -> ExpireAction:  # noqa: A001 - the protocol's word
    """The action, opened."""
    return ExpireAction(options, ctx)
