"""`explain`: why a path is a rule's or isn't, what waits for it, and what a rule would do now."""

from __future__ import annotations

import base64
import os
import shlex
from pathlib import Path
from typing import Any

import pytest

from filewatchd.control.api import RequestError
from tests.e2e.running import Daemon, eventually
from tests.e2e.steps import ask, configure, gate, quiet, rule, shell

BEHIND = "is a symlink to a directory, and what is behind one is no file of the root's"
RULES = """\
rules:
  - name: drop
    roots: [{root}, {other}]
    include:
      - "*.csv"
      - "!old*"
    exclude: ["*.part", cache/]
    presets: [vcs, editors]
    actions:
      - log: {{message: "{{path}}"}}
"""


def verdict(daemon: Daemon, path: Path | str, name: str = "drop", **more: Any) -> dict[str, Any]:
    (found,) = ask(daemon, "explain", path=str(path), rule=name, **more)["rules"]
    return dict(found)


def failing(found: dict[str, Any]) -> tuple[str, str | None]:
    """What the first reason that didn't pass is about, and where the key stands that decides."""
    assert not found["matches"]
    reason = next(reason for reason in found["reasons"] if not reason["passed"])
    assert found["why"] == f"it doesn't match: {reason['text']}"
    return reason["about"], reason["where"]


def reason(found: dict[str, Any], about: str) -> dict[str, Any]:
    return dict(next(each for each in found["reasons"] if each["about"] == about))


@pytest.fixture
def drop(daemon: Daemon) -> Daemon:
    """A rule in a rule file of its own, on two roots, at work."""
    other, rules = daemon.directory / "other", daemon.directory / "rules.d"
    other.mkdir()
    rules.mkdir()
    (rules / "drop.yaml").write_text("# a comment\n" + RULES.format(root=daemon.root, other=other))
    daemon.config.write_text("version: 1\nrule_files: [rules.d/*.yaml]\ndefaults: {settle: 50ms, ready: stable}\n")
    return daemon.start()


def at(daemon: Daemon, line: int) -> str:
    return f"{daemon.directory}/rules.d/drop.yaml:{line}"


def test_a_path_that_isnt_there_yet_matches(drop: Daemon) -> None:
    path = drop.root / "not" / "yet.csv"
    document = ask(drop, "explain", path=f"{drop.root}/not/../not//yet.csv")
    assert (document["path"], document["exists"]) == (str(path), "nothing")
    (found,) = document["rules"]
    assert (found["matches"], found["why"], found["pending"], found["known"]) == (True, "it matches", None, None)
    told = [(each["about"], each["passed"], each["where"]) for each in found["reasons"]]
    assert told == [
        ("enabled", True, None),
        ("root", True, at(drop, 4)),
        ("type", True, None),
        ("exclude", True, at(drop, 8)),
        ("include", True, at(drop, 6)),
        ("changes", True, None),
        ("ready", True, f"{drop.config}:3"),
        ("paused", True, None),
    ]
    assert reason(found, "include")["text"] == "the include pattern *.csv matches it"


def test_the_pattern_that_decides_is_named_with_its_line(drop: Daemon) -> None:
    root = drop.root
    assert failing(verdict(drop, root / "a.txt")) == ("include", at(drop, 5))
    assert failing(verdict(drop, root / "old1.csv")) == ("include", at(drop, 7))
    assert failing(verdict(drop, root / "a.csv.part")) == ("exclude", at(drop, 8))
    cached = verdict(drop, root / "x" / "cache" / "a.csv")
    assert failing(cached) == ("exclude", at(drop, 8))
    assert cached["why"].endswith("the exclude pattern cache/ matches the directory x/cache/")
    leftover = verdict(drop, root / "a.csv~")
    assert failing(leftover) == ("preset", at(drop, 9))
    assert leftover["why"] == "it doesn't match: the preset editors's pattern *~ matches it"


def test_a_path_elsewhere_is_told_the_nearest_root(drop: Daemon) -> None:
    elsewhere = verdict(drop, drop.directory / "othere" / "a.csv")
    assert failing(elsewhere) == ("root", at(drop, 4))
    assert "any of its 2 roots; the nearest is" in elsewhere["why"]
    assert verdict(drop, drop.directory / "other" / "a.csv")["matches"]
    assert failing(verdict(drop, drop.directory)) == ("root", at(drop, 4))


def test_what_isnt_a_file(drop: Daemon) -> None:
    root = drop.root
    (root / "d.csv").mkdir()
    (root / "to").symlink_to("d.csv")
    (root / "link.csv").symlink_to("target")
    os.mkfifo(root / "fifo.csv")
    for name, text in (
        ("d.csv", "it is a directory: the files below it are looked at, not the directory itself"),
        ("link.csv", "it is a symlink, and those below a root aren't followed (follow_symlinks: never)"),
        ("fifo.csv", "it is a FIFO: only files are looked at"),
        ("to/a.csv", f"{root}/to {BEHIND}; its real name is {root}/d.csv/a.csv"),
    ):  # fmt: skip
        found = verdict(drop, root / name)
        assert (failing(found)[0], found["why"]) == ("type", f"it doesn't match: {text}")
    assert ask(drop, "explain", path=str(root / "link.csv"))["exists"] == "symlink"
    assert "it is the root" in reason(verdict(drop, root), "root")["text"]


def test_a_root_behind_a_symlink_is_known_by_both_names(daemon: Daemon) -> None:
    real = daemon.directory / "real"
    real.mkdir()
    link = daemon.directory / "link"
    link.symlink_to(real)
    configure(daemon, rule("drop", "log: {}", roots=[str(link)]))
    daemon.start()
    assert reason(verdict(daemon, link / "a"), "root")["text"] == f"it is below {link}"
    other = verdict(daemon, real / "a")
    assert other["matches"]
    assert reason(other, "root")["text"] == (
        f"by its real name {real}/a it is below {link}, which the rule knows it by ({link} leads to {real})"
    )


def test_a_name_that_isnt_utf8(drop: Daemon) -> None:
    raw = os.fsencode(drop.root) + b"/caf\xe9.csv"
    encoded = base64.b64encode(raw).decode()
    document = ask(drop, "explain", path_b64=encoded)
    assert (document["path_b64"], document["rules"][0]["matches"]) == (encoded, True)
    with open(raw, "w") as file:
        file.write("x")
    eventually(lambda: ask(drop, "explain", path_b64=encoded)["rules"][0]["known"], "it was handled", 20)


def test_what_waits_for_a_path(daemon: Daemon) -> None:
    hold = gate(daemon)
    script = f'[ "$1" = c ] && exit 1; [ "$1" = d ] && exit 1; cat {shlex.quote(str(hold))}'
    daemon.configure(
        daemon.rule("slow", settle="1h", max_wait="1h", include=["a"]),
        daemon.rule("works", actions=shell(script, "{name}"), include=["b"]),
        daemon.rule("tries", actions=shell(script, "{name}"), include=["c"],
                    retry={"attempts": 2, "backoff": "1h", "max_backoff": "1h"}),
        daemon.rule("fails", actions=shell(script, "{name}"), include=["d"], retry={"attempts": 1}),
        daemon.rule("waits", include=["e"]),
    )  # fmt: skip
    daemon.start()
    expected = {"a": ("slow", "dirty"), "b": ("works", "taken"), "c": ("tries", "backoff"), "d": ("fails", "failed"),
                "e": ("waits", "held")}  # fmt: skip
    with (daemon.root / "e").open("w") as held:
        held.write("x")
        held.flush()
        for name in "abcd":
            (daemon.root / name).write_text("x")
        pending = {}
        for name, (waits, state) in expected.items():

            def there(path: Path = daemon.root / name, waits: str = waits, state: str = state) -> Any:
                found = verdict(daemon, path, waits)
                pending = found["pending"] or {}
                begun = state != "taken" or pending.get("job") is not None  # it is taken a moment before its job begins
                return found if pending.get("state") == state and begun else None

            pending[name] = eventually(there, f"{name} is {state}", 20)
    assert pending["a"]["pending"]["events"] == ["create", "modify", "close_write"]
    assert pending["a"]["pending"]["since"] < pending["a"]["pending"]["due"]
    running, failed = ask(daemon, "jobs", rule="works")["jobs"][0], ask(daemon, "jobs", rule="fails")["jobs"][0]
    assert (pending["b"]["pending"]["job"], running["state"]) == (running["id"], "running")
    again = ask(daemon, "jobs", rule="tries")["jobs"][0]
    assert pending["c"]["pending"]["due"][:19] == again["until"][:19]
    assert (pending["d"]["pending"]["job"], failed["state"]) == (failed["id"], "failed")
    (writer,) = pending["e"]["pending"]["writers"]
    assert writer.endswith(f"(pid {os.getpid()})")
    assert pending["e"]["why"].startswith(f"it matches, but {writer} has it open for writing")
    hold.write_text("go on")
    quiet(daemon, "works")
    known = verdict(daemon, daemon.root / "b", "works")["known"]
    info = (daemon.root / "b").stat()
    assert known == {"inode": info.st_ino, "size": 1, "mtime_ns": info.st_mtime_ns, "ctime_ns": info.st_ctime_ns}


def test_disabled_and_shallow_rules_and_changes_nobody_wants(daemon: Daemon) -> None:
    daemon.configure(
        daemon.rule("off", enabled=False),
        daemon.rule("flat", recursive=False, changes=["created"], user="root" if os.geteuid() == 0 else None),
    )
    daemon.start()
    document = ask(daemon, "explain", path=str(daemon.root / "d" / "a"))
    off, flat = document["rules"]
    assert failing(off)[0] == "enabled"
    assert off["why"] == "it doesn't match: the rule is disabled"
    assert "the rule isn't recursive" in flat["why"]
    (daemon.root / "a").write_text("x")
    eventually(lambda: verdict(daemon, daemon.root / "a", "flat")["known"], "it was handled", 20)
    known = verdict(daemon, daemon.root / "a", "flat")
    assert known["matches"]
    assert known["why"] == (
        "it matches, but the rule wants created; the next change would be modified, of which it only takes note"
    )


def test_what_a_rule_would_do_now(daemon: Daemon) -> None:
    """What is dirty and what failed, and what only a comparison finds; nothing comes of it."""
    daemon.configure(
        daemon.rule(
            "does",
            actions=shell("exit 1", "{path}"),
            settle="1h",
            max_wait="1h",
            retry={"attempts": 1},
            changes=["created", "modified", "deleted"],
            exclude=["*.part"],
        )
    )
    (daemon.root / "deep").mkdir()
    for name in ("gone", "deep/rewritten", "same"):
        (daemon.root / name).write_text("x")
    daemon.start()
    assert ask(daemon, "explain", rule="does")["planned"] == []
    (daemon.root / "new").write_text("x")
    (daemon.root / "a.part").write_text("x")
    (daemon.root / "gone").unlink()
    (daemon.root / "deep" / "rewritten").write_text("longer")
    found = ask(daemon, "explain", rule="does")
    assert [(each["kind"], os.path.relpath(each["path"], daemon.root)) for each in found["planned"]] == [
        ("deleted", "gone"), ("created", "new"), ("modified", "deep/rewritten"),
    ]  # fmt: skip
    assert all(str(each["path"]) in each["steps"][0] for each in found["planned"])
    assert found["more"] == 0
    assert ask(daemon, "jobs")["jobs"] == []


def test_what_failed_is_what_a_retry_would_do_and_what_isnt_the_rules_is_left_out(daemon: Daemon) -> None:
    daemon.configure(
        daemon.rule(
            "fails", actions=shell("exit 1", "{path}"), retry={"attempts": 1}, include=["*.csv"], exclude=["old/"]
        )
    )
    daemon.start()
    (daemon.root / "a.csv").write_text("x")
    quiet(daemon, "fails")
    eventually(lambda: ask(daemon, "status")["rules"]["fails"]["failed"] == 1, "the path has failed", 20)
    for left in ("b.txt", "old/c.csv"):
        (daemon.root / left).parent.mkdir(exist_ok=True)
        (daemon.root / left).write_text("x")
    found = ask(daemon, "explain", rule="fails")
    assert [(each["kind"], each["path"]) for each in found["planned"]] == [("created", str(daemon.root / "a.csv"))]
    (daemon.root / "a.csv").unlink()
    assert ask(daemon, "explain", rule="fails")["planned"] == [], "deletions are none of its changes"
    assert ask(daemon, "status")["rules"]["fails"]["paused"] is None


def test_of_many_changes_a_hundred_are_planned_and_the_others_counted(daemon: Daemon) -> None:
    daemon.configure(daemon.rule("does", settle="1h", max_wait="1h"))
    daemon.start()
    for number in range(1200):
        (daemon.root / f"{number}").write_text("x")
    eventually(lambda: ask(daemon, "status")["rules"]["does"]["dirty"] == 1200, "all are dirty", 20)
    found = ask(daemon, "explain", rule="does")
    assert (len(found["planned"]), found["more"]) == (100, 1100)


def test_what_cant_be_explained_is_said(drop: Daemon) -> None:
    for asked, status, text in (
        ({}, 400, "say what to explain"),
        ({"path": "relative"}, 400, "isn't an absolute path"),
        ({"path": "/a", "path_b64": "L2E="}, 400, "say what to explain"),
        ({"path_b64": "%%"}, 400, "it isn't base64"),
        ({"path": "/a", "rule": "no"}, 404, "there is no rule no; there are drop"),
        ({"rule": "no"}, 404, "there is no rule no; there are drop"),
    ):
        with pytest.raises(RequestError, match=text) as refused:
            ask(drop, "explain", **asked)
        assert refused.value.status == status
