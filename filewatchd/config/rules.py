"""Rules: one rule's layers -> its settings.

Low to high: our defaults, what the rule's actions bring (where two disagree, the first action wins), ``defaults:``,
the rule itself.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec

from filewatchd.capabilities import CAPABILITIES, held
from filewatchd.config.configuration import Row, digest
from filewatchd.config.convert import INVALID, Converter, suggestion, type_of
from filewatchd.config.nodes import Node, Source, from_plain, merged
from filewatchd.config.origins import Origins, origins
from filewatchd.config.rule import Rule
from filewatchd.config.show import BUILT_IN, rows
from filewatchd.errors import Mistake, StalledError
from filewatchd.extras import backend_lacks, lacks
from filewatchd.model import ActionSpec, Busy, Event, Expect, Limit, Retry, RuleSettings
from filewatchd.notation import quoted
from filewatchd.patience import attend
from filewatchd.security import others_may_write

if TYPE_CHECKING:
    from filewatchd.actions.base import ActionPackage, Needs, OwnFile, Problem

T = TypeVar("T")
PATIENCE = 5.0  # seconds for a root to answer
ACTION_DEFAULTS = ("batch", "ready", "initial", "changes", "retry", "follow_symlinks")  # what an action may bring


class ActionNode(NamedTuple):
    """An action as it stands in the file, with its converted options."""

    package: ActionPackage
    options: Any
    node: Node
    spec: ActionSpec | None = None  # of one in options or notifications; held so that it keeps its id


class RuleBuilder:
    """Builds rules' settings; the converter gathers the mistakes."""

    def __init__(
        self,
        registry: Mapping[str, ActionPackage],
        defaults: Node | None,
        converter: Converter,
    ) -> None:
        self._registry = registry
        self._defaults = defaults
        self._converter = converter
        self._nested: dict[int, ActionNode] = {}  # actions in options and notifications, by their specs' ids
        self._owners: dict[str, tuple[str, ActionNode]] = {}  # rule and action, by the path of a file that is theirs
        self.rivalling: dict[str, list[tuple[RuleSettings, Node]]] = {}  # who wants its files for itself, by action
        self.warnings: list[Mistake] = []
        converter.actions = self._listed
        self.origins: dict[str, Origins] = {}

    def build(self, node: Node, shown: list[Row] | None = None) -> RuleSettings | None:
        """The settings, or None where there are mistakes. ``shown`` gets the rule's rows."""
        known = len(self._converter.mistakes)
        actions = list(self._actions(node))
        whole = self._whole(node, actions)
        rule = self._sound(self._converter, Rule, whole)
        self._check_timing(node, whole)
        if rule is INVALID:
            return None
        settings = _settings(rule, actions)
        self._check_roots(whole, settings)
        if lack := backend_lacks(settings.backend):
            self._converter.fail(whole.find(["backend"]), *lack)
        for action in actions:
            self._check_action(action, settings)
        for event, spec in _notifications(settings):
            self._check_action(self._nested[id(spec)], notified(settings, event))
        if len(self._converter.mistakes) > known:
            return None
        self.origins[rule.name] = origins(node, whole)
        if shown is not None:
            shown.extend(self._rows(rule.name, whole, actions))
        return settings

    def _sound(self, converter: Converter, schema: type, node: Node) -> Any:
        """A struct, with defaults in the place of its mistakes: what else there is to check is checked all the same."""
        found = converter.struct(schema, node)
        if found is not INVALID or not isinstance(node.value, dict):
            return found
        fields = {field.encode_name for field in msgspec.structs.fields(schema)} & node.value.keys()
        sound = {key: node.value[key] for key in fields if converter.field(schema, node, key) is not INVALID}
        return converter.scratch().struct(schema, Node(sound, node.source, node.line, node.column, node.key))

    # ---- actions

    def _actions(self, node: Node) -> Iterator[ActionNode]:
        listed = node.get("actions")
        if listed is not None:
            yield from self._entries(self._converter, listed)

    def _entries(self, converter: Converter, listed: Node) -> Iterator[ActionNode]:
        for item in listed.value if isinstance(listed.value, list) else ():
            if not isinstance(item.value, dict):
                hint = f"write `{item.value}: {{}}`" if item.value in self._registry else "write `- NAME: {...}`"
                converter.fail(item, f"an action with its options is expected here, not {item.kind}", hint)
            elif len(item.value) != 1:
                converter.fail(item, "an entry names exactly one action", "begin each action with its own dash")
            else:
                yield from self._action(converter, *next(iter(item.value.items())))

    def _action(self, converter: Converter, name: str, node: Node) -> Iterator[ActionNode]:
        package = self._registry.get(name)
        if package is None:
            hint = suggestion(name, self._registry)
            converter.mistakes.append(node.key_mistake(f"there is no action {quoted(name)}", hint))
            return
        if node.value is None:
            node = Node({}, node.source, node.line, node.column, node.key)
        options = self._sound(converter, package.Options, node)
        if options is not INVALID:
            yield ActionNode(package, options, node)

    def _listed(self, converter: Converter, node: Node) -> Any:
        """A list of actions somewhere else than in a rule's ``actions``: specs, or INVALID."""
        if not isinstance(node.value, list):
            return converter.fail(node, f"a list of actions is expected here, not {node.kind}", "write `- NAME: {...}`")
        known = len(converter.mistakes)
        found = list(self._entries(converter, node))
        if len(converter.mistakes) > known:
            return INVALID
        specs = tuple(_spec(action) for action in found)
        self._nested |= {id(spec): action._replace(spec=spec) for spec, action in zip(specs, found, strict=True)}
        return specs

    def _check_action(self, action: ActionNode, settings: RuleSettings) -> None:
        problems: Iterable[Problem] = self._asked(
            action, lambda: list(action.package.check(action.options, settings)), ()
        )
        for problem in problems:
            self._converter.fail(action.node.find(problem.where), problem.message, problem.hint)
        needs = self._asked(action, partial(action.package.needs, action.options), None)
        if needs is not None:
            self._check_needs(action, needs)
            if needs.sole and settings.event is None:
                self.rivalling.setdefault(action.package.name, []).append((settings, action.node))
        self._check_own_files(action, settings)

    def _check_own_files(self, action: ActionNode, settings: RuleSettings) -> None:
        """No file belongs to two actions."""
        told = getattr(action.package, "own_files", None)
        if told is None:
            return
        files: list[OwnFile] = self._asked(action, lambda: list(told(action.options, settings)), [])
        for path, where in files:
            rule, owner = self._owners.setdefault(path, (settings.name, action))
            if owner.node is not action.node:
                name = owner.package.name
                message = f"{name} of rule {rule} writes {quoted(path)}, too: they would overwrite each other's"
                self._converter.fail(action.node.find(where), message, "give one of them another name")

    def _check_needs(self, action: ActionNode, needs: Needs) -> None:
        name = action.package.name
        for extra in needs.extras:
            if lack := lacks(extra):
                self._converter.fail(action.node, f"the action {name} can't work so: {lack[0]}", lack[1])
        for event in sorted(needs.events):
            self._converter.fail(action.node, f"the action {name} asks for events that no backend tells of: {event}")
        for capability in needs.capabilities:
            if capability not in CAPABILITIES:
                self._converter.fail(action.node, f"the action {name} asks for {capability}, which Linux doesn't know")
            elif not held(capability):  # a warning: a root daemon's configuration may be checked by anybody
                message = f"the action {name} needs {capability}, which a daemon run like this hasn't"
                self.warnings.append(action.node.mistake(message, "run it as root, or grant it that capability"))

    def _asked(self, action: ActionNode, question: Callable[[], T], otherwise: T) -> T:
        """What a package answers. A plug-in that breaks here must not take a running daemon's reload along."""
        try:
            return question()
        except Exception as error:  # noqa: BLE001
            what = f"the action {action.package.name} failed to check this: {type(error).__name__}: {error}"
            self._converter.fail(action.node, what, "this is a mistake in the action's package; report it there")
            return otherwise

    # ---- layers

    def _whole(self, node: Node, actions: list[ActionNode]) -> Node:
        whole: Node | None = None
        for action in reversed(actions):
            brought: Mapping[str, Any] = self._asked(action, partial(action.package.rule_defaults, action.options), {})
            source = Source(f"action {action.package.name}", node.source.directory)
            values = {key: value for key, value in brought.items() if key in ACTION_DEFAULTS}
            whole = merged(whole, from_plain(values, source))
        whole = merged(merged(whole, self._defaults), node) or node
        stated, busy = whole.get("concurrency"), whole.get("on_busy")
        if isinstance(whole.value, dict) and (stated is None or stated.value is None):
            jobs = Node(2 if busy is not None and busy.value == Busy.PARALLEL else 1, Source(BUILT_IN, "/"))
            whole = Node({**whole.value, "concurrency": jobs}, whole.source, whole.line, whole.column)
        return whole

    def _rows(self, name: str, whole: Node, actions: list[ActionNode]) -> Iterator[Row]:
        key = ("rules", name)
        for row in rows(type_of(Rule), whole, key, self._converter):
            if row.key[2] not in ("name", "actions", *_NOTIFICATIONS):
                yield row
        for key_of_list in _NOTIFICATIONS:
            listed = whole.get(key_of_list)
            for index, (action_name, item) in enumerate(_named(listed)):
                where = (*key, key_of_list, index, action_name)
                options_of: Any = self._registry[action_name].Options
                yield from rows(type_of(options_of), item, where, self._converter)
        for index, action in enumerate(actions):
            where = (*key, "actions", index, action.package.name)
            options: Any = action.package.Options
            yield from rows(type_of(options), action.node, where, self._converter)

    # ---- checks over several keys

    def _check_timing(self, node: Node, whole: Node) -> None:
        """Asks for each value by itself: mistakes elsewhere in the rule don't hide these."""
        settle, max_wait, on_busy, name, former = (
            self._converter.field(Rule, whole, key) for key in ("settle", "max_wait", "on_busy", "name", "renamed_from")
        )
        if INVALID not in (settle, max_wait) and settle > max_wait:
            place = node.get("settle") or node.get("max_wait") or whole.find(["settle"])
            self._converter.fail(place, "settle is longer than max_wait", "make max_wait at least as long as settle")
        stated = node.get("concurrency")
        if stated is not None and stated.value is not None and on_busy not in (INVALID, Busy.PARALLEL):
            hint = "add `on_busy: parallel`, or remove concurrency"
            self._converter.fail(stated, "concurrency counts only with `on_busy: parallel`", hint)
        if former is not INVALID and former is not None and former == name:
            place = whole.find(["renamed_from"])
            self._converter.fail(place, "renamed_from is the rule's own name", "write its former name, or remove it")

    def _check_roots(self, whole: Node, settings: RuleSettings) -> None:
        listed = whole.find(["roots"])
        for index, root in enumerate(settings.roots):
            place = listed.find([index])
            if root in settings.roots[:index]:
                self._converter.fail(place, f"the root {root} stands here twice", "remove one of them")
            if settings.user is None and os.geteuid() == 0 and (reason := self._unsafe(root, place)):
                message = f"run by root, this root is unsafe: {reason}"
                hint = (
                    "set `user:` to do the rule's work as that user (or, knowingly, as root), or change who may write"
                )
                self._converter.fail(place, message, hint)

    def _unsafe(self, root: str, place: Node) -> str | None:
        try:
            return attend(lambda: others_may_write(fixed_part(root)), PATIENCE)
        except StalledError:
            message = f"{root} doesn't answer, so it isn't known who may write there"
            self.warnings.append(place.mistake(message, "check again when its filesystem answers, or set `user:`"))
            return None


def fixed_part(root: str) -> str:
    """A root up to its first wildcard."""
    parts = root.split("/")
    magic = next((index for index, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    return "/".join(parts[:magic]) or "/"


_NOTIFICATIONS = tuple(f"on_{event.value}" for event in Event)


def _named(listed: Node | None) -> Iterator[tuple[str, Node]]:
    """The entries of a list of actions that has no mistakes."""
    for item in listed.value if listed is not None and isinstance(listed.value, list) else ():
        for name, options in item.value.items() if isinstance(item.value, dict) else ():
            empty = Node({}, options.source, options.line, options.column, options.key)
            yield name, empty if options.value is None else options


def _notifications(settings: RuleSettings) -> Iterator[tuple[Event, ActionSpec]]:
    for event in Event:
        for spec in getattr(settings, f"on_{event.value}"):
            yield event, spec


def notified(rule: RuleSettings, event: Event) -> RuleSettings:
    """What a rule is to the actions of its notifications: they have no roots, and no changes."""
    return rule._replace(roots=(), actions=(), include=(), exclude=(), event=event)


def _told(rule: Rule, actions: list[ActionNode], key: str) -> tuple[ActionSpec, ...]:
    """A rule's own notifications of an event, and those that stand in its actions' options."""
    return sum((tuple(getattr(action.options, key, ())) for action in actions), tuple(getattr(rule, key)))


def _settings(rule: Rule, actions: list[ActionNode]) -> RuleSettings:
    limit = rule.limit
    return RuleSettings(
        name=rule.name,
        roots=rule.roots,
        actions=tuple(_spec(action) for action in actions),
        description=rule.description,
        enabled=rule.enabled,
        recursive=rule.recursive,
        include=rule.include,
        exclude=rule.exclude,
        presets=rule.presets,
        changes=frozenset(rule.changes),
        ready=rule.ready,
        ready_timeout=rule.ready_timeout,
        settle=rule.settle,
        max_wait=rule.max_wait,
        batch=rule.batch,
        initial=rule.initial,
        on_busy=rule.on_busy,
        concurrency=rule.concurrency or 1,
        retry=Retry(rule.retry.attempts, rule.retry.backoff, rule.retry.max_backoff),
        timeout=rule.timeout,
        limit=Limit(limit.paths, limit.per) if limit else None,
        user=rule.user,
        strict=rule.strict,
        follow_symlinks=rule.follow_symlinks == "files",
        renamed_from=rule.renamed_from,
        backend=rule.backend,
        expect=Expect(*msgspec.structs.astuple(rule.expect)) if rule.expect else None,
        on_failure=_told(rule, actions, "on_failure"),
        on_recovery=_told(rule, actions, "on_recovery"),
        on_finding=_told(rule, actions, "on_finding"),
    )


def _spec(action: ActionNode) -> ActionSpec:
    return ActionSpec(action.package.name, action.options, digest([action.package.name, action.options]))
