"""Load: files, environment and flags -> one `Configuration`, or every mistake in them.

The way: `files` reads a file (who may write it, `yaml` under bounds) into `nodes`; `layers` lays files, environment
and flags over one another; `convert` turns nodes into the structs of `schema`; `rules` builds each rule. Every step
goes on after a mistake, so that one run tells all of them.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from filewatchd.config.configuration import Configuration, Row, digest
from filewatchd.config.convert import Converter, Invalid, type_of
from filewatchd.config.files import Wanted
from filewatchd.config.layers import Layers
from filewatchd.config.nodes import Node
from filewatchd.config.ownfiles import OwnFiles
from filewatchd.config.rivals import told
from filewatchd.config.rule import RuleDefaults
from filewatchd.config.rules import PATIENCE, RuleBuilder
from filewatchd.config.schema import Control, Daemon, Logging
from filewatchd.config.show import default_rows, rows
from filewatchd.errors import ConfigError, Mistake, StalledError
from filewatchd.extras import lacks
from filewatchd.model import RuleSettings
from filewatchd.patience import attend
from filewatchd.security import others_may_write

if TYPE_CHECKING:
    from filewatchd.actions.base import ActionPackage


def load(
    path: Path,
    *,
    registry: Mapping[str, ActionPackage],
    environ: Mapping[str, str],
    flags: Mapping[str, object],
    text: str | None = None,
    fragment: Path | None = None,
    with_rows: bool = False,
) -> Configuration:
    """Load a configuration whole, or not at all.

    Args:
        path: the main file.
        registry: action packages by name.
        environ: for ``${VAR}``, ``~``, ``FILEWATCHD_ENV`` and ``FILEWATCHD_SECTION__KEY``.
        flags: values of flags by key path, such as ``{"daemon.state_dir": "/srv/state"}``; None means not given.
        text: what the main file holds, where it need not be read (nor exist).
        fragment: a file to check as if it were one of the rule files.
        with_rows: fill in `Configuration.rows`.

    Raises:
        ConfigError: with every mistake.
    """
    mistakes: list[Mistake] = []
    layers = Layers(environ, mistakes)
    layers.read(Wanted(os.path.abspath(path), text=text), flags, os.path.abspath(fragment) if fragment else None)
    loading = _Loading(layers, Converter(environ, mistakes), registry, [] if with_rows else None)
    return loading.result()


S = TypeVar("S", Daemon, Logging, Control)


class _Loading:
    """One load, after its layers were read."""

    def __init__(
        self,
        layers: Layers,
        converter: Converter,
        registry: Mapping[str, ActionPackage],
        shown: list[Row] | None,
    ) -> None:
        self._layers = layers
        self._converter = converter
        self._shown = shown
        self._defaults = layers.sections.get("defaults")
        self._builder = RuleBuilder(registry, self._defaults, converter)

    def result(self) -> Configuration:
        """Raises ConfigError."""
        daemon, logging = self._section("daemon", Daemon), self._section("logging", Logging)
        control = self._section("control", Control)
        if self._defaults is not None:
            self._converter.struct(RuleDefaults, self._defaults)
        settings = [(node, self._builder.build(node, self._shown)) for node in self._layers.rules]
        built = [(node, rule) for node, rule in settings if rule is not None]
        self._check_names(built)
        self._check_users(built)
        if control is not None:
            self._check_monitoring(control)
        if logging is not None:
            self._check_logging(logging)
        if daemon is not None and logging is not None:
            self._check_own_files(built, OwnFiles(daemon, logging, control or Control()))
        mistakes = self._converter.mistakes
        if mistakes or daemon is None or logging is None or control is None:
            raise ConfigError(sorted(set(mistakes)))
        rules = tuple(rule for _, rule in built)
        digests = {rule.name: _digest(rule) for rule in rules}
        shown = tuple(self._shown or ())
        warnings = (*self._layers.warnings, *self._builder.warnings, *self._rivals())
        files, globs, origins = tuple(self._layers.files), tuple(self._layers.globs), self._builder.origins
        return Configuration(daemon, logging, control, rules, digests, files, warnings, shown, origins, globs)

    def _rivals(self) -> list[Mistake]:
        """Warnings: both rules work, each for what the other one hasn't."""
        found: list[Mistake] = []
        for action, rivalling in self._builder.rivalling.items():
            with suppress(StalledError):  # then it isn't known what lies there
                found += attend(partial(told, action, rivalling), PATIENCE)
        return found

    def _section(self, name: str, schema: type[S]) -> S | None:
        node = self._layers.sections.get(name)
        if node is None:
            if self._shown is not None:
                self._shown.extend(default_rows(schema, (name,)))
            return schema()
        known = len(self._converter.mistakes)
        section: S | Invalid = self._converter.struct(schema, node)
        if isinstance(section, Invalid):
            return None
        if self._shown is not None and len(self._converter.mistakes) == known:
            self._shown.extend(rows(type_of(schema), node, (name,), self._converter))
        return section

    def _check_names(self, built: list[tuple[Node, RuleSettings]]) -> None:
        names = {rule.name for _, rule in built}
        for node, rule in built:
            if rule.renamed_from in names - {rule.name}:
                message = f"a rule named {rule.renamed_from} still exists"
                self._converter.fail(node.find(["renamed_from"]), message, "remove renamed_from, or that rule")

    def _check_users(self, built: list[tuple[Node, RuleSettings]]) -> None:
        """A warning, not a mistake: a root daemon's configuration may be checked by anybody."""
        for node, rule in built:
            if rule.user is not None and os.geteuid() not in (0, pwd.getpwnam(rule.user).pw_uid):
                message = f"only a daemon run by root can do a rule's work as {rule.user}"
                self._layers.warnings.append(node.find(["user"]).mistake(message, "run it as root, or remove user"))

    def _check_logging(self, logging: Logging) -> None:
        node = self._layers.sections.get("logging")
        if node is not None and logging.console == "journal" and (lack := lacks("systemd")):
            self._converter.fail(node.find(["console"]), f"logging.console can't be journal: {lack[0]}", lack[1])

    def _check_monitoring(self, control: Control) -> None:
        node = self._layers.sections.get("control")
        for key, value in (("listen", control.listen), ("textfile", control.textfile)):
            if node is not None and value is not None and (lack := lacks("metrics")):
                self._converter.fail(node.find([key]), f"control.{key} can't work: {lack[0]}", lack[1])
        if node is None or control.textfile is None:
            return
        place = node.find(["textfile"])
        if not control.textfile.endswith(".prom"):
            self._converter.fail(place, "node_exporter reads only files whose names end in .prom", "rename it")
        if os.geteuid() == 0 and (reason := others_may_write(os.path.dirname(control.textfile))):
            hint = "put it where only root may write"
            self._converter.fail(place, f"run by root, this place for a file is unsafe: {reason}", hint)

    def _check_own_files(self, built: list[tuple[Node, RuleSettings]], own: OwnFiles) -> None:
        for node, rule in built:
            for seen in own.seen_by(rule):
                message = f"the rule would see the daemon's own files: {seen.path} ({seen.what})"
                hint = f'add "{seen.exclude}" to exclude, or put them elsewhere'
                self._converter.fail(node.find(["roots", seen.root]), message, hint)


def _digest(rule: RuleSettings) -> str:
    return digest([rule._replace(actions=()), [action.key for action in rule.actions]])
