"""What can be known of a command without running it: every mistake, each with its place."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from typing import Protocol

from filewatchd.actions.base import Problem
from filewatchd.actions.command import environment
from filewatchd.actions.command.argv import Mode, mode_of
from filewatchd.actions.command.unit import UnitLimits, check_unit
from filewatchd.actions.secrecy import secret_problems
from filewatchd.actions.template import (
    NAMES,
    PATHS,
    PER_PATH,
    Template,
    TemplateError,
    change_values,
    names_for,
    parse,
)
from filewatchd.model import Change, Kind, RuleSettings
from filewatchd.patterns import lifted, selects
from filewatchd.security import others_may_write
from filewatchd.values import Secret


class CommandOptions(Protocol):
    """The part of ``exec``'s options that is checked here."""

    @property
    def command(self) -> tuple[str, ...]: ...
    @property
    def shell(self) -> bool: ...
    @property
    def cwd(self) -> str | None: ...
    @property
    def env(self) -> dict[str, str | Secret]: ...
    @property
    def user(self) -> str | None: ...
    @property
    def unit(self) -> bool | UnitLimits: ...


def problems(options: CommandOptions, rule: RuleSettings) -> Iterator[Problem]:
    """Every mistake in a command."""
    yield from check_env(options.env)
    yield from check_unit(options.unit)
    if options.cwd is not None and not os.path.isdir(options.cwd):
        yield Problem(f"the working directory {options.cwd} doesn't exist", "create it, or correct the path", ("cwd",))
    if not options.command or not options.command[0]:
        yield Problem("the command is empty", "name a program, or in a shell the script", ("command",))
    elif options.shell:
        yield from check_script(options.command)
        if rule.event is not None and mode_of(options.command, shell=True) is Mode.EACH:
            hint = 'write "$FILEWATCHD_MESSAGE", or read the whole notice with `stdin: json`'
            yield Problem("a notification is about no file, so the script would never run", hint, ("command",))
    else:
        yield from check_words(options.command, rule)
        yield from check_program(options, rule)
        yield from check_own_output(options.command, rule)


def check_env(variables: dict[str, str | Secret]) -> Iterator[Problem]:
    """Names and values that can't be a variable's."""
    for name, value in variables.items():
        if not name or "=" in name or "\0" in name:
            yield Problem(f"{name!r} can't be a variable's name", "write NAME: VALUE", ("env", name))
        if isinstance(value, str) and "\0" in value:
            yield Problem(f"the value of {name} holds a NUL", "remove it", ("env", name))
        if isinstance(value, Secret):
            yield from secret_problems(value, ("env", name))


def check_script(command: Sequence[str]) -> Iterator[Problem]:
    """A script is one word, and names reach it only as variables."""
    if len(command) != 1:
        hint = "write the whole script as one text, or remove `shell: true`"
        yield Problem(f"a shell takes one script, not {len(command)} words", hint, ("command",))
    for index, word in enumerate(command):
        for name in re.findall(r"(?<![$\w])\{(\w+)\}", word):
            if name in (*NAMES, PATHS):
                variable = f"FILEWATCHD_{name.upper()}" if name != PATHS else "FILEWATCHD_PATH"
                message = f"a shell script can't have the placeholder {{{name}}}: a file's name could run commands"
                yield Problem(message, f'write "${variable}", in double quotes', ("command", index))


def check_words(command: Sequence[str], rule: RuleSettings) -> Iterator[Problem]:
    """Each word's placeholders, and whether they go together."""
    used: set[str] = set()
    known = names_for(rule) if rule.event is not None else (*NAMES, PATHS)
    for index, word in enumerate(command):
        where = ("command", index)
        try:
            names = parse(word, known).names
        except TemplateError as error:
            yield Problem(str(error), error.hint, where)
            continue
        used |= names
        if PATHS in names and word != f"{{{PATHS}}}":
            hint = "write {paths} as a word by itself, or {path} for one run for each path"
            yield Problem(f"{{{PATHS}}} stands for many words and can't be a part of {word!r}", hint, where)
        if index == 0 and names & {PATHS, *PER_PATH}:
            hint = "name a program; to run a script whatever its mode, name its interpreter"
            yield Problem("the program itself must not come from a file's name", hint, where)
    if PATHS in used and used & set(PER_PATH):
        other = min(used & set(PER_PATH))
        hint = "use one of them"
        yield Problem(f"{{{PATHS}}} is many files and {{{other}}} is one", hint, ("command",))


def check_program(options: CommandOptions, rule: RuleSettings) -> Iterator[Problem]:
    """Whether the program is there, and nobody can put another in its place where root runs it."""
    program, where = options.command[0], ("command", 0)
    if "{" in program:
        return
    found = find_program(program, options)
    if found is None:
        if "/" in program:
            yield Problem(f"there is no program {program}", "install it, or correct the path", where)
        else:
            yield Problem(f"there is no program {program} on PATH", "install it, or write its whole path", where)
    elif not os.path.isfile(found) or not os.access(found, os.X_OK):
        yield Problem(f"{found} can't be run", "make it an executable file (chmod +x)", where)
    elif os.geteuid() == 0 and not (options.user or rule.user) and (reason := others_may_write(found)):
        hint = "set `user:` to run it as that user (or, knowingly, as root), or change who may write"
        yield Problem(f"run by root, this program is unsafe: {reason}", hint, where)


def find_program(program: str, options: CommandOptions) -> str | None:
    """The program's path, as it will be searched; None if there is none."""
    if "/" in program:
        path = os.path.join(options.cwd or os.getcwd(), program)
        return path if os.path.lexists(path) else None
    search = options.env.get("PATH")
    return shutil.which(program, path=search if isinstance(search, str) else environment.search_path())


def check_own_output(command: Sequence[str], rule: RuleSettings) -> Iterator[Problem]:
    """A word like ``{path}.gz`` that names a file which this same rule would take up again."""
    for index, word in enumerate(command[1:], 1):
        template = readable(word)
        if template is None or not template.names & {"path", "name", "stem"} or word == "{path}":
            continue
        for root, sample in samples(rule):
            below = below_root(template.fill(values_of(root, sample)), root)
            if below and below != sample and selects(rule.include, rule.exclude, below):
                hint = f"put it elsewhere, or add a pattern for it to `exclude`, for example {pattern_for(below)!r}"
                message = f"{word} names files such as {below}, which this rule would take up again"
                yield Problem(message, hint, ("command", index))
                break


def below_root(word: str, root: str) -> str:
    """The part below the root of a path that a word ends in; empty if there is none."""
    found = re.search(rf"(?<![\w./-]){re.escape(root)}/(.+)", word, re.DOTALL)
    written = os.path.normpath(found[1]) if found else "."
    return written if written != "." and not written.startswith("../") else ""


def readable(word: str) -> Template | None:
    """The word's template, if it has no mistake and isn't about many paths."""
    try:
        return parse(word)
    except TemplateError:
        return None


def values_of(root: str, sample: str) -> dict[str, str]:
    """What the placeholders would be for a sample file."""
    change = Change(Kind.CREATED, f"{root}/{sample}", root)
    return {**change_values(change), "rule": "rule", "job": "1", "attempt": "1"}


def samples(rule: RuleSettings) -> Iterator[tuple[str, str]]:
    """Files that the rule would select: (root, path below it)."""
    patterns = [pattern for pattern in rule.include if not pattern.startswith(("!", "#"))] or ["sample"]
    for root in rule.roots[:1]:
        for pattern in patterns[:8]:
            plain, _ = lifted(pattern)
            sample = re.sub(r"[\0?]", "x", plain.replace("**/", "").replace("*", "sample")).strip("/")
            if sample and selects(rule.include, rule.exclude, sample):
                yield root.rstrip("/"), sample


def pattern_for(below: str) -> str:
    """A pattern that keeps such a file out."""
    return f"*{os.path.splitext(below)[1]}" if os.path.splitext(below)[1] else os.path.basename(below)
