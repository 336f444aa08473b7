"""Names of every kind on their way to commands: placeholders, environment, standard input, the log."""

from __future__ import annotations

import base64
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.running import Daemon, eventually
from tests.e2e.steps import CONTENT, lines, rule_state, shell, tell, until

HOSTILE = [
    b"plain",
    b"two words",
    b" leading and trailing ",
    b"-rf",
    b"--help",
    b"line\nbreak",
    b"tab\tand\rreturn",
    b"quote'double\"back`tick",
    b"$(touch injected)",
    b"; touch injected;",
    b"{path}",
    b"{{name}}",
    b"%s%n",
    b"*",
    b"caf\xc3\xa9 \xe2\x98\x83",
    b"invalid\xff\xfeutf8",
    b"\x1b[31mred\x1b]0;title\x07",
    b"\xc2\x9b31mC1",
    b"\xe2\x80\xaeright to left",
    b"\x01\x7f",
    b"\\x41\\n",
    b"n" * 255,
]


def make(daemon: Daemon) -> list[bytes]:
    """A file of each name; returns their paths, sorted."""
    daemon.signal(signal.SIGSTOP)
    paths = [os.fsencode(daemon.root) + b"/" + name for name in HOSTILE]
    for path in paths:
        with open(path, "w") as file:
            file.write("x")
    daemon.signal(signal.SIGCONT)
    return sorted(paths)


def words(path: Path) -> list[bytes]:
    """What was written with a NUL after each."""
    return sorted(path.read_bytes().split(b"\0")[:-1]) if path.exists() else []


@pytest.mark.parametrize("word", ["{path}", "{paths}", "{dir}/{name}", "{root}/{name}", "{original_path}"])
def test_hostile_names_reach_a_command_byte_for_byte(daemon: Daemon, word: str) -> None:
    out = daemon.directory / "out"
    action = shell('o=$1; shift; printf "%s\\0" "$@" >> "$o"', str(out), word)
    daemon.configure(daemon.rule(actions=action, presets=[]))
    daemon.start()
    paths = make(daemon)
    eventually(lambda: len(words(out)) >= len(paths), "every name came", 20)
    assert words(out) == paths
    assert not list(daemon.directory.rglob("injected"))


def test_hostile_names_in_the_environment_of_a_shell_script(daemon: Daemon) -> None:
    out = daemon.directory / "out"
    script = f'printf "%s\\0" "$FILEWATCHD_PATH" >> {out}'
    daemon.configure(daemon.rule(actions=f"exec: {{shell: true, command: [{json.dumps(script)}]}}", presets=[]))
    daemon.start()
    paths = make(daemon)
    eventually(lambda: len(words(out)) >= len(paths), "every name came", 20)
    assert words(out) == paths


def test_hostile_names_on_standard_input(daemon: Daemon) -> None:
    nul, documents = daemon.directory / "nul", daemon.directory / "json"
    first = shell('cat >> "$1"', str(nul), stdin="nul")
    second = shell('cat >> "$1"', str(documents), stdin="json")
    daemon.configure(daemon.rule(actions=f"{first}\n      - {second}", presets=[]))
    daemon.start()
    paths = make(daemon)
    eventually(lambda: len(words(nul)) >= len(paths), "every name came", 20)
    assert words(nul) == paths
    until(daemon, dirty=0, running=0)
    shown = [change for line in lines(documents) for change in json.loads(line)["changes"]]
    assert sorted(path_of(change) for change in shown) == paths
    assert {change["kind"] for change in shown} == {"created"}


def path_of(change: dict[str, Any]) -> bytes:
    """A change's path in bytes, as the JSON gives it."""
    encoded = change.get("path_b64")
    return base64.b64decode(encoded) if encoded else str(change["path"]).encode()


def test_hostile_names_neither_forge_nor_break_log_lines(daemon: Daemon) -> None:
    echo = shell('printf "output %s\\n" "$1"', "{name}")
    log = "log: {message: 'message {name}'}"
    fail = shell("exit 1")
    daemon.configure(daemon.rule(actions=f"{echo}\n      - {log}\n      - {fail}", retry={"attempts": 1}, presets=[]))
    daemon.start()
    make(daemon)
    until(daemon, open=len(HOSTILE), dirty=0, running=0)
    written = daemon.log_path.read_bytes()
    assert written.count(b"message ") >= len(HOSTILE)
    for text in written.decode("utf-8").splitlines():  # all of it is UTF-8, and every line is one of ours
        assert text.isprintable(), text
        assert text[:4].isdigit(), text


def test_hostile_names_survive_a_restart(daemon: Daemon) -> None:
    daemon.configure(daemon.rule(changes=CONTENT, presets=[]))
    daemon.start()
    paths = make(daemon)
    eventually(lambda: len(daemon.recorder.changes()) == len(paths), "every name came", 20)
    until(daemon, dirty=0, running=0)
    daemon.stop()
    for path in paths[::2]:
        os.unlink(path)
    daemon.start()
    eventually(lambda: len(daemon.recorder.changes()) >= len(paths) + len(paths[::2]), "every other name came", 20)
    gone = daemon.recorder.changes()[len(paths) :]
    assert sorted(path_of(change) for change in gone) == paths[::2]
    assert {change["kind"] for change in gone} == {"deleted"}


# ---- every placeholder and variable


NAMES = ["path", "original_path", "name", "stem", "dir", "root", "rule", "kind", "old_path", "job", "attempt"]


def test_every_placeholder_and_its_variable(daemon: Daemon) -> None:
    out, seen = daemon.directory / "out", daemon.directory / "environment"
    script = 'o=$1; e=$2; shift 2; printf "%s\\n" "$@" >> "$o"; env | grep ^FILEWATCHD_ | grep -v TOKEN >> "$e"'
    action = shell(script, str(out), str(seen), *(f"{name}={{{name}}}" for name in NAMES))
    daemon.configure(daemon.rule(changes=CONTENT, actions=action))
    (daemon.root / "d").mkdir()
    (daemon.root / "d" / "before.tar.gz").write_text("x")
    daemon.start()
    old, new = daemon.root / "d" / "before.tar.gz", daemon.root / "d" / "after.tar.gz"
    old.rename(new)
    eventually(lambda: len(lines(out)) == len(NAMES), "the command ran", 20)
    until(daemon, running=0)
    values = {
        "path": new,
        "original_path": new,
        "name": "after.tar.gz",
        "stem": "after.tar",
        "dir": new.parent,
        "root": daemon.root,
        "rule": "recorded",
        "kind": "moved",
        "old_path": old,
        "job": 1,
        "attempt": 1,
    }
    assert lines(out) == [f"{name}={values[name]}" for name in NAMES]
    environment = dict(line.split("=", 1) for line in lines(seen))
    expected = {f"FILEWATCHD_{name.upper()}": str(value) for name, value in values.items()}
    assert environment == {**expected, "FILEWATCHD_TRIGGER": "change"}


def test_the_environment_is_clean(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = daemon.directory / "environment"
    monkeypatch.setenv("SECRET_OF_THE_DAEMON", "x")
    monkeypatch.setenv("LD_PRELOAD_NOT", "x")
    daemon.configure(daemon.rule(actions=shell('env > "$1"', str(seen), env={"MINE": "1", "PATH": "/bin:/usr/bin"})))
    daemon.start()
    (daemon.root / "a").write_text("x")
    eventually(lambda: daemon.finished() == 1, "the command ran", 20)
    environment = dict(line.split("=", 1) for line in lines(seen))
    assert environment["MINE"] == "1"
    assert environment["PATH"] == "/bin:/usr/bin"
    assert not {name for name in environment if name.startswith(("SECRET", "LD_"))}
    kept = {"PATH", "LANG", "HOME", "USER", "LOGNAME", "SHELL", "MINE", "PWD", "SHLVL", "_", "OLDPWD"}
    assert {name for name in environment if not name.startswith("FILEWATCHD_")} <= kept


def test_many_paths_are_split_below_the_systems_limit(daemon: Daemon) -> None:
    out = daemon.directory / "out"
    deep = daemon.root / ("d" * 200) / ("e" * 200) / ("f" * 200) / ("g" * 200)
    deep.mkdir(parents=True)
    action = shell('o=$1; shift; echo $# >> "$o"', str(out), "{paths}")
    daemon.configure(daemon.rule(batch="rule", actions=action))
    daemon.start()
    daemon.signal(signal.SIGSTOP)
    for number in range(900):
        (deep / f"{number:0200}").write_text("x")
    daemon.signal(signal.SIGCONT)
    eventually(lambda: sum(map(int, lines(out))) >= 900, "all paths were given", 20)
    until(daemon, dirty=0, running=0)
    assert sum(map(int, lines(out))) == 900
    assert rule_state(daemon)["counters"]["ok"] == 900


def test_a_moved_path_is_given_with_both_names_to_stdin(daemon: Daemon) -> None:
    (daemon.root / "a").write_text("x")
    daemon.configure(daemon.rule(changes=CONTENT))
    daemon.start()
    (daemon.root / "a").rename(daemon.root / "b")
    tell(daemon, ("moved", "b", "a"))
    document = daemon.recorder.documents()[0]
    assert {key: document[key] for key in ("rule", "attempt", "trigger")} == {
        "rule": "recorded",
        "attempt": 1,
        "trigger": "change",
    }
