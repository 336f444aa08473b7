"""The options of ``reload``."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct, structs

from filewatchd.actions.probes import Probe, listed
from filewatchd.actions.telling import Telling
from filewatchd.values import CommandOption, Duration, PathTo

_LEAST_STAY = 1.0  # seconds
Mode = Literal["check", "guard", "publish"]


class KeepVersions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much is kept."""

    instead: ClassVar[str] = "write {versions: 50}"

    versions: Annotated[int, Meta(ge=2, le=10_000, description="So many versions, the newest.")] = 50


class Publish(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename={"source": "from", "target": "to"}):
    """From where people edit to where the service reads."""

    source: Annotated[PathTo, Meta(description="The directory that people edit: the rule's only root.")]
    target: Annotated[
        PathTo, Meta(description="The live directory, or a symlink to it. Only what passed its check gets there.")
    ]


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Take a set of configuration files whole or not at all: check it, tell the service, watch its health, go back."""

    mode: Annotated[
        Mode,
        Meta(
            description="`check` tells of a bad set and doesn't apply it; `guard` watches the service's health as well,"
            " and may put the last good set back; `publish` lets only a set that passed reach the live directory."
        ),
    ] = "check"
    check: Annotated[
        CommandOption | None,
        Meta(description="Succeeds if the set is good. It finds the candidate in the live place."),
    ] = None
    apply: Annotated[Telling | None, Meta(description="How the service is told.")] = None
    healthy: Annotated[
        Probe | tuple[Probe, ...],
        Meta(description="What shows that the service is healthy after it was told; one probe, or several."),
    ] = ()
    on_bad: Annotated[
        Literal["hold", "restore"],
        Meta(description="What is done about a bad set: leave it, or put the last good one back."),
    ] = "hold"
    keep: Annotated[KeepVersions, Meta(description="How much is kept.")] = KeepVersions()
    cooldown: Annotated[Duration, Meta(description="The least time between two applies.")] = 5.0
    splay: Annotated[
        Duration, Meta(description="Wait up to this time before an apply, each host and rule its own.")
    ] = 0.0
    publish: Annotated[Publish | None, Meta(description="With `mode: publish`: from where to where.")] = None

    @property
    def probes(self) -> tuple[Probe, ...]:
        """What is asked after the service was told; nothing with `mode: check`.

        A signal, or a unit's reload by one, returns before the service has read anything, and its old processes go on
        answering: one good answer says nothing, so it must stay good for a second.
        """
        asynchronous = self.apply is not None and self.apply.way in ("signal", "unit")
        least = _LEAST_STAY if asynchronous else 0.0
        found = listed(self.healthy) if self.mode != "check" else ()
        return tuple(structs.replace(probe, stay=max(probe.stay, least)) for probe in found)
