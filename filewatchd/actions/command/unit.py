"""A command's own systemd unit, as the configuration says it: ``unit: true``, or its limits."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta, Struct

from filewatchd.actions.base import JobContext, Problem
from filewatchd.measures import SHARE_PATTERN
from filewatchd.notation import MalformedError, quoted
from filewatchd.values import Reader, Size, annotation
from filewatchd.work.command import Limits, Unit

BOOTED = "/run/systemd/system"  # there if systemd is the system's manager, sd_booted(3)
_LEAST_MEMORY = 16 * 1024 * 1024  # bytes: what starts the command is Python and takes about 10 MB


def parse_processors(value: object) -> float:
    """Processors of ``50%`` (half of one) or ``200%`` (two).

    Raises:
        MalformedError: it isn't a share, or is none.
    """
    text = value if isinstance(value, str) else ""
    share = float(text.removesuffix("%")) / 100 if re.fullmatch(SHARE_PATTERN[1:-1], text, re.ASCII) else 0.0
    if share < 0.01:
        hint = "write 50% for half of one, 200% for two"
        raise MalformedError(f"{quoted(str(value))} is not a share of a processor", hint)
    return share


Processors = Annotated[
    float,
    annotation(
        Reader("share of a processor", parse_processors, lambda share: f"{share * 100:g}%"),
        type="string",
        pattern=SHARE_PATTERN,
        examples=["50%", "200%"],
    ),
]


class UnitLimits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a command in a unit of its own may use, with all that it starts; by default as much as any service."""

    memory: Annotated[
        Size | None, Meta(description="Most memory; beyond it the kernel kills it (`MemoryMax=`, 16 MiB at least).")
    ] = None
    cpu: Annotated[
        Processors | None, Meta(description="Most processor time: `50%` is half of one, `200%` two (`CPUQuota=`).")
    ] = None
    tasks: Annotated[
        Annotated[int, Meta(ge=1)] | None, Meta(description="Most processes and threads (`TasksMax=`).")
    ] = None
    io_weight: Annotated[
        Annotated[int, Meta(ge=1, le=10_000)] | None,
        Meta(description="Its share of a disk that several want; others have 100 (`IOWeight=`)."),
    ] = None
    nice: Annotated[
        Annotated[int, Meta(ge=-20, le=19)] | None,
        Meta(description="19 gives way to everybody, -20 to nobody (`Nice=`)."),
    ] = None

    def __post_init__(self) -> None:
        if self.memory is not None and self.memory < _LEAST_MEMORY:
            raise MalformedError("no command can be started with less than 16 MiB", "write memory: 16MiB, or more")


def unit_of(option: bool | UnitLimits, job: JobContext) -> Unit | None:
    """The unit for a command of this job, if it shall have one."""
    if option is False:
        return None
    wanted = UnitLimits() if option is True else option
    limits = Limits(wanted.memory, wanted.cpu, wanted.tasks, wanted.io_weight, wanted.nice)
    return Unit(job.rule, job.id, limits)


def check_unit(option: bool | UnitLimits) -> Iterator[Problem]:
    """Whether there is a systemd to make units."""
    if option is not False and not os.path.isdir(BOOTED):
        hint = "run filewatchd where systemd is the system's manager, or remove `unit`"
        yield Problem(f"systemd doesn't run here (there is no {BOOTED}), so no unit can be made", hint, ("unit",))
