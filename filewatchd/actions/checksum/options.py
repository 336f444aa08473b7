"""What people write below ``checksum:``."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from filewatchd.actions.base import Needs, OwnFile, Problem, Use
from filewatchd.actions.checksum.judging import Track
from filewatchd.model import Kind, RuleSettings
from filewatchd.values import ActionList, Duration, Rate

Typed = Literal["files", "directories", "symlinks"]
Algorithm = Literal["sha256", "sha512", "blake2b", "blake3"]
Tracked = Literal["content", "mode", "owner", "links", "xattr", "acl"]
_ALL: tuple[Tracked, ...] = ("content", "mode", "owner", "links", "xattr", "acl")


class Scrub(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How every file is read again, little by little."""

    every: Annotated[Duration, Meta(description="Every file is read again in this time, if the rates allow.")] = (
        30 * 86400.0
    )
    rate: Annotated[Rate, Meta(description="At most so many bytes a second.")] = 50e6
    files: Annotated[Rate, Meta(description="At most so many files a second.")] = 2000.0


class Keep(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is kept of the past."""

    versions: Annotated[int, Meta(ge=0, le=1000, description="So many earlier records of each path.")] = 10


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Keep an index of checksums of these files, and tell damage from change."""

    algorithm: Annotated[
        Algorithm,
        Meta(description="The hash. Another one is taken over file by file, as they are read; `blake3` is an extra."),
    ] = "sha256"
    track: Annotated[
        tuple[Tracked, ...], Meta(min_length=1, description="What is compared; without `content` no file is read.")
    ] = _ALL
    types: Annotated[
        tuple[Typed, ...],
        Meta(
            min_length=1,
            description="What has a row: `files`, and besides them `symlinks`, for where they lead, and `directories`,"
            " for their attributes.",
        ),
    ] = ("files",)
    scrub: Annotated[Scrub | None, Meta(description="Read every file again now and then, to find what rots.")] = None
    approval: Annotated[
        Literal["none", "required"],
        Meta(description="`required`: changes wait as pending until `filewatchctl index approve`."),
    ] = "none"
    checksum_file: Annotated[
        Annotated[str, Meta(min_length=1)] | None,
        Meta(description="A file in the root, by its relative path, that `sha256sum -c` reads."),
    ] = None
    keep: Annotated[Keep, Meta(description="What is kept of the past.")] = Keep()
    growing: Annotated[
        bool, Meta(description="The files are appended to: what was there before must not change, growth is fine.")
    ] = False
    on_finding: Annotated[
        ActionList, Meta(description="What to do about new findings, all that there are at once; with the rule's own.")
    ] = ()

    @property
    def tracking(self) -> Track:
        """What is compared."""
        return Track(self.algorithm, **{name: name in self.track for name in _ALL}, growing=self.growing)

    @property
    def symlinks(self) -> bool:
        """Whether symlinks have rows."""
        return "symlinks" in self.types

    @property
    def directories(self) -> bool:
        """Whether directories have rows of their own."""
        return "directories" in self.types

    @property
    def others(self) -> bool:
        """Whether anything has rows that is no file."""
        return self.symlinks or self.directories


def check(options: Options, rule: RuleSettings) -> Iterable[Problem]:
    """What no type can say."""
    path = options.checksum_file
    if path is not None and (path.startswith("/") or ".." in path.split("/")):
        yield Problem(
            "checksum_file must be below the root", "write a relative path like SHA256SUMS", ("checksum_file",)
        )
    if "content" not in options.track:
        yield from _pointless(options)
    if "files" not in options.types:
        yield Problem("an index without files has no use", "add files to types", ("types",))
    if options.symlinks and rule.follow_symlinks:
        yield Problem(
            "a symlink can't have a row of its own where it stands for the file that it leads to",
            "leave out follow_symlinks, or symlinks in types",
            ("types",),
        )
    if options.scrub is not None and (options.scrub.rate <= 0 or options.scrub.files <= 0):
        yield Problem("a scrub at rate 0 never ends", "write a rate like 50MB/s", ("scrub",))
    if Kind.DELETED not in rule.changes or Kind.MODIFIED not in rule.changes:
        yield Problem(
            "the rule leaves out changes of files, so its index would be wrong", "remove `changes` from the rule"
        )


def _pointless(options: Options) -> Iterable[Problem]:
    """Options that need content to be read."""
    for name in ("scrub", "checksum_file", "growing"):
        if getattr(options, name):
            yield Problem(f"{name} needs the files' content", "add content to track", (name,))


def rule_defaults(options: Options) -> Mapping[str, Any]:
    """All changes; of files that nobody has open, unless they are logs."""
    return {
        "changes": [kind.value for kind in Kind],
        "ready": "immediate" if options.growing else "stable",
        "batch": "path",
    }


def own_files(options: Options, rule: RuleSettings) -> Iterable[OwnFile]:
    """The list in each root: two rules would write it over each other's."""
    for root in rule.roots if options.checksum_file is not None else ():
        yield OwnFile(os.path.normpath(f"{root}/{options.checksum_file}"), ("checksum_file",))


def needs(options: Options) -> Needs:
    """Others may read the files meanwhile."""
    extras = ("blake3",) if options.algorithm == "blake3" else ()
    return Needs(extras=extras, use=Use.SHARED)
