"""Where the control socket is, and the state: as it was said, or as a configuration says, or the usual place."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress

import click

from filewatchd.cli.asking import DEFAULT, Session
from filewatchd.control.places import RequestError, socket_in

CONFIG = "/etc/filewatchd/filewatchd.yaml"
STATE = "/var/lib/filewatchd"
VARIABLES = ("FILEWATCHCTL_SOCKET", "FILEWATCHD_SOCKET")


def session(said: str | None, config: str | None) -> Session:
    """A run of the command with what was said of the socket."""
    return Session(lambda: socket_path(said, config, os.environ))


def socket_path(said: str | None, config: str | None, environ: Mapping[str, str]) -> str:
    """The socket's path. Only where it isn't said, nor stands where it usually is, a configuration is read.

    Raises:
        ConfigError: the configuration that was named can't be read.
    """
    said = said or (None if config else next(filter(None, map(environ.get, VARIABLES)), None))
    if said:
        return os.path.abspath(os.path.expanduser(said))
    named = config or environ.get("FILEWATCHD_CONFIG")
    if named:
        return _configured(named, environ)
    if not os.path.exists(DEFAULT) and os.access(CONFIG, os.R_OK):
        return _configured(CONFIG, environ)
    return DEFAULT


def state_path(said: str | None) -> str:
    """The state directory, for a command that reads it: as said, else that of the daemon at the socket.

    Without a daemon: as a configuration says, or the usual one.

    Raises:
        ConfigError: the configuration can't be read.
    """
    from filewatchd.config.runtime import state_directory
    from filewatchd.control.client import NoDaemonError

    if said:
        return os.path.abspath(os.path.expanduser(said))
    context = click.get_current_context()
    asking = context.find_object(Session)
    with suppress(NoDaemonError, RequestError):
        if asking is not None:
            return str(asking.ask("status")["state_dir"])
    config = context.find_root().params.get("config") or os.environ.get("FILEWATCHD_CONFIG")
    named = config or (CONFIG if os.access(CONFIG, os.R_OK) else None)
    return state_directory(named, os.environ) if named else STATE


def _configured(path: str, environ: Mapping[str, str]) -> str:
    """In the runtime directory of a configuration, of which nothing else need be right."""
    from filewatchd.config.runtime import runtime_directory

    return socket_in(runtime_directory(path, environ))
