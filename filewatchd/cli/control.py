"""The command ``filewatchctl``: asks a running daemon, and steers it. Each command is loaded when it is called.

A command has to answer in the time that a person doesn't notice, and most of that goes into loading modules: so
nothing is imported here but click, and rich only where a page is drawn on a terminal.
"""

from __future__ import annotations

import importlib
import io
import itertools
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import click

from filewatchd import __version__
from filewatchd.cli.places import session
from filewatchd.control.places import RequestError
from filewatchd.errors import FilewatchdError

COMMANDS: Mapping[str, str] = {
    "status": "filewatchd.cli.commands.status",
    "rules": "filewatchd.cli.commands.rules",
    "jobs": "filewatchd.cli.commands.jobs",
    "changes": "filewatchd.cli.commands.changes",
    "explain": "filewatchd.cli.commands.explain",
    "archive": "filewatchd.cli.commands.archive",
    "index": "filewatchd.cli.commands.index",
    "top": "filewatchd.cli.commands.top",
    "flush": "filewatchd.cli.commands.steering",
    "trigger": "filewatchd.cli.commands.steering",
    "rotate": "filewatchd.cli.commands.rotate",
    "pause": "filewatchd.cli.commands.steering",
    "resume": "filewatchd.cli.commands.steering",
    "reload": "filewatchd.cli.commands.reload",
    "config": "filewatchd.cli.commands.config",
    "log-level": "filewatchd.cli.commands.daemon",
    "shutdown": "filewatchd.cli.commands.daemon",
    "doctor": "filewatchd.cli.commands.daemon",
    "health": "filewatchd.cli.commands.daemon",
    "metrics": "filewatchd.cli.commands.daemon",
    "completion": "filewatchd.cli.commands.completion",
}  # by name: the module that has it, under the same name
_EXIT_CODES = (
    "Exit codes: 0 ok, 1 error, 3 findings, 64 usage, 69 no daemon answers, 73 would overwrite, "
    "75 a time-out was reached, 77 no permission, 78 bad configuration."
)


class Commands(click.Group):
    """Ours, and those that plug-ins bring: each loaded when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, ours first."""
        from filewatchd.cli import plugins

        return [*COMMANDS, *(name for name in plugins.names() if name not in COMMANDS)]

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """The command of this name; one that can't be loaded says so when it is called."""
        if name in COMMANDS:
            found: Any = getattr(importlib.import_module(COMMANDS[name]), name.replace("-", "_"))
            assert isinstance(found, click.Command)
            return found
        from filewatchd.cli import plugins

        return plugins.command(name)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, but that any command may be suggested for a misspelt one, also those that aren't loaded."""
        word = args[0]
        if not ctx.resilient_parsing and word[:1].isalpha() and self.get_command(ctx, word) is None:
            import difflib

            near = difflib.get_close_matches(word, self.list_commands(ctx), 1)
            ctx.fail(f"there is no command {word!r}" + (f"; did you mean {near[0]}?" if near else ""))
        return super().resolve_command(ctx, args)


@click.group(
    cls=Commands,
    name="filewatchctl",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_EXIT_CODES,
)
@click.option("--socket", metavar="PATH", help="The daemon's control socket (default: $FILEWATCHCTL_SOCKET, "
              "$FILEWATCHD_SOCKET, else /run/filewatchd/control.sock).")  # fmt: skip
@click.option("--config", metavar="FILE", help="Ask the daemon whose configuration this is.")
@click.version_option(__version__, message="filewatchctl %(version)s")
@click.pass_context
def filewatchctl(ctx: click.Context, socket: str | None, config: str | None) -> None:
    """Ask a running filewatchd what it does and why, and steer it."""
    ctx.obj = session(socket, config)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # whatever the locale can't write
    try:
        code = filewatchctl.main(arguments, prog_name="filewatchctl", standalone_mode=False)
        sys.stdout.flush()
    except (click.exceptions.Abort, KeyboardInterrupt):
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help())
        return 0
    except (click.ClickException, FilewatchdError, RequestError) as error:
        return _failed(error, arguments)
    return code if isinstance(code, int) else 0


def _failed(error: click.ClickException | RequestError | FilewatchdError, arguments: Sequence[str]) -> int:
    from filewatchd.cli import failing

    found = failing.failure(error)
    failing.tell(found, as_json="--json" in itertools.takewhile(lambda word: word != "--", arguments))
    return found.code


if __name__ == "__main__":
    sys.exit(main())
