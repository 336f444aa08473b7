"""filewatchctl: what its commands ask, and how they tell what they are answered."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from filewatchd.cli.text import moment
from filewatchd.control import documents as d
from filewatchd.control.access import Access
from filewatchd.control.api import RequestError
from tests.unit.cli import made
from tests.unit.cli.conftest import Ctl
from tests.unit.cli.serving import LABEL, Served, serving

IMPORTED = "import sys, filewatchd.cli.control; print(*sys.modules)"


def test_a_command_starts_light() -> None:
    found = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True).stdout.split()
    assert "click" in found
    assert not {"rich", "textual", "asyncio", "h11", "msgspec", "http.client", "importlib.metadata", "yaml"} & set(
        found
    )


# ---- JSON


@pytest.mark.parametrize(
    ("words", "name", "document"),
    [
        (["status"], "status", made.status()),
        (["jobs"], "jobs", d.Jobs(jobs=[made.row()], next_before=None)),
        (["jobs", "list"], "jobs", d.Jobs(jobs=[], next_before=None)),
        (["jobs", "show", "17"], "job", made.job()),
        (["resume"], "resume", d.Resumed(resumed=[], held={}, acknowledged=False)),
        (["config", "reload"], "reload", d.Reloaded(generation=2, added=[], removed=[], changed=[], unchanged=["a"],
                                                    warnings=[], until_restart=[])),
    ],
)  # fmt: skip
def test_json_is_the_daemons_answer(
    served: Served, ctl: Ctl, words: list[str], name: str, document: d.Document
) -> None:
    served.answer(name, document)
    found = ctl(*words, "--json")
    assert (found.code, found.err) == (0, "")
    assert found.out.encode() == msgspec.json.encode({**LABEL, **msgspec.to_builtins(document)}) + b"\n"


def test_json_of_a_stream_is_its_lines(served: Served, ctl: Ctl) -> None:
    served.answer("changes", [made.change(), d.Missed(**LABEL, cursor="x-2", missed=3)])
    found = ctl("changes", "--json")
    assert [json.loads(line).get("missed") for line in found.lines] == [None, 3]
    assert json.loads(found.lines[0])["host"] == "testhost"


def test_errors_as_json(served: Served, ctl: Ctl) -> None:
    served.answer("pause", RequestError(404, "there is no rule dorp; there are drop, other"))
    found = ctl("pause", "dorp", "--json")
    assert json.loads(found.out) == {
        "error": "there is no rule dorp; there are drop, other; did you mean drop?", "exit_code": 1, **LABEL,
    }  # fmt: skip
    assert found.code == 1
    usage = ctl("jobs", "retry", "--json")
    assert json.loads(usage.out)["exit_code"] == usage.code == 64


# ---- what is asked


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        ("jobs --rule drop --state failed --limit 5 --before 9",
         ("jobs", {"rule": "drop", "state": "failed", "before": 9, "limit": 5})),
        ("jobs retry 4", ("retry", {"id": 4})),
        ("jobs retry --all", ("retry", {"all": True})),
        ("jobs cancel 4", ("cancel", {"id": 4})),
        ("jobs drop --rule drop", ("drop", {"rule": "drop"})),
        ("changes --follow --rule drop --path /srv --since c-1 --limit 3",
         ("changes", {"follow": True, "rule": "drop", "path": "/srv", "since": "c-1", "limit": 3})),
        ("explain /srv/../etc --rule drop", ("explain", {"path": "/etc", "rule": "drop"})),
        ("flush --rule drop --timeout 1m30s", ("flush", {"rule": "drop", "timeout": 90.0})),
        ("trigger drop /srv/a /srv/b --dry-run", ("trigger", {"rule": "drop", "paths": ["/srv/a", "/srv/b"],
                                                              "dry_run": True})),
        ("pause drop --for 30m --reason why --discard", ("pause", {"rule": "drop", "seconds": 1800.0, "reason": "why",
                                                                   "discard": True})),
        ("resume", ("resume", {})),
        ("config diff --from 1 --to 2", ("diff", {"from_generation": 1, "to_generation": 2})),
        ("log-level debug --for 10m", ("level", {"level": "debug", "seconds": 600.0})),
        ("shutdown", ("shutdown", {})),
        ("doctor --quick", ("doctor", {"quick": True})),
    ],
)  # fmt: skip
def test_what_is_asked(served: Served, ctl: Ctl, words: str, asked: tuple[str, dict[str, object]]) -> None:
    served.answer(asked[0], RequestError(503, "not now"))
    assert ctl(*words.split()).code == 1
    assert served.asked == [asked]


def test_since_is_a_moment(served: Served, ctl: Ctl) -> None:
    served.answer("jobs", d.Jobs(jobs=[], next_before=None))
    assert ctl("jobs", "--since", "2026-01-02T03:04:05+02:00").lines == ["no jobs"]
    assert served.asked[-1] == ("jobs", {"since": "2026-01-02T01:04:05.000000+00:00"})
    ctl("jobs", "--since", "2h")
    assert made.before(7200 + 300) < served.asked[-1][1]["since"] < made.before(7199)
    wrong = ctl("jobs", "--since", "soon")
    assert wrong.code == 64
    assert "write how long ago" in wrong.err


def test_paths_that_arent_utf_8_are_asked_by_their_bytes(served: Served, ctl: Ctl) -> None:
    served.answer("explain", RequestError(400, "no"))
    ctl("explain", os.fsdecode(b"/srv/\xff"))
    served.answer("trigger", RequestError(400, "no"))
    ctl("trigger", "drop", os.fsdecode(b"/srv/\xff"), "/srv/a")
    assert served.asked[0] == ("explain", {"path_b64": "L3Nydi//"})
    assert served.asked[1][1]["paths_b64"] == ["L3Nydi//"]
    assert served.asked[1][1]["paths"] == ["/srv/a"]


# ---- exit codes


@pytest.mark.parametrize(
    ("status", "code"), [(400, 64), (403, 77), (404, 1), (409, 1), (410, 1), (422, 78), (500, 1), (503, 1)]
)
def test_exit_codes_of_refusals(served: Served, ctl: Ctl, status: int, code: int) -> None:
    served.answer("status", RequestError(status, "because"))
    found = ctl("status")
    assert (found.code, found.out, found.err) == (code, "", "filewatchctl: because\n")


def test_a_strangers_refusal_names_the_key(tmp_path: Path, ctl: Ctl, monkeypatch: pytest.MonkeyPatch) -> None:
    class Strangers(Access):
        def lacking(self, peer: object, groups: object, route: object) -> str | None:
            return "control.read"

    with serving(tmp_path, Strangers()) as found:
        monkeypatch.setenv("FILEWATCHD_SOCKET", found.socket)
        refused = ctl("status")
    assert refused.code == 77
    assert "under control.read" in refused.err


@pytest.mark.parametrize("words", ["staus", "--sokcet x", "jobs show", "jobs show x", "jobs retry 1 --all", "explain",
                                   "pause drop --for 5", "log-level loud", "flush extra"])  # fmt: skip
def test_usage_errors_are_64_and_say_where_help_is(ctl: Ctl, words: str) -> None:
    found = ctl(*words.split())
    assert (found.code, found.out) == (64, "")
    assert found.err.startswith("Usage: filewatchctl")
    assert "--help" in found.err.splitlines()[-1]


def test_an_older_daemon(served: Served, ctl: Ctl) -> None:
    served.answer("health", RequestError(404, "there is no /v1/health; there are /v1/status, /v1/flush"))
    found = ctl("health")
    assert (found.code, found.err) == (
        1, "filewatchctl: the daemon doesn't know /v1/health; it is older than this command\n",
    )  # fmt: skip


def test_an_action_that_no_rule_has(served: Served, ctl: Ctl) -> None:
    found = ctl("reload", "history", "nginx")
    assert (found.code, found.err) == (
        1,
        "filewatchctl: no rule of the daemon's has the action reload; `filewatchctl rules` shows what they have\n",
    )


def test_what_was_perhaps_meant(ctl: Ctl) -> None:
    assert "there is no command 'staus'; did you mean status?" in ctl("staus").err
    assert "--rule" in ctl("flush", "--rulle", "x").err


@pytest.mark.parametrize("what", ["directory", "file"])
def test_what_is_no_socket_is_told_as_such(what: str, ctl: Ctl, tmp_path: Path) -> None:
    named = tmp_path if what == "directory" else tmp_path / "file"
    (tmp_path / "file").touch()
    found = ctl("--socket", str(named), "status")
    assert found.code == 69
    assert f"no daemon answers on {named}: that is no socket" in found.err


def test_no_daemon_is_69_and_says_where_it_was_sought(ctl: Ctl, tmp_path: Path) -> None:
    found = ctl("--socket", str(tmp_path / "control.sock"), "status")
    assert found.code == 69
    assert f"no daemon answers on {tmp_path}/control.sock: there is no such socket" in found.err
    assert "--socket" in found.err
    as_json = ctl("--socket", str(tmp_path / "control.sock"), "status", "--json")
    assert json.loads(as_json.out)["exit_code"] == 69


def test_a_refused_reload_tells_mistakes_as_check_does(served: Served, ctl: Ctl) -> None:
    mistake = {"file": "/etc/f.yaml", "line": 3, "column": 5, "message": "5 has no unit", "hint": "write 5s"}
    served.answer("reload", RequestError(422, "the configuration has mistakes", mistakes=[mistake]))
    found = ctl("config", "reload")
    assert found.code == 78
    assert found.err == "/etc/f.yaml:3:5: 5 has no unit; write 5s\nconfiguration refused: 1 mistake\n"
    assert json.loads(ctl("config", "reload", "--json").out)["mistakes"] == [mistake]


def test_help_without_a_word(ctl: Ctl) -> None:
    found = ctl()
    assert found.code == 0
    assert "Usage: filewatchctl" in found.out
    assert "  status " in found.out


# ---- where the daemon is


def test_the_socket_of_a_configurations_daemon(tmp_path: Path, ctl: Ctl) -> None:
    """Even if the configuration has mistakes elsewhere: that is when one wants to ask."""
    (tmp_path / "run").mkdir()
    config = tmp_path / "filewatchd.yaml"
    config.write_text("version: 1\ndaemon: {runtime_dir: run, shutdown_timeout: 5}\nrules: [{nonsense: 1}]\n")
    with serving(tmp_path / "run") as served:
        served.answer("resume", d.Resumed(resumed=["a"], held={"b": "a loop"}, acknowledged=True))
        found = ctl("--config", str(config), "resume")
    assert found.code == 0
    assert found.lines == ["a goes on", "b is held: a loop", "the loss of state is acknowledged"]


def test_a_missing_word_is_told_on_one_line(ctl: Ctl) -> None:
    found = ctl("log-level")
    assert found.code == 64
    assert "Choose from: debug, info, warning, error; see filewatchctl log-level --help" in found.err


def test_a_configuration_that_cant_be_read(tmp_path: Path, ctl: Ctl) -> None:
    found = ctl("--config", str(tmp_path / "none.yaml"), "status")
    assert found.code == 78
    assert f"{tmp_path}/none.yaml: there is no such file; `filewatchd init` writes one" in found.err


# ---- for people


def test_status_for_people(served: Served, ctl: Ctl) -> None:
    served.answer("status", made.status())
    found = ctl("status")
    assert found.code == 0
    assert "daemon:          main on testhost, filewatchd 1.0, pid 7" in found.lines
    assert "state:           running for 1d1h1m" in found.lines
    assert "promise:         in doubt, since 2h1m ago" in found.lines
    assert "root /srv/\\udcff: it is waiting" in found.out
    assert "reload refused:  line 3: no\\x1b[2Jthing\n                 line 4: nothing\n" in found.out
    assert "  drop: paused by root: disk swap (since 2h1m ago, goes on in 3d)" in found.lines
    rule = next(line.split() for line in found.lines if line.startswith("  drop  "))
    assert rule == ["drop", "paused", "1,234", "2", "0", "0", "1", "0", "0", "2", "ok,", "1", "failed,", "2h1m", "ago"]
    assert "no watch is left (directories not watched: 12)" in found.out
    assert "drop fails, since 2h1m ago: no space" in found.out
    assert "drop:on_failure: 3 things not told; `filewatchctl jobs list --rule drop:on_failure`" in found.out
    assert "  drop  2h1m ago  nothing came" in found.lines
    start = found.lines.index("  web   2h1m ago  version 2 is refused by its check: line 1")
    assert found.lines[start + 1 : start + 3] == ["                  line 2\\x1b[2J", "                  line 3"]
    assert found.lines[start + 12 :] == ["                  ..."]
    assert "\x1b" not in found.out


def test_jobs_for_people(served: Served, ctl: Ctl) -> None:
    backoff = made.row(
        id=8, state="backoff", finished=None, until=made.before(-made.SOON), seconds=None, message="", attempt=1
    )
    served.answer("jobs", d.Jobs(jobs=[made.row(), backoff], next_before=8))
    lines = ctl("jobs").lines
    assert lines[0].split() == ["id", "rule", "state", "began", "took", "paths", "outcome"]
    assert lines[1] == "17  drop  failed   2h1m ago   59s      3  2 ok, 1 failed: exit status 3\\x1b[2J"
    assert lines[2] == " 8  drop  backoff  2h1m ago     -      3  2 ok, 1 failed, attempt 2 in 3d"
    assert lines[-1] == "there are more: --before 8"


def test_a_jobs_story(served: Served, ctl: Ctl) -> None:
    served.answer("job", made.job())
    out = ctl("jobs", "show", "17").out
    for line in (
        "job:      17 of rule drop, because of a change\n",
        "time:     2s settling, 1s500ms running, 57s between attempts, 1m2s in all\n",
        "              2s  create, close_write  /srv/a\n",
        "  moved    /srv/b (was /srv/a)  failed: exit status 3\n",
        "  created  /srv/\\udcff          none yet\n",
        "  one\n          two\\x1b[2J\n",
        "    4s  1 failed: exit status 3\n",
        "     -  runs, from action 2 on\n",
    ):
        assert line in out


def test_a_flush_that_takes_too_long_is_75_and_says_what_is_left(served: Served, ctl: Ctl) -> None:
    told: dict[str, Any] = {"held": [d.PathTold(path="/srv/a")], "failed": [d.PathTold(path="/srv/f")], "backoff": [],
                            "skipped": [], "paused": ["drop"], "stalled": [d.PathTold(path="/mnt")]}  # fmt: skip
    served.answer("flush", d.Flushed(done=False, **told))
    found = ctl("flush")
    assert found.code == 75
    assert found.lines[0] == "the time is over, not all is done"
    assert "  /srv/a: held open by a writer" in found.lines
    assert "  rule drop is paused; `filewatchctl resume drop` lets it go on" in found.lines
    served.answer("flush", d.Flushed(done=True, **{key: [] for key in told}))
    assert ctl("flush") == (0, "done: all that happened before\n", "")


def test_an_explanation(served: Served, ctl: Ctl) -> None:
    reasons = [d.Reason(about="root", passed=True, text="it is below /srv", where="/etc/f.yaml:4"),
               d.Reason(about="include", passed=False, text="no pattern matches", where=None)]  # fmt: skip
    pending = d.Pending(
        state="dirty",
        since=made.before(made.LONG),
        due=made.before(-made.SOON),
        job=None,
        events=["create"],
        writers=[],
    )
    no = d.Verdict(
        rule="other", matches=False, why="no include pattern matches", reasons=reasons, pending=None, known=None
    )
    yes = d.Verdict(rule="drop", matches=True, why="all agrees", reasons=reasons[:1], pending=pending,
                    known={"inode": 5, "size": 10, "mtime_ns": 1 << 62, "ctime_ns": None})  # fmt: skip
    served.answer("explain", d.Explained(path="/srv/a", exists="nothing", rules=[no, yes]))
    assert ctl("explain", "/srv/a").lines == [
        "/srv/a (nothing) is matched by 1 of 2 rules",
        "",
        "drop: matches",
        "  all agrees",
        "  yes  root     it is below /srv  [/etc/f.yaml:4]",
        "  now: changed, and waiting; since 2h1m ago; due in 3d; noticed: create",
        f"  last handled: 10 B, modified {moment(1 << 62)}, inode 5",
        "",
        "other: does not match",
        "  no include pattern matches",
        "  yes  root     it is below /srv  [/etc/f.yaml:4]",
        "  no   include  no pattern matches",
    ]


def test_plans(served: Served, ctl: Ctl) -> None:
    plan = [d.Planned(kind="moved", path="/srv/b", old_path="/srv/a", steps=["run gzip /srv/b"])]
    served.answer("explain", d.Explained(rule="drop", planned=plan, together=["run report"], more=4))
    assert ctl("explain", "--rule", "drop").lines == [
        "moved /srv/b (was /srv/a)",
        "  run gzip /srv/b",
        "and 4 changes more",
        "",
        "Together",
        "  run report",
        "",
        "drop would work 5 changes; nothing was done",
    ]
    refused = [d.PathTold(path="/x")]
    served.answer("trigger", d.Triggered(rule="drop", dry_run=True, paths=1, refused=refused, held=None, planned=plan))
    found = ctl("trigger", "drop", "/srv/b", "/x", "--dry-run")
    assert found.code == 1
    assert found.lines == [
        "moved /srv/b (was /srv/a)",
        "  run gzip /srv/b",
        "",
        "/x: drop doesn't match it",
        "",
        "drop would do this over 1 path; nothing was done",
    ]


def test_changes_for_people(served: Served, ctl: Ctl) -> None:
    served.answer("changes", [made.change(), d.Missed(**LABEL, cursor="x-2", missed=3)])
    first, second = ctl("changes").lines
    assert first[19:] == "  created   drop            /srv/\\x1b[2J"
    assert second == "3 changes were forgotten before they could be told"


def test_differences_and_reloads(served: Served, ctl: Ctl) -> None:
    values = [d.ValueChanged(key="rules.drop.settle", old="1s", new=["a"], origin="/etc/f.yaml:9")]
    for rule, old, new, origin in (("old", 1, None, None), ("new", None, 2, "built-in"), ("new", None, 3, "/etc/f:1")):
        values.append(d.ValueChanged(key=f"rules.{rule}.batch", old=old, new=new, origin=origin))
    served.answer("diff", d.Differences(from_generation=1, to_generation=None, added=["new"], removed=["old"],
                                        changed=["drop"], values=values))  # fmt: skip
    assert ctl("config", "diff").lines == [
        "from generation 1 to the files on disk:",
        "",
        "+ rule new",
        "- rule old",
        "~ rule drop",
        "rules.drop.settle:",
        "  - 1s",
        '  + ["a"]  [/etc/f.yaml:9]',
        "rules.new.batch:",
        "  + 3  [/etc/f:1]",
    ]
    served.answer("reload", d.Reloaded(generation=2, added=[], removed=["old"], changed=[], unchanged=["a", "b"],
                                       warnings=["w"], until_restart=["daemon.state_dir"]))  # fmt: skip
    assert ctl("config", "reload").lines == [
        "generation 2 is in force",
        "- rule old",
        "unchanged rules: 2",
        "daemon.state_dir changes with the next start",
        "warning: w",
    ]


def test_the_daemon_itself(served: Served, ctl: Ctl) -> None:
    served.answer("level", d.Level(level="debug", was="info", until=made.before(-made.SOON)))
    assert ctl("log-level", "debug").out == "log level debug (it was info); goes back in 3d\n"
    served.answer("shutdown", d.Ending(running=2, grace=30.0))
    assert ctl("shutdown").out == "the daemon ends; it waits for 2 jobs, at most 30s\n"
    served.answer("metrics", "a 1\nb 2\n")
    assert ctl("metrics").out == "a 1\nb 2\n"
    assert json.loads(ctl("metrics", "--json").out) == {"metrics": "a 1\nb 2\n"}
    served.answer("health", d.Health(healthy=True, state="running", why=[]))
    assert ctl("health") == (0, "healthy: running\n", "")
    served.answer("health", RequestError(503, "it isn't", healthy=False, state="blocked", why=["the disk is full"]))
    assert ctl("health") == (1, "not healthy: blocked\nthe disk is full\n", "")


def test_doctors_findings_are_3(served: Served, ctl: Ctl) -> None:
    finding = {"severity": "warning", "code": "state-space", "rule": None, "path": None, "message": "little is free",
               "why": "it fills up", "remedy": "free some"}  # fmt: skip
    served.answer("doctor", d.Examined(roots=[], limits=[], findings=[finding]))
    found = ctl("doctor")
    assert (found.code, found.lines[1], found.lines[-1]) == (3, "  warning: state-space", "1 warning")
    served.answer("doctor", d.Examined(roots=[], limits=[], findings=[{**finding, "severity": "note"}]))
    assert ctl("doctor").code == 0


def test_what_was_done_about_jobs(served: Served, ctl: Ctl) -> None:
    served.answer("retry", d.Retried(paths=2, jobs=0, rules={"drop": 2}, held={"drop": "a loop"}))
    assert ctl("jobs", "retry", "--all").lines == ["trying again: 2 paths (2 of drop)", "drop is held: a loop"]
    served.answer("cancel", d.Cancelled(id=4, was="running", paths=1))
    assert ctl("jobs", "cancel", "4").lines == [
        "job 4 is cancelled (it was running)",
        "paths left: 1; `filewatchctl jobs retry 4` tries them again, `filewatchctl jobs drop 4` gives them up",
    ]
    served.answer("drop", d.Dropped(paths=1, rules={"drop": 1}))
    assert ctl("jobs", "drop", "4").lines == ["given up: 1 path (1 of drop)"]


def test_rules_for_people(served: Served, ctl: Ctl) -> None:
    rule = d.RuleInfo(
        name="drop", description="about it", enabled=True, state="paused", paused=made.pause(until=None),
        roots=["/srv"], include=["*.csv"], exclude=[], presets=["editors"], changes=["created"], ready="closed",
        settle=0.5, max_wait=5.0, batch="path", on_busy="queue", concurrency=1,
        actions=["exec"], user=None, origin="/etc/f.yaml:4",
    )  # fmt: skip
    served.answer("rules", d.Rules(rules=[rule]))
    assert ctl("rules").lines[1].split() == ["drop", "paused", "/srv", "*.csv", "exec", "f.yaml:4"]
    told = ctl("rules", "-v").lines
    assert "  from:     /etc/f.yaml:4" in told
    assert "  ready:    closed, settle 500ms, max_wait 5s" in told
    assert "  held:     paused by root: disk swap (since 2h1m ago, until resumed)" in told
