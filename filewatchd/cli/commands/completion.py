"""``filewatchctl completion``: the script that makes a shell complete commands, rules and jobs."""

from __future__ import annotations

import click
from click.shell_completion import ShellComplete, get_completion_class

from filewatchd.cli.options import examples

PROGRAM = "filewatchctl"
SHELLS = ("bash", "zsh", "fish")

# zsh runs an autoloaded file's text at each call, and only at the first one knows that it was loaded: without the
# second line, the second TAB would complete nothing.
_ZSH = (
    "    # autoload from fpath, call function directly\n",
    f"    # autoload from fpath, call function directly\n    compdef _{PROGRAM}_completion {PROGRAM}\n",
)


@click.command(
    short_help="Print a shell's completion script.",
    epilog=examples(
        'eval "$(filewatchctl completion bash)"',
        "filewatchctl completion fish > ~/.config/fish/completions/filewatchctl.fish",
    ),
)
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the script that makes SHELL complete commands, options, and the names of rules and jobs."""
    click.echo(script(shell, click.get_current_context().find_root().command), nl=False)


def script(shell: str, command: click.Command) -> str:
    """A shell's script. click's own way to it would run the shell, to see which it is."""
    kind = get_completion_class(shell)
    assert kind is not None, shell
    text = ShellComplete.source(kind(command, {}, PROGRAM, "_FILEWATCHCTL_COMPLETE"))
    return text.replace(*_ZSH) if shell == "zsh" else text
