"""The example rules that `filewatchd init --for` knows by itself. Light: every `filewatchd` loads it for its help."""

from __future__ import annotations

from typing import NamedTuple


class Example(NamedTuple):
    """A rule file for a purpose.

    ``watched``: a directory, written ``[DIRECTORY]`` in it, that is another one outside the system's own configuration,
    or "". ``trial``: a shell's line that makes the rule work, with ``{}`` for that directory, or "". ``look``: one that
    shows what came of it.
    """

    name: str
    about: str
    watched: str = ""
    trial: str = ""
    look: str = "filewatchctl jobs"


# Each has its text in data/rules.d/NAME.yaml.
EXAMPLES = (
    Example("exec", "a command for each file that lands in a directory", "/srv/incoming", "date > {}/today.txt"),
    Example(
        "integrity",
        "an index of checksums that tells damage from change",
        "/srv/releases",
        "date > {}/today.txt",
        "filewatchctl index status",
    ),
    Example(
        "logs",
        "logs, rotated and compressed without losing a line",
        "/var/log/app",
        "date >> {0}/app.log && filewatchctl rotate --force {0}/app.log",
        "filewatchctl archive ls {}/app.log",
    ),
    Example(
        "reload",
        "a service's configuration: checked, applied, and watched",
        "/etc/nginx",
        "filewatchctl reload plan nginx",
        "filewatchctl reload history nginx",
    ),
)
