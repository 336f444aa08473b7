"""Which actions there are: the built-in ones, and those of installed packages (entry points ``filewatchd.actions``).

A package is imported when its action is first asked for, and a broken one is told where a rule uses it, with that
place in the configuration: it mustn't take down rules that have nothing to do with it.
"""

from __future__ import annotations

import importlib
import logging
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib.machinery import PathFinder
from importlib.metadata import EntryPoint, entry_points
from typing import Any, cast

from msgspec import Struct

from filewatchd.actions.base import Action, ActionPackage, Context, Needs, Problem
from filewatchd.errors import FatalError, FilewatchdError
from filewatchd.model import RuleSettings
from filewatchd.security import others_may_write

GROUP = "filewatchd.actions"
_BUILT_IN = {
    "exec": "filewatchd.actions.exec",
    "expire": "filewatchd.actions.expire",
    "log": "filewatchd.actions.log",
    "reload": "filewatchd.actions.reload",
    "rotate": "filewatchd.actions.rotate",
    "webhook": "filewatchd.actions.webhook",
    "checksum": "filewatchd.actions.checksum.package",
}
_MEMBERS = ("Options", "check", "rule_defaults", "needs", "open")

log = logging.getLogger(__name__)


class BrokenOptions(Struct, frozen=True):
    """Takes whatever stands there: the package that could read it can't be loaded."""


class Broken:
    """Stands for a package that can't be loaded, and says so where it is used."""

    Options = BrokenOptions

    def __init__(self, name: str, reason: str, hint: str) -> None:
        self.name = name
        self.problem = Problem(f"the action {name} can't be loaded: {reason}", hint)

    def check(self, options: Any, rule: RuleSettings) -> Iterable[Problem]:
        return [self.problem]

    def rule_defaults(self, options: Any) -> Mapping[str, Any]:
        return {}

    def needs(self, options: Any) -> Needs:
        return Needs()

    def open(self, options: Any, ctx: Context) -> Action:
        raise FatalError(f"{self.problem.message}; {self.problem.hint}", exit_code=78)


class UnusableError(FilewatchdError):
    """A plug-in that can't be used: why, and what to do."""

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(reason)
        self.hint = hint


class Packages(Mapping[str, ActionPackage]):
    """Action packages by name, each loaded when it is first asked for."""

    def __init__(self, plugins: Iterable[EntryPoint]) -> None:
        self._plugins: dict[str, list[EntryPoint]] = {}
        self._loaded: dict[str, ActionPackage] = {}
        for plugin in plugins:
            if plugin.name in _BUILT_IN:
                log.warning("the package %s brings an action %s, which is built in", origin(plugin), plugin.name)
            else:
                self._plugins.setdefault(plugin.name, []).append(plugin)

    def __getitem__(self, name: str) -> ActionPackage:
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*_BUILT_IN, *self._plugins}))

    def __len__(self) -> int:
        return len(_BUILT_IN) + len(self._plugins)

    def __contains__(self, name: object) -> bool:
        return name in _BUILT_IN or name in self._plugins

    def _load(self, name: str) -> ActionPackage:
        if name in _BUILT_IN:
            return cast(ActionPackage, importlib.import_module(_BUILT_IN[name]))
        try:
            return load(name, self._plugins[name])
        except UnusableError as error:
            return Broken(name, str(error), error.hint)


def packages() -> Packages:
    """Every action that can be configured here."""
    return Packages(entry_points(group=GROUP))


def load(name: str, plugins: list[EntryPoint]) -> ActionPackage:
    """Import a plug-in.

    Raises:
        UnusableError: it can't be told which one is meant, others may write it, or it is broken.
    """
    plugin, package = imported(plugins)
    missing = [member for member in _MEMBERS if not hasattr(package, member)]
    if missing or getattr(package, "name", None) != name:
        what = f"has no {', '.join(missing)}" if missing else f"calls itself {getattr(package, 'name', None)!r}"
        raise UnusableError(f"{plugin.value} of {origin(plugin)} {what}", "report it to its authors")
    return cast(ActionPackage, package)


def imported(plugins: list[EntryPoint]) -> tuple[EntryPoint, Any]:
    """What the one entry point of a name stands for.

    Raises:
        UnusableError: it can't be told which one is meant, others may write it, or it is broken.
    """
    if len(plugins) > 1:
        raise UnusableError(f"{' and '.join(map(origin, plugins))} both bring it", "uninstall one of them")
    plugin = plugins[0]
    for path in files_of(plugin):
        if reason := others_may_write(path):
            raise UnusableError(f"others could change what it does: {reason}", "install it where only root may write")
    try:
        return plugin, plugin.load()
    except ImportError as error:
        hint = f"install what {origin(plugin)} needs, or its missing extra"
        raise UnusableError(f"{origin(plugin)} needs {error.name or 'something'} ({error})", hint) from error
    except Exception as error:
        raise UnusableError(f"{origin(plugin)}: {type(error).__name__}: {error}", "report it to its authors") from error


def files_of(plugin: EntryPoint) -> Iterator[str]:
    """The Python files of the plug-in's top package, found without running any of it."""
    top = plugin.module.partition(".")[0]
    spec = PathFinder.find_spec(top, sys.path)
    if spec is None:
        return
    if spec.origin is not None:
        yield spec.origin
    for folder in spec.submodule_search_locations or ():
        for directory, _, names in os.walk(folder):
            yield from (os.path.join(directory, name) for name in names if name.endswith((".py", ".so")))


def origin(plugin: EntryPoint) -> str:
    """The distribution an entry point belongs to."""
    return plugin.dist.name if plugin.dist is not None else plugin.value
