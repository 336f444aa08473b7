"""Files: reading one configuration file, and finding the rule files that another one names."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterator
from typing import NamedTuple

from filewatchd.config import yaml
from filewatchd.config.complaints import SyntaxMistake
from filewatchd.config.convert import Converter, suggestion, type_of
from filewatchd.config.nodes import Node, Source
from filewatchd.config.schema import File
from filewatchd.errors import Mistake
from filewatchd.notation import quoted
from filewatchd.security import others_may_write
from filewatchd.values import PathTo

FILE_KEYS = tuple(File.__struct_fields__)
RULE_FILE_KEYS = ("version", "rules")


class Wanted(NamedTuple):
    """A file to read."""

    path: str
    directory: str = ""  # where its relative paths start, if not beside it
    text: str | None = None  # what it holds, if it needn't be read
    trusted: bool = False  # not yet in its place: who may write it doesn't matter
    remedy: str = "`filewatchd init` writes one; --config or FILEWATCHD_CONFIG names another"  # if there is none


def read(wanted: Wanted, mistakes: list[Mistake]) -> Node | None:
    """The file's top mapping; None, with its mistake noted, where there is none."""
    path = wanted.path
    source = Source(path, wanted.directory or os.path.dirname(path))
    try:
        text = wanted.text
        if text is None:
            text = yaml.decode(_bytes(wanted, mistakes), source)
        node = yaml.parse(text, source, mistakes)
    except SyntaxMistake as error:
        mistakes.append(error.mistake)
        return None
    except FileNotFoundError:
        mistakes.append(Mistake(path, 0, 0, "there is no such file", wanted.remedy))
        return None
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        mistakes.append(Mistake(path, 0, 0, f"can't be read: {reason}", "check its name and its mode"))
        return None
    if not isinstance(node.value, dict):
        mistakes.append(node.mistake(f"a mapping is expected here, not {node.kind}", "begin with `version: 1`"))
        return None
    _check_top(node, mistakes)
    return node


def _bytes(wanted: Wanted, mistakes: list[Mistake]) -> bytes:
    """A regular file's bytes, at most one more than is allowed. Raises OSError."""
    descriptor = os.open(wanted.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError("it is not a regular file")
        if not wanted.trusted and (reason := others_may_write(wanted.path)):
            message = f"refused, because others may write it: {reason}"
            hint = "let root or the daemon's user own what is named, and take the others' right to write (chmod go-w)"
            mistakes.append(Mistake(wanted.path, 0, 0, message, hint))
        return file.read(yaml.MAX_BYTES + 1)


def _check_top(node: Node, mistakes: list[Mistake]) -> None:
    for key, value in node.items():
        if key not in FILE_KEYS:
            mistakes.append(value.key_mistake(f"unknown key {quoted(key)}", suggestion(key, FILE_KEYS)))
    version = node.get("version")
    if version is not None and (version.value != 1 or isinstance(version.value, bool)):
        shown = version.kind if isinstance(version.value, (dict, list, bool)) else quoted(version.value).strip("'")
        hint = "write `version: 1`, or use the filewatchd that the file was made for"
        mistakes.append(version.mistake(f"version {shown} is not known", hint))


def check_rule_file(node: Node, main: str, mistakes: list[Mistake]) -> None:
    """Note the keys that can't stand in a rule file."""
    for key, value in node.items():
        if key in FILE_KEYS and key not in RULE_FILE_KEYS:
            mistakes.append(value.key_mistake(f"{quoted(key)} can't stand in a rule file", f"move it to {main}"))


def matches(listed: Node, converter: Converter, warnings: list[Mistake], globs: list[str]) -> Iterator[str]:
    """The files that ``rule_files`` names. A missing one is a mistake, a glob in a missing directory a warning.

    ``globs`` gets the globs.
    """
    if not isinstance(listed.value, list):
        hint = "write them in brackets: [rules.d/*.yaml]"
        converter.fail(listed, f"a list is expected here, not {listed.kind}", hint)
        return
    for item in listed.value:
        path = converter.convert(type_of(PathTo), item)
        if not isinstance(path, str):
            continue
        if glob.has_magic(path):
            globs.append(path)
            found = sorted(glob.glob(path, recursive=True))
            yield from found
            if not found and not os.path.isdir(os.path.dirname(path)):
                warnings.append(item.mistake(f"no rule file matches {path}", "remove the entry if none ever will"))
        elif os.path.lexists(path):
            yield path
        else:
            converter.fail(item, f"there is no rule file {path}", "create it, or remove the entry")
