"""What comes of steering the daemon, and whether it is well."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import UNSET, Struct, UnsetType

from filewatchd.control.documents.common import Document, PathTold, Time, about
from filewatchd.control.documents.explaining import Planned, Together
from filewatchd.control.documents.status import Pause


class Flushed(Document, kw_only=True):
    """What was waited for, and what wasn't (at most 100 paths of each kind)."""

    done: Annotated[bool, about("False: the time was over before.")]
    held: Annotated[list[PathTold], about("Open for writing.")]
    backoff: Annotated[list[PathTold], about("Waiting for their retry.")]
    failed: list[PathTold]
    skipped: Annotated[list[PathTold], about("Left by `on_busy: skip`.")]
    paused: Annotated[list[str], about("Rules.")]
    stalled: Annotated[list[PathTold], about("Roots whose filesystem doesn't answer.")]


class Triggered(Document, kw_only=True):
    """What was asked of a rule by hand."""

    rule: str
    dry_run: bool
    paths: Annotated[int, about("That were made dirty, or with dry_run would be.")]
    refused: Annotated[list[PathTold], about("Paths that the rule's roots and patterns don't cover, and directories.")]
    held: Annotated[str | None, about("Why the job has to wait.")]
    planned: Annotated[list[Planned] | UnsetType, about("With dry_run.")] = UNSET
    together: Together = UNSET
    more: Annotated[int | UnsetType, about("Changes that aren't listed.")] = UNSET


class Paused(Document, kw_only=True):
    """A rule that is held."""

    rule: str
    paused: Pause


class Resumed(Document, kw_only=True):
    """Rules that go on, and those that don't."""

    resumed: list[str]
    held: dict[str, str]
    acknowledged: Annotated[bool, about("Whether a loss of state was acknowledged, too.")]


class Reloaded(Document, kw_only=True):
    """The configuration that is in force now."""

    generation: int
    added: list[str]
    removed: list[str]
    changed: list[str]
    unchanged: list[str]
    warnings: list[str]
    until_restart: Annotated[list[str], about("Keys whose new value holds from the next start on.")]


class ValueChanged(Struct, kw_only=True):
    """One key that differs."""

    key: str
    old: Any
    new: Any
    origin: Annotated[str | None, about("FILE:LINE of the new value.")]


class Differences(Document, kw_only=True):
    """What differs between two generations, or between one and the files."""

    from_generation: int
    to_generation: Annotated[int | None, about("None: the files as they are now.")]
    added: list[str]
    removed: list[str]
    changed: list[str]
    values: list[ValueChanged]


class Level(Document, kw_only=True):
    """How much is logged."""

    level: str
    was: str
    until: Time | None


class Ending(Document, kw_only=True):
    """The daemon finishes what runs and ends."""

    running: Annotated[int, about("Jobs it waits for.")]
    grace: Annotated[float, about("Seconds it gives them.")]


class Examined(Document, kw_only=True):
    """What `doctor` finds, with the daemon's own view."""

    roots: list[Any]
    limits: list[Any]
    findings: list[Any]


class Health(Document, kw_only=True):
    """Whether the daemon is well."""

    healthy: bool
    state: str
    why: list[str]
