"""The documentation keeps its word: links lead somewhere, and every whole configuration in it passes `check`."""

from __future__ import annotations

import argparse
import os
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from filewatchd.actions.registry import packages
from filewatchd.cli.control import COMMANDS, filewatchctl
from filewatchd.cli.daemon import main, parser
from filewatchd.config.load import load
from filewatchd.errors import ConfigError, Mistake

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("packaging/**/*.md")])
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
YAML = re.compile(r"^( *)```yaml\n(.*?)^ *```", re.MULTILINE | re.DOTALL)


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    missing = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert not missing


def configurations() -> Iterator[object]:
    for page in PAGES:
        for number, (indent, block) in enumerate(YAML.findall(page.read_text())):
            text = textwrap.dedent(indent + block)
            if text.startswith("version:"):
                yield pytest.param(text, id=f"{name(page)}:{number}")


@pytest.mark.parametrize("text", list(configurations()))
def test_whole_configurations_pass_check(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "filewatchd.yaml"
    config.write_text(text)
    assert main(["check", "--config", str(config)]) == 0, capsys.readouterr()


# What a rule in a guide may lack on the machine of the tests: programs, users, files, systemd.
LACKS = re.compile(
    r"no program|no (user|group) named|the extra|systemd doesn't run|is unsafe|there is no file|doesn't exist"
)
AROUND = {  # how a part begins: what stands around it, and how far it is indented
    r"- name:": ("rules:\n", "  "),
    r"actions:": ("rules:\n  - name: part\n    roots: [in]\n", "    "),
    r"on_(failure|recovery|finding):": ("rules:\n  - name: part\n    roots: [in]\n    actions: [{log: {}}]\n", "    "),
    r"- \w+:": ("rules:\n  - name: part\n    roots: [in]\n    actions:\n", "      "),
}


def parts() -> Iterator[object]:
    for page in PAGES:
        for number, (indent, block) in enumerate(YAML.findall(page.read_text())):
            text = textwrap.dedent(indent + block if not block.startswith(" ") else block)
            around = next((found for begins, found in AROUND.items() if re.match(begins, text)), None)
            if around is not None:
                whole = f"version: 1\n{around[0]}{textwrap.indent(text, around[1])}"
                yield pytest.param(whole, id=f"{name(page)}:{number}")


@pytest.mark.parametrize("text", list(parts()))
def test_rules_in_guides_have_no_mistakes(text: str, tmp_path: Path) -> None:
    config = tmp_path / "filewatchd.yaml"
    config.write_text(text)
    mistakes: list[Mistake] = []
    try:
        load(config, registry=packages(), environ=os.environ, flags={})
    except ConfigError as error:
        mistakes = error.mistakes
    assert [str(mistake) for mistake in mistakes if not LACKS.search(mistake.message)] == []


def test_the_command_line_is_told_whole() -> None:
    page = (ROOT / "docs/reference/command-line.md").read_text()
    (commands,) = (action for action in parser()._actions if isinstance(action, argparse._SubParsersAction))
    for name, command in commands.choices.items():
        assert f"## filewatchd {name}\n" in page
        flags = [option for action in command._actions for option in action.option_strings if option.startswith("--")]
        assert [flag for flag in flags if f"| `{flag}" not in page and flag != "--help"] == []


def test_filewatchctl_is_told_whole() -> None:
    page = (ROOT / "docs/reference/command-line.md").read_text()
    top = click.Context(filewatchctl, info_name="filewatchctl")
    missing = [flag for flag in flags_of(top) if f"| `{flag}" not in page]
    for name in COMMANDS:
        section = re.search(rf"^## filewatchctl {name}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
        assert section is not None, name
        command = filewatchctl.get_command(top, name)
        assert command is not None
        missing += [flag for flag in flags_of(click.Context(command, parent=top)) if f"`{flag}" not in section[1]]
        for below in command.commands if isinstance(command, click.Group) else ():
            assert f"`filewatchctl {name} {below}" in section[1]
    assert missing == []


def flags_of(ctx: click.Context) -> set[str]:
    """The long flags of a command, and of those below it, but those that all have."""
    command = ctx.command
    options = [each for each in command.get_params(ctx) if isinstance(each, click.Option)]
    found = {max(option.opts, key=len) for option in options} - {"--help", "--json", "--version"}
    for below in command.commands.values() if isinstance(command, click.Group) else ():
        found |= flags_of(click.Context(below, parent=ctx))
    return found


def test_every_finding_of_doctors_is_told() -> None:
    page = (ROOT / "docs/reference/command-line.md").read_text()
    sources = [(ROOT / "filewatchd/service" / name).read_text() for name in ("checks.py", "doctor.py", "vitals.py")]
    codes = {code for text in sources for code in re.findall(r'"((?:\w+)-(?:\w+))"[,)]', text)}
    assert len(codes) > 28
    assert [code for code in sorted(codes) if f"`{code}`" not in page] == []
