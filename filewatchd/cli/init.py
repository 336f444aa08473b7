"""`filewatchd init`: a first configuration, annotated, with an example rule if one is asked for."""

from __future__ import annotations

import difflib
import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from filewatchd.cli import templates
from filewatchd.cli.creating import CreationError, NewFile, create, examine
from filewatchd.cli.examples import Example
from filewatchd.cli.templates import MAIN, RULES, Place
from filewatchd.cli.text import to_json
from filewatchd.config.load import load
from filewatchd.errors import ConfigError
from filewatchd.notation import one_line, path_fields

if TYPE_CHECKING:
    from filewatchd.actions.base import ActionPackage

_USAGE = 64


class Step(NamedTuple):
    """What to do next: a shell's line, and what it does."""

    command: str
    about: str


def init(
    directory: str | None,
    *,
    registry: Mapping[str, ActionPackage],
    environ: Mapping[str, str],
    purpose: str | None = None,
    add: bool = False,
    dry_run: bool = False,
    as_json: bool = False,
) -> int:
    """Write a configuration, and tell what comes next.

    Args:
        directory: where; None for the usual place.
        registry: action packages by name, which may bring examples.
        environ: for the usual places.
        purpose: the example to write with it, by name.
        add: leave a main file that is there as it is, and add the example.
        dry_run: print what would be written instead.
        as_json: print a document.

    Returns:
        The exit code: 0; 64 for an unknown example; 73 where something would be overwritten; 77 without permission.
    """
    root = os.geteuid() == 0
    at = templates.place(directory, environ, root=root)
    try:
        if directory == "":
            raise CreationError("DIR is empty", "name a directory, or leave it out for the usual one", [], _USAGE)
        example = _example(purpose, add, registry)
        files = [templates.rule_file(example, at, registry)] if example else []
        if not (add and os.path.lexists(os.path.join(at.directory, MAIN))):
            files.append(templates.main_file(at, root=root))  # last: it puts the rule in force
        if dry_run:
            examine(at.directory, files)
        else:
            create(at.directory, files, [RULES], mode=at.mode)
    except CreationError as error:
        return _refuse(_advised(error, at, purpose), as_json)
    steps = list(_steps(at, example, environ))
    warnings = list(_warnings(at, files, registry, environ)) if not dry_run else []
    if as_json:
        print(to_json(_document(at, files, steps, warnings, dry_run=dry_run)))
    elif dry_run:
        print("\n".join(_printed(at, files)), end="")
    else:
        print("\n".join(_told(at, files, steps)))
    for warning in warnings if not as_json else ():
        print(f"warning: {warning}", file=sys.stderr)
    return 0


def _example(purpose: str | None, add: bool, registry: Mapping[str, ActionPackage]) -> Example | None:
    """Raises CreationError: there is no such example."""
    if purpose is None:
        if add:
            raise CreationError("--add adds an example", "say which one with --for", [], _USAGE)
        return None
    if found := templates.example_for(purpose, registry):
        return found
    known = list(templates.names(registry))
    close = difflib.get_close_matches(purpose, known, 1)
    remedy = f"did you mean {close[0]}?" if close else f"there is: {', '.join(known)}"
    raise CreationError(f"there is no example {purpose!r}", remedy, [], _USAGE)


def _refuse(error: CreationError, as_json: bool) -> int:
    if as_json:
        paths = [path_fields("path", path) for path in error.paths]
        message, remedy = one_line(error.message), one_line(error.remedy)
        print(to_json({"ok": False, "message": message, "remedy": remedy, "paths": paths}))
    else:
        print(f"filewatchd: {error}", file=sys.stderr)
    return error.exit_code


def _advised(error: CreationError, at: Place, purpose: str | None) -> CreationError:
    """With the way out that is the likeliest one here."""
    if purpose and error.paths == [os.path.join(at.directory, MAIN)]:
        remedy = f"{error.remedy}; with --add the example is added, and that file stays as it is"
        return CreationError(error.message, remedy, error.paths, error.exit_code)
    return error


def _warnings(
    at: Place, files: Sequence[NewFile], registry: Mapping[str, ActionPackage], environ: Mapping[str, str]
) -> Iterator[str]:
    """What keeps what was written from working: it is refused here, or somebody's own main file doesn't read it."""
    main = os.path.join(at.directory, MAIN)
    written = [os.path.join(at.directory, file.name) for file in files]
    try:
        read = load(Path(main), registry=registry, environ=environ, flags={}).files
    except ConfigError as error:
        yield from (one_line(str(mistake)) for mistake in error.mistakes if mistake.file in written)
        return
    if not all(path in read for path in written):
        yield f"{one_line(main)} doesn't read {RULES}; add this line to it: rule_files: [{RULES}/*.yaml]"


# ---- what is told


def _steps(at: Place, example: Example | None, environ: Mapping[str, str]) -> Iterator[Step]:
    if not at.is_system:
        main = shlex.quote(os.path.join(at.directory, MAIN))
        yield Step(f"export FILEWATCHD_CONFIG={main}", "so that the commands below find it")
    if example and (directory := templates.watched(example, at)):
        yield Step(f"mkdir -p {shlex.quote(directory)}", "what the example watches")
    yield Step("filewatchd check", "tells every mistake, with its line and what would be right")
    yield Step("filewatchd run", "runs it in the foreground; Ctrl-C ends it")
    manager = "systemctl --user" if templates.is_users(at) else "systemctl"
    service = at.is_system or templates.is_users(at)
    if service:
        yield Step(f"{manager} enable --now filewatchd", "or runs it as a service, now and after each boot")
    there = shlex.quote(templates.watched(example, at)) if example else ""
    if example and example.trial:
        yield Step(example.trial.format(there), "from another terminal: work for the example")
    yield Step(example.look.format(there) if example else "filewatchctl jobs", "what became of it")
    reload = f"{manager} reload filewatchd" if service else "filewatchctl config reload"
    yield Step(reload, "takes a change of the configuration into use: whole, or not at all")
    yield Step("man filewatchd.yaml", "every key; also: man filewatchd, man filewatchctl")


def _told(at: Place, files: Sequence[NewFile], steps: Sequence[Step]) -> Iterator[str]:
    yield "Written:"
    yield from (f"  {one_line(os.path.join(at.directory, file.name))}" for file in files)
    yield "\nNext:"
    width = min(max(len(one_line(step.command)) for step in steps), 44)
    for step in steps:
        yield f"  {one_line(step.command):<{width}}  # {step.about}"


def _printed(at: Place, files: Sequence[NewFile]) -> Iterator[str]:
    for file in files:
        yield f"# Would be written to {one_line(os.path.join(at.directory, file.name))}:\n"
        yield file.text


def _document(
    at: Place, files: Sequence[NewFile], steps: Sequence[Step], warnings: Sequence[str], *, dry_run: bool
) -> dict[str, object]:
    return {
        "ok": True,
        "dry_run": dry_run,
        **path_fields("directory", at.directory),
        "files": [
            path_fields("path", os.path.join(at.directory, file.name)) | ({"text": file.text} if dry_run else {})
            for file in files
        ],
        "warnings": warnings,
        "next": [step._asdict() for step in steps],
    }
