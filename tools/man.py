"""The man pages of the commands, from the help that they themselves print."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import click

from filewatchd.cli import daemon
from filewatchd.cli.control import COMMANDS, filewatchctl
from filewatchd.config.schema import Daemon
from filewatchd.control.places import SOCKET
from filewatchd.work import cgroup
from tools.roff import Tag, literal, paragraphs, tagged, text

_CODES = {
    "0": "ok",
    "1": "another error",
    "3": "findings: something needs a look",
    "64": "usage",
    "69": "no daemon answers",
    "73": "would overwrite",
    "75": "another instance runs, or a time-out was reached",
    "77": "no permission",
    "78": "bad configuration",
    "130": "ended by Ctrl-C",
}
_CONFIG = Tag("/etc/filewatchd/filewatchd.yaml", "The configuration, unless anything else is said: filewatchd.yaml(5).")
_STATE, _RUNTIME = Daemon().state_dir, Daemon().runtime_dir
_SOCKET = Tag(f"{_RUNTIME}/{SOCKET}", "The control socket, unless the configuration has another runtime_dir.")


class Command(NamedTuple):
    """A command, or a command of a command. ``examples``: as they are typed."""

    usage: str
    text: str
    flags: Sequence[Tag]
    examples: Sequence[str] = ()


class Manual(NamedTuple):
    """A man page. ``environment``, ``files``, ``signals``: names and what they are. ``see``: as ``name(section)``."""

    name: str
    section: int
    about: str
    top: Command
    commands: Sequence[Command]
    codes: Sequence[str]
    environment: Sequence[Tag]
    files: Sequence[Tag]
    see: Sequence[str]
    signals: Sequence[Tag] = ()


def pages() -> Iterator[tuple[str, str]]:
    """The pages' file names and texts."""
    for manual in (_control(), _daemon()):
        yield f"{manual.name}.{manual.section}", "".join(f"{line}\n" for line in _roff(manual))


# ---- what help doesn't tell

_SIGNALS = (
    Tag("SIGTERM, SIGINT", "No new jobs; those that run finish within daemon.shutdown_timeout, and it ends. The second "
        "time it ends at once."),
    Tag("SIGHUP", "Load the configuration anew, whole or not at all; with mistakes in it the old one goes on. "
        "filewatchctl config reload does the same, and waits and tells."),
    Tag("SIGUSR1", "Log statistics."),
)  # fmt: skip
_ENVIRONMENT = (
    Tag("FILEWATCHD_CONFIG", "The configuration, where --config doesn't say."),
    Tag("FILEWATCHD_ENV", "NAME lays filewatchd.NAME.yaml over the configuration."),
    Tag("FILEWATCHD_SECTION__KEY", "A value of the configuration, such as FILEWATCHD_DAEMON__MAX_RUNNING=4."),
    Tag(cgroup.VARIABLE, "The cgroup directory below which commands get theirs, not the daemon's own; off: none."),
    Tag("PATH, LANG", "Commands get these two of the daemon's own."),
    Tag("HOME", "What ~ stands for in the configuration."),
    Tag("TZ", "The time zone of schedules that name none."),
    Tag("https_proxy, HTTPS_PROXY, http_proxy", "Proxies of webhooks. In capitals the last one doesn't count."),
    Tag("no_proxy, NO_PROXY", "Hosts and domains, with commas between, to which webhooks go without one; *: all."),
    Tag("NO_COLOR", "Set, the log isn't coloured."),
    Tag("XDG_CONFIG_HOME, XDG_STATE_HOME, XDG_RUNTIME_DIR",
        "Where init puts the configuration, state and control socket of another user than root. XDG_RUNTIME_DIR has "
        "that user's systemd, too, which is asked for units (exec: {unit: true})."),
    Tag("DBUS_SESSION_BUS_ADDRESS", "Where another user than root finds that systemd, if not in XDG_RUNTIME_DIR."),
    Tag("NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID, LISTEN_FDS, LISTEN_PID",
        "Set by systemd, which is told of the daemon's life, and hands over the control socket and what an earlier "
        "life left with it. They need the extra systemd."),
    Tag("JOURNAL_STREAM", "Set by systemd: standard error is its journal, which then gets fields."),
    Tag("CREDENTIALS_DIRECTORY", "Set by systemd: where secrets given as {credential: NAME} are."),
    Tag("RUNTIME_DIRECTORY", "Set by systemd: where the backend watchdog makes its marker files."),
)  # fmt: skip
_FILES = (
    _CONFIG,
    Tag("/etc/filewatchd/rules.d/*.yaml", "More rules, where the configuration says rule_files: [rules.d/*.yaml]."),
    Tag("~/.config/filewatchd/filewatchd.yaml", "The configuration that init writes for another user than root."),
    Tag(f"{_STATE}/journal.db", "The job journal, and the manifest of what each rule has handled."),
    Tag(f"{_STATE}/state.json", "Counters and the last outcome of each rule, for whoever finds no daemon to ask."),
    Tag(f"{_STATE}/filewatchd.lock", "Held by the one daemon that uses this state."),
    _SOCKET,
)


# ---- filewatchctl, by click


def _control() -> Manual:
    top = click.Context(filewatchctl, info_name="filewatchctl")
    return Manual(
        "filewatchctl",
        1,
        "ask a running filewatchd what it does and why, and steer it",
        _of_click(top),
        [command for name in COMMANDS for command in _below(top, name)],
        tuple(code for code in _CODES if code != "73"),
        [
            Tag("FILEWATCHCTL_SOCKET, FILEWATCHD_SOCKET", "The control socket, where --socket doesn't say."),
            Tag("FILEWATCHCTL_STATE_DIR", "Of index: the daemon's state directory, where --state-dir doesn't say."),
            Tag("FILEWATCHCTL_SEAL_KEY", "Of index seal: the key's file, where --key doesn't say."),
            Tag("FILEWATCHD_CONFIG", "As --config."),
            Tag("NO_COLOR", "If it isn't empty, nothing is coloured."),
        ],
        [_SOCKET, _CONFIG._replace(text="Read for its runtime_dir, where that socket isn't there.")],
        ("filewatchd(8)", "filewatchd.yaml(5)"),
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
    flags = [Tag(names, help_text) for names, help_text in records]
    told = "\n\n".join(filter(None, (command.help or "", text)))
    return Command(usage, told, flags, [line.strip() for line in examples.splitlines()[2:]])


# ---- filewatchd, by argparse


def _daemon() -> Manual:
    top = daemon.parser()
    (words,) = (action for action in top._actions if isinstance(action, argparse._SubParsersAction))
    return Manual(
        "filewatchd",
        8,
        "watch files and turn what happens to them into finished work",
        Command("filewatchd COMMAND [FLAGS]", f"{top.description}", list(_flags(top))),
        [_of_argparse(command) for command in words.choices.values()],
        ("0", "1", "3", "64", "73", "75", "77", "78"),
        _ENVIRONMENT,
        _FILES,
        ("filewatchctl(1)", "filewatchd.yaml(5)", "systemctl(1)", "journalctl(1)", "inotify(7)"),
        _SIGNALS,
    )


def _of_argparse(command: argparse.ArgumentParser) -> Command:
    usage = " ".join(command.format_usage().removeprefix("usage: ").split()).replace("[-h] ", "").replace(" [-h]", "")
    text, _, example = (command.epilog or "").partition("Example: ")
    told = "\n\n".join(filter(None, (command.description or "", text)))
    return Command(usage, told, list(_flags(command)), [example] if example else [])


def _flags(command: argparse.ArgumentParser) -> Iterator[Tag]:
    for action in command._actions:
        if action.option_strings and "--help" not in action.option_strings:
            value = action.metavar or ("|".join(action.choices) if action.choices else "")
            yield Tag(" ".join(filter(None, (", ".join(action.option_strings), str(value)))), action.help or "")


# ---- roff


def _roff(manual: Manual) -> Iterator[str]:
    title = "User Commands" if manual.section == 1 else "System Administration"
    yield from head(manual.name, manual.section, title)
    yield from (".SH NAME", f"{manual.name} \\- {text(manual.about)}")
    yield from (".SH SYNOPSIS", f".B {text(manual.top.usage)}")
    yield from (".SH DESCRIPTION", *paragraphs(manual.top.text))
    yield from (".SH OPTIONS", *tagged(manual.top.flags))
    yield ".SH COMMANDS"
    for command in manual.commands:
        yield from _command(command)
    if manual.signals:
        yield from (".SH SIGNALS", *tagged(manual.signals))
    yield from (".SH EXIT STATUS", *tagged([Tag(code, _CODES[code]) for code in manual.codes]))
    yield from (".SH ENVIRONMENT", *tagged(manual.environment))
    yield from (".SH FILES", *tagged(manual.files))
    yield from see_also(manual.see)


def head(name: str, section: int, title: str) -> Iterator[str]:
    """The first lines. Words stay whole, since most are names that may be looked for."""
    yield from (f'.TH {name.upper()} {section} "" filewatchd "{title}"', ".nh", ".ad l")


def see_also(pages: Sequence[str]) -> Iterator[str]:
    """The section of other pages, each as ``name(section)``."""
    yield ".SH SEE ALSO"
    for position, page in enumerate(pages, 1):
        name, _, section = page.rstrip(")").partition("(")
        yield f".BR {text(name)} ({section}){',' if position < len(pages) else ''}"


def _command(command: Command) -> Iterator[str]:
    yield f".SS {text(command.usage)}"
    yield from paragraphs(command.text)
    yield from tagged(command.flags)
    if command.examples:
        yield from (".PP", "For example:", *literal("\n".join(command.examples)))
