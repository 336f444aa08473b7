"""Who may write what: real directories, real modes. Root is played where only root is checked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from filewatchd.security import others_may_write
from tests.unit.config.packages import Desk, rule

MINE = os.geteuid()


def test_a_file_of_ones_own_is_safe(tmp_path: Path) -> None:
    assert others_may_write(str(tmp_path / "missing" / "below")) is None
    assert others_may_write("/etc/passwd") is None
    assert others_may_write("/") is None


def test_modes(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.touch(mode=0o644)
    assert others_may_write(str(file)) is None
    file.chmod(0o646)
    assert others_may_write(str(file)) == f"everybody may write {file} (mode 0646)"
    file.chmod(0o644)
    tmp_path.chmod(0o777)
    assert others_may_write(str(file)) == f"everybody may write {tmp_path} (mode 0777)"
    tmp_path.chmod(0o700)


def test_somebody_elses(tmp_path: Path) -> None:
    assert "belongs to" in (others_may_write(str(tmp_path), user=MINE + 4242) or "belongs to")
    stranger = tmp_path / "f"
    stranger.touch()
    if MINE == 0:
        os.chown(stranger, 65534, 65534)
        assert others_may_write(str(stranger)) == f"{stranger} belongs to nobody"
        assert others_may_write(str(stranger), user=65534) is None
    else:
        assert f"{tmp_path.parts[1]}" in (others_may_write(str(stranger), user=MINE + 4242) or "")


def test_roots_sticky_directories_dont_count() -> None:
    assert os.stat("/tmp").st_mode & 0o1002 == 0o1002
    assert others_may_write("/tmp") is None
    assert others_may_write("/tmp/no-such-file") is None


def test_every_hop_of_a_link_is_looked_at(tmp_path: Path) -> None:
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
    (tmp_path / "three" / "f").touch()
    (tmp_path / "one" / "link").symlink_to("../two/link")
    (tmp_path / "two" / "link").symlink_to(tmp_path / "three")
    path = str(tmp_path / "one" / "link" / "f")
    assert others_may_write(path) is None
    (tmp_path / "two").chmod(0o777)
    assert "two (mode 0777)" in (others_may_write(path) or "")
    (tmp_path / "two").chmod(0o755)
    (tmp_path / "loop").symlink_to("loop")
    assert "Too many levels of symbolic links" in (others_may_write(str(tmp_path / "loop")) or "")


def test_a_group_counts_unless_it_is_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.touch()
    file.chmod(0o664)
    group = file.stat().st_gid
    reason = others_may_write(str(file), user=MINE)
    assert reason is None if group == 0 else True
    if MINE == 0:
        os.chown(file, 0, 50)
        assert others_may_write(str(file)) == f"group staff may write {file} (mode 0664)"


@pytest.mark.parametrize("name", ["filewatchd.yaml", "rules.d/one.yaml", "filewatchd.x.yaml"])
def test_files_that_others_may_write_are_refused(desk: Desk, name: str) -> None:
    desk.environ["FILEWATCHD_ENV"] = "x"
    desk.write("version: 1\nrule_files: [rules.d/*.yaml]")
    desk.write("rules: []", "rules.d/one.yaml")
    desk.write("version: 1", "filewatchd.x.yaml")
    assert not desk.mistakes()
    (desk.directory / name).chmod(0o606)
    [mistake] = desk.mistakes()
    assert mistake.startswith(f"{name}: refused, because others may write it: everybody may write {name} (mode 0606); ")


def test_a_directory_that_others_may_write_makes_its_files_unsafe(desk: Desk) -> None:
    desk.write("version: 1\nrule_files: [rules.d/*.yaml]")
    desk.write("rules: []", "rules.d/one.yaml")
    (desk.directory / "rules.d").chmod(0o707)
    [mistake] = desk.mistakes()
    assert mistake.startswith("rules.d/one.yaml: refused, because others may write it: everybody may write rules.d")


@pytest.mark.parametrize("root", ["open/in", "open", "open/*/in"])
def test_run_by_root_a_rule_needs_a_user_where_others_may_write(
    desk: Desk, root: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (desk.directory / "open").mkdir()
    (desk.directory / "open").chmod(0o777)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    text = rule().replace("[in]", f"['{root}']")
    [unsafe] = [mistake for mistake in desk.mistakes(text) if "this root is unsafe" in mistake]
    assert unsafe.startswith("filewatchd.yaml:3:23: run by root, this root is unsafe: ")
    assert "; set `user:`" in unsafe
    with_user = text.replace("actions", "user: root, actions")
    assert not [mistake for mistake in desk.mistakes(with_user) if "this root is unsafe" in mistake]


def test_others_roots_dont_matter_to_an_ordinary_user(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    (desk.directory / "open").mkdir()
    (desk.directory / "open").chmod(0o777)
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    assert not [line for line in desk.mistakes(rule().replace("[in]", "[open]")) if "this root is unsafe" in line]
