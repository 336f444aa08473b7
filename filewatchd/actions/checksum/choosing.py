"""Which of the changes that wait are meant by an approval: by number, path, glob, time or package. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from filewatchd.actions.checksum.documents import Choice
from filewatchd.actions.checksum.packages.claim import labelled
from filewatchd.errors import ActionError
from filewatchd.notation import MalformedError, parse_moment
from filewatchd.patterns import Patterns, all_translated
from filewatchd.state.index.rows import Change, Root


def chosen(changes: Iterable[Change], roots: Mapping[int, Root], choice: Choice) -> list[Change]:
    """Those that every condition of the choice fits.

    Raises:
        ActionError: it has no condition, and doesn't say all; or one of them can't be read.
    """
    conditions = (choice.ids, choice.path, choice.path_b64, choice.glob, choice.since, choice.package)
    if not choice.all and not any(conditions):
        raise ActionError("say which: ids, path, glob, since, package, or all", retryable=False)
    wanted, below, since = frozenset(choice.ids), choice.where, nanoseconds(choice.since) if choice.since else None
    glob = _pattern(choice.glob) if choice.glob else None
    return [
        change
        for change in changes
        if (not wanted or change.id in wanted)
        and (choice.until is None or change.id <= choice.until)
        and (since is None or change.found_ns >= since)
        and (below is None or is_below(absolute(roots[change.root].root, change.path), below))
        and (glob is None or glob.decide_file(*_split(change.path.removesuffix("/"))))
        and (choice.package is None or is_package(change.label, choice.package))
    ]


def _pattern(glob: str) -> Patterns:
    try:
        return Patterns(all_translated((glob,), files_only=True))
    except MalformedError as error:
        raise ActionError(f"glob: {error}; {error.hint}".rstrip("; "), retryable=False) from error


def absolute(root: str, path: str) -> str:
    """A path of the index as the user knows it."""
    return f"{root.rstrip('/')}/{path}" if path else root


def is_below(path: str, directory: str) -> bool:
    """Whether a path is this one, or beneath it."""
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def is_package(label: str | None, package: str) -> bool:
    """Whether a label names this package; its architecture may be left out."""
    found = labelled(label)
    return found is not None and package in (found.package, found.package.partition(":")[0])


def nanoseconds(moment: str) -> int:
    """The moment that a request names.

    Raises:
        ActionError: it is none.
    """
    try:
        return parse_moment(moment)
    except MalformedError as error:
        raise ActionError(f"since: {error}; {error.hint}", retryable=False) from None


def _split(path: str) -> tuple[str, str]:
    directory, _, name = path.rpartition("/")
    return directory, name
