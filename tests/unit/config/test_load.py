"""What a configuration means, and what is told about one that is wrong."""

from __future__ import annotations

import getpass
import os
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from filewatchd import extras
from filewatchd.actions.base import Problem
from filewatchd.config.generation import Generation, differences
from filewatchd.config.rule import Rule
from filewatchd.model import BatchBy, Busy, Initial, Kind, Limit, Ready, Retry, RuleSettings
from filewatchd.values import Secret
from tests.unit.config.packages import Desk, NoteOptions, RunOptions, rule

WHOLE = f"""
version: 1
daemon: {{state_dir: ../var/state, runtime_dir: ../var/run, shutdown_timeout: 1m, durability: full, max_running: 4,
  history: {{jobs: 5, age: 1h}}}}
logging: {{console: json, format: json, level: debug, files: {{path: ../log/a.log,
  rotate: {{size: 1MB, keep: {{count: 2}}}}, errors: ../log/errors.log}}}}
rules:
  - name: compress-drop
    description: what it is for
    enabled: false
    roots: [in, "~/in", "${{DROP}}/*.d", /abs/../in]
    recursive: false
    include: ["**/*.csv"]
    exclude: ["*.part", "!keep.part"]
    presets: [editors, vcs]
    changes: [created, deleted]
    ready: stable
    ready_timeout: 2h
    settle: 0
    max_wait: 1m
    batch: rule
    initial: process
    on_busy: parallel
    concurrency: 3
    retry: {{attempts: 1, backoff: 2s, max_backoff: 1m}}
    timeout: 1d
    limit: {{paths: 1000, per: 1m}}
    user: {getpass.getuser()}
    strict: true
    follow_symlinks: files
    renamed_from: old
    backend: inotify
    actions:
      - run:
          command: [gzip, -kf, "{{path}}"]
          stop_timeout: 5s
          stop_signal: HUP
          cwd: work
          env: {{A: "1", B: {{file: token}}}}
          password: {{credential: token}}
          before: [true-ish]
          when: {{every: 1d, at: "03:30"}}
          size: 64KiB
          share: 10%
          ratio: 3
      - note:
"""

BRACKETS = "put it in brackets: [...]; of a command, each word by itself"


def test_every_key(desk: Desk) -> None:
    desk.environ["DROP"] = "/srv/drop"
    found = desk.load(WHOLE)
    here, above = str(desk.directory), str(desk.directory.parent)
    assert found.daemon.state_dir == f"{above}/var/state"
    assert (found.daemon.shutdown_timeout, found.daemon.durability, found.daemon.max_running) == (60, "full", 4)
    assert (found.daemon.history.jobs, found.daemon.history.age) == (5, 3600)
    assert found.logging.files is not None
    assert (found.logging.files.path, found.logging.files.rotate.size) == (f"{above}/log/a.log", 1_000_000)
    [one] = found.rules
    run, note = one.actions
    assert one._replace(actions=()) == RuleSettings(
        name="compress-drop",
        description="what it is for",
        enabled=False,
        roots=(f"{here}/in", "/home/somebody/in", "/srv/drop/*.d", "/in"),
        actions=(),
        recursive=False,
        include=("**/*.csv",),
        exclude=("*.part", "!keep.part"),
        presets=("editors", "vcs"),
        changes=frozenset({Kind.CREATED, Kind.DELETED}),
        ready=Ready.STABLE,
        ready_timeout=7200,
        settle=0,
        max_wait=60,
        batch=BatchBy.RULE,
        initial=Initial.PROCESS,
        on_busy=Busy.PARALLEL,
        concurrency=3,
        retry=Retry(1, 2, 60),
        timeout=86400,
        limit=Limit(1000, 60),
        user=getpass.getuser(),
        strict=True,
        follow_symlinks=True,
        renamed_from="old",
        backend="inotify",
    )
    options = run.options
    assert isinstance(options, RunOptions)
    assert options.command == ("gzip", "-kf", "{path}")
    assert (options.stop_timeout, options.stop_signal, options.cwd) == (5, 1, f"{here}/work")
    assert options.env == {"A": "1", "B": Secret(file=f"{here}/token")}
    assert options.password == Secret(credential="token")
    assert options.before is not None
    assert options.before.command == ("true-ish",)
    assert options.when is not None
    assert (options.when.every, options.when.at) == (86400, "03:30")
    assert (options.size, options.share, options.ratio) == (65536, 0.1, 3.0)
    assert (note.name, note.options) == ("note", NoteOptions())


def test_defaults_are_those_of_the_model(desk: Desk) -> None:
    [one] = desk.load(rule()).rules
    assert one == RuleSettings("r", (f"{desk.directory}/in",), one.actions)
    assert desk.load("version: 1\ndaemon:\nrules:\n").rules == ()


def test_concurrency_is_two_where_jobs_run_in_parallel(desk: Desk) -> None:
    assert desk.load(rule("on_busy: parallel")).rules[0].concurrency == 2
    assert desk.load(rule("on_busy: parallel, concurrency: null")).rules[0].concurrency == 2
    assert desk.load(rule("on_busy: queue")).rules[0].concurrency == 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("rules: []", "filewatchd.yaml:1:1: 'version' is missing; write `version: 1` at the top"),
        ("version: 2", "filewatchd.yaml:1:10: version 2 is not known"),
        ("version: true", "filewatchd.yaml:1:10: version true or false is not known"),
        ("- a", "filewatchd.yaml:1:1: a mapping is expected here, not a list; begin with `version: 1`"),
        ("version: 1\ndemon: {}", "filewatchd.yaml:2:1: unknown key 'demon'; did you mean 'daemon'?"),
        ("version: 1\ndaemon: 5", "filewatchd.yaml:2:9: a mapping is expected here, not a number"),
        ("version: 1\ndaemon: {max_runing: 5}", "2:10: unknown key 'max_runing'; did you mean 'max_running'?"),
        ("version: 1\ndaemon: {max_running: 0}", "2:23: 0 is out of range; it must be at least 1"),
        ("version: 1\ndaemon: {max_running: '8'}", "2:23: a whole number is expected here, not text"),
        ("version: 1\ndaemon: {max_running: true}", "2:23: a whole number is expected here, not true or false"),
        ("version: 1\ndaemon: {durability: ful}", "2:22: 'ful' is not known here; did you mean 'full'?"),
        ("version: 1\ndaemon: {state_dir: 5}", "2:21: 5 is not a path"),
        ("version: 1\ndaemon: {state_dir: '${NOPE}/x'}", "2:21: the environment has no variable NOPE"),
        ("version: 1\ndaemon: {state_dir: '${x'}", "2:21: a ${ without its }; write ${NAME}"),
        ("version: 1\ndaemon: {state_dir: '~nobody-of-that-name/x'}", "2:21: no user named 'nobody-of-that-name'"),
        ("version: 1\nlogging: {files: {rotate: {size: 10M}}}", "2:18: 'path' is missing; add it here"),
        ("version: 1\nlogging: {files: {path: a, rotate: {size: 10M}}}", "2:43: '10M' is not a size"),
        ("version: 1\nrule_files: x.yaml", "2:13: a list is expected here, not text"),
        ("version: 1\nrule_files: [x.yaml]", "2:14: there is no rule file"),
        ("version: 1\nrules: {a: b}", "2:8: a list is expected here, not a mapping; begin each rule with `- name:`"),
        ("version: 1\nrules: [a]", "2:9: a mapping is expected here, not text"),
        ("version: 1\nrules: [{}]", "2:9: 'name', 'roots', 'actions' are missing"),
        ("version: 1\ndefaults: {name: x}", "2:12: unknown key 'name'"),
        (rule("settle: 5"), "3:55: 5 has no unit; write 5s for seconds"),
        (rule("settle: -5s"), "3:55: a duration can't be negative"),
        (rule("settle:"), "3:54: a duration is expected here, not nothing; write a value, or remove the key"),
        (rule("settle: 20s"), "3:55: settle is longer than max_wait; make max_wait at least as long as settle"),
        (rule("timeout: 0s"), "3:56: 0s is out of range; it must be more than 0"),
        (rule("concurrency: 2"), "3:60: concurrency counts only with `on_busy: parallel`"),
        (rule("enabled: yes"), "3:56: true or false is expected here, not text; write true or false"),
        (rule("enabled: 1"), "3:56: true or false is expected here, not a number"),
        (rule("changes: []"), "3:56: this is empty"),
        (rule("changes: [create]"), "3:57: 'create' is not known here; did you mean 'created'?"),
        (rule("changes: created"), f"3:56: a list is expected here, not text; {BRACKETS}"),
        (rule("changes: [5]"), "3:57: a word is expected here, not a number; write one of: created"),
        (rule("presets: [editor]"), "3:57: 'editor' is not known here; did you mean 'editors'?"),
        (rule("backend: fanotify"), "3:56: there is no backend 'fanotify'; write one of: auto, inotify, poll,"),
        (rule('include: ["!"]'), "3:57: '!' is not a gitignore pattern"),
        (rule('exclude: [""]'), "3:57: the pattern '' matches nothing"),
        (rule('include: ["/"]'), "3:57: the pattern '/' matches nothing"),
        (
            rule('include: ["[[:digits:]]"]'),
            "3:57: there is no class [:digits:] (in the pattern '[[:digits:]]'); there are: alnum, alpha",
        ),
        (rule("exclude: [5]"), "3:57: 5 is not a pattern; put it in quotes"),
        (rule("retry: {backoff: 5m, max_backoff: 1m}"), "3:54: backoff is longer than max_backoff"),
        (rule("retry: {attempts: 0}"), "3:65: 0 is out of range; it must be at least 1"),
        (rule("limit: {paths: 5}"), "3:54: 'per' is missing; add it here"),
        (rule("user: nobody-of-that-name"), "3:53: no user named 'nobody-of-that-name' on this system"),
        (rule("renamed_from: r"), "3:61: renamed_from is the rule's own name"),
        (rule("follow_symlinks: true"), "3:64: a word is expected here, not true or false; write one of: files, never"),
        (rule(name="a b"), "3:12: 'a b' is not a rule's name; use 1 to 64 letters"),
        (rule(name="x" * 65), "is not a rule's name"),
        (rule(name="5"), "3:12: 5 is not a rule's name"),
        (rule(actions="[]"), "3:37: this is empty"),
        (rule(actions="[nte: ]"), "3:38: there is no action 'nte'; did you mean 'note'?"),
        (rule(actions="[note]"), "3:38: an action with its options is expected here, not text; write `note: {}`"),
        (rule(actions="[{note: , run: }]"), "3:38: an entry names exactly one action"),
        (rule(actions="[run: ]"), "'command' is missing"),
        (rule(actions="[run: {command: [a], sto_timeout: 1s}]"), "unknown key 'sto_timeout'; did you mean 'stop_t"),
        (rule(actions="[run: {command: []}]"), "3:53: this is empty"),
        (rule(actions="[run: {command: [cat, {path}]}]"),
         '3:59: text is expected here, not a mapping; put a placeholder in quotes: "{path}"'),
        (rule(actions="[run: {command: [sleep, 5]}]"), "3:61: text is expected here, not a number; put it in quotes"),
        (rule(actions="[run: {command: [a], stop_signal: TREM}]"), "3:71: 'TREM' is not a signal"),
        (rule(actions="[run: {command: [a], env: {A: 5}}]"),
         "3:67: text is expected here, not a number; put it in quotes"),
        (rule(actions="[run: {command: [a], env: {A: {file: x, credential: y}}}]"),
         "3:67: a secret needs one of file and credential"),
        (rule(actions="[run: {command: [a], password: hunter2}]"),
         "3:68: a mapping or nothing is expected here, not text; write {file: PATH}, or {credential: NAME}"),
        (rule(actions="[run: {command: [a], before: {command: [5]}}]"), "text is expected here, not a number"),
        (rule(actions="[run: {command: [a], when: {every: year}}]"),
         "'year' is not a duration; write hour, day, week, month"),
        (rule(actions="[run: {command: [a], when: {every: day, at: 25:00}}]"),
         "'25:00' is no time of day; write 03:30, or 22:15"),
        (rule(actions="[run: {command: [a], ratio: .nan}]"), "a number is expected here"),
        (rule(actions='[run: {command: ["a\\0b"]}]'), "a NUL character can't stand here"),
        ("version: 1\nrules:\n  - {name: r, roots: [], actions: [note: ]}", "3:22: this is empty"),
        ("version: 1\nrules:\n  - {name: r, roots: [a, ./a], actions: [note: ]}", "3:26: the root"),
        (b"version: 1\nx: \xff", "2:4: byte 0xff is not UTF-8"),
        (b"", "filewatchd.yaml:1:1: the file is empty"),
        ("version: 1\nversion: 1", "2:1: duplicate key 'version'; the first is in line 1"),
        ("version: 1\n\trules: []", "2:1: a tab can't indent YAML; use spaces"),
    ],
)  # fmt: skip
def test_what_is_told_of_a_mistake(desk: Desk, text: str | bytes, told: str) -> None:
    mistakes = desk.mistakes(text)
    assert any(told in mistake for mistake in mistakes), mistakes
    assert not any("hunter2" in mistake for mistake in mistakes)


def test_every_mistake_is_told_at_once(desk: Desk) -> None:
    mistakes = desk.mistakes(
        """version: 1
demon: {}
daemon: {max_running: x}
defaults: {settle: 5}
rules:
  - name: a
    roots: [in]
    settle: 1x
    actions: [nte: {}, run: {}]
  - name: a
    rots: [in]
    actions: [note: ]
  - name: b
    roots: in
    settle: 30s
    concurrency: 2
    actions: [run: {command: [5, {path}], shell: 1}]
"""
    )
    places = [mistake.split(": ")[0].removeprefix("filewatchd.yaml:") for mistake in mistakes]
    assert " ".join(places) == "2:1 3:23 4:20 8:13 9:15 9:29 10:5 10:11 11:5 14:12 15:13 16:18 17:31 17:34 17:50"


@pytest.mark.parametrize("name", ["missing.yaml", "directory", "pipe"])
def test_a_file_that_cant_be_read(desk: Desk, name: str) -> None:
    (desk.directory / "directory").mkdir()
    os.mkfifo(desk.directory / "pipe")
    desk.write(f"version: 1\nrule_files: ['{name}']")
    [mistake] = desk.mistakes()
    assert mistake.startswith(
        "filewatchd.yaml:2:14: there is no rule file" if name[0] == "m" else f"{name}: can't be read"
    )
    assert "; " in mistake


def test_a_missing_main_file(desk: Desk) -> None:
    [mistake] = desk.mistakes()
    remedy = "`filewatchd init` writes one; --config or FILEWATCHD_CONFIG names another"
    assert mistake == f"filewatchd.yaml: there is no such file; {remedy}"


def test_an_action_tells_its_problems_at_its_options(desk: Desk) -> None:
    desk.run.problems = [
        Problem("writes what it watches", "exclude it", ("command", 1)),
        Problem("no such option", "", ("env", "A")),
    ]
    assert desk.mistakes(rule(actions="[run: {command: [cp, x]}]")) == [
        "filewatchd.yaml:3:43: no such option",
        "filewatchd.yaml:3:58: writes what it watches; exclude it",
    ]


def test_a_file_belongs_to_one_action(desk: Desk) -> None:
    desk.note.own_file = "LIST"
    each = "  - {{name: {}, roots: [in], actions: [note: {{message: x}}]}}\n"
    [mistake] = desk.mistakes("version: 1\nrules:\n" + each.format("one") + each.format("two"))
    assert mistake.startswith("filewatchd.yaml:4:56: note of rule one writes '")
    assert mistake.endswith("too: they would overwrite each other's; give one of them another name")
    assert len(desk.mistakes(rule(actions="[note: {message: x}, note: {message: y}]"))) == 1
    assert desk.mistakes(rule(actions="[note: {message: x}, run: {command: [a]}]")) == []


def test_an_action_whose_check_breaks_is_a_mistake_too(desk: Desk) -> None:
    desk.note.error = RuntimeError("oops")
    [mistake] = desk.mistakes(rule())
    assert "the action note failed to check this: RuntimeError: oops" in mistake


def test_an_action_brings_defaults_the_first_wins_and_the_rule_wins_over_both(desk: Desk) -> None:
    desk.run.defaults = {"batch": "rule", "ready": "stable", "retry": {"attempts": 7}, "settle": "9s"}
    desk.note.defaults = {"batch": "path", "changes": ["deleted"], "initial": Initial.PROCESS}
    [one] = desk.load(rule("ready: closed", actions="[run: {command: [a]}, note: ]")).rules
    assert (one.batch, one.ready, one.initial) == (BatchBy.RULE, Ready.CLOSED, Initial.PROCESS)
    assert one.changes == {Kind.DELETED}
    assert one.retry == Retry(7, 1, 300)
    assert one.settle == 0.2  # not an action's to say


def test_a_rule_that_sees_the_daemons_own_files(desk: Desk) -> None:
    head = "version: 1\ndaemon: {state_dir: var/state}\nlogging: {files: {path: var/log/a.log}}\n"

    def told(keys: str) -> list[str]:
        return desk.mistakes(f"{head}rules:\n  - {{name: r, actions: [note: ], {keys}}}\n")

    second, first = told("roots: [.]")  # sorted by their text
    assert first.startswith("filewatchd.yaml:5:42: the rule would see the daemon's own files: ")
    assert first.endswith('var/state (daemon.state_dir); add "/var/state/" to exclude, or put them elsewhere')
    assert second.endswith('var/log/a.log (logging.files.path); add "/var/log/a.log" to exclude, or put them elsewhere')
    assert not told('roots: [.], exclude: ["/var/state/", "/var/log/a.log"]')
    assert not told("roots: [.], exclude: [var/]")
    assert not told('roots: [.], include: ["*.csv"]')
    assert not told("roots: [.], recursive: false")
    assert not told("roots: [var/state2, in]")
    assert len(told("roots: [var]")) == 2
    assert len(told("roots: [var/state]")) == 1
    assert len(told("roots: [var/log/a.log]")) == 1
    assert len(told('roots: ["v*/st*"]')) == 1


def test_work_as_somebody_else_is_roots_to_do(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.write(rule("user: root"))
    uid = os.stat(desk.directory).st_uid
    monkeypatch.setattr(os, "geteuid", lambda: uid or 4242)
    [warning] = desk.load().warnings
    assert warning.message == "only a daemon run by root can do a rule's work as root"
    assert (warning.line, warning.column) == (3, 53)


def test_an_action_may_take_whatever_stands_there(desk: Desk) -> None:
    class Anything(msgspec.Struct):
        pass

    desk.note.Options = Anything
    assert not desk.mistakes(rule(actions="[note: {a: 1, b: [2]}]"))


def test_renamed_from_a_rule_that_still_exists(desk: Desk) -> None:
    text = rule() + "  - {name: s, roots: [in], actions: [note: ], renamed_from: r}\n"
    [mistake] = desk.mistakes(text)
    assert "4:61: a rule named r still exists" in mistake


def test_generations_know_what_changed(desk: Desk) -> None:
    def generation(number: int, *rules: str) -> Generation:
        lines = "".join(f"  - {{roots: [in], {one}}}\n" for one in rules)
        return Generation(number, desk.load(f"version: 1\nrules:\n{lines}"))

    env = "actions: [run: {command: [a], env: {A: b, C: d}}]"
    turned = "actions: [run: {env: {C: d, A: b}, command: [a]}]"
    old = generation(1, f"name: same, {env}, changes: [created, moved]", f"name: other, {env}", f"name: gone, {env}")
    new = generation(
        2,
        f"name: same, {turned}, changes: [moved, created]",
        "name: other, actions: [run: {command: [b]}]",
        f"name: new, {env}",
    )
    assert differences(old.configuration, new.configuration) == (("new",), ("gone",), ("other",), ("same",))
    assert old.configuration.rules[0].actions[0].key == new.configuration.rules[0].actions[0].key


def test_the_journal_needs_its_extra(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    text = rule() + "logging: {console: journal}\n"
    monkeypatch.setitem(extras.EXTRAS, "systemd", ("json",))
    assert desk.mistakes(text) == []
    monkeypatch.setitem(extras.EXTRAS, "systemd", ("no_such_module",))
    (mistake,) = desk.mistakes(text)
    assert mistake.startswith(
        "filewatchd.yaml:4:20: logging.console can't be journal: the extra systemd is not installed"
    )
    assert mistake.endswith("pip install 'filewatchd[systemd]'")


def test_a_directory_that_is_not_utf8(tmp_path: Path) -> None:
    place = tmp_path / os.fsdecode(b"\xff")
    place.mkdir()
    desk = Desk(place)
    loaded = desk.load(rule())
    assert loaded.rules[0].roots == (f"{place}/in",)
    assert desk.load(rule()).means(loaded)
    assert not desk.load(rule("settle: 7s")).means(loaded)


def test_a_thousand_rules(desk: Desk) -> None:
    text = "version: 1\nrules:\n" + "".join(
        f"  - name: rule-{number}\n    roots: [in/{number}]\n    include: ['**/*.csv']\n    settle: 500ms\n"
        f"    retry: {{attempts: 3}}\n    actions:\n      - run:\n          command: [gzip, '{{path}}']\n"
        for number in range(1000)
    )
    assert len(desk.load(text).rules) == 1000


def test_the_wire_has_the_models_fields() -> None:
    made = {"event"}  # of a rule's notifications, which are pipelines of their own
    assert set(Rule.__struct_fields__) == set(RuleSettings._fields) - made


@given(st.data())
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_configuration_is_loaded_or_refused_with_places(desk: Desk, data: st.DataObject) -> None:
    desk.environ["DROP"] = "/srv/drop"
    text = WHOLE
    for _ in range(data.draw(st.integers(1, 3))):
        begin = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(begin, min(begin + 20, len(text))))
        text = text[:begin] + data.draw(st.text("ab05[]{}:-,\"'&*!|~$ \n", max_size=6)) + text[end:]
    for mistake in desk.mistakes(text):
        assert mistake.startswith("filewatchd.yaml:")
