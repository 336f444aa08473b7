"""The environment a command gets: its user's, ours, and nothing else of the daemon's."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping

from filewatchd.errors import ActionError, SecretError
from filewatchd.values import Secret

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def account(user: str | None) -> dict[str, str]:
    """HOME, USER, LOGNAME and SHELL of a user, or of the daemon's own. Blocks: names may be in a directory service."""
    try:
        entry = pwd.getpwnam(user) if user is not None else pwd.getpwuid(os.geteuid())
    except KeyError:  # no such user is told when the command is to be started; our own may have no name
        return {"HOME": "/"}
    return {"HOME": entry.pw_dir, "USER": entry.pw_name, "LOGNAME": entry.pw_name, "SHELL": entry.pw_shell or "/bin/sh"}


def base(variables: Mapping[str, str]) -> dict[str, str]:
    """With the daemon's PATH and language."""
    return {"PATH": search_path(), "LANG": os.environ.get("LANG", "C.UTF-8"), **variables}


def search_path() -> str:
    """Where commands are searched."""
    return os.environ.get("PATH") or DEFAULT_PATH


def reveal(variables: Mapping[str, str | Secret]) -> dict[str, str]:
    """Configured variables with their secrets read. Blocks.

    Raises:
        ActionError: a secret can't be read, or can't be a variable's value.
    """
    return {name: _revealed(name, value) if isinstance(value, Secret) else value for name, value in variables.items()}


def _revealed(name: str, secret: Secret) -> str:
    try:
        text = secret.reveal()
    except SecretError as error:
        raise ActionError(f"the secret of the variable {name} can't be read: {error}") from error
    if "\0" in text:
        raise ActionError(f"the secret of the variable {name} holds a NUL, which no variable can; write it as text")
    return text


def own(values: Mapping[str, str]) -> dict[str, str]:
    """Placeholders as variables: ``path`` is FILEWATCHD_PATH."""
    return {f"FILEWATCHD_{name.upper()}": value for name, value in values.items()}
