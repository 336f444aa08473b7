"""The action exec: what is run, with what, and what comes of it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from filewatchd.actions import exec as package
from filewatchd.actions.base import Command, Finished
from filewatchd.config.editors import json_schema
from filewatchd.config.load import load
from filewatchd.errors import ActionError
from filewatchd.model import OK, Change, Kind, Outcome, RuleSettings, Trigger, Verdict
from filewatchd.testing import FakeContext, FakeJob, FakeSpawn, Scripted, changed
from filewatchd.values import Secret

A, B = changed("/r/a.csv", "/r"), changed("/r/sub/b.csv", "/r", Kind.CREATED)
ODD = os.fsdecode(b"/r/\xff\n'$(x)")


def options(*command: str, **more: Any) -> package.Options:
    return package.Options(command=command, **more)


class Scene:
    """One action, one job, and what was spawned for it."""

    def __init__(self, settings: package.Options, *changes: Change, user: str | None = None, **job: Any) -> None:
        self.spawn = FakeSpawn()
        rule = RuleSettings(name="rule", roots=("/r",), actions=(), user=user)
        self.context = FakeContext(rule, spawn=self.spawn)
        self.action = package.open(settings, self.context)
        self.job = FakeJob(changes, **job)

    def run(self, *script: Scripted) -> Outcome | Mapping[str, Outcome]:
        self.spawn._script.extend(script)
        return asyncio.run(self.action.run(self.job))

    @property
    def commands(self) -> list[Command]:
        return self.spawn.commands

    @property
    def argvs(self) -> list[tuple[str, ...]]:
        return [command.argv for command in self.commands]


# ---- how often


def test_a_placeholder_of_one_file_means_one_run_for_each() -> None:
    scene = Scene(options("gzip", "-kf", "{path}", "{name}.{job}"), A, B, id=9)
    assert package.needs(options("gzip", "{path}")).per_path
    assert scene.run() == {A.path: OK, B.path: OK}
    assert scene.argvs == [("gzip", "-kf", A.path, "a.csv.9"), ("gzip", "-kf", B.path, "b.csv.9")]


def test_paths_expands_to_many_words() -> None:
    scene = Scene(options("tar", "cf", "/out/{job}.tar", "--", "{paths}"), A, B, id=9)
    assert not package.needs(options("tar", "{paths}")).per_path
    assert scene.run() == {A.path: OK, B.path: OK}
    assert scene.argvs == [("tar", "cf", "/out/9.tar", "--", A.path, B.path)]


def test_paths_is_split_below_the_systems_limits() -> None:
    many = [changed(f"/r/{number:0200}", "/r") for number in range(20_000)]
    scene = Scene(options("ls", "{paths}"), *many)
    outcome = scene.run()
    assert outcome == dict.fromkeys([change.path for change in many], OK)
    assert [path for argv in scene.argvs for path in argv[1:]] == [change.path for change in many]
    assert 1 < len(scene.commands) < 10
    for command in scene.commands:
        words = [*command.argv, *(f"{name}={value}" for name, value in command.env.items())]
        assert sum(len(os.fsencode(word)) + 9 for word in words) < 1024 * 1024


def test_neither_means_one_run_for_the_batch() -> None:
    scene = Scene(options("systemctl", "reload", "{rule}"), A, B)
    assert not package.needs(options("systemctl", "{rule}")).per_path
    assert scene.run() == OK
    assert scene.argvs == [("systemctl", "reload", "rule")]


def test_without_paths_only_a_batch_command_runs() -> None:
    assert Scene(options("true"), trigger=Trigger.SCHEDULE).run() == OK
    for word in ("{path}", "{paths}"):
        scene = Scene(options("true", word), trigger=Trigger.SCHEDULE)
        assert scene.run() == Outcome(Verdict.SKIPPED, "no paths")
        assert scene.commands == []


def test_a_script_gets_names_only_as_variables() -> None:
    each = options('sha256sum "$FILEWATCHD_PATH"', shell=True)
    assert package.needs(each).per_path
    scene = Scene(each, changed(ODD, "/r"))
    scene.run()
    assert scene.argvs == [("/bin/sh", "-c", 'sha256sum "$FILEWATCHD_PATH"')]
    assert scene.commands[0].env["FILEWATCHD_PATH"] == ODD
    batch = options("awk '{print $1}' | xargs -0 ls", shell=True, stdin="nul")
    assert not package.needs(batch).per_path
    assert Scene(batch, A, B).run() == OK


# ---- with what


def test_the_environment_is_clean_and_tells_of_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/bin:/usr/bin")
    monkeypatch.setenv("LANG", "C.UTF-8")
    monkeypatch.setenv("SECRET_OF_THE_DAEMON", "x")
    scene = Scene(options("true", "{path}", env={"MINE": "1"}, user="root"), A, id=7, attempt=2)
    scene.run()
    assert scene.commands[0].env == {
        "PATH": "/bin:/usr/bin",
        "LANG": "C.UTF-8",
        "HOME": "/root",
        "USER": "root",
        "LOGNAME": "root",
        "SHELL": scene.commands[0].env["SHELL"],
        "MINE": "1",
        "FILEWATCHD_PATH": A.path,
        "FILEWATCHD_ORIGINAL_PATH": A.path,
        "FILEWATCHD_NAME": "a.csv",
        "FILEWATCHD_STEM": "a",
        "FILEWATCHD_DIR": "/r",
        "FILEWATCHD_ROOT": "/r",
        "FILEWATCHD_KIND": "modified",
        "FILEWATCHD_OLD_PATH": "",
        "FILEWATCHD_RULE": "rule",
        "FILEWATCHD_JOB": "7",
        "FILEWATCHD_ATTEMPT": "2",
        "FILEWATCHD_TRIGGER": "change",
    }


def test_a_batch_has_no_variables_of_one_file() -> None:
    scene = Scene(options("true"), A, B)
    scene.run()
    own = {name for name in scene.commands[0].env if name.startswith("FILEWATCHD_")}
    assert own == {"FILEWATCHD_RULE", "FILEWATCHD_JOB", "FILEWATCHD_ATTEMPT", "FILEWATCHD_TRIGGER"}


def test_secrets_are_read_when_the_command_runs(tmp_path: Path) -> None:
    file = tmp_path / "token"
    scene = Scene(options("true", env={"TOKEN": Secret(file=str(file))}), A)
    with pytest.raises(ActionError, match=r"secret .* can't be read: .*token"):
        scene.run()
    file.write_text("hunter2\n")
    scene.run()
    assert scene.commands[0].env["TOKEN"] == "hunter2"
    file.write_text("hunter2\0")
    with pytest.raises(ActionError, match="the secret of the variable TOKEN holds a NUL"):
        scene.run()


def test_the_options_reach_the_command() -> None:
    settings = options("true", cwd="/r", user="daemon", group="mail", stop_signal=2, stop_timeout=3.0)
    scene = Scene(settings, A, user="nobody", timeout=60.0)
    scene.run()
    command = scene.commands[0]
    assert (command.cwd, command.user, command.group) == ("/r", "daemon", "mail")
    assert (command.stop_signal, command.stop_timeout, command.timeout) == (2, 3.0, 60.0)


def test_a_run_has_its_own_time_and_never_more_than_the_rule() -> None:
    for own, expected in ((5.0, 5.0), (90.0, 60.0)):
        scene = Scene(options("true", timeout=own), A, timeout=60.0)
        scene.run()
        assert [command.timeout for command in scene.commands] == [expected]


def test_a_list_alone_is_a_command(tmp_path: Path) -> None:
    config, registry = tmp_path / "filewatchd.yaml", {"exec": package}
    config.write_text(
        "version: 1\nrules:\n  - {name: a, roots: [in], actions: [exec: ['true', '{path}']]}\n"
        "  - {name: b, roots: [in], actions: [exec: {command: ['true'], timeout: 5s}]}\n"
    )
    found = load(config, registry=registry, environ={}, flags={}).rules
    assert [spec.options for rule in found for spec in rule.actions] == [
        options("true", "{path}"),
        options("true", timeout=5.0),
    ]
    validator = jsonschema.Draft202012Validator(json_schema(registry))
    assert list(validator.iter_errors(yaml.safe_load(config.read_text()))) == []


def test_the_rules_user_is_used_where_the_action_has_none() -> None:
    scene = Scene(options("true"), A, user="daemon")
    scene.run()
    assert scene.commands[0].user == "daemon"
    assert scene.commands[0].env["USER"] == "daemon"


def test_changes_as_json() -> None:
    moved = Change(Kind.MOVED, ODD, "/r", old_path="/r/old", original_path="/r/first")
    scene = Scene(options("cat", stdin="json"), A, moved, id=7)
    scene.run()
    sent = scene.commands[0].stdin
    assert sent is not None
    assert sent.endswith(b"}\n")
    assert json.loads(sent) == {
        "rule": "rule",
        "job": 7,
        "attempt": 1,
        "trigger": "change",
        "changes": [
            {"kind": "modified", "path": A.path, "root": "/r"},
            {
                "kind": "moved",
                "path": "/r/\ufffd\n'$(x)",
                "path_b64": "L3Iv/wonJCh4KQ==",
                "root": "/r",
                "old_path": "/r/old",
                "original_path": "/r/first",
            },
        ],
    }


def test_paths_with_a_nul_after_each() -> None:
    scene = Scene(options("xargs", "-0", "ls", stdin="nul"), A, changed(ODD, "/r"))
    scene.run()
    assert scene.commands[0].stdin == os.fsencode(A.path) + b"\0" + os.fsencode(ODD) + b"\0"


# ---- what comes of it


@pytest.mark.parametrize(
    ("finished", "output", "message"),
    [
        (Finished(3, None, False, 0), b"", "exit status 3"),
        (Finished(3, None, False, 0), b"first\nlast \n\n", "exit status 3: last"),
        (Finished(None, 11, False, 0), b"", "ended by SIGSEGV"),
        (Finished(None, 63, False, 0), b"", "ended by signal 63"),
        (Finished(None, 15, True, 0), b"working\n", "timed out after 60 s: working"),
        (Finished(0, None, True, 0), b"", "timed out after 60 s"),
        (Finished(1, None, False, 0), b"a\x1b[31m\xff", "exit status 1: a?[31m\ufffd"),
    ],
)
def test_every_end_but_0_is_a_failure_that_may_be_tried_again(finished: Finished, output: bytes, message: str) -> None:
    scene = Scene(options("false", "{path}"), A, timeout=60.0)
    assert scene.run(Scripted(finished, output)) == {A.path: Outcome(Verdict.FAILED, message, True)}
    assert b"".join(scene.job.outputs) == output
    assert scene.action.statistics() == {"runs": 1, "failures": 1}


def test_one_failure_does_not_keep_the_others_back() -> None:
    scene = Scene(options("check", "{path}"), A, B)
    outcome = scene.run(Scripted(Finished(1, None, False, 0)))
    assert outcome == {A.path: Outcome(Verdict.FAILED, "exit status 1", True), B.path: OK}


def test_what_cannot_be_started_fails_all() -> None:
    with pytest.raises(ActionError, match="no such file"):
        Scene(options("true"), A).run(Scripted(error=ActionError("no such file", retryable=False)))


def test_leftovers_are_told(caplog: pytest.LogCaptureFixture) -> None:
    assert Scene(options("true"), A).run(Scripted(Finished(0, None, False, 2))) == OK
    assert "left 2 processes running" in caplog.text


def test_the_plan_is_what_a_shell_would_need() -> None:
    scene = Scene(options("gzip", "{path}"), changed("/r/a b", "/r"), B, user="daemon")
    assert scene.action.plan(scene.job) == ["run as daemon: gzip '/r/a b'", f"run as daemon: gzip {B.path}"]
    assert Scene(options("ls", "{paths}"), A, B).action.plan(FakeJob([A, B])) == [f"run: ls {A.path} {B.path}"]
    assert Scene(options("date"), A, B).action.plan(FakeJob([A, B])) == ["run: date"]
    assert not scene.commands


def test_it_is_reconfigured_in_place() -> None:
    scene = Scene(options("one", "{path}"), A)
    assert scene.action.reconfigure(options("two"))
    scene.run()
    assert scene.argvs == [("two",)]
    assert package.rule_defaults(options("two")) == {}
