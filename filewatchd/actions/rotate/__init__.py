"""The action ``rotate``: rotates and compresses logs without losing a line.

The parts, from the data outwards: `ledger` says where every byte of every log is, `machine` how that may change;
`swapping`, `copying`, `packing` and `freeing` take the steps on disk; `rotation` drives them, with names of `numbering`
and the patience of `waiting`, `finishing` beside the jobs, `recovering` after a crash; `deciding` chooses the method,
`due`, `watching` and `lookout` the time, `judging` asks both; `working` is a job, and `action` what the daemon sees.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from filewatchd.actions import telling
from filewatchd.actions.base import Context, Needs, Problem
from filewatchd.actions.rotate.action import RotateAction
from filewatchd.actions.rotate.checking import problems
from filewatchd.actions.rotate.documents import ENDPOINTS
from filewatchd.actions.rotate.options import Options as Options
from filewatchd.codecs import codec
from filewatchd.model import RuleSettings

name = "rotate"
endpoints = ENDPOINTS


def check(options: Options, rule: RuleSettings) -> Iterable[Problem]:
    """Everything that can be known without rotating."""
    return problems(options, rule)


def rule_defaults(options: Options) -> Mapping[str, Any]:
    """A log's writer never closes it, and logs that are there already are logs."""
    return {
        "batch": "path",
        "ready": "immediate",
        "initial": "process",
        "changes": ["created", "modified", "moved", "deleted"],
    }


def needs(options: Options) -> Needs:
    """The extra of its codec, and what its `reopen` needs."""
    extra = codec(options.compress.codec).extra
    told = telling.needs(options.reopen)
    return told._replace(writes=False, sole=True, extras=(*told.extras, *((extra,) if extra is not None else ())))


def open(options: Options, ctx: Context) -> RotateAction:  # noqa: A001 - the protocol's word
    """The action, opened."""
    return RotateAction(options, ctx)
