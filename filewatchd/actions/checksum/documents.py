"""What can be asked of a rule's index over the control socket, besides runs: decisions, lists and seals (`ENDPOINTS`).

`answering.Answers` answers. What only reads the index needs no daemon (`state.index.reading`), so all of these act.
"""

from __future__ import annotations

import base64
import os
from typing import Annotated

from msgspec import Meta, Struct

from filewatchd.actions.base import Endpoint
from filewatchd.errors import ActionError

_MOST = 2000  # entries of a list in one request
Text = Annotated[str, Meta(max_length=8192)]


def decoded(path: str) -> str:
    """A path whose bytes came in base64.

    Raises:
        ActionError: they didn't.
    """
    try:
        return os.fsdecode(base64.b64decode(path, validate=True))
    except ValueError:
        raise ActionError(f"path_b64 is no base64: {path[:40]}", retryable=False) from None


class Choice(Struct, frozen=True, kw_only=True):
    """Which of the changes that wait; every condition that is said must fit."""

    ids: Annotated[tuple[int, ...], Meta(max_length=100_000, description="Changes' numbers.")] = ()
    path: Annotated[Text, Meta(description="A path, and what is below it.")] | None = None
    path_b64: Annotated[Text, Meta(description="The same, where it isn't UTF-8.")] | None = None
    glob: Annotated[Text, Meta(description="A pattern as in `include`, relative to the root.")] | None = None
    since: Annotated[Text, Meta(description="Found since this moment, RFC 3339.")] | None = None
    package: Annotated[Text, Meta(description="Those that agree with this package.")] | None = None
    until: Annotated[int, Meta(description="None with a higher number.")] | None = None
    all: Annotated[bool, Meta(description="All that fit the other conditions, if only there are none.")] = False
    comment: Annotated[str, Meta(max_length=1000, description="Why; it is kept.")] = ""
    dry_run: Annotated[bool, Meta(description="Only say how many.")] = False

    @property
    def where(self) -> str | None:
        """The path, from whichever form it came in."""
        return decoded(self.path_b64) if self.path_b64 else self.path


class Decided(Struct, frozen=True, kw_only=True):
    """What was approved or rejected."""

    rule: str
    state: str
    changes: Annotated[int, Meta(description="So many changes.")]
    waiting: Annotated[int, Meta(description="So many wait still.")]
    dry_run: bool = False


class Line(Struct, frozen=True, kw_only=True):
    """A file of a list of checksums. ``digest``: hexadecimal digits."""

    path: Text = ""
    path_b64: Text | None = None
    algorithm: str
    digest: Text

    @property
    def where(self) -> str:
        """The path, from whichever form it came in."""
        return decoded(self.path_b64) if self.path_b64 else self.path


class Import(Struct, frozen=True, kw_only=True):
    """A part of a list of checksums made elsewhere."""

    files: Annotated[tuple[Line, ...], Meta(max_length=_MOST, description="Absolute paths and their digests.")]
    dry_run: Annotated[bool, Meta(description="Only compare.")] = False


class Named(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A path; its bytes where it isn't UTF-8."""

    path: str
    path_b64: str | None = None


class Imported(Struct, frozen=True, kw_only=True):
    """What became of it."""

    same: Annotated[int, Meta(description="The index had the same digest.")] = 0
    taken: Annotated[int, Meta(description="The index had none of this algorithm: the list's was taken over.")] = 0
    differ: Annotated[
        list[Named], Meta(description="The index had another digest: the list's was taken over, a verify will tell.")
    ] = []
    unknown: Annotated[list[Named], Meta(description="Files that the rule's index doesn't have.")] = []
    unfit: Annotated[int, Meta(description="Digests of an algorithm that no index is made of.")] = 0


class Nothing(Struct, frozen=True, kw_only=True):
    """No arguments."""


class Forget(Struct, frozen=True, kw_only=True):
    """A rule to forget."""

    former: Annotated[Text, Meta(description="Its name. It must not be configured any more.")]


class Forgotten(Struct, frozen=True, kw_only=True):
    """What went."""

    rule: str
    roots: int
    files: int


class Sealing(Struct, frozen=True, kw_only=True):
    """An entry of the chain that waits for its signature."""

    number: int
    head: Annotated[str, Meta(description="Its hash, hexadecimal.")]
    time: str
    files: int


class Signature(Struct, frozen=True, kw_only=True):
    """The signature of such an entry; ``key`` and ``signature`` in base64."""

    number: int
    statement: Text
    key: Annotated[str, Meta(max_length=200)]
    signature: Annotated[str, Meta(max_length=200)]


class Sealed(Struct, frozen=True, kw_only=True):
    """It is kept."""

    number: int


ENDPOINTS = (
    Endpoint("approve", "Take changes that wait: they become the index's rows.", Decided, Choice, acts=True),
    Endpoint("reject", "Refuse changes that wait: findings until the files are as before.", Decided, Choice, acts=True),
    Endpoint("import", "Take digests of a list made elsewhere into the index.", Imported, Import, acts=True),
    Endpoint("forget", "Forget what is known of a rule that isn't configured any more.", Forgotten, Forget, acts=True),
    Endpoint("seal", "Append a digest of all rows to the chain, to be signed.", Sealing, Nothing, acts=True),
    Endpoint("sealed", "Keep the signature of such an entry.", Sealed, Signature, acts=True),
)
