"""Layers: where values come from, low to high, laid over one another.

``filewatchd.yaml``; its ``rule_files`` (one layer, however many files); ``filewatchd.$FILEWATCHD_ENV.yaml`` beside it;
variables ``FILEWATCHD_SECTION__KEY``; flags. Mappings merge, lists replace, rules merge by name; two rules with one
name within one layer are a mistake. What a higher layer hides is checked all the same (but for the
options of actions, which only count as a whole).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from filewatchd.config import yaml
from filewatchd.config.complaints import SyntaxMistake
from filewatchd.config.convert import Converter, suggestion
from filewatchd.config.files import Wanted, check_rule_file, matches, read
from filewatchd.config.nodes import Node, Source, from_plain, merged
from filewatchd.config.rule import Rule, RuleDefaults
from filewatchd.config.schema import Control, Daemon, Logging
from filewatchd.errors import Mistake
from filewatchd.notation import quoted

SECTIONS: Mapping[str, type] = {"daemon": Daemon, "logging": Logging, "control": Control, "defaults": RuleDefaults}
_VARIABLE = re.compile(r"FILEWATCHD_([A-Za-z0-9]\w*?)__(\w+)", re.ASCII)


class Layers:
    """Every layer read, and laid over one another."""

    def __init__(self, environ: Mapping[str, str], mistakes: list[Mistake]) -> None:
        self.environ = environ
        self.mistakes = mistakes
        self.warnings: list[Mistake] = []
        self.files: list[str] = []
        self.rule_files: list[str] = []  # those of the files
        self.globs: list[str] = []
        self.sections: dict[str, Node] = {}
        self.rules: list[Node] = []  # merged by name; those without a name too, so that their mistakes are told
        self._places: dict[str, int] = {}  # a name's index in `rules`
        self._converter = Converter(environ, mistakes)
        self._partial = Converter(environ, mistakes, partial=True)

    def read(self, main: Wanted, flags: Mapping[str, object], fragment: str | None = None) -> None:
        """Read the main file and all that belongs to it; a fragment counts as one of its rule files."""
        base = self._document(main)
        if base is not None and base.get("version") is None:
            self.mistakes.append(base.mistake("'version' is missing", "write `version: 1` at the top"))
        tops = [node for node in (self._overlay(main.path), self._variables(), _flags(flags)) if node is not None]
        listed = [found for top in (base, *tops) if top is not None and (found := top.get("rule_files")) is not None]
        self._lay([base] if base is not None else [])
        self._lay(list(self._rule_files(listed[-1] if listed else None, main.path, fragment)))
        for top in tops:
            self._lay([top])

    # ---- reading

    def _document(self, wanted: Wanted) -> Node | None:
        self.files.append(wanted.path)
        return read(wanted, self.mistakes)

    def _rule_files(self, listed: Node | None, main: str, fragment: str | None) -> Iterator[Node]:
        found: Iterable[str] = ()
        if listed is not None and listed.value is not None:
            found = matches(listed, self._converter, self.warnings, self.globs)
        known = {os.path.realpath(path) for path in self.files}
        paths = [path for path in dict.fromkeys(found) if os.path.realpath(path) not in known]
        wanted = [Wanted(path) for path in paths]
        if fragment is not None:
            # A new version of a rule file takes the old one's place; configuration managers add to the name.
            wanted = [file for file in wanted if os.path.basename(file.path) not in os.path.basename(fragment)]
            directory = self._rule_directory(listed) or os.path.dirname(main)
            wanted.append(Wanted(fragment, directory, trusted=True))
        for file in wanted:
            self.rule_files.append(file.path)
            if (node := self._document(file)) is not None:
                check_rule_file(node, main, self.mistakes)
                yield node

    def _rule_directory(self, listed: Node | None) -> str | None:
        """Where rule files are kept: the directory of the first entry."""
        if listed is None or not isinstance(listed.value, list) or not listed.value:
            return None
        first = listed.value[0]
        return os.path.dirname(self._converter.path(first, str(first.value)))

    def _overlay(self, main: str) -> Node | None:
        name = self.environ.get("FILEWATCHD_ENV", "")
        if not name:
            return None
        if not re.fullmatch(r"[A-Za-z0-9_.-]+", name):
            message, hint = f"{quoted(name)} can't be part of a file's name", "use letters, digits, '_', '.' and '-'"
            self.mistakes.append(Mistake("environment FILEWATCHD_ENV", 0, 0, message, hint))
            return None
        path = os.path.join(os.path.dirname(main), f"filewatchd.{name}.yaml")
        return self._document(Wanted(path, remedy="create it, or unset FILEWATCHD_ENV"))

    def _variables(self) -> Node:
        """What the environment's ``FILEWATCHD_SECTION__KEY`` say; empty ones count as unset."""
        top: Node | None = None
        here = os.getcwd()
        for name, text in sorted(self.environ.items()):
            found = _VARIABLE.fullmatch(name)
            if found is None or not text:
                continue
            source = Source(f"environment {name}", here)
            keys = [found[1].lower(), *found[2].lower().split("__")]
            if keys[0] not in SECTIONS:
                hint = suggestion(keys[0], tuple(SECTIONS))
                self.mistakes.append(Mistake(source.name, 0, 0, f"there is no section {quoted(keys[0])}", hint))
                continue
            try:
                value = _placeless(yaml.parse(text, source, self.mistakes))
            except SyntaxMistake as error:
                self.mistakes.append(replace(error.mistake, line=0, column=0))
                continue
            top = merged(top, _nested(keys, value))
        return top or Node({}, Source("environment", here))

    # ---- laying over one another

    def _lay(self, layer: list[Node]) -> None:
        """Put a layer on top of what there is."""
        seen: dict[str, Node] = {}
        for top in layer:
            for name in SECTIONS:
                if (node := top.get(name)) is not None and node.value is not None:
                    self._section(name, node)
            rules = top.get("rules")
            if rules is None or rules.value is None:
                continue
            if not isinstance(rules.value, list):
                hint = "begin each rule with `- name:`"
                self.mistakes.append(rules.mistake(f"a list is expected here, not {rules.kind}", hint))
                continue
            for node in rules.value:
                self._rule(node, seen)

    def _section(self, name: str, node: Node) -> None:
        low = self.sections.get(name)
        if low is not None:
            self._partial.struct(SECTIONS[name], low)
        self.sections[name] = merged(low, node) or node

    def _rule(self, node: Node, seen: dict[str, Node]) -> None:
        named = node.get("name")
        name = named.value if named is not None else None
        if named is None or not isinstance(name, str):
            self.rules.append(node)
        elif name in seen:
            message = f"duplicate rule name {quoted(name)}; the first is at {seen[name].place}"
            self.mistakes.append(named.mistake(message, "rename one of them"))
            self.rules.append(node)  # all else about it is told, too
        elif name in self._places:
            low = self.rules[self._places[name]]
            self._partial.struct(Rule, low)
            self.rules[self._places[name]] = merged(low, node) or node
        else:
            self._places[name] = len(self.rules)
            self.rules.append(node)
        if named is not None and isinstance(name, str):
            seen.setdefault(name, named)


def _flags(flags: Mapping[str, object]) -> Node | None:
    """Flags, by key path: ``{"daemon.state_dir": "/srv/state"}``; None counts as not given. Raises TypeError."""
    top: Node | None = None
    for key, value in flags.items():
        if value is not None:
            keys = key.split(".")
            source = Source(f"flag --{keys[-1].replace('_', '-')}", os.getcwd())
            top = merged(top, _nested(keys, from_plain(value, source)))
    return top


def _nested(keys: list[str], node: Node) -> Node:
    for key in reversed(keys):
        node = Node({key: node}, node.source)
    return node


def _placeless(node: Node) -> Node:
    """Without lines: a variable has none."""
    if isinstance(node.value, dict):
        return Node({key: _placeless(item) for key, item in node.value.items()}, node.source)
    if isinstance(node.value, list):
        return Node([_placeless(item) for item in node.value], node.source)
    return Node(node.value, node.source)
