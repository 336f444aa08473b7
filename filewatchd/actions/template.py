"""Placeholders: ``{path}`` and its like in one word of a command, or in a log message.

A placeholder is filled in as it is, never split and never seen by a shell: a name with blanks, quotes or newlines
stays one argument. ``{{`` and ``}}`` stand for braces.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from typing import NamedTuple

from filewatchd.actions.base import JobContext
from filewatchd.model import Change, RuleSettings

PER_PATH = ("path", "original_path", "name", "stem", "dir", "root", "kind", "old_path")
PER_JOB = ("rule", "job", "attempt")
PER_NOTICE = ("event", "message", "host")
PATHS = "paths"
NAMES = (*PER_PATH, *PER_JOB)
TOLD = (*PER_JOB, *PER_NOTICE)  # where an action stands in a rule's notifications
_TOKENS = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+")


class TemplateError(ValueError):
    """A word that can't be read: what is wrong, and what would be right."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class Template(NamedTuple):
    """A word in pieces: text, or the name of a placeholder."""

    pieces: tuple[tuple[str, bool], ...]  # text or name, is it a placeholder

    @property
    def names(self) -> frozenset[str]:
        """The placeholders in it."""
        return frozenset(text for text, is_name in self.pieces if is_name)

    def fill(self, values: Mapping[str, str]) -> str:
        """The word with its placeholders filled in."""
        return "".join(values[text] if is_name else text for text, is_name in self.pieces)


def parse(word: str, names: tuple[str, ...] = NAMES) -> Template:
    """Read a word.

    Raises:
        TemplateError: it has an unknown placeholder or a brace by itself.
    """
    pieces = []
    for token in _TOKENS.finditer(word):
        text, name = token[0], token[1]
        if name is not None:
            pieces.append((known(name, names), True))
        elif text in ("{", "}"):
            raise TemplateError(f"a {text} by itself in {word!r}", f"write {text * 2} for a brace")
        else:
            pieces.append((text.replace("{{", "{").replace("}}", "}"), False))
    return Template(tuple(pieces))


def known(name: str, names: tuple[str, ...]) -> str:
    """The name, if it is one of them.

    Raises:
        TemplateError: it isn't; the hint names the one that may be meant.
    """
    if name in names:
        return name
    import difflib  # only where somebody mistyped

    near = difflib.get_close_matches(name, names, 1)
    hint = f"did you mean {{{near[0]}}}?" if near else f"there are {' '.join(f'{{{each}}}' for each in names)}"
    raise TemplateError(f"there is no placeholder {{{name}}}", f"{hint}; write {{{{ and }}}} for braces themselves")


def names_for(rule: RuleSettings) -> tuple[str, ...]:
    """The placeholders that there are for an action of a rule, or of its notifications."""
    return NAMES if rule.event is None else TOLD


def job_values(job: JobContext) -> dict[str, str]:
    """The placeholders that are the same for all paths of a job."""
    return {"rule": job.rule, "job": str(job.id), "attempt": str(job.attempt), **notice_values(job)}


def notice_values(job: JobContext) -> dict[str, str]:
    """The placeholders of a notice; none where there is none."""
    notice = job.notice
    if notice is None:
        return {}
    return {"event": notice.event.value, "message": notice.message, "host": socket.gethostname()}


def change_values(change: Change) -> dict[str, str]:
    """The placeholders of one path. ``old_path`` is empty where the path didn't move."""
    directory, name = os.path.split(change.path)
    return {
        "path": change.path,
        "original_path": change.original_path or change.path,
        "name": name,
        "stem": os.path.splitext(name)[0],
        "dir": directory,
        "root": change.root,
        "kind": change.kind.value,
        "old_path": change.old_path or "",
    }
