"""Doctor's checks of rules and roots: facts in, findings out."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence

from filewatchd.extras import backend_lacks
from filewatchd.model import RuleSettings
from filewatchd.service.findings import Facts, Finding, Severity
from filewatchd.service.survey import BOUND, RootFacts
from filewatchd.service.trees import Scope, Tree
from filewatchd.watch.backends.choose import choose

_ENDINGS_SHOWN = 4


def configuration_warnings(facts: Facts) -> Iterator[Finding]:
    """What `filewatchd check` warns of: capabilities an action lacks, users, rule files."""
    for warning in facts.configuration.warnings:
        where = f"{warning.file}:{warning.line}:{warning.column}" if warning.line else warning.file
        why = "the daemon starts, but can't do all that is configured"
        yield Finding(Severity.WARNING, "configuration", warning.message, why, warning.hint, path=where)


def disabled_rules(facts: Facts) -> Iterator[Finding]:
    """Rules that do nothing."""
    for rule in facts.configuration.rules:
        if not rule.enabled:
            yield Finding(
                Severity.NOTE, "rule-disabled", "the rule is disabled", "nothing is watched or done for it",
                "set `enabled: true` to put it to work", rule.name,
            )  # fmt: skip


def endless_archives(facts: Facts) -> Iterator[Finding]:
    """Logs whose archives nobody deletes."""
    for rule in facts.configuration.rules:
        for action in rule.actions:
            if action.name == "rotate" and getattr(action.options, "keep", None) is None:
                yield Finding(
                    Severity.WARNING, "archives-endless", "archives are kept for ever: rotate has no `keep`",
                    "they fill the filesystem one day",
                    "add limits, such as `keep: {age: 30d, total: 5GiB}`", rule.name,
                )  # fmt: skip


def stalled_roots(facts: Facts) -> Iterator[Finding]:
    """Roots whose filesystem doesn't answer."""
    for root in facts.survey.roots:
        if root.stalled:
            yield _of(
                root, Severity.ERROR, "root-stalled",
                f"its filesystem{_named(root)} doesn't answer",
                "the root is stalled: no change below it is noticed until the filesystem answers again",
                "look at its server or program, and mount it anew: `umount -l` its mount point, then `mount` it",
            )  # fmt: skip


def missing_roots(facts: Facts) -> Iterator[Finding]:
    """Roots that lead nowhere."""
    for root in facts.survey.roots:
        if root.place is None or not root.empty:
            continue
        if root.absent:
            yield _of(
                root, Severity.NOTE, "root-missing", f"nothing is there yet; the daemon {root.place.why}",
                "the rule has nothing to do until it appears",
                f"nothing, if that is meant; else correct the path, or `mkdir -p {root.path}`",
            )  # fmt: skip
        else:
            yield _of(
                root, Severity.WARNING, "root-unusable", f"it can't be watched: {root.place.why}",
                "the root stays `waiting`, and the rule does nothing for it",
                "correct the path, or let the daemon's user into it (run doctor as that user)",
            )  # fmt: skip


def empty_globs(facts: Facts) -> Iterator[Finding]:
    """Globs that name nothing."""
    for rule, glob in facts.survey.empty:
        yield Finding(
            Severity.NOTE, "root-missing", "nothing matches this glob yet; the daemon waits for what will",
            "the rule has nothing to do until something matches",
            "nothing, if that is meant; else correct it: `*` stays within one directory, hidden names need their dot",
            rule.name, glob,
        )  # fmt: skip


def backends(facts: Facts) -> Iterator[Finding]:
    """Roots whose changes are noticed late, or perhaps not at all."""
    for root in facts.survey.roots:
        if root.place is None or root.place.real is None:
            continue
        asked, best = root.rules[0].backend, choose("auto", root.filesystem)
        if lack := backend_lacks(root.choice.name):
            why = "the daemon can't watch this root"
            yield _of(root, Severity.ERROR, "backend-missing", lack[0], why, lack[1])
        elif root.choice.name == "poll" and asked == "auto":
            yield _of(
                root, Severity.NOTE, "root-polled", f"it is polled: {root.choice.reason}",
                "changes are noticed only when the tree is next scanned, and scans cost time",
                "nothing, if that is soon enough; else run filewatchd on the host that stores the files",
            )  # fmt: skip
        elif best.name == "poll" and asked != "poll":
            yield _of(
                root, Severity.WARNING, "backend-poor", f"the rule insists on {asked}, but {best.reason}",
                "changes that the kernel doesn't tell of are missed until the next full scan",
                "remove `backend:` from the rule, or write `backend: auto`",
            )  # fmt: skip


def unreadable(facts: Facts) -> Iterator[Finding]:
    """Directories that can't be looked into."""
    for root, tree in _trees(facts.survey.roots):
        for why, number in tree.failures.items():
            which = tree.failed[why] if number == 1 else f"{tree.failed[why]} and {number - 1:,} more"
            yield _of(
                root, Severity.WARNING, "directories-unreadable",
                f"{number:,} of its directories can't be looked into: {why} ({which})",
                "the root is degraded: changes there aren't noticed",
                "exclude them in the rule, or let the daemon's user read them (run doctor as that user to be sure)",
            )  # fmt: skip


def uncounted(facts: Facts) -> Iterator[Finding]:
    """Trees too large to be counted."""
    for root, tree in _trees(facts.survey.roots):
        if tree.bounded:
            yield _of(
                root, Severity.NOTE, "count-ended", f"counting ended at {BOUND:,} directories over all roots",
                "what is said of watches and patterns is too low by the rest",
                "exclude what needn't be watched, or make the root a smaller directory",
            )  # fmt: skip


def idle_patterns(facts: Facts) -> Iterator[Finding]:
    """Patterns that match nothing that is there. Where not everything could be looked at, nothing is claimed."""
    for rule in facts.configuration.rules:
        there = [root for root in facts.survey.roots if rule in root.rules and not root.empty]
        trees = [root.tree for root in there if root.tree is not None and root.tree.whole]
        if not trees or len(trees) < len(there):
            continue
        scopes = [scope for tree in trees for scope in tree.scopes if scope.rule is rule]
        for text in rule.include:
            if all(text in scope.idle_include for scope in scopes):
                yield _idle_include(rule, text, scopes)
        for text in rule.exclude:
            if all(text in scope.idle_exclude for scope in scopes):
                yield Finding(
                    Severity.NOTE, "exclude-idle", f"the exclude pattern {text} matches nothing that is there",
                    "if it should, the rule handles files that it was not meant for",
                    _hint(rule, text) or "nothing, if it is for files to come; else correct or remove it", rule.name,
                )  # fmt: skip


def _idle_include(rule: RuleSettings, text: str, scopes: Sequence[Scope]) -> Finding:
    """A warning where files are there that it doesn't match; in empty trees it is only good to know."""
    endings = sum((scope.endings for scope in scopes), start=Counter[str]())
    negative = text.startswith("!")
    shown = ", ".join(f"{end or 'none'} ({number:,})" for end, number in endings.most_common(_ENDINGS_SHOWN))
    there = f"; the files there end in {shown}" if shown else "; there are no files yet"
    return Finding(
        Severity.WARNING if endings and not negative else Severity.NOTE, "include-idle",
        f"the include pattern {text} matches no file that is there{there}",
        "the rule does nothing for what was meant by it",
        _hint(rule, text) or "correct or remove it; patterns are relative to the root, and case matters", rule.name,
    )  # fmt: skip


def _hint(rule: RuleSettings, text: str) -> str:
    """The usual mistake: a pattern with the root's path in it."""
    plain = text.removeprefix("!")
    for root in rule.roots:
        if plain.startswith(f"{root}/"):
            return f"patterns are relative to the root: write {text.replace(root, '', 1)}"
    return ""


def own_output(facts: Facts) -> Iterator[Finding]:
    """What an action says of each place that a root leads to.

    `filewatchd check` asks it about the roots as they are written; here, globs and symlinks are resolved.
    """
    for rule in facts.configuration.rules:
        for path in _places(facts.survey.roots, rule):
            for spec in rule.actions:
                package = facts.registry[spec.name]
                for problem in package.check(spec.options, rule._replace(roots=(path,))):
                    yield Finding(
                        Severity.ERROR, "action-unfit", problem.message,
                        f"what the action {spec.name} does in this root won't work or never come to rest",
                        problem.hint, rule.name, path,
                    )  # fmt: skip


def _places(roots: Sequence[RootFacts], rule: RuleSettings) -> list[str]:
    """Where the rule's roots lead, but for those that are written so in the rule and stand first there."""
    found: dict[str, None] = {}
    for root in roots:
        if rule in root.rules and root.place is not None and root.place.real is not None:
            found |= dict.fromkeys((root.path, root.place.real))
    return [path for path in found if path != rule.roots[0] and os.path.isabs(path)]


def _trees(roots: Sequence[RootFacts]) -> list[tuple[RootFacts, Tree]]:
    """Each tree once, with a root that leads to it."""
    return list({id(root.tree): (root, root.tree) for root in roots if root.tree is not None}.values())


def _named(root: RootFacts) -> str:
    return f" ({root.filesystem})" if root.filesystem else ""


def _of(root: RootFacts, severity: Severity, code: str, message: str, why: str, remedy: str) -> Finding:
    return Finding(severity, code, message, why, remedy, ", ".join(rule.name for rule in root.rules), root.path)
