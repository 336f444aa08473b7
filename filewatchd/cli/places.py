"""Where the control socket is: as it was said, or as a configuration says, or where it is unless anything is said."""

from __future__ import annotations

import os
from collections.abc import Mapping

from filewatchd.cli.asking import DEFAULT, Session
from filewatchd.control.places import socket_in

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


def state_path(said: str | None, config: str | None, environ: Mapping[str, str]) -> str:
    """The state directory, for what is read without a daemon: as said, or as a configuration says, or the usual one.

    Raises:
        ConfigError: the configuration can't be read.
    """
    from filewatchd.config.runtime import state_directory

    if said:
        return os.path.abspath(os.path.expanduser(said))
    named = config or environ.get("FILEWATCHD_CONFIG") or (CONFIG if os.access(CONFIG, os.R_OK) else None)
    return state_directory(named, environ) if named else STATE


def _configured(path: str, environ: Mapping[str, str]) -> str:
    """In the runtime directory of a configuration, of which nothing else need be right."""
    from filewatchd.config.runtime import runtime_directory

    return socket_in(runtime_directory(path, environ))
