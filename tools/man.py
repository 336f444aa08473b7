"""The man pages, from the help that the commands themselves print. roff is simple: see groff_man(7)."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import click

from filewatchd.cli import daemon
from filewatchd.cli.control import COMMANDS, filewatchctl

_CODES = {
    "0": "ok", "1": "another error", "3": "findings: something needs a look", "64": "usage",
    "69": "no daemon answers", "75": "another instance runs, or a time-out was reached", "77": "no permission",
    "78": "bad configuration",
}  # fmt: skip
_CONFIG = "/etc/filewatchd/filewatchd.yaml"


class Flag(NamedTuple):
    """An option as help shows it: ``--rule RULE``, and what it does."""

    names: str
    text: str


class Command(NamedTuple):
    """A command, or a command of a command. ``examples``: as they are typed."""

    usage: str
    text: str
    flags: Sequence[Flag]
    examples: Sequence[str] = ()


class Manual(NamedTuple):
    """A man page. ``environment`` and ``files``: names and what they are."""

    name: str
    about: str
    top: Command
    commands: Sequence[Command]
    codes: Sequence[str]
    environment: Sequence[Flag]
    files: Sequence[Flag]
    see: str


def pages() -> Iterator[tuple[str, str]]:
    """The pages' file names and texts."""
    for manual in (_control(), _daemon()):
        yield f"{manual.name}.1", "".join(f"{line}\n" for line in _roff(manual))


# ---- filewatchctl, by click


def _control() -> Manual:
    top = click.Context(filewatchctl, info_name="filewatchctl")
    return Manual(
        "filewatchctl",
        "ask a running filewatchd what it does and why, and steer it",
        _of_click(top),
        [command for name in COMMANDS for command in _below(top, name)],
        tuple(_CODES),
        [
            Flag("FILEWATCHCTL_SOCKET, FILEWATCHD_SOCKET", "The control socket, where --socket doesn't say."),
            Flag("FILEWATCHD_CONFIG", "As --config."),
            Flag("NO_COLOR", "If it isn't empty, nothing is coloured."),
        ],
        [Flag("/run/filewatchd/control.sock", "The control socket, unless anything else is said.")],
        "filewatchd",
    )


def _below(parent: click.Context, name: str) -> Iterator[Command]:
    group = parent.command
    assert isinstance(group, click.Group)
    command = group.get_command(parent, name)
    assert command is not None
    ctx = click.Context(command, info_name=name, parent=parent)
    yield _of_click(ctx)
    if isinstance(command, click.Group):
        for each in command.list_commands(ctx):
            yield from _below(ctx, each)


def _of_click(ctx: click.Context) -> Command:
    command = ctx.command
    options = [parameter for parameter in command.get_params(ctx) if isinstance(parameter, click.Option)]
    records = [found for option in options if (found := option.get_help_record(ctx)) and "--help" not in option.opts]
    usage = " ".join([ctx.command_path, *command.collect_usage_pieces(ctx)])
    text, _, examples = (command.epilog or "").partition("\b")
    flags = [Flag(names, help_text) for names, help_text in records]
    told = "\n\n".join(filter(None, (command.help or "", text)))
    return Command(usage, told, flags, [line.strip() for line in examples.splitlines()[2:]])


# ---- filewatchd, by argparse


def _daemon() -> Manual:
    top = daemon.parser()
    (words,) = (action for action in top._actions if isinstance(action, argparse._SubParsersAction))
    return Manual(
        "filewatchd",
        "watch files and turn what happens to them into finished work",
        Command("filewatchd COMMAND [FLAGS]", f"{top.description}", list(_flags(top))),
        [_of_argparse(command) for command in words.choices.values()],
        ("0", "1", "3", "64", "75", "77", "78"),
        [
            Flag("FILEWATCHD_CONFIG", "The configuration, where --config doesn't say."),
            Flag("FILEWATCHD_ENV", "NAME lays filewatchd.NAME.yaml over the configuration."),
            Flag("FILEWATCHD_SECTION__KEY", "A value of the configuration, such as FILEWATCHD_DAEMON__MAX_RUNNING=4."),
        ],
        [
            Flag(_CONFIG, "The configuration."),
            Flag("/var/lib/filewatchd", "State: job journal and manifest."),
            Flag("/run/filewatchd/control.sock", "The control socket."),
        ],
        "filewatchctl",
    )


def _of_argparse(command: argparse.ArgumentParser) -> Command:
    usage = " ".join(command.format_usage().removeprefix("usage: ").split()).replace("[-h] ", "").replace(" [-h]", "")
    text, _, example = (command.epilog or "").partition("Example: ")
    told = "\n\n".join(filter(None, (command.description or "", text)))
    return Command(usage, told, list(_flags(command)), [example] if example else [])


def _flags(command: argparse.ArgumentParser) -> Iterator[Flag]:
    for action in command._actions:
        if action.option_strings and "--help" not in action.option_strings:
            value = action.metavar or ("|".join(action.choices) if action.choices else "")
            yield Flag(" ".join(filter(None, (", ".join(action.option_strings), str(value)))), action.help or "")


# ---- roff


def _roff(manual: Manual) -> Iterator[str]:
    yield f'.TH {manual.name.upper()} 1 "" filewatchd "User Commands"'
    yield from (".SH NAME", f"{manual.name} \\- {_text(manual.about)}")
    yield from (".SH SYNOPSIS", f".B {_text(manual.top.usage)}")
    yield from (".SH DESCRIPTION", *_paragraphs(manual.top.text))
    yield from (".SH OPTIONS", *_tagged(manual.top.flags))
    yield ".SH COMMANDS"
    for command in manual.commands:
        yield from _command(command)
    yield from (".SH EXIT STATUS", *_tagged([Flag(code, _CODES[code]) for code in manual.codes]))
    yield from (".SH ENVIRONMENT", *_tagged(manual.environment))
    yield from (".SH FILES", *_tagged(manual.files))
    yield from (".SH SEE ALSO", f".BR {manual.see} (1)")


def _command(command: Command) -> Iterator[str]:
    yield f".SS {_text(command.usage)}"
    yield from _paragraphs(command.text)
    yield from _tagged(command.flags)
    if command.examples:
        yield from (".PP", "For example:", ".PP", ".RS 4", ".nf")
        yield from map(_text, command.examples)
        yield from (".fi", ".RE")


def _paragraphs(text: str) -> Iterator[str]:
    for position, paragraph in enumerate(re.split(r"\n\s*\n", text.strip())):
        if position:
            yield ".PP"
        yield _text(" ".join(paragraph.split()))


def _tagged(flags: Sequence[Flag]) -> Iterator[str]:
    for flag in flags:
        yield from (".TP", f".B {_text(flag.names)}", _text(" ".join(flag.text.split())))


def _text(text: str) -> str:
    """Text that roff takes as it is: no escapes, no requests, hyphens that can be copied."""
    safe = text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq").replace("`", "\\(ga")
    return f"\\&{safe}" if safe.startswith((".", "'")) else safe
