"""What systemd is told of a unit, and what is made of what it says."""

from __future__ import annotations

import errno
import marshal
import sys
from typing import Any

import pytest

from filewatchd.errors import ActionError
from filewatchd.work import transient
from filewatchd.work.command import Bind, Command, Finished, Limits, Unit
from filewatchd.work.failures import PlaceError
from filewatchd.work.launcher import BEGUN

UNIT = Unit("nginx", 1207)
COMMAND = Command(("tool", "x"), {"TOKEN": "s3cr3t"}, timeout=30.0, unit=UNIT)


def said(command: Command = COMMAND, *, rights: bool = False, before: str = "") -> dict[str, Any]:
    assert command.unit is not None
    told = transient.properties(command, command.unit, "main", rights=rights, before=before)
    assert len({each.name for each in told}) == len(told)
    return {each.name: each.value for each in told}


def test_a_unit_is_named_after_instance_job_and_number() -> None:
    assert transient.name_of("0123abcd", UNIT, 4) == "filewatchd-0123abcd-job1207-4.service"


def test_an_object_path_has_hex_for_what_is_no_letter_or_digit() -> None:
    assert transient.path_of("a-b.service") == "/org/freedesktop/systemd1/unit/a_2db_2eservice"
    assert transient.path_of("1_é") == "/org/freedesktop/systemd1/unit/_31_5f_c3_a9"


def test_systemd_learns_nothing_of_the_command() -> None:
    told = str(said())
    assert "s3cr3t" not in told
    assert "tool" not in told


def test_a_dollar_in_a_path_of_ours_is_doubled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/opt/$HOME/python")
    ((program, words, ignore_failure),) = said()["ExecStart"]
    assert (program, words[0], ignore_failure) == ("/opt/$HOME/python", "/opt/$$HOME/python", False)


def test_only_limits_that_are_set_are_said() -> None:
    names = {"MemoryMax", "CPUQuotaPerSecUSec", "TasksMax", "IOWeight", "Nice"}
    assert not names & said().keys()
    limited = said(COMMAND._replace(unit=Unit("r", 1, Limits(2**29, 0.5, 64, 50, 10))))
    assert {name: limited[name] for name in names} == {
        "MemoryMax": 2**29, "CPUQuotaPerSecUSec": 500_000, "TasksMax": 64, "IOWeight": 50, "Nice": 10,
    }  # fmt: skip


def test_systemds_own_times_are_longer_than_ours() -> None:
    told = said(COMMAND._replace(stop_timeout=0.0))
    assert told["RuntimeMaxUSec"] == 90_000_000
    assert told["TimeoutStopUSec"] == 60_000_000
    assert "RuntimeMaxUSec" not in said(COMMAND._replace(timeout=None))


def test_a_user_is_given_and_can_gain_nothing() -> None:
    assert not {"User", "Group", "NoNewPrivileges"} & said(COMMAND._replace(user="root")).keys()
    told = said(COMMAND._replace(user="www-data", group="adm"), rights=True)
    assert (told["User"], told["Group"], told["NoNewPrivileges"]) == ("www-data", "adm", True)
    assert said(COMMAND._replace(group="adm"), rights=True)["User"] == "root"


def test_entries_carry_rule_and_job_and_the_daemon_outlives_it() -> None:
    told = said(before="filewatchd.service")
    assert told["LogExtraFields"] == [b"FILEWATCHD_RULE=nginx", b"FILEWATCHD_JOB=1207"]
    assert told["Before"] == ["filewatchd.service"]
    assert "Before" not in said()


@pytest.mark.parametrize(
    ("state", "ended", "leftover"),
    [
        ({}, False, False),
        ({"ActiveState": "inactive", "Job": (3, "/")}, False, False),
        ({"ActiveState": "active", "Job": (0, "/"), "ExecMainCode": 0}, False, False),
        ({"ActiveState": "deactivating", "Job": (0, "/"), "ExecMainCode": 0}, False, False),
        ({"ActiveState": "deactivating", "Job": (0, "/"), "ExecMainCode": 1}, False, True),
        ({"ActiveState": "inactive", "Job": (0, "/"), "ExecMainCode": 1}, True, False),
        ({"ActiveState": "failed", "Job": (0, "/"), "ExecMainCode": 2}, True, False),
    ],
)
def test_a_unit_ends_when_nothing_of_it_is_left(state: dict[str, Any], ended: bool, leftover: bool) -> None:
    assert (transient.has_ended(state), transient.has_leftover(state)) == (ended, leftover)


def end(code: int, status: int, result: str = "", report: bytes = BEGUN, **how: Any) -> Finished:
    state = {"ExecMainCode": code, "ExecMainStatus": status, "Result": result}
    return transient.finished(COMMAND, state, report, **{"leftover": 0, "stopped": False, "timed_out": False, **how})


def test_ends_are_told_as_those_of_ordinary_commands() -> None:
    assert end(1, 0) == Finished(0, None, False, 0)
    assert end(1, 203, leftover=2) == Finished(203, None, False, 2)
    assert end(2, 9) == Finished(None, 9, False, 0)
    assert end(3, 11) == Finished(None, 11, False, 0)
    assert end(2, 15, stopped=True, timed_out=True) == Finished(None, 15, True, 0)
    assert end(0, 0, stopped=True, timed_out=True, report=b"") == Finished(None, 15, True, 0)


def test_a_limit_that_was_met_is_named() -> None:
    assert end(2, 9, "oom-kill").reason == "it met the memory limit of its unit"


@pytest.mark.parametrize(
    ("code", "status", "result", "report", "message", "retryable"),
    [
        (1, 127, "exit-code", BEGUN + marshal.dumps((errno.ENOENT, "exec")), "no such program on its PATH", False),
        (1, 217, "exit-code", b"", "exit status 217, see \"Process Exit Codes\"", True),
        (1, 203, "exit-code", b"", "must be able to read .* and run", False),
        (1, 1, "exit-code", b"Traceback:\nImportError: none\n", "ImportError: none; its user must", False),
        (0, 0, "resources", b"", "could not start 'tool': resources", True),
    ],
)  # fmt: skip
def test_what_did_not_begin_says_why(
    code: int, status: int, result: str, report: bytes, message: str, retryable: bool
) -> None:
    with pytest.raises(ActionError, match=message) as failed:
        end(code, status, result, report)
    assert failed.value.retryable is retryable


def test_files_are_shown_in_the_place_of_others() -> None:
    bind = Bind("/var/lib/filewatchd/versions/nginx/staged/0", "/etc/nginx")
    assert said(COMMAND._replace(binds=(bind,)))["BindReadOnlyPaths"] == [[bind.source, bind.target, False, 0x4000]]
    assert "BindReadOnlyPaths" not in said()
    with pytest.raises(PlaceError, match="systemd can't be told to mount '/etc/a:b'"):
        said(COMMAND._replace(binds=(Bind("/a", "/etc/a:b"),)))
