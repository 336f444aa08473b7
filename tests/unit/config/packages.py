"""Small action packages to configure, and a directory to configure them in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec

from filewatchd.actions.base import Action, Context, Needs, OwnFile, Problem
from filewatchd.config.configuration import Configuration
from filewatchd.config.load import load
from filewatchd.errors import ConfigError
from filewatchd.model import RuleSettings
from filewatchd.values import CommandOption, Duration, PathTo, ScheduleOption, Secret, Share, Signal, Size


class RunOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Run something."""

    command: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, description="What to run.")]
    shell: bool = False
    stop_timeout: Duration = 10.0
    stop_signal: Signal = 15
    cwd: PathTo | None = None
    env: dict[str, str | Secret] = {}
    password: Secret | None = None
    before: CommandOption | None = None
    when: ScheduleOption | None = None
    size: Size | None = None
    share: Share = 0.5
    ratio: float = 1.0


class NoteOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Note something."""

    message: str = ""


class Package:
    """An action package that is only configured, never opened."""

    def __init__(self, name: str, options: type, defaults: Mapping[str, Any] | None = None) -> None:
        self.name = name
        self.Options = options
        self.defaults = defaults or {}
        self.problems: list[Problem] = []
        self.error: Exception | None = None
        self.own_file: str | None = None

    def check(self, options: Any, rule: RuleSettings) -> Iterable[Problem]:
        if self.error:
            raise self.error
        yield from self.problems

    def rule_defaults(self, options: Any) -> Mapping[str, Any]:
        return self.defaults

    def needs(self, options: Any) -> Needs:
        return Needs()

    def own_files(self, options: Any, rule: RuleSettings) -> Iterable[OwnFile]:
        return [OwnFile(f"{root}/{self.own_file}", ("message",)) for root in rule.roots if self.own_file is not None]

    def open(self, options: Any, ctx: Context) -> Action:
        raise NotImplementedError


class Desk:
    """A directory with configuration files, and how to load them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.run = Package("run", RunOptions)
        self.note = Package("note", NoteOptions)
        self.environ: dict[str, str] = {"HOME": "/home/somebody"}
        self.flags: dict[str, object] = {}

    @property
    def registry(self) -> dict[str, Package]:
        return {"run": self.run, "note": self.note}

    def write(self, text: str | bytes, name: str = "filewatchd.yaml") -> Path:
        path = self.directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    def load(self, main_text: str | bytes | None = None, **more: Any) -> Configuration:
        """Load the main file, written anew if a text is given."""
        if main_text is not None:
            self.write(main_text)
        main = self.directory / "filewatchd.yaml"
        return load(main, registry=self.registry, environ=self.environ, flags=self.flags, **more)

    def mistakes(self, main_text: str | bytes | None = None, **more: Any) -> list[str]:
        """The mistakes, without the directory's name."""
        try:
            self.load(main_text, **more)
        except ConfigError as error:
            return [str(mistake).replace(f"{self.directory}/", "") for mistake in error.mistakes]
        return []


def rule(more: str = "", *, name: str = "r", actions: str = "[note: ]") -> str:
    """A whole configuration with one rule; `more` are further keys of it, in flow style."""
    return f"version: 1\nrules:\n  - {{name: {name}, roots: [in], actions: {actions}{', ' if more else ''}{more}}}\n"
