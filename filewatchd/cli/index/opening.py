"""Which index is read, and what of it is meant."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from filewatchd.cli.places import state_path
from filewatchd.control.places import RequestError
from filewatchd.errors import FatalError

if TYPE_CHECKING:
    from filewatchd.cli.asking import Session
    from filewatchd.state.index.reading import Reader
    from filewatchd.state.index.rows import Root

NAME = "index.db"
STATE_DIR = "filewatchd.state_dir"  # in click's meta: what `--state-dir` said


class Scope(NamedTuple):
    """A root that is meant, and what of it: a relative path, "" for all of it."""

    root: Root
    path: str

    @property
    def absolute(self) -> str:
        """The path in full."""
        return absolute(self.root.root, self.path)


def absolute(root: str, path: str) -> str:
    """A path of the index as the user knows it."""
    return f"{root.rstrip('/')}/{path}" if path else root


def index_path(daemon: Session | None = None) -> str:
    """Where the index is. ``daemon``: it has to be that of the daemon, which is asked to do something.

    Raises:
        NoDaemonError: none answers.
        FatalError: --state-dir names another.
    """
    said = click.get_current_context().meta.get(STATE_DIR)
    if daemon is None:
        return os.path.join(state_path(said), NAME)
    its = str(daemon.ask("status")["state_dir"])
    if said and not (os.path.exists(said) and os.path.samefile(said, its)):
        raise FatalError(f"the daemon keeps its index in {its}, not in {said}; leave out --state-dir", exit_code=64)
    return os.path.join(its, NAME)


@contextmanager
def opened(daemon: Session | None = None) -> Iterator[Reader]:
    """The index, to be read; with ``daemon`` that of the daemon.

    Raises:
        NoDaemonError: the daemon doesn't answer.
        FatalError: there is none, or we may not read it (77).
        StateError: it is damaged, or of another version.
    """
    from filewatchd.state.index.reading import Reader

    path = index_path(daemon)
    folder = os.path.dirname(path)
    unreadable = os.path.exists(folder) and not os.access(folder, os.R_OK | os.X_OK)
    if not os.path.exists(path) and not unreadable:
        text = f"{path}: there is no index; a rule with the action checksum makes one"
        raise FatalError(f"{text}, and --state-dir names another place")
    if unreadable or (os.path.exists(path) and not os.access(path, os.R_OK)):
        raise FatalError(f"{path} may only be read by root and the daemon's user; use sudo", exit_code=77)
    with Reader(path) as reader:
        yield reader


def scopes(reader: Reader, said: str | None) -> list[Scope]:
    """The roots that PATH or RULE means; all without either.

    Raises:
        click.UsageError: no rule has this name, and no root this path.
    """
    roots = reader.roots()
    if said is None:
        return [Scope(root, "") for root in roots]
    of_rule = [Scope(root, "") for root in roots if root.rule == said]
    if of_rule:
        return of_rule
    path = os.path.abspath(said)
    found = [Scope(*each) for each in reader.located(path)]
    found += [Scope(root, "") for root in roots if root.root.startswith(path.rstrip("/") + "/")]
    if not found:
        known = ", ".join(dict.fromkeys([*(root.rule for root in roots), *(root.root for root in roots)])) or "none"
        raise click.UsageError(f"No rule and no root is {said!r}; there are {known}.", click.get_current_context())
    return found


def of_rule(reader: Reader, rule: str | None) -> list[Scope]:
    """All roots, or those of a rule.

    Raises:
        click.UsageError: no rule has this name.
    """
    roots = reader.roots(rule)
    if rule is not None and not roots:
        known = ", ".join(dict.fromkeys(root.rule for root in reader.roots())) or "none"
        raise click.UsageError(f"No rule is {rule!r}; there are {known}.", click.get_current_context())
    return [Scope(root, "") for root in roots]


def rules_in(found: Sequence[Scope]) -> list[str]:
    """The rules' names, each once."""
    return list(dict.fromkeys(scope.root.rule for scope in found))


def kept(session: Session) -> list[str]:
    """The rules whose index the daemon keeps, as it is configured now; of others the index still has rows.

    Raises:
        NoDaemonError: it doesn't answer.
    """
    return [rule["name"] for rule in session.ask("rules")["rules"] if "checksum" in rule["actions"]]


def kept_here(session: Session) -> list[str] | None:
    """As `kept`, of the index that is read; None where no daemon says so, or it may be a copy."""
    from filewatchd.control.client import NoDaemonError

    if click.get_current_context().meta.get(STATE_DIR):
        return None
    with suppress(NoDaemonError, RequestError):
        return kept(session)
    return None


def is_below(path: str, directory: str) -> bool:
    """Whether a relative path is this one or beneath it; "" has all."""
    return not directory or path == directory or path.startswith(directory + "/")


def said_argument(command: Any) -> Any:
    """The argument that most commands take."""
    return click.argument("said", metavar="[PATH|RULE]", required=False, type=click.Path())(command)
