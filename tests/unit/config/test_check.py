"""`filewatchd check` and `filewatchd schema`, as an operator, an editor and a script see them."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from filewatchd.cli.check import check, schema
from filewatchd.config.editors import json_schema
from tests.unit.config.packages import Desk, rule


def run(desk: Desk, *, show: bool = False, as_json: bool = False, fragment: Path | None = None) -> int:
    return check(
        desk.directory / "filewatchd.yaml",
        registry=desk.registry,
        environ=desk.environ,
        flags=desk.flags,
        show=show,
        as_json=as_json,
        fragment=fragment,
    )


def test_a_good_configuration(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.write(rule())
    assert run(desk) == 0
    assert capsys.readouterr().out == "configuration ok: 1 rule, 1 file\n"


def test_mistakes(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    file = desk.write(rule("setle: 5s, timeout: x"))
    assert run(desk) == 78
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        f"{file}:3:47: unknown key 'setle'; did you mean 'settle'?",
        f"{file}:3:67: 'x' is not a duration; write one like 250ms, 5s, 10m, 1h, 1d or 1h30m",
        "configuration refused: 2 mistakes",
    ]


def test_mistakes_as_json(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    file = desk.write("version: 1\ndemon: {}")
    assert run(desk, as_json=True) == 78
    assert json.loads(capsys.readouterr().out) == {
        "ok": False,
        "mistakes": [
            {
                "file": str(file),
                "line": 2,
                "column": 1,
                "message": "unknown key 'demon'",
                "hint": "did you mean 'daemon'?",
            }
        ],
    }


def test_a_fragment(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.write(rule())
    fragment = desk.write("rules: [{name: r, roots: [in], actions: [note: ]}]", "new.yaml")
    assert run(desk, fragment=fragment) == 0  # another layer than the main file's: it may say more about its rule
    fragment.write_text("rules: [{name: s, roots: [in], actions: [nte: ]}]")
    assert run(desk, fragment=fragment) == 78
    assert "new.yaml:1:42: there is no action 'nte'" in capsys.readouterr().err


SECRETS = """version: 1
rule_files: [none/*.yaml]
rules:
  - name: r
    roots: [in]
    actions:
      - run:
          command: [gzip, "{path}"]
          env: {PLAIN: hunter2, KEPT: {file: token}}
          password: {file: password}
          before: {command: [a], env: {B: hunter2}}
      - note:
"""


def test_every_value_with_its_origin(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    file = desk.write(SECRETS)
    desk.run.defaults = {"ready": "stable"}
    desk.environ["FILEWATCHD_DAEMON__MAX_RUNNING"] = "4"
    desk.flags = {"daemon.state_dir": "/srv/state"}
    assert run(desk, show=True) == 0
    out, err = capsys.readouterr()
    assert err.startswith(f"warning: {file}:2:14: no rule file matches ")
    assert "hunter2" not in out
    lines = {line.split("  # ")[0].strip(): line.split("  # ")[1] for line in out.splitlines() if "  # " in line}
    assert lines["state_dir: /srv/state"] == "flag --state-dir"
    assert lines["max_running: 4"] == "environment FILEWATCHD_DAEMON__MAX_RUNNING"
    assert lines["age: 30d"] == "built-in"
    assert lines["ready: stable"] == "action run"
    assert lines["settle: 200ms"] == "built-in"
    assert lines["concurrency: 1"] == "built-in"
    assert lines["presets: [editors]"] == "built-in"
    assert lines["stop_signal: TERM"] == "built-in"
    assert lines['command: [gzip, "{path}"]'] == f"{file}:8"
    assert lines[f"roots: [{desk.directory}/in]"] == f"{file}:5"


def test_what_is_shown_is_yaml(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    desk.write(SECRETS)
    run(desk, show=True)
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown["daemon"]["history"] == {"jobs": 10000, "age": "30d", "changes": 200000}
    first, second = shown["rules"]["r"]["actions"]
    assert first["run"]["env"] == {"PLAIN": "***", "KEPT": "***"}
    assert first["run"]["before"]["command"] == ["a"]
    assert second == {"note": {"message": ""}}


def test_values_as_json(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    file = desk.write(SECRETS)
    assert run(desk, show=True, as_json=True) == 0
    out = capsys.readouterr().out
    assert "hunter2" not in out
    found = json.loads(out)
    values = {tuple(row["key"]): (row["value"], row["origin"]) for row in found["values"]}
    assert values["rules", "r", "actions", 0, "run", "command"] == (["gzip", "{path}"], f"{file}:8")
    assert values["daemon", "max_running"] == (8, "built-in")
    assert (found["rules"], found["files"], len(found["warnings"])) == (["r"], [str(file)], 1)


# ---- the schema


def test_the_schema_is_one(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    assert schema(desk.registry) == 0
    found = json.loads(capsys.readouterr().out)
    jsonschema.Draft202012Validator.check_schema(found)
    retry = found["$defs"]["RetryOption"]["properties"]
    assert retry["backoff"]["default"] == "1s"
    assert retry["backoff"]["description"]
    assert found["$defs"]["RunOptions"]["properties"]["stop_signal"]["default"] == "TERM"


@pytest.mark.parametrize(
    ("text", "right"),
    [
        (rule(), True),
        ("rules: []", True),
        ("daemon: {}", False),
        (rule("settle: 5s"), True),
        (rule("timeout: 1h30m"), True),
        (rule("settle: 0"), True),
        (rule("settle: 5"), False),
        (rule("settle: 5x"), False),
        (rule("setle: 5s"), False),
        (rule("limit: null"), True),
        (rule("changes: [create]"), False),
        (rule("backend: fanotify"), False),
        (rule(actions="[run: {command: [a], before: [b]}]"), True),
        (rule(actions="[run: {command: [a], before: {command: [b], timeout: 5s}}]"), True),
        (rule(actions="[run: {command: [a], before: {timeout: 5s}}]"), False),
        (rule(actions="[run: {command: [a], size: 64KiB, share: 10%, env: {A: {file: x}}}]"), True),
        (rule(actions="[run: {command: [a], size: 64K}]"), False),
        (rule(actions="[run: ]"), False),
        (rule(actions="[nte: {}]"), False),
        (rule(actions="[{note: {}, run: {command: [a]}}]"), False),
    ],
)
def test_an_editor_and_the_check_agree(desk: Desk, text: str, right: bool) -> None:
    problems = list(jsonschema.Draft202012Validator(json_schema(desk.registry)).iter_errors(yaml.safe_load(text)))
    assert bool(problems) is not right
    if text.startswith("version"):
        assert bool(desk.mistakes(text)) is not right


def test_the_reference_tells_of_every_key(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    schema(desk.registry, markdown=True)
    page = capsys.readouterr().out
    for key in ("state_dir", "max_running", "settle", "renamed_from", "backoff", "stop_signal", "message"):
        assert f"| `{key}` |" in page
    assert "| `stop_timeout` | duration | `10s` |" in page
