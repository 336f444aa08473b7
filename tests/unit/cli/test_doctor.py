"""How doctor's report looks to people."""

from __future__ import annotations

import sys

import pytest

from filewatchd.cli import doctor
from filewatchd.cli.examination import page
from filewatchd.cli.page import plain
from filewatchd.service.findings import Finding, Report, Severity, document
from filewatchd.service.limits import WATCHES, Limit


def lines(report: Report, *, quick: bool = False) -> list[str]:
    return list(plain(page(document(report), quick=quick)))


def test_commands_are_never_broken() -> None:
    command = "`sysctl -w fs.inotify.max_user_watches=524288`"
    finding = Finding(Severity.ERROR, "watches-limit", "too few", "it matters", f"{'word ' * 16}{command} then rest")
    told = lines(Report((), (), (finding,)))
    assert any(command in line for line in told)
    assert max(map(len, told)) <= 110
    assert told[-1] == "1 error"


def test_numbers_stand_on_the_right() -> None:
    limits = (Limit(WATCHES, "short", 8192, 10, 0), Limit(WATCHES, "unlimited", 0, 3, 0), Limit("queue", "q", 16384))
    table = lines(Report((), limits, ()))[1:5]
    assert table == [
        "  limit       value  needed  used by others  share",
        "  short       8,192      10               0     0%",
        "  unlimited       0       3               0      -",
        "  q          16,384       -               -      -",
    ]
    assert document(Report((), limits, ()))["limits"][1]["share"] is None


def test_nothing_found() -> None:
    assert lines(Report((), (), ()), quick=True) == [
        "nothing found that needs mending; trees were not walked (--quick)"
    ]


def test_progress_is_for_terminals(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_LONG", 0.0)
    quiet = doctor.Progress()
    quiet.tell(1000)
    quiet.end()
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    shown = doctor.Progress()
    shown.tell(1000)
    shown.end()
    assert capsys.readouterr().err == "\r1,000 directories\x1b[K\r\x1b[K"
