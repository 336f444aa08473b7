"""What can be said of a rotation in YAML."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

from filewatchd.actions.keeping import Keep
from filewatchd.actions.telling import Telling
from filewatchd.notation import MalformedError, quoted
from filewatchd.values import (
    CommandOption,
    Duration,
    Every,
    Group,
    Size,
    TimeOfDay,
    User,
    Weekday,
    of_form,
)

Method = Literal["auto", "exchange", "collapse", "punch", "copy", "copytruncate"]
Codec = Literal["gzip", "zstd", "lz4", "xz", "bz2", "none"]  # `filewatchd.codecs.CODECS`
Mode = Annotated[str, of_form("mode", "^0?[0-7]{3}$", 'write it in quotes: "0640"', examples=["0640"])]


class When(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a log is rotated: whichever comes first."""

    size: Annotated[
        Size | None, Meta(description="As soon as it has grown to this; at most a second of growth late.")
    ] = None
    age: Annotated[
        Duration | None, Meta(description="So long after its last rotation, or since it was first seen.")
    ] = None
    every: Annotated[
        Every | None, Meta(description="A duration, or hour, day, week or month. A missed time is caught up once.")
    ] = None
    at: Annotated[TimeOfDay | None, Meta(description="Time of day of `every`, HH:MM.")] = None
    weekday: Annotated[Weekday | None, Meta(description="Day of a weekly or monthly `every`: mon to sun.")] = None
    timezone: Annotated[str | None, Meta(description="An IANA time zone; the system's where it isn't said.")] = None
    splay: Annotated[Duration, Meta(description="Spread `every` over this time.")] = 0.0
    min_size: Annotated[Size, Meta(description="Not before it has this size, whatever its age or the time.")] = 1
    min_age: Annotated[
        Duration, Meta(description="Not sooner than this after its last rotation, whatever its size.")
    ] = 0.0


class Into(Struct, frozen=True, forbid_unknown_fields=True):
    """Where archives are put."""

    short: ClassVar[str] = "dir"

    dir: Annotated[
        str,
        Meta(min_length=1, description="A directory; relative ones start at the log's. It is made if it is missing."),
    ]
    owner: Annotated[User | None, Meta(description="Owner of the archives; the log's unless said.")] = None
    group: Annotated[Group | None, Meta(description="Group of the archives; the log's unless said.")] = None
    mode: Annotated[Mode | None, Meta(description="Mode of the archives; the log's unless said.")] = None

    def __post_init__(self) -> None:
        if ".." in self.dir.split("/"):
            raise MalformedError(f"{quoted(self.dir)} leads upwards", "write an absolute path")


class Create(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The fresh log; what isn't said is as the old one's."""

    mode: Annotated[Mode | None, Meta(description="Its mode, such as 0640.")] = None
    owner: Annotated[User | None, Meta(description="Its owner.")] = None
    group: Annotated[Group | None, Meta(description="Its group.")] = None


class Compress(Struct, frozen=True, forbid_unknown_fields=True):
    """How archives are compressed, in members of about 16 MiB that can be read by themselves."""

    short: ClassVar[str] = "codec"

    codec: Annotated[Codec, Meta(description="The format; `none` leaves them as they are.")] = "gzip"
    level: Annotated[int | None, Meta(description="The codec's level; a quick one unless said.")] = None
    verify: Annotated[bool, Meta(description="Read the archive back and compare digests before the source goes.")] = (
        True
    )
    threads: Annotated[int, Meta(ge=1, le=64, description="Members that are compressed at once.")] = 1


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rotate logs without losing a line."""

    when: Annotated[When, Meta(description="When a log is rotated.")]
    method: Annotated[Method, Meta(description="How its lines are taken out of it; `auto` finds out what is safe.")] = (
        "auto"
    )
    unproven: Annotated[
        Literal["punch", "refuse"], Meta(description="What `auto` does where it can't prove `collapse` to be safe.")
    ] = "punch"
    reopen: Annotated[Telling | None, Meta(description="How the writer is told to open its log anew.")] = None
    name: Annotated[
        Literal["timestamp", "numbered"],
        Meta(description="app.log-20260131-000000.gz, or app.log.1.gz whose number grows with each rotation."),
    ] = "timestamp"
    into: Annotated[Into | None, Meta(description="Where archives are put: beside the log unless said.")] = None
    compress: Annotated[Compress, Meta(description="How archives are compressed.")] = Compress()
    keep: Annotated[Keep | None, Meta(description="Which archives stay; all of them unless said.")] = None
    create: Annotated[Create, Meta(description="Owner and mode of the fresh log, where one is made.")] = Create()
    before: Annotated[CommandOption | None, Meta(description="A command before; it may hold `{path}`.")] = None
    after: Annotated[
        CommandOption | None,
        Meta(
            description="A command once the archive is whole; it may hold `{path}` and `{archive}`. It runs at least"
            " once: again if the daemon is killed before it has ended."
        ),
    ] = None
    readers_wait: Annotated[
        Duration, Meta(description="So long may readers of the log take before what they haven't read goes.")
    ] = 10.0

    def commands(self) -> Iterator[tuple[str, CommandOption]]:
        """The commands around a rotation, with their keys."""
        for key, command in (("before", self.before), ("after", self.after)):
            if command is not None:
                yield key, command
