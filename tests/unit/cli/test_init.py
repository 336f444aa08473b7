"""`filewatchd init`: what is written passes `check`, nothing is ever overwritten, and it is all of it or nothing."""

from __future__ import annotations

import errno
import json
import os
import pwd
import stat
import tomllib
from collections.abc import Callable, Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from filewatchd.actions.base import ActionPackage
from filewatchd.actions.registry import packages
from filewatchd.cli import creating, templates
from filewatchd.cli.creating import CreationError, NewFile, create
from filewatchd.cli.daemon import main
from filewatchd.cli.examples import EXAMPLES
from filewatchd.cli.init import init
from filewatchd.config.load import load

NAMES = [example.name for example in EXAMPLES]


def tree(directory: Path) -> dict[str, str]:
    """Everything below a directory, and what the files hold."""
    return {
        str(path.relative_to(directory)): "" if path.is_dir() else path.read_text() for path in directory.rglob("*")
    }


@pytest.mark.parametrize("name", [None, *NAMES])
def test_what_is_written_passes_check_without_a_warning(
    name: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "a" / "b"
    assert main(["init", str(directory), *(["--for", name] if name else [])]) == 0
    told = capsys.readouterr().out
    assert f"export FILEWATCHD_CONFIG={directory}/filewatchd.yaml" in told
    assert set(tree(directory)) == {"rules.d", "filewatchd.yaml", *([f"rules.d/{name}.yaml"] if name else [])}
    assert main(["check", "--config", str(directory / "filewatchd.yaml")]) == 0
    assert capsys.readouterr().err == ""


def test_it_keeps_its_state_to_itself_where_it_is_not_the_systems(tmp_path: Path) -> None:
    main(["init", str(tmp_path / "own"), "--for", "exec"])
    found = load(tmp_path / "own" / "filewatchd.yaml", registry=packages(), environ={}, flags={})
    assert found.daemon.state_dir == f"{tmp_path}/own/var/state"
    assert found.daemon.runtime_dir == f"{tmp_path}/own/var/run"
    assert found.rules[1].roots == (f"{tmp_path}/own/incoming",)


@pytest.mark.parametrize("root", [True, False])
def test_the_systems_is_as_it_is_shipped(root: bool) -> None:
    at = templates.place(templates.SYSTEM if not root else None, {}, root=root)
    assert at.is_system
    text = templates.main_file(at, root=root).text
    assert "  # state_dir: /var/lib/filewatchd " in text
    assert ("\n    user: nobody" in text) is root
    assert "[/srv/incoming]" in templates.rule_file(EXAMPLES[0], at, {}).text


@pytest.mark.parametrize(
    ("environ", "directory", "state", "runtime"),
    [
        ({}, ".config", ".local/state/filewatchd", ".local/state/filewatchd/run"),
        ({"XDG_CONFIG_HOME": "{}/c", "XDG_STATE_HOME": "{}/s: #"}, "c", "s: #/filewatchd", "s: #/filewatchd/run"),
        ({"XDG_CONFIG_HOME": "c", "XDG_RUNTIME_DIR": "{}/r"}, ".config", ".local/state/filewatchd", "r/filewatchd"),
    ],
)
def test_a_users_is_where_the_base_directory_specification_has_it(
    environ: dict[str, str], directory: str, state: str, runtime: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    at = templates.place(None, {key: value.format(tmp_path) for key, value in environ.items()}, root=False)
    assert at.directory == f"{tmp_path}/{directory}/filewatchd"
    assert at == templates.place(
        at.directory, {key: value.format(tmp_path) for key, value in environ.items()}, root=False
    )
    create(at.directory, [templates.rule_file(EXAMPLES[0], at, {}), templates.main_file(at, root=False)], mode=at.mode)
    assert stat.S_IMODE(os.stat(at.directory).st_mode) == 0o700
    home = {"HOME": str(tmp_path)}
    found = load(Path(at.directory, "filewatchd.yaml"), registry=packages(), environ=home, flags={})
    assert (found.daemon.state_dir, found.daemon.runtime_dir) == (f"{tmp_path}/{state}", f"{tmp_path}/{runtime}")
    assert found.rules[1].roots == (f"{tmp_path}/incoming",)
    assert [rule.user for rule in found.rules] == [None, None]


# ---- never over anything


@pytest.mark.parametrize("there", ["filewatchd.yaml", "rules.d/exec.yaml"])
@pytest.mark.parametrize("link", [False, True])
@pytest.mark.parametrize("dry", [False, True])
def test_what_is_there_stays(
    there: str, link: bool, dry: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rules.d").mkdir()
    if link:
        (tmp_path / there).symlink_to("nowhere")
    else:
        (tmp_path / there).write_text("mine")
    before = tree(tmp_path) if not link else os.listdir(tmp_path)
    assert main(["init", str(tmp_path), "--for", "exec", *(["--dry-run"] if dry else [])]) == 73
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith(f"filewatchd: would overwrite {tmp_path}/{there}; nothing was written: move it away, or")
    assert ("--add" in told.err) is (there == "filewatchd.yaml")
    assert (tree(tmp_path) if not link else os.listdir(tmp_path)) == before


def test_the_second_time_names_all_that_is_in_the_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", str(tmp_path), "--for", "exec"]) == 0
    before = tree(tmp_path)
    capsys.readouterr()
    assert main(["init", str(tmp_path), "--for", "exec", "--json"]) == 73
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] is False
    assert document["paths"] == [{"path": f"{tmp_path}/{name}"} for name in ("rules.d/exec.yaml", "filewatchd.yaml")]
    assert tree(tmp_path) == before


def test_an_example_can_be_added_beside_a_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", str(tmp_path)]) == 0
    main_file = tmp_path / "filewatchd.yaml"
    main_file.write_text(main_file.read_text().replace("settle: 200ms", "settle: 300ms"))
    before = main_file.read_text()
    assert main(["init", str(tmp_path), "--for", "exec", "--add"]) == 0
    assert capsys.readouterr().err == ""
    assert main_file.read_text() == before
    assert len(load(main_file, registry=packages(), environ={}, flags={}).rules) == 2


def test_a_configuration_that_reads_no_rule_files_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "filewatchd.yaml").write_text("version: 1\n")
    assert main(["init", str(tmp_path), "--for", "exec", "--add", "--json"]) == 0
    (warning,) = json.loads(capsys.readouterr().out)["warnings"]
    assert warning.endswith("add this line to it: rule_files: [rules.d/*.yaml]")


def test_who_creates_a_file_meanwhile_keeps_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def blind(directory: str, files: object) -> None:
        """As if the files appeared just after the look."""

    monkeypatch.setattr(creating, "examine", blind)
    (tmp_path / "b").write_text("mine")
    with pytest.raises(CreationError, match=r"would overwrite .*/b; nothing was written") as caught:
        create(str(tmp_path), [NewFile("rules.d/a", "1"), NewFile("b", "2")])
    assert caught.value.exit_code == 73
    assert tree(tmp_path) == {"b": "mine"}


# ---- all or nothing


def refusal(directory: str, files: list[NewFile]) -> CreationError | None:
    try:
        create(directory, files)
    except CreationError as error:
        return error
    return None


@pytest.mark.parametrize("call", ["mkdir", "open", "fsync", "link"])
def test_whatever_fails_nothing_is_left(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call in turn fails, until none is left that could."""
    real: Callable[..., Any] = getattr(os, call)
    files = [NewFile("rules.d/a", "1"), NewFile("b", "2")]
    for fails in range(1, 20):
        calls = iter(range(1, 1000))

        def failing(*args: Any, calls: Iterator[int] = calls, fails: int = fails, **kwargs: Any) -> Any:
            if next(calls) == fails:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), args[0])
            return real(*args, **kwargs)

        with monkeypatch.context() as patched:
            patched.setattr(os, call, failing)
            error = refusal(str(tmp_path / "x" / "y"), files)
        if error is None:
            break
        assert (error.exit_code, error.remedy) == (1, "nothing was written: free space on this filesystem")
        assert tree(tmp_path) == {}
    assert fails > 2
    assert tree(tmp_path / "x" / "y") == {"rules.d": "", "rules.d/a": "1", "b": "2"}


def test_ctrl_c_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.link

    def interrupted(source: str, name: str, **kwargs: Any) -> None:
        real(source, name, **kwargs)
        if name == "a":
            return
        os.unlink(name, dir_fd=kwargs["dst_dir_fd"])
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "link", interrupted)
    with pytest.raises(KeyboardInterrupt):
        create(str(tmp_path / "x"), [NewFile("rules.d/a", "1"), NewFile("b", "2")])
    assert tree(tmp_path) == {}


@pytest.mark.parametrize(("umask", "mode"), [(0o000, 0o644), (0o022, 0o644), (0o077, 0o600)])
def test_nobody_else_may_write_it_whatever_the_umask(umask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        create(str(tmp_path / "x"), [NewFile("rules.d/a", "1")])
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x/rules.d/a").stat().st_mode) == mode
    assert stat.S_IMODE((tmp_path / "x/rules.d").stat().st_mode) == 0o755 & ~umask


# ---- mistakes


@pytest.mark.parametrize("where", ["file", "file/below", "dangling"])
def test_a_file_is_no_place(where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "dangling").symlink_to("nowhere")
    assert main(["init", str(tmp_path / where)]) == 73
    top = tmp_path / where.partition("/")[0]
    assert capsys.readouterr().err.startswith(f"filewatchd: {top} is not a directory; nothing was written: move it")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("made", [lambda path: path.write_text(""), lambda path: path.symlink_to("/")])
def test_nor_is_one_whose_rules_are_elsewhere(made: Callable[[Path], object], tmp_path: Path) -> None:
    made(tmp_path / "rules.d")
    assert main(["init", str(tmp_path), "--for", "exec"]) == 73
    assert os.listdir(tmp_path) == ["rules.d"]


def test_where_others_may_write_check_would_refuse_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tmp_path.chmod(0o777)
    assert main(["init", str(tmp_path)]) == 1
    assert f"everybody may write {tmp_path} (mode 0777); take that permission away" in capsys.readouterr().err
    assert tree(tmp_path) == {}


@pytest.mark.parametrize("dry", [False, True])
def test_a_directory_that_may_not_be_written(dry: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "theirs"
    place.mkdir(mode=0o555)
    for above in takewhile(lambda each: not each.stat().st_mode & stat.S_ISVTX, (tmp_path, *tmp_path.parents)):
        above.chmod(0o755)  # as far as pytest has made them
    us = os.geteuid()
    try:
        if us == 0:
            os.seteuid(pwd.getpwnam("nobody").pw_uid)
        assert main(["init", str(place / "x"), *(["--dry-run"] if dry else [])]) == 77
    finally:
        os.seteuid(us)
    assert capsys.readouterr().err == (
        f"filewatchd: {place}: Permission denied; nothing was written: run it as a user who may write there, or name "
        "another DIR\n"
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--for", "exce"], "there is no example 'exce'; did you mean exec?"),
        (["--for", "x\ny"], "there is no example 'x\\ny'; there is: exec"),
        (["--add"], "--add adds an example; say which one with --for"),
    ],
)
def test_mistakes_in_the_command(
    words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", str(tmp_path), *words]) == 64
    assert told in capsys.readouterr().err
    assert tree(tmp_path) == {}


def test_an_empty_name_is_not_the_usual_place(capsys: pytest.CaptureFixture[str]) -> None:
    """As a script gives it whose variable isn't set."""
    assert main(["init", ""]) == 64
    assert "DIR is empty" in capsys.readouterr().err


# ---- what is told


def test_a_dry_run_prints_what_would_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["init", str(tmp_path / "x"), "--for", "exec"]
    assert main([*words, "--dry-run"]) == 0
    text = capsys.readouterr().out
    assert main([*words, "--dry-run", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert tree(tmp_path) == {}
    assert main(words) == 0
    for file in document["files"]:
        assert Path(file["path"]).read_text() == file["text"]
        assert f"# Would be written to {file['path']}:\n\n{file['text']}" in text


def test_the_next_steps_are_those_of_the_place(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    main(["init", str(tmp_path / "it's here"), "--for", "exec", "--json"])
    document = json.loads(capsys.readouterr().out)
    commands = [step["command"] for step in document["next"]]
    assert commands[0] == f"export FILEWATCHD_CONFIG='{tmp_path}/it'\"'\"'s here/filewatchd.yaml'"
    assert "filewatchctl config reload" in commands
    assert document["warnings"] == []


def test_every_example_is_a_file_and_the_other_way_round() -> None:
    folder = Path(templates.__file__).parent / "data" / "rules.d"
    assert {path.stem for path in folder.iterdir()} == set(NAMES)
    for example in EXAMPLES:
        assert f"[{example.watched}]" in (folder / f"{example.name}.yaml").read_text()


def test_a_wheel_has_every_file() -> None:
    package = Path(templates.__file__).parent
    pyproject = tomllib.loads((package.parents[1] / "pyproject.toml").read_text())
    patterns = pyproject["tool"]["setuptools"]["package-data"]["filewatchd.cli"]
    packed = {path for pattern in patterns for path in package.glob(pattern)}
    assert packed == {path for path in (package / "data").rglob("*") if path.is_file()}


def test_an_action_brings_its_own_example(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "version: 1\nrules:\n  - {name: a, roots: [in], actions: [log: {message: hi}]}\n"
    brought = {"census": SimpleNamespace(example=text), "plain": SimpleNamespace()}
    registry = {**packages(), **cast(Mapping[str, ActionPackage], brought)}
    assert init(str(tmp_path / "x"), registry=registry, environ={}, purpose="census") == 0
    assert (tmp_path / "x/rules.d/census.yaml").read_text() == text
    assert init(str(tmp_path / "y"), registry=registry, environ={}, purpose="plain") == 64
    assert f"there is: {', '.join(NAMES)}, census" in capsys.readouterr().err


def test_what_check_would_refuse_is_said_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("filewatchd.config.rules.lacks", lambda extra: (f"the extra {extra} is missing", "pip it"))
    assert main(["init", str(tmp_path / "new"), "--for", "reload"]) == 0
    warnings = [line for line in capsys.readouterr().err.splitlines() if "the extra" in line]
    place = f"{tmp_path}/new/rules.d/reload.yaml"
    assert [line.partition(place)[0] for line in warnings] == ["warning: "]
    assert warnings[0].endswith("the extra systemd is missing; pip it")
