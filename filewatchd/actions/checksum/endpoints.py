"""What can be asked of an opened `checksum`, and done, over the control socket."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from filewatchd.actions.base import Endpoint


class Verify(Struct, frozen=True, kw_only=True):
    """A verify to begin."""

    path: Annotated[str | None, Meta(description="Keep to what is at or below this absolute path.")] = None
    mode: Annotated[
        Literal["quick", "full"], Meta(description="`quick` compares metadata, `full` reads every file.")
    ] = "full"


class Stop(Struct, frozen=True, kw_only=True):
    """A run to stop; it can be taken up again."""

    run: Annotated[int, Meta(description="Its number.")]


class Resume(Struct, frozen=True, kw_only=True):
    """A run to take up again, where it was stopped."""

    run: Annotated[int, Meta(description="Its number.")]


class Begun(Struct, kw_only=True):
    """Runs that begin."""

    runs: Annotated[list[int], Meta(description="One for each root.")]


class RunInfo(Struct, kw_only=True):
    """A build, verify or scrub."""

    id: Annotated[int, Meta(description="Its number.")]
    kind: Annotated[str, Meta(description="`build`, `verify` or `scrub`.")]
    mode: Annotated[str, Meta(description="`quick` or `full`.")]
    state: Annotated[str, Meta(description="`running`, `done`, `stopped` or `failed`.")]
    root: Annotated[str, Meta(description="The root that it is in.")]
    began: Annotated[str, Meta(description="When it began.")]
    ended: Annotated[str | None, Meta(description="When it ended.")]
    files: Annotated[int, Meta(description="Files that it is done with.")]
    total: Annotated[int, Meta(description="Files that were known when it began; 0 if none were.")]
    bytes: Annotated[int, Meta(description="Bytes that it has read.")]
    reading: Annotated[int, Meta(description="Bytes read of a large file that it is at.")]
    findings: Annotated[int, Meta(description="Findings that were news.")]
    waits: Annotated[str, Meta(description="What it waits for: the machine is short of `io` or `cpu`.")]
    verdicts: Annotated[dict[str, int], Meta(description="Of this life of the daemon: files by verdict.")]


class Runs(Struct, kw_only=True):
    """Runs, newest first."""

    runs: Annotated[list[RunInfo], Meta(description="The last twenty.")]


class RootInfo(Struct, kw_only=True):
    """A root in figures."""

    root: Annotated[str, Meta(description="Its path.")]
    built: Annotated[str | None, Meta(description="When its first build ended.")]
    files: Annotated[int, Meta(description="Files that are known.")]
    symlinks: Annotated[int, Meta(description="Symlinks that are known.")]
    bytes: Annotated[int, Meta(description="The sum of the files' sizes.")]
    verified_since: Annotated[str | None, Meta(description="Every file was read whole since then.")]
    unverified: Annotated[int, Meta(description="Files that never were.")]
    waiting: Annotated[dict[str, int], Meta(description="Changes that are open, pending or rejected.")]


class Status(Struct, kw_only=True):
    """The rule's part of the index."""

    index: Annotated[str, Meta(description="The file.")]
    set_aside: Annotated[str | None, Meta(description="Where a damaged one was moved when the daemon started.")]
    roots: Annotated[list[RootInfo], Meta(description="Its roots.")]


ENDPOINTS = (
    Endpoint("status", "The rule's part of the index in figures.", Status),
    Endpoint("runs", "Builds, verifies and scrubs, and how far they are.", Runs),
    Endpoint("verify", "Hold the files against the index.", Begun, Verify, acts=True),
    Endpoint("stop", "Stop a verify; it can be taken up again.", Begun, Stop, acts=True),
    Endpoint("resume", "Take a verify up again.", Begun, Resume, acts=True),
)
