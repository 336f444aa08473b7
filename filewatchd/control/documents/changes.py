"""The lines of the stream of changes."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Struct, UnsetType

from filewatchd.control.documents.common import Bytes, Time, about


class ChangeLine(Struct, kw_only=True):
    """A change of the history."""

    host: str
    instance: str
    cursor: Annotated[str, about("Give it as `since` to go on after this change. Opaque.")]
    time: Time
    kind: Literal["created", "modified", "deleted", "moved", "metadata"]
    path: str
    path_b64: Bytes = UNSET
    old_path: str | UnsetType = UNSET
    old_path_b64: Bytes = UNSET
    is_dir: Annotated[bool, about("Changes are told of files alone, so it is false.")]
    root: str
    root_b64: Bytes = UNSET
    rules: Annotated[list[str], about("Whose change it is. A rule looks by itself, so it is one.")]
    job: Annotated[int, about("The job that works it.")]
    source: Literal["live", "scan", "rescan", "poll", "manual", "retry"]


class Missed(Struct, kw_only=True):
    """Told in a stream in a change's place: the history doesn't go back as far any more."""

    host: str
    instance: str
    cursor: Annotated[str, about("As `since` it goes on with what comes next in the stream.")]
    missed: Annotated[int, about("Changes that were forgotten before they could be told.")]
