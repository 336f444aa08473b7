"""Notifications in the configuration: in rules, in defaults, in an action's options; and their mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from filewatchd.actions.registry import packages
from filewatchd.config.configuration import Configuration
from filewatchd.config.load import load
from filewatchd.errors import ConfigError

HEAD = "version: 1\n"


def loaded(tmp_path: Path, rule: str, top: str = "", *, rows: bool = False) -> Configuration:
    tmp_path.chmod(0o755)
    lines = f"  - name: r\n    user: root\n    roots: [{tmp_path}/in]\n    actions: [{{log: {{}}}}]\n{rule}"
    text = f"{HEAD}{top}rules:\n{lines}"
    return load(Path("/x.yaml"), registry=packages(), environ={}, flags={}, text=text, with_rows=rows)


def refused(tmp_path: Path, rule: str, top: str = "") -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, rule, top)
    return [f"{mistake.line}:{mistake.column}: {mistake.message}" for mistake in caught.value.mistakes]


def test_a_rules_list_replaces_the_defaults(tmp_path: Path) -> None:
    top = "defaults: {on_failure: [{log: {level: error}}], on_finding: [{log: {}}, {exec: {command: ['true']}}]}\n"
    (rule,) = loaded(tmp_path, "    on_finding: []\n", top).rules
    assert [spec.name for spec in rule.on_failure] == ["log"]
    assert (rule.on_recovery, rule.on_finding) == ((), ())
    (rule,) = loaded(tmp_path, "", top).rules
    assert [spec.name for spec in rule.on_finding] == ["log", "exec"]


def test_an_actions_own_list_adds_to_the_rules(tmp_path: Path) -> None:
    rule = (
        "    on_finding: [{log: {}}]\n"
        "    actions: [{checksum: {on_finding: [{webhook: {url: 'http://127.0.0.1:1/'}}]}}]\n"
    )
    text = rule.split("\n")
    (found,) = load(
        Path("/x.yaml"), registry=packages(), environ={}, flags={},
        text=f"{HEAD}rules:\n  - name: r\n    user: root\n    roots: [{tmp_path}/in]\n{text[0]}\n{text[1]}\n",
    ).rules  # fmt: skip
    assert [spec.name for spec in found.on_finding] == ["log", "webhook"]


def test_a_change_of_a_notification_is_a_change_of_its_rule(tmp_path: Path) -> None:
    digests = [
        loaded(tmp_path, f"    on_failure: [{{log: {{level: {level}}}}}]\n").digests for level in ("info", "error")
    ]
    assert digests[0] != digests[1]


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ("    on_failure: [{exec: {command: ['true', '{path}']}}]\n", "there is no placeholder {path}"),
        ("    on_failure: [{log: {message: '{kind}'}}]\n", "there is no placeholder {kind}"),
        ("    on_failure: [{weebhook: {}}]\n", "there is no action 'weebhook'"),
        ("    on_failure: [log]\n", "an action with its options is expected here"),
        ("    on_failure: {log: {}}\n", "a list of actions is expected here"),
        ("    on_failure: [{webhook: {}}]\n", "'url' is missing"),
        ("    on_failure: [{exec: {shell: true, command: ['cat $FILEWATCHD_PATH']}}]\n", "about no file"),
    ],
)
def test_mistakes_are_told_at_their_places(tmp_path: Path, rule: str, told: str) -> None:
    mistakes = refused(tmp_path, rule)
    assert len(mistakes) == 1
    assert told in mistakes[0]
    assert mistakes[0].startswith("7:")


def test_a_mistake_in_the_defaults_is_told_once(tmp_path: Path) -> None:
    more = f"  - name: s\n    user: root\n    roots: [{tmp_path}/other]\n    actions: [{{log: {{}}}}]\n"
    mistakes = refused(tmp_path, more, "defaults: {on_failure: [{exec: {command: [there-is-no-such-program]}}]}\n")
    assert len(set(mistakes)) == 1
    assert mistakes[0].startswith("2:")


def test_they_are_shown_and_their_secrets_are_not(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("http://127.0.0.1:1/xyzzy")
    found = loaded(tmp_path, f"    on_failure: [{{webhook: {{url: {{file: {tmp_path}/url}}}}}}]\n", rows=True)
    shown = {row.key[2:]: row.value for row in found.rows if row.key[:3] == ("rules", "r", "on_failure")}
    assert shown["on_failure", 0, "webhook", "method"] == "POST"
    assert shown["on_failure", 0, "webhook", "url"] == "***"
