"""What can be said of secrets' files before they are needed."""

from __future__ import annotations

import os
from collections.abc import Iterator

from filewatchd.actions.base import Problem
from filewatchd.security import others_may_write
from filewatchd.values import Secret


def secret_problems(secret: Secret, where: tuple[str | int, ...]) -> Iterator[Problem]:
    """A secret's file that isn't there, or that others could exchange: root would read what they choose and tell it.

    Whether it can be read is the daemon's to find out.
    """
    if secret.file is None:
        return
    try:
        os.stat(secret.file)
    except FileNotFoundError:
        yield Problem(f"there is no file {secret.file}", "create it, or correct the path", where)
    except OSError:
        return
    if os.geteuid() == 0 and (why := others_may_write(secret.file)):
        hint = "put it where only root may write"
        yield Problem(f"others could have root read another file in its place: {why}", hint, where)
