"""The action ``seal``: a checksum of each file in a directory of seals; an example of every member of the protocol.

A module is enough for an action package: it has a name, the class of its options, and four functions. This one has an
example for `filewatchd init`, and routes, too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from msgspec import Meta, Struct

from filewatchd.actions.base import Context, Endpoint, Needs, Problem, Use
from filewatchd.model import RuleSettings
from filewatchd.values import Duration, PathTo
from filewatchd_example_action import sealing
from filewatchd_example_action.sealing import SealAction

name = "seal"
example = """# A seal for each file that comes into a directory.

version: 1

rules:
  - name: seal-incoming
    roots: [../incoming]
    actions:
      - seal: {into: ../seals}
"""
endpoints = (
    Endpoint("seals", "The seals there are.", sealing.Seals, sealing.Which),
    Endpoint("forget", "Forget the seal of a file.", sealing.Forgotten, sealing.Forget, acts=True),
)


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Write the checksum of each file into a directory of seals."""

    into: Annotated[PathTo, Meta(description="Directory of the seals.")]
    move: Annotated[bool, Meta(description="Move sealed files into that directory too.")] = False
    tool: Annotated[tuple[str, ...], Meta(description="Program that signs a seal; gets its path.")] = ()
    audit_every: Annotated[Duration, Meta(description="How often all seals are counted.")] = 3600.0
    per_path: Annotated[bool, Meta(description="Seal file by file.")] = False


def check(options: Options, rule: RuleSettings) -> Iterable[Problem]:
    """A directory of seals below a root of the rule would be sealed in its turn."""
    for root in rule.roots:
        if f"{options.into}/".startswith(f"{root}/"):
            yield Problem(f"the seals would lie below the root {root}", "put them elsewhere", ("into",))


def rule_defaults(options: Options) -> Mapping[str, Any]:
    """Whole batches, and only complete files."""
    return {"batch": "rule", "ready": "stable", "changes": ["created", "modified", "moved", "deleted"]}


def needs(options: Options) -> Needs:
    """The files as they are while they are read, and for itself where it moves them."""
    return Needs(per_path=options.per_path, use=Use.EXCLUSIVE if options.move else Use.SHARED)


def open(options: Options, ctx: Context) -> SealAction:  # noqa: A001 - the protocol's word
    """The action of one rule."""
    return SealAction(options, ctx)
