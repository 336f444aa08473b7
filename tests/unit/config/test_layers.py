from __future__ import annotations

import os

from filewatchd.model import Retry
from tests.unit.config.packages import Desk

MAIN = """version: 1
daemon: {max_running: 2, history: {jobs: 7}}
defaults: {settle: 1s, presets: [vcs]}
rule_files: [rules.d/*.yaml]
rules:
  - {name: a, roots: [in], actions: [note: ], timeout: 1m, retry: {attempts: 5}}
"""


def test_layers_low_to_high(desk: Desk) -> None:
    desk.write("rules:\n  - {name: a, timeout: 2m, retry: {backoff: 2s}}\n", "rules.d/one.yaml")
    desk.write("daemon: {max_running: 3}\nrules:\n  - {name: a, timeout: 3m}\n", "filewatchd.test.yaml")
    found = desk.load(MAIN)
    assert (found.rules[0].timeout, found.rules[0].settle, found.rules[0].presets) == (120, 1, ("vcs",))
    assert found.rules[0].retry == Retry(5, 2, 300)
    assert (found.daemon.max_running, found.daemon.history.jobs) == (2, 7)

    desk.environ["FILEWATCHD_ENV"] = "test"
    found = desk.load()
    assert (found.daemon.max_running, found.rules[0].timeout) == (3, 180)
    assert [os.path.basename(file) for file in found.files] == ["filewatchd.yaml", "filewatchd.test.yaml", "one.yaml"]

    desk.environ |= {"FILEWATCHD_DAEMON__MAX_RUNNING": "4", "FILEWATCHD_DEFAULTS__SETTLE": "2s", "FILEWATCHD_PATH": "x"}
    desk.environ |= {"FILEWATCHD_DAEMON__HISTORY": "{age: 1d}", "FILEWATCHD_DAEMON__DURABILITY": ""}
    found = desk.load()
    assert (found.daemon.max_running, found.rules[0].settle) == (4, 2)
    assert (found.daemon.history.jobs, found.daemon.history.age, found.daemon.durability) == (7, 86400, "normal")

    desk.flags = {"daemon.max_running": 5, "daemon.state_dir": None}
    assert desk.load().daemon.max_running == 5


def test_paths_from_outside_files_start_at_the_working_directory(desk: Desk) -> None:
    desk.environ["FILEWATCHD_DAEMON__RUNTIME_DIR"] = "run"
    desk.flags = {"daemon.state_dir": "state"}
    found = desk.load("version: 1")
    assert (found.daemon.state_dir, found.daemon.runtime_dir) == (os.path.abspath("state"), os.path.abspath("run"))


def test_paths_in_a_rule_file_start_at_that_file(desk: Desk) -> None:
    desk.write("rules:\n  - {name: b, roots: [in], actions: [note: ]}\n", "rules.d/one.yaml")
    assert desk.load(MAIN).rules[1].roots == (f"{desk.directory}/rules.d/in",)


def test_what_is_wrong_with_variables(desk: Desk) -> None:
    desk.environ |= {
        "FILEWATCHD_ENV": "../x",
        "FILEWATCHD_DAEMON__MAX_RUNNING": "many",
        "FILEWATCHD_DAEMON__MAX_RUNING": "1",
        "FILEWATCHD_DEAMON__MAX_RUNNING": "1",
        "FILEWATCHD_LOGGING__LEVEL": "[",
    }
    mistakes = desk.mistakes("version: 1")
    assert mistakes == [
        "environment FILEWATCHD_DAEMON__MAX_RUNING: unknown key 'max_runing'; did you mean 'max_running'?",
        "environment FILEWATCHD_DAEMON__MAX_RUNNING: a whole number is expected here, not text",
        "environment FILEWATCHD_DEAMON__MAX_RUNNING: there is no section 'deamon'; did you mean 'daemon'?",
        "environment FILEWATCHD_ENV: '../x' can't be part of a file's name; use letters, digits, '_', '.' and '-'",
        "environment FILEWATCHD_LOGGING__LEVEL: the bracket that opens here is never closed; close it",
    ]


def test_the_environments_file_must_exist(desk: Desk) -> None:
    desk.environ["FILEWATCHD_ENV"] = "prod"
    assert desk.mistakes("version: 1") == [
        "filewatchd.prod.yaml: there is no such file; create it, or unset FILEWATCHD_ENV"
    ]


def test_what_a_higher_layer_hides_is_checked_all_the_same(desk: Desk) -> None:
    desk.environ["FILEWATCHD_DAEMON__MAX_RUNNING"] = "4"
    desk.write("rules:\n  - {name: a, settle: 1s}\n", "rules.d/one.yaml")
    text = MAIN.replace("max_running: 2", "max_running: x").replace("timeout: 1m", "settle: x")
    assert [mistake.split(": ")[0] for mistake in desk.mistakes(text)] == [
        "filewatchd.yaml:2:23",
        "filewatchd.yaml:6:55",
    ]


def test_one_name_twice_in_a_layer(desk: Desk) -> None:
    body = "rules:\n  - {name: b, roots: [in], actions: [note: ]}\n"
    desk.write(body, "rules.d/one.yaml")
    desk.write(body, "rules.d/two.yaml")
    [mistake] = desk.mistakes(MAIN)
    assert mistake.startswith("rules.d/two.yaml:2:12: duplicate rule name 'b'; the first is at ")
    assert mistake.endswith("rules.d/one.yaml:2:12; rename one of them")


def test_a_glob_without_files_is_a_warning(desk: Desk) -> None:
    [warning] = desk.load(MAIN).warnings
    assert "no rule file matches" in warning.message
    assert (warning.line, warning.column) == (4, 14)
    (desk.directory / "rules.d").mkdir()
    assert desk.load(MAIN).warnings == ()  # it waits for its first rule


def test_what_a_rule_file_may_hold(desk: Desk) -> None:
    desk.write("version: 3\ndaemon: {}\nruls: []\n", "rules.d/one.yaml")
    assert [mistake.split(";")[0] for mistake in desk.mistakes(MAIN)] == [
        "rules.d/one.yaml:1:10: version 3 is not known",
        "rules.d/one.yaml:2:1: 'daemon' can't stand in a rule file",
        "rules.d/one.yaml:3:1: unknown key 'ruls'",
    ]


def test_a_main_file_that_its_own_glob_matches_is_read_once(desk: Desk) -> None:
    found = desk.load("version: 1\nrule_files: ['*.yaml']\nrules: [{name: a, roots: [in], actions: [note: ]}]")
    assert len(found.files) == 1


def test_a_fragment_is_checked_as_if_it_were_in_place(desk: Desk) -> None:
    desk.write("rules:\n  - {name: b, roots: [in], actions: [note: ]}\n", "rules.d/one.yaml")
    desk.write(MAIN)
    new = "rules:\n  - {name: %s, roots: [in], actions: [note: ]}\n"

    good = desk.write(new % "c", "staged/source")
    good.chmod(0o666)  # nobody runs it yet
    found = desk.load(fragment=good)
    assert [rule.name for rule in found.rules] == ["a", "b", "c"]
    assert found.rules[2].settle == 1
    assert found.rules[2].roots == (f"{desk.directory}/rules.d/in",)

    [mistake] = desk.mistakes(fragment=desk.write(new % "b", "staged/source"))
    assert mistake.startswith("staged/source:2:12: duplicate rule name 'b'")

    assert not desk.mistakes(fragment=desk.write(new % "b", "staged/.tmp-one.yaml.1234"))
    assert desk.mistakes(fragment=desk.write("rules:\n  - {nam: c}\n", "staged/source"))


def test_text_in_place_of_the_main_file(desk: Desk) -> None:
    found = desk.load(text="version: 1\nrules: [{name: a, roots: [in], actions: [note: ]}]")
    assert found.rules[0].roots == (f"{desk.directory}/in",)
    assert not (desk.directory / "filewatchd.yaml").exists()
