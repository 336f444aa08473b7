"""Commands that plug-ins bring: entry points ``filewatchd.commands``, each naming a click command or group.

They are looked for only where a word is none of ours, or where all are listed.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points

import click

from filewatchd.errors import FatalError, FilewatchdError

GROUP = "filewatchd.commands"


def names() -> list[str]:
    """The names of all."""
    return sorted({plugin.name for plugin in entry_points(group=GROUP)})


def command(name: str) -> click.Command | None:
    """The command of this name; where it can't be loaded, one that says so. None where there is none."""
    plugins = list(entry_points(group=GROUP, name=name))
    if not plugins:
        return None
    try:
        return _loaded(name, plugins)
    except FilewatchdError as error:
        return _Broken(name, error)


def _loaded(name: str, plugins: Iterable[EntryPoint]) -> click.Command:
    from filewatchd.actions.registry import imported

    plugin, found = imported(list(plugins))
    if not isinstance(found, click.Command):
        raise FatalError(f"{plugin.value} is no click command")
    found.name = name
    return found


class _Broken(click.Command):
    """Stands for a command that can't be loaded."""

    def __init__(self, name: str, error: FilewatchdError) -> None:
        hint = getattr(error, "hint", "")
        text = f"the command {name} can't be loaded: {error}" + (f"; {hint}" if hint else "")
        super().__init__(name, help=f"({text})", add_help_option=False)
        self.ignore_unknown_options = True
        self.text = text

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Whatever is said to it: it is broken."""
        raise FatalError(self.text)
