"""docs/how-to/come-from-logrotate.md held against the real logrotate: what lies there after its directive, and ours."""

from __future__ import annotations

import gzip
import json
import os
import re
import shutil
import signal
import stat
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import dedent
from typing import Any, NamedTuple

import pytest
import yaml

from filewatchd.actions.rotate.reader import Reader
from tests.e2e.running import Daemon, eventually
from tests.e2e.steps import ask, configure, lines, rule
from tests.e2e.test_archive import archive
from tests.rotation.trial import content

PAGE = Path(__file__).parents[2] / "docs/how-to/come-from-logrotate.md"
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")


class Row(NamedTuple):
    """A directive, and what stands for it. ``logs``: those written in each of ``turns``."""

    directive: str
    options: dict[str, Any]
    turns: int = 1
    logs: tuple[str, ...] = ("app.log",)


ROWS = {
    "create": Row("create 0604 nobody nogroup", {"create": {"mode": "0604", "owner": "nobody", "group": "nogroup"}}),
    "as-it-was": Row("create", {}),
    "count": Row("create\nrotate 2", {"keep": {"count": 2}}, turns=3),
    "none-kept": Row("create\nrotate 0", {"keep": {"count": 0, "min_count": 0}}),
    "plain": Row("create\nnocompress", {"compress": "none"}),
    "copytruncate": Row("copytruncate", {"method": "copytruncate"}),
    "copy": Row("copy", {"method": "copy"}),
    "olddir": Row("create\nolddir old\ncreateolddir 0755 root root", {"into": "old"}),
    "names": Row("create", {}, logs=("with space.log", "a\nline.log", "*.log", os.fsdecode(b"\xff.log"))),
    "told": Row(
        "create\nsharedscripts\npostrotate\necho told >>{said}\nendscript",
        {"reopen": {"command": ["sh", "-c", "echo told >>{said}"]}},
        logs=("one.log", "two.log"),
    ),
    "one-held-back": Row(
        "create\nprerotate\ncase $1 in *one.log) false; esac\nendscript",
        {"before": {"command": ["sh", "-c", 'case $1 in *one.log) false; esac', "sh", "{path}"]}},
        logs=("one.log", "two.log"),
    ),
    "held-back": Row(
        "create\nprerotate\nfalse\nendscript", {"before": {"command": ["false"]}}
    ),
}  # fmt: skip


class File(NamedTuple):
    mode: int
    owner: int
    group: int
    text: bytes


def tree(root: Path) -> dict[str, File]:
    """All files, as what they contain. What is on its way has a hidden name."""
    found = {}
    for path in (path for path in root.rglob("*") if path.is_file()):
        with suppress(FileNotFoundError):  # it has just got its name
            seen, text = path.stat(), path.read_bytes()
            text = gzip.decompress(text) if path.suffix == ".gz" else text
            found[str(path.relative_to(root))] = File(stat.S_IMODE(seen.st_mode), seen.st_uid, seen.st_gid, text)
    return found


def logrotate(program: str, config: Path, *blocks: str) -> str:
    """Rotate, and return what it complains of."""
    config.write_text("\n".join(blocks))
    config.chmod(0o600)
    words = [program, "--force", "--state", str(config.with_suffix(".state")), str(config)]
    return subprocess.run(words, capture_output=True, text=True, check=False).stderr


def block(root: Path, directive: str) -> str:
    return f"{root}/*.log {{\nrotate 9\ncompress\nnotifempty\nmissingok\n{directive}\n}}"


def seed(root: Path) -> None:
    """What isn't to be touched."""
    (root / "below").mkdir(parents=True)
    (root / "below/app.log").write_text("not of this directory\n")
    (root / "empty.log").touch()
    (root / "link.log").symlink_to("empty.log")


def write(root: Path, row: Row, turn: int) -> None:
    for name in row.logs:
        log = root / name
        log.touch()
        if turn == 0:
            log.chmod(0o640)
            shutil.chown(log, "nobody", "adm")
        with log.open("ab") as end:
            end.write(b"line %d\n" % turn)


def entered(daemon: Daemon) -> None:
    """Whoever is no root may get there."""
    for path in (daemon.directory, *daemon.directory.parents):
        path.chmod(path.stat().st_mode | 0o005)


def test_the_same_lies_there_afterwards(daemon: Daemon, program: Callable[[str], str]) -> None:
    theirs, said = daemon.directory / "theirs", daemon.directory / "said-"
    rules, blocks = [], {}
    for name, row in ROWS.items():
        seed(theirs / name)
        seed(daemon.root / name)
        options = {"when": {"size": 1}, "name": "numbered", **row.options}
        told = json.dumps(options).replace("{said}", f"{said}ours")
        rules.append(rule(name, f"rotate: {told}", roots=[str(daemon.root / name)], include=["/*.log"]))
        blocks[name] = block(theirs / name, row.directive.format(said=f"{said}theirs"))
    configure(daemon, *rules)
    daemon.start()
    for turn in range(3):
        due = {name: row for name, row in ROWS.items() if turn < row.turns}
        for name, row in due.items():
            write(theirs / name, row, turn)
        logrotate(program("logrotate"), daemon.directory / "logrotate", *(blocks[name] for name in due))
        for name, row in due.items():
            write(daemon.root / name, row, turn)
        for name in due:
            eventually(
                lambda name=name: tree(daemon.root / name) == tree(theirs / name),  # type: ignore[misc]
                f"{name}: {tree(daemon.root / name)}\nis\n{tree(theirs / name)}", 10,
            )  # fmt: skip
    assert tree(theirs / "held-back")["app.log"].text == b"line 0\n"
    assert set(tree(theirs / "count")) >= {"app.log", "app.log.1.gz", "app.log.2.gz"}
    assert lines(Path(f"{said}ours")) == lines(Path(f"{said}theirs")) == ["told"]


class Hard(NamedTuple):
    """A directive that logrotate has trouble with: ``left`` is what it still has after two turns."""

    directive: str
    options: dict[str, Any]
    complaint: str
    left: list[bytes]


HARD = {
    "untold": Hard(
        "create\npostrotate\nfalse\nendscript",
        {"reopen": {"command": ["false"]}},
        "error running non-shared postrotate script",
        [b"line 1\n"],  # it renames the second over the first, which it hadn't compressed
    ),
    "one-name-twice": Hard("create\ndateext\ndateformat -%Y", {}, "already exists", [b"line 0\n", b"line 1\n"]),
    "elsewhere": Hard(
        "create\nolddir {elsewhere}/theirs",
        {"into": "{elsewhere}/ours"},
        "are on different devices",
        [b"line 0\nline 1\n"],
    ),
    "numbers-from-0": Hard("create\nstart 0", {}, "", [b"line 0\n", b"line 1\n"]),
    "name-in-the-middle": Hard("create\nextension .log", {}, "", [b"line 0\n", b"line 1\n"]),
}


def test_what_logrotate_has_trouble_with(daemon: Daemon, program: Callable[[str], str]) -> None:
    """A writer that can't be told, two rotations in a day, archives on another filesystem: no line of ours is lost."""
    theirs, rules = daemon.directory / "theirs", []
    with TemporaryDirectory(dir="/dev/shm") as elsewhere:
        assert os.stat(elsewhere).st_dev != daemon.root.stat().st_dev
        for name in ("theirs", "ours"):
            (Path(elsewhere) / name).mkdir()
        for name, case in HARD.items():
            seed(theirs / name)
            seed(daemon.root / name)
            said = json.dumps({"when": {"size": 1}, **case.options}).replace("{elsewhere}", elsewhere)
            rules.append(rule(name, f"rotate: {said}", roots=[str(daemon.root / name)], include=["/app.log"]))
        configure(daemon, *rules)
        daemon.start()
        for turn in range(2):
            for name, case in HARD.items():
                write(theirs / name, ROWS["create"], turn)
                rows = block(theirs / name, case.directive.format(elsewhere=elsewhere)).replace("*.log", "app.log")
                complaint = logrotate(program("logrotate"), daemon.directory / name, rows)
                troubled = turn == 1 or name != "one-name-twice"
                assert case.complaint in complaint if troubled and case.complaint else not complaint
                write(daemon.root / name, ROWS["create"], turn)
            for name in HARD:
                whole = b"".join(b"line %d\n" % number for number in range(turn + 1))
                eventually(lambda name=name, whole=whole: ours(daemon, name) == whole, f"{name} has {whole!r}", 20)  # type: ignore[misc]
        for name, case in HARD.items():
            files = tree(theirs / name).items()
            assert sorted(f.text for path, f in files if f.text and "below" not in path) == case.left, name
        assert {f["rule"] for f in ask(daemon, "status")["findings"]} <= {"untold"}
        archives = Path(elsewhere) / "ours"
        eventually(lambda: len(list(archives.glob("app.log-*.gz"))) == 2, "both have their names there", 20)
        daemon.stop()


def ours(daemon: Daemon, name: str) -> bytes:
    """All lines of a rule's log that are archived, once nothing is in the log itself."""
    log = daemon.root / name / "app.log"
    with Reader(str(daemon.state_dir)) as reader, suppress(FileNotFoundError):  # one has just got its name
        found = b"".join(map(content, reader.parts(str(log))))
        return found if not log.stat().st_size else b""
    return b""


def pages_rules(name: str) -> dict[str, Any]:
    """The rule of this name on the page."""
    for text in re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL):
        found: list[dict[str, Any]] = yaml.safe_load(dedent(text))["rules"]
        if found[0]["name"] == name:
            return found[0]
    raise AssertionError(name)


def test_a_log_is_taken_over(daemon: Daemon, program: Callable[[str], str]) -> None:
    """What logrotate left is read, counts for nothing, stays as it is, and goes by the page's own rule alone."""
    root, place = daemon.root, daemon.directory / "logrotate"
    (root / "app.log").touch()  # older than what is copied from it
    for name, directive in (("web.log", "create\ndateext"), ("app.log", "copytruncate")):
        (root / name).write_text(f"theirs, {name}\n")
        assert logrotate(program("logrotate"), place, block(root, directive).replace("*.log", name)) == ""
    (root / "app.log.2").write_text("half made\n")
    os.utime(root / "app.log.2", (0, 0))
    left = {path: path.read_bytes() for path in root.iterdir() if path.suffix != ".log"}
    options = {"when": {"size": 1}, "keep": {"count": 1}}
    rotating = rule("logs", f"rotate: {json.dumps(options)}", roots=[str(root)], include=["/*.log"])
    configure(daemon, rotating)
    daemon.start()
    rotated(root / "app.log", "first\n")
    rotated(root / "web.log", "first\n")
    whole = "half made\ntheirs, app.log\nfirst\n"
    assert archive(daemon, "cat", str(root / "app.log")).stdout == whole
    assert archive(daemon, "cat", str(root / "app.log"), state=daemon.directory / "nowhere").stdout == whole, "told"
    assert archive(daemon, "cat", str(root / "web.log")).stdout == "theirs, web.log\nfirst\n"
    rotated(root / "app.log", "second\n")
    assert {path: path.read_bytes() for path in left} == left
    expiring = pages_rules("left-by-logrotate")
    actions, include = map(json.dumps, expiring["actions"]), expiring["include"]
    configure(daemon, rotating, rule("left", *actions, roots=[str(root)], include=include))
    waits = root / ".app.log.20260101-000000-0a1b2c3d.rotated"
    waits.touch()
    for path in (*left, waits):
        os.utime(path, (0, 0))
    ours = set(tree(root)) - {path.name for path in left}
    daemon.signal(signal.SIGHUP)
    daemon.says("generation 2")
    ask(daemon, "trigger", rule="left")  # it would come by itself within an hour
    eventually(lambda: set(tree(root)) == ours, str(ours), 10)


def rotated(log: Path, text: str) -> None:
    """Write, and wait until our only archive of the log has that."""
    log.write_text(text)
    eventually(lambda: archived(log) == [text.encode()], f"{text} is archived")


def archived(log: Path) -> list[bytes]:
    """What our archives of a log have."""
    found = []
    for path in log.parent.glob(f"{log.name}-*-*.gz"):
        with suppress(FileNotFoundError):  # it was one too many
            found.append(gzip.decompress(path.read_bytes()))
    return found


def test_a_group_that_the_rules_user_can_not_give_is_told(daemon: Daemon) -> None:
    """As with `su`, which takes the group away in silence and leaves its rights to another."""
    shutil.chown(daemon.root, "nobody", "nogroup")
    write(daemon.root, ROWS["create"], 0)
    entered(daemon)
    options = json.dumps({"when": {"size": 1}})
    configure(daemon, rule("logs", f"rotate: {options}", roots=[str(daemon.root)], user="nobody"))
    daemon.start()
    (finding,) = eventually(lambda: ask(daemon, "status")["findings"], "there is a finding")
    assert "app.log belonged to the group adm; the fresh log doesn't, for the user nobody can't" in finding["message"]
    eventually(lambda: archived(daemon.root / "app.log"), "it is archived")
    eventually(lambda: {file.mode for file in tree(daemon.root).values()} == {0o600}, "nobody else may read it")
