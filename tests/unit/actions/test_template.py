"""Placeholders: what they stand for, and mistakes in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filewatchd.actions.template import NAMES, TemplateError, change_values, job_values, parse
from filewatchd.model import Change, Kind
from filewatchd.testing import FakeJob


def test_what_the_placeholders_stand_for() -> None:
    change = Change(Kind.MOVED, "/r/d/a.tar.gz", "/r", old_path="/r/old", original_path="/r/first")
    values = change_values(change) | job_values(FakeJob([change], id=7, attempt=2, rule="rotate"))
    assert {name: parse(f"{{{name}}}").fill(values) for name in NAMES} == {
        "path": "/r/d/a.tar.gz",
        "original_path": "/r/first",
        "name": "a.tar.gz",
        "stem": "a.tar",
        "dir": "/r/d",
        "root": "/r",
        "kind": "moved",
        "old_path": "/r/old",
        "rule": "rotate",
        "job": "7",
        "attempt": "2",
    }


def test_without_a_move_there_is_no_old_path() -> None:
    values = change_values(Change(Kind.CREATED, "/r/a", "/r"))
    assert (values["old_path"], values["original_path"]) == ("", "/r/a")


@pytest.mark.parametrize(
    ("word", "filled"),
    [
        ("plain", "plain"),
        ("{name}.gz", "a.gz"),
        ("x{name}{name}y", "xaay"),
        ("{{name}}", "{name}"),
        ("{{{name}}}", "{a}"),
        ("", ""),
        ("}}{{", "}{"),
    ],
)
def test_filling(word: str, filled: str) -> None:
    assert parse(word).fill({"name": "a"}) == filled


@pytest.mark.parametrize(
    ("word", "message", "hint"),
    [
        ("{pth}", "no placeholder {pth}", "did you mean {path}?"),
        ("{}", "no placeholder {}", "there are {path}"),
        ("{print $1}", "no placeholder {print $1}", "{{ and }}"),
        ("{ PATH }", "no placeholder { PATH }", "{path}"),
        ("a{", "a { by itself", "write {{"),
        ("a}b", "a } by itself", "write }}"),
        ("{{name}", "a } by itself", "write }}"),
    ],
)
def test_mistakes_say_what_would_be_right(word: str, message: str, hint: str) -> None:
    with pytest.raises(TemplateError) as wrong:
        parse(word)
    assert message in str(wrong.value)
    assert hint in wrong.value.hint


@given(st.text())
def test_any_text_survives_when_its_braces_are_doubled(text: str) -> None:
    assert parse(text.replace("{", "{{").replace("}", "}}")).fill({}) == text


@given(st.text())
def test_a_value_is_never_read_again(value: str) -> None:
    assert parse("<{name}>").fill({"name": value}) == f"<{value}>"
