"""What `check` finds in a command before anything runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from filewatchd.actions import exec as package
from filewatchd.actions.base import Problem
from filewatchd.model import RuleSettings


def found(*command: str, rule: dict[str, Any] | None = None, **more: Any) -> list[Problem]:
    settings = RuleSettings(name="rule", **({"roots": ("/r",), "actions": ()} | (rule or {})))
    return list(package.check(package.Options(command=command, **more), settings))


def one(*command: str, **more: Any) -> Problem:
    problems = found(*command, **more)
    assert len(problems) == 1, problems
    return problems[0]


@pytest.mark.parametrize(
    "command",
    [
        ("gzip", "-kf", "{path}"),
        ("ls", "{paths}"),
        ("sh", "-c", 'x="$1"', "sh", "{name}"),
        ("/bin/sh", "-c", ":"),
        ("awk", "{{print $1}}", "{path}"),
        ("cp", "{path}", "/elsewhere/{rule}/{name}.{job}.{attempt}"),
    ],
)
def test_right_ones(command: tuple[str, ...]) -> None:
    assert found(*command) == []


@pytest.mark.parametrize(
    ("command", "message", "where"),
    [
        (("ls", "{pth}"), "no placeholder {pth}", ("command", 1)),
        (("awk", "{print $1}"), "no placeholder {print $1}", ("command", 1)),
        (("ls", "--x={paths}"), "{paths} stands for many words", ("command", 1)),
        (("ls", "{paths}", "{name}"), "{paths} is many files and {name} is one", ("command",)),
        (("{path}",), "must not come from a file's name", ("command", 0)),
        (("",), "is empty", ("command",)),
        (("no-such-program",), "no program no-such-program on PATH", ("command", 0)),
        (("/no/such/program",), "no program /no/such/program", ("command", 0)),
        (("/etc/passwd",), "/etc/passwd can't be run", ("command", 0)),
        (("/etc",), "/etc can't be run", ("command", 0)),
    ],
)
def test_mistakes_have_their_place(command: tuple[str, ...], message: str, where: tuple[str | int, ...]) -> None:
    problem = one(*command)
    assert message in problem.message
    assert problem.where == where
    assert problem.hint


def test_every_mistake_is_told() -> None:
    problems = found("no-such-program", "{nam}", "{", cwd="/no/such", env={"A=B": "1", "C": "\0"})
    assert len(problems) == 6


def test_a_programs_path_is_searched_as_the_command_will() -> None:
    assert one("ls", env={"PATH": "/no/such"}).where == ("command", 0)


def test_a_relative_program_is_taken_from_its_working_directory(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    assert found("./script", cwd=str(tmp_path), rule={"user": "root"}) == []
    assert "no program ./other" in one("./other", cwd=str(tmp_path)).message


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("ls", "-l"), "one script, not 2 words"),
        (("cat {path}",), "can't have the placeholder {path}"),
        (('cat "{paths}"',), "can't have the placeholder {paths}"),
    ],
)
def test_scripts_take_no_names(command: tuple[str, ...], message: str) -> None:
    problem = one(*command, shell=True)
    assert message in problem.message


@pytest.mark.parametrize("script", ['cat "$FILEWATCHD_PATH"', "echo ${path}", "awk '{print $1}'", "echo {a,b}"])
def test_scripts_may_have_a_shells_own_braces(script: str) -> None:
    assert found(script, shell=True) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's commands are worth stealing")
def test_a_program_others_may_write_is_refused_to_root(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o777)
    assert "everybody may write" in one(str(script)).message
    assert found(str(script), user="daemon") == []
    assert found(str(script), rule={"user": "root"}) == []


@pytest.mark.parametrize(
    ("word", "include", "exclude", "told"),
    [
        ("{path}.gz", (), (), True),
        ("{dir}/{stem}.out", (), (), True),
        ("--output={path}.gz", (), (), True),
        ("{path}.gz", (), ("*.gz",), False),
        ("{path}.gz", ("*.csv",), (), False),
        ("{path}.csv", ("**/*.csv",), (), True),
        ("{dir}/done/{name}", ("*.csv",), ("done/",), False),
        ("{dir}/done/{name}", ("*.csv",), (), True),
        ("/elsewhere/{name}", (), (), False),
        ("{dir}/../out/{name}", (), (), False),
        ("s3://bucket/{name}", (), (), False),
        ("/backup{path}", (), (), False),
        ("{path}", (), (), False),
        ("{dir}", (), (), False),
    ],
)
def test_own_output_that_the_rule_would_take_up_again(
    word: str, include: tuple[str, ...], exclude: tuple[str, ...], told: bool
) -> None:
    problems = found("cp", word, rule={"include": include, "exclude": exclude})
    assert bool(problems) is told
    if told:
        assert "take up again" in problems[0].message
        assert problems[0].where == ("command", 1)
