"""From a command's words and a batch's paths to what is really run."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import NamedTuple

from filewatchd.actions.template import NAMES, PATHS, PER_NOTICE, PER_PATH, Template, parse
from filewatchd.model import Change

SHELL = ("/bin/sh", "-c")
_MOST_BYTES = 1024 * 1024  # of arguments and environment together, even where the system would take more
_SLACK = 8192  # for what the kernel adds: the program's name, an interpreter's arguments, alignment
_WORD = "{" + PATHS + "}"
_KNOWN = (*NAMES, *PER_NOTICE, PATHS)  # which of them may stand in a command is checked before
_VARIABLE = re.compile(r"FILEWATCHD_(" + "|".join(name.upper() for name in PER_PATH) + r")\b")


class Mode(Enum):
    """How often a command runs."""

    EACH = "for each path"
    MANY = "for as many paths as fit"
    BATCH = "for the batch"


class Argv(NamedTuple):
    """A command's words; None stands for all the paths."""

    words: tuple[Template | None, ...]

    @classmethod
    def read(cls, command: Sequence[str], shell: bool) -> Argv:
        """Read a command that was checked; a script's text is left alone.

        Raises:
            TemplateError: it was not checked, and a placeholder is wrong.
        """
        if shell:
            return cls(tuple(Template(((word, False),)) for word in (*SHELL, *command)))
        return cls(tuple(None if word == _WORD else parse(word, _KNOWN) for word in command))

    def fill(self, values: Mapping[str, str], paths: Sequence[str]) -> tuple[str, ...]:
        """The words to run."""
        filled: list[str] = []
        for word in self.words:
            filled.extend(paths if word is None else (word.fill(values),))
        return tuple(filled)


def mode_of(command: Sequence[str], shell: bool) -> Mode:
    """How often a command runs; a mistaken one counts as for the batch, its mistakes are told elsewhere."""
    if shell:
        return Mode.EACH if any(map(_VARIABLE.search, command)) else Mode.BATCH
    if _WORD in command:
        return Mode.MANY
    names = {name for word in command for name in re.findall(r"\{([^{}]*)\}", word.replace("{{", "").replace("}}", ""))}
    return Mode.EACH if names & set(PER_PATH) else Mode.BATCH


def room(words: Sequence[str], variables: Mapping[str, str]) -> int:
    """Bytes that paths may take as arguments, beside these words and this environment.

    The kernel takes a quarter of the stack limit in all, at least 128 KiB; and 128 KiB for one argument, which no path
    reaches.
    """
    most = min(_MOST_BYTES, os.sysconf("SC_ARG_MAX") // 2)
    taken = sum(size(word) for word in words) + sum(size(name) + size(text) for name, text in variables.items())
    return max(0, most - taken - _SLACK)


def size(word: str) -> int:
    """What an argument takes: its bytes, a NUL, and a pointer."""
    return len(os.fsencode(word)) + 9


def split(changes: Sequence[Change], limit: int) -> Iterator[list[Change]]:
    """The changes in shares whose paths take at most ``limit`` bytes; at least one in each."""
    share: list[Change] = []
    taken = 0
    for change in changes:
        more = size(change.path)
        if share and taken + more > limit:
            yield share
            share, taken = [], 0
        share.append(change)
        taken += more
    if share:
        yield share


def quoted(words: Sequence[str]) -> str:
    """A command line as a shell would need it."""
    return shlex.join(words)
