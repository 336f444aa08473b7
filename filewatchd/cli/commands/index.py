"""``filewatchctl index``: the checksum index. Each of its commands is loaded when it is called."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click

from filewatchd.cli.index.opening import STATE_DIR

COMMANDS: Mapping[str, str] = {
    "status": "listing",
    "ls": "listing",
    "show": "listing",
    "find": "listing",
    "verify": "verifying",
    "diff": "waiting",
    "pending": "waiting",
    "approve": "deciding",
    "reject": "deciding",
    "forget": "forgetting",
    "export": "lists",
    "import": "lists",
    "check": "lists",
    "seal": "sealing",
    "audit": "sealing",
}  # by name: the module of `cli.index` that has it


class Commands(click.Group):
    """Those of `COMMANDS`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command of this name."""
        if name not in COMMANDS:
            return None
        module = importlib.import_module(f"filewatchd.cli.index.{COMMANDS[name]}")
        found: Any = getattr(module, "import_" if name == "import" else name)
        assert isinstance(found, click.Command)
        return found


@click.group(cls=Commands, short_help="The checksum index: verify, approve, export, seal.")
@click.option(
    "--state-dir",
    metavar="DIR",
    type=click.Path(),
    envvar="FILEWATCHCTL_STATE_DIR",
    help="Read the index in this directory (default: as the configuration says, else /var/lib/filewatchd).",
)
@click.pass_context
def index(ctx: click.Context, state_dir: str | None) -> None:
    """What is known of files' content, and what became of it.

    What only reads needs no daemon, but the right to read the index; verify, approve, reject, forget, import and seal
    ask the daemon.
    Exit code 3: there are findings.
    """
    ctx.meta[STATE_DIR] = state_dir
