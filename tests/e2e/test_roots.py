"""What may be named as a root: directories, files, globs; missing, appearing, replaced, shared, overlapping."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.running import Daemon, eventually
from tests.e2e.steps import ALL, CONTENT, configure, gate, quiet, rule, second_recorder, sentinel, tell, told


def over(daemon: Daemon, *roots: object, name: str = "recorded", **keys: object) -> str:
    """The recorder's rule over other roots."""
    return rule(name, daemon.recorder.action(), roots=[str(root) for root in roots], **keys)


def replace(path: Path, content: str) -> None:
    """Replace a file atomically."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(content)
    os.rename(new, path)


def test_a_file_root_follows_the_path(daemon: Daemon) -> None:
    file = daemon.root / "setting"
    file.write_text("x")
    configure(daemon, over(daemon, file, changes=CONTENT))
    daemon.start()
    (daemon.root / "other").write_text("x")
    expected: list[tuple[str, ...]] = []

    def then(kind: str) -> None:
        expected.append((kind, "setting"))
        tell(daemon, *expected)

    file.write_text("edited")
    then("modified")
    replace(file, "replaced")
    then("modified")
    file.unlink()
    then("deleted")
    file.write_text("back")
    then("created")
    replace(file, "replaced again")
    then("modified")
    file.rename(daemon.root / "elsewhere")
    then("deleted")
    (daemon.root / "elsewhere").rename(file)
    then("created")
    with file.open("a") as opened:
        opened.write("more")
    then("modified")


def test_a_file_root_may_be_missing_with_its_directory(daemon: Daemon) -> None:
    file = daemon.root / "a" / "b" / "setting"
    configure(daemon, over(daemon, file, changes=CONTENT))
    daemon.start()
    file.parent.mkdir(parents=True)
    file.write_text("x")
    tell(daemon, ("created", "a/b/setting"))
    shutil.rmtree(daemon.root / "a")
    tell(daemon, ("created", "a/b/setting"), ("deleted", "a/b/setting"))
    file.parent.mkdir(parents=True)
    file.write_text("x")
    tell(daemon, ("created", "a/b/setting"), ("deleted", "a/b/setting"), ("created", "a/b/setting"))


def test_a_file_root_behind_symbolic_links_follows_their_flips(daemon: Daemon) -> None:
    for version in ("1", "2"):
        (daemon.root / version).mkdir()
        (daemon.root / version / "setting").write_text(f"version {version}" * int(version))
    (daemon.root / "current").symlink_to("1")
    configure(daemon, over(daemon, daemon.root / "current" / "setting"))
    daemon.start()
    (daemon.root / "next").symlink_to("2")
    os.rename(daemon.root / "next", daemon.root / "current")
    tell(daemon, ("modified", "current/setting"))
    (daemon.root / "2" / "setting").write_text("edited")
    tell(daemon, ("modified", "current/setting"), ("modified", "current/setting"))
    (daemon.root / "1" / "setting").write_text("not the current one")
    sentinel_by_edit(daemon, daemon.root / "2" / "setting", 3)


def sentinel_by_edit(daemon: Daemon, file: Path, count: int) -> None:
    """Edit the file; its job must be the next and only one."""
    file.write_text("the last edit")
    eventually(lambda: len(daemon.recorder.changes()) == count, f"{count} changes", 20)
    quiet(daemon)
    assert len(daemon.recorder.changes()) == count


def test_a_directory_root_behind_a_symbolic_link_follows_its_flip(daemon: Daemon) -> None:
    for version, content in (("1", "one"), ("2", "number two")):
        (daemon.root / version).mkdir()
        (daemon.root / version / "same").write_text(content)
    (daemon.root / "2" / "new").write_text("x")
    (daemon.root / "1" / "old").write_text("x")
    (daemon.root / "current").symlink_to("1")
    configure(daemon, over(daemon, daemon.root / "current", changes=CONTENT))
    daemon.start()
    (daemon.root / "next").symlink_to("2")
    os.rename(daemon.root / "next", daemon.root / "current")
    tell(daemon, ("modified", "current/same"), ("created", "current/new"), ("deleted", "current/old"))


def test_members_of_a_glob_come_and_go(daemon: Daemon) -> None:
    for name in ("a", "b"):
        (daemon.root / name / "in").mkdir(parents=True)
        (daemon.root / name / "out").mkdir()
    configure(daemon, over(daemon, daemon.root / "*" / "in", changes=CONTENT))
    daemon.start()
    (daemon.root / "a" / "in" / "1").write_text("x")
    (daemon.root / "a" / "out" / "1").write_text("x")
    tell(daemon, ("created", "a/in/1"))
    (daemon.root / "c" / "in").mkdir(parents=True)
    (daemon.root / "c" / "in" / "2").write_text("x")
    tell(daemon, ("created", "a/in/1"), ("created", "c/in/2"))
    shutil.rmtree(daemon.root / "a")
    tell(daemon, ("created", "a/in/1"), ("created", "c/in/2"), ("deleted", "a/in/1"))
    (daemon.root / "b" / "in" / "3").write_text("x")
    tell(daemon, *[("created", "a/in/1"), ("created", "c/in/2"), ("deleted", "a/in/1"), ("created", "b/in/3")])


def test_a_globs_new_member_is_all_new_however_late_it_is_seen(daemon: Daemon) -> None:
    configure(daemon, over(daemon, daemon.root / "*" / "in", changes=CONTENT))
    daemon.start()
    daemon.signal(signal.SIGSTOP)
    (daemon.root / "c" / "in").mkdir(parents=True)
    written = daemon.root / "c" / "in" / "1"
    written.write_text("x")
    eventually(lambda: time.time_ns() - written.stat().st_ctime_ns > 100_000_000, "the file is older than any lag")
    daemon.signal(signal.SIGCONT)
    tell(daemon, ("created", "c/in/1"))


def test_a_glob_of_files(daemon: Daemon) -> None:
    (daemon.root / "a.conf").write_text("x")
    configure(daemon, over(daemon, daemon.root / "*.conf", changes=CONTENT))
    daemon.start()
    (daemon.root / "b.conf").write_text("x")
    tell(daemon, ("created", "b.conf"))
    (daemon.root / "a.conf").write_text("longer")
    tell(daemon, ("created", "b.conf"), ("modified", "a.conf"))
    (daemon.root / "a.conf").unlink()
    tell(daemon, ("created", "b.conf"), ("modified", "a.conf"), ("deleted", "a.conf"))


def test_a_missing_root_is_waited_for(daemon: Daemon) -> None:
    late = daemon.root / "x" / "y" / "z"
    configure(daemon, over(daemon, late, changes=CONTENT))
    daemon.start()
    assert "1 waiting" in daemon.log()
    late.mkdir(parents=True)
    (late / "first").write_text("x")
    tell(daemon, ("created", "x/y/z/first"))
    shutil.rmtree(daemon.root / "x")
    tell(daemon, ("created", "x/y/z/first"), ("deleted", "x/y/z/first"))
    late.mkdir(parents=True)
    (late / "second").write_text("x")
    tell(daemon, ("created", "x/y/z/first"), ("deleted", "x/y/z/first"), ("created", "x/y/z/second"))


def test_a_root_moved_in_whole_brings_its_files(daemon: Daemon, tmp_path: Path) -> None:
    (tmp_path / "made" / "d").mkdir(parents=True)
    for name in ("a", "d/b"):
        (tmp_path / "made" / name).write_text("x")
    configure(daemon, over(daemon, daemon.root / "in", changes=CONTENT))
    daemon.start()
    os.rename(tmp_path / "made", daemon.root / "in")
    tell(daemon, ("created", "in/a"), ("created", "in/d/b"))


def test_two_rules_on_one_root_and_roots_that_overlap(daemon: Daemon) -> None:
    second, third = second_recorder(daemon), second_recorder(daemon, "third")
    configure(
        daemon,
        daemon.rule(),
        rule("same", second.action(), roots=[str(daemon.root)], include=["*.csv"]),
        rule("below", third.action(), roots=[str(daemon.root / "d" / "e")]),
    )
    (daemon.root / "d" / "e").mkdir(parents=True)
    daemon.start()
    for name in ("a.csv", "b", "d/c.csv", "d/e/f.csv"):
        (daemon.root / name).write_text("x")
    tell(daemon, *(("created", name) for name in ("a.csv", "b", "d/c.csv", "d/e/f.csv")))
    tell(daemon, *(("created", name) for name in ("a.csv", "d/c.csv", "d/e/f.csv")), recorder=second)
    tell(daemon, ("created", "d/e/f.csv"), recorder=third)


def test_one_rule_with_overlapping_roots_knows_each(daemon: Daemon) -> None:
    """A file below both is told for each of them; nothing of it is left over for the next start."""
    (daemon.root / "d").mkdir()
    configure(daemon, over(daemon, daemon.root, daemon.root / "d", changes=ALL))
    daemon.start()
    (daemon.root / "d" / "a").write_text("x")
    tell(daemon, ("created", "d/a"), ("created", "d/a"))
    quiet(daemon)
    daemon.stop()
    daemon.start()
    sentinel(daemon)
    (daemon.root / "d" / "a").unlink()
    each = [("created", "d/a"), ("deleted", "d/a")] * 2
    tell(daemon, *each, ("created", "sentinel"))


def test_a_directory_renamed_within_a_root_moves_its_files(daemon: Daemon) -> None:
    for name in ("d/a", "d/e/b"):
        (daemon.root / name).parent.mkdir(parents=True, exist_ok=True)
        (daemon.root / name).write_text(name)
    daemon.configure(daemon.rule(changes=CONTENT))
    daemon.start()
    (daemon.root / "d").rename(daemon.root / "n")
    tell(daemon, ("moved", "n/a", "d/a"), ("moved", "n/e/b", "d/e/b"))
    (daemon.root / "n" / "e" / "b").write_text("edited under its new name")
    tell(daemon, ("moved", "n/a", "d/a"), ("moved", "n/e/b", "d/e/b"), ("modified", "n/e/b"))


def test_a_directory_moved_out_is_deleted_and_silent(daemon: Daemon, tmp_path: Path) -> None:
    (daemon.root / "d").mkdir()
    (daemon.root / "d" / "a").write_text("x")
    daemon.configure(daemon.rule(changes=CONTENT))
    daemon.start()
    (daemon.root / "d").rename(tmp_path / "out")
    tell(daemon, ("deleted", "d/a"))
    (tmp_path / "out" / "b").write_text("x")
    sentinel(daemon)
    tell(daemon, ("deleted", "d/a"), ("created", "sentinel"))


def test_a_directory_renamed_while_its_paths_run(daemon: Daemon) -> None:
    door = gate(daemon)
    command = ["sh", "-c", 'if test "$1" = a; then read line < "$2"; fi', "sh", "{name}", str(door)]
    (daemon.root / "d").mkdir()
    actions = f"exec: {{command: {command}}}\n      - {daemon.recorder.action()}".replace("'", '"')
    actions = actions.replace(
        '"if test "$1" = a; then read line < "$2"; fi"', '\'if test "$1" = a; then read line < "$2"; fi\''
    )
    daemon.configure(daemon.rule(changes=CONTENT, actions=actions))
    daemon.start()
    (daemon.root / "d" / "a").write_text("x")
    eventually(lambda: f"job 1: {daemon.root}/d/a" in daemon.log(), "the job began", 20)
    (daemon.root / "d").rename(daemon.root / "n")
    (daemon.root / "n").rename(daemon.root / "m")
    door.write_text("go\n")
    eventually(lambda: str(daemon.root / "m" / "a") in daemon.recorder.view() or door_opens(door), "its end", 20)
    daemon.sees_the_disk()


def door_opens(door: Path) -> bool:
    """Let one more reader through, if there is one; never true."""
    try:
        descriptor = os.open(door, os.O_WRONLY | os.O_NONBLOCK)
    except OSError:
        return False
    with os.fdopen(descriptor, "w") as file:
        file.write("go\n")
    return False


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_an_unmounted_root_deletes_nothing(daemon: Daemon) -> None:
    place = daemon.root / "mounted"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", str(place)], check=True)
    try:
        (place / "a").write_text("x")
        configure(daemon, over(daemon, place, changes=CONTENT, initial="process"))
        daemon.start()
        tell(daemon, ("created", "mounted/a"))
        quiet(daemon)
        subprocess.run(["umount", str(place)], check=True)
        daemon.says("mounted")
        subprocess.run(["mount", "-t", "tmpfs", "none", str(place)], check=True)
        (place / "b").write_text("x")
        eventually(lambda: ("created", "mounted/b") in told(daemon.recorder, daemon.root), "the new file was told", 20)
    finally:
        subprocess.run(["umount", str(place)], check=False)
