"""All commands of `filewatchctl` speak alike: one option, one name, one word for its value; JSON wherever it can be."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import click
import pytest

from filewatchd.cli.control import filewatchctl

WITHOUT_JSON = {"completion", "top", "archive cat", "archive grep"}  # as docs/reference/command-line.md says
OTHERWISE = {("changes", "--since")}  # a cursor


def commands(command: click.Command = filewatchctl, words: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """All that do something, by their words."""
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from commands(inner, (*words, name))
        if not command.invoke_without_command:
            return
    yield " ".join(words), command


ALL = dict(commands())


def options(command: click.Command) -> Iterator[click.Option]:
    yield from (parameter for parameter in command.params if isinstance(parameter, click.Option))


def test_whatever_lists_lists_json() -> None:
    without = {name for name, found in ALL.items() if not any("--json" in option.opts for option in options(found))}
    assert without == WITHOUT_JSON


def test_an_option_means_the_same_everywhere() -> None:
    seen: dict[str, set[tuple[object, ...]]] = defaultdict(set)
    for name, found in ALL.items():
        for option in options(found):
            long = next(word for word in option.opts if word.startswith("--"))
            if (name, long) not in OTHERWISE and not isinstance(option.type, click.Choice):
                seen[long].add((option.metavar, option.is_flag, *sorted(option.opts)))
    assert {long: found for long, found in seen.items() if len(found) > 1} == {}


@pytest.mark.parametrize("name", sorted(ALL))
def test_help_is_sentences(name: str) -> None:
    found = ALL[name]
    told = [(found.help or "").partition("\n\n")[0], *((option.help or "") for option in options(found))]
    assert [text for text in told if not (text[:1].isupper() or text[:1] == "`") or text.strip()[-1] not in ".)"] == []
