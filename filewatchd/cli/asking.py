"""What every command of `filewatchctl` has at hand: the daemon at its socket, and who reads the answer."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from filewatchd.cli.text import to_json, to_line

if TYPE_CHECKING:
    from filewatchd.cli.page import Block
    from filewatchd.control.places import Place

DEFAULT = "/run/filewatchd/control.sock"
TIMEOUT = 60.0  # seconds that a daemon has for an answer

View = Callable[[Mapping[str, Any]], Iterable["Block"]]


class Session:
    """One run of the command. ``find``: where the socket is; asked when it is needed first."""

    def __init__(self, find: Callable[[], str]) -> None:
        self._find = find
        self._socket: str | None = None
        self.as_json = False

    @property
    def socket(self) -> str:
        """The control socket's path."""
        if self._socket is None:
            self._socket = self._find()
        return self._socket

    def ask(
        self, name: str | Place, arguments: Mapping[str, Any] | None = None, *, timeout: float | None = TIMEOUT
    ) -> dict[str, Any]:
        """Ask by a route's name, or by its place (`control.places.action_place`); arguments that are None aren't said.

        ``timeout``: seconds; None: without an end.

        Raises:
            NoDaemonError: no daemon answers.
            RequestError: it refuses or can't.
        """
        from filewatchd.control import client

        return client.ask(self.socket, name, arguments, timeout=timeout)

    def text(self, name: str) -> str:
        """As `ask`, of a route whose answer isn't JSON."""
        from filewatchd.control import client

        return client.text(self.socket, name)

    def lines(self, name: str, arguments: Mapping[str, Any]) -> Iterator[bytes]:
        """As `ask`, of a route whose answer is a stream of lines."""
        from filewatchd.control import client

        return client.lines(self.socket, name, arguments)

    def tell(self, document: Mapping[str, Any], view: View) -> None:
        """Print a document as it is, or as a page that ``view`` makes of it."""
        if self.as_json:
            tell_json(document)
            return
        from filewatchd.cli.printing import show

        show(view(document))

    def confirm(self, question: str, *, yes: bool) -> None:
        """Ask whoever sits at a terminal whether they mean it. A script does.

        Raises:
            click.ClickException: they don't.
        """
        if yes or not (sys.stdin.isatty() and sys.stderr.isatty()):
            return
        if not click.confirm(question, err=True):
            raise click.ClickException("nothing was done")


def tell_json(document: Mapping[str, Any]) -> None:
    """Print a document on one line; on a terminal spread over many."""
    click.echo(to_json(document) if sys.stdout.isatty() else to_line(document))
