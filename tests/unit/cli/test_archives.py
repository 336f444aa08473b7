"""Reading a log with its archives: which lines, by pattern and by time; what is told besides."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pexpect
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filewatchd import codecs
from filewatchd.actions.rotate.ledger import Part
from filewatchd.actions.rotate.stream import Piece
from filewatchd.cli import archives, searching
from filewatchd.cli.control import main
from filewatchd.cli.linetimes import LineTimes, between
from filewatchd.cli.searching import Query, Searcher, joined

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capfdbinary: pytest.CaptureFixture[bytes], tmp_path: Path) -> Run:
    def command(*words: str) -> tuple[int, str, str]:
        code = main(["archive", *words, "--state-dir", str(tmp_path / "none")])
        out, err = capfdbinary.readouterr()
        return code, out.decode(), err.decode()

    return command


def line(number: int) -> bytes:
    return b"2026-11-27T%02d:00:00Z request %d %s\n" % (number, number, b"ERROR" if number % 5 == 0 else b"ok")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """24 lines, an hour each, in archives of six lines with different codecs; their members cut lines in two."""
    live = tmp_path / "app.log"
    for number, suffix in ((3, ".gz"), (2, ".zst"), (1, "")):
        first = (3 - number) * 6
        plain = tmp_path / f"app.log.{number}"
        plain.write_bytes(b"".join(map(line, range(first, first + 6))))
        stamp = datetime(2026, 11, 27, first + 5, tzinfo=UTC).timestamp()
        packed = tmp_path / f"app.log.{number}{suffix}"
        if suffix:
            with plain.open("rb") as source, packed.open("w+b") as target:
                list(codecs.compress(source.fileno(), target.fileno(), codecs.codec_of(str(packed)), member=50))
            plain.unlink()
        os.utime(packed, (stamp, stamp))
    live.write_bytes(b"".join(map(line, range(18, 24))))
    return live


WHOLE = b"".join(map(line, range(24))).decode()


def test_cat_is_the_whole_log(run: Run, log: Path) -> None:
    code, out, err = run("cat", str(log))
    assert (code, out) == (0, WHOLE)
    assert "found by their names" in err


@pytest.mark.parametrize("threads", ["1", "2"])
@pytest.mark.parametrize(
    "words",
    [["ERROR"], ["-F", "request 7 "], ["-i", "error"], ["-v", "ok"], [r"request (1|2)\d "], ["^2026.*ok$"],
     ["-c", "ok"], ["-m", "3", "request"], ["(?<=request )9"], [r"\s"], [r"[^x]*ERROR"], ["request 1[0-9]+"]],
)  # fmt: skip
def test_grep_finds_what_grep_finds(run: Run, log: Path, tmp_path: Path, words: list[str], threads: str) -> None:
    (tmp_path / "whole").write_text(WHOLE)
    expected = subprocess.run(["grep", "-P" if "-F" not in words else "-a", *words, tmp_path / "whole"],
                              capture_output=True, check=True).stdout.decode()  # fmt: skip
    assert run("grep", *words, str(log), "--threads", threads)[:2] == (0, expected)


def test_greps_exit_codes(run: Run, log: Path) -> None:
    assert run("grep", "nowhere", str(log))[:2] == (3, "")
    assert run("grep", "-q", "ERROR", str(log))[:2] == (0, "")
    code, _, err = run("grep", "(", str(log))
    assert code == 64
    assert "with -F it is plain text" in err
    next(log.parent.glob("app.log.3*")).write_bytes(b"no archive")
    code, out, err = run("grep", "-c", "ERROR", str(log))
    assert (code, out) == (1, "3\n")
    assert "its lines are missing here" in err


@pytest.mark.parametrize(
    ("since", "until", "hours"),
    [("2026-11-27T08:00:00Z", None, range(8, 24)), (None, "2026-11-27T13:30:00Z", range(14)),
     ("2026-11-27T04:30:00+00:00", "2026-11-27T19:00:00Z", range(5, 20))],
)  # fmt: skip
def test_lines_of_a_time(run: Run, log: Path, since: str | None, until: str | None, hours: range) -> None:
    words = [*(["--since", since] if since else []), *(["--until", until] if until else [])]
    assert run("cat", str(log), *words)[1] == b"".join(map(line, hours)).decode()
    found = run("grep", "ERROR", str(log), *words)[1]
    assert found == b"".join(line(hour) for hour in hours if hour % 5 == 0).decode()


def test_ls(run: Run, log: Path) -> None:
    code, out, _ = run("ls", str(log), "--json")
    document = json.loads(out)
    assert (code, document["by_name"]) == (0, True)
    assert [(row["kind"], row["codec"], os.path.basename(row["path"])) for row in document["files"]] == [
        ("archive", "gzip", "app.log.3.gz"), ("archive", "zstd", "app.log.2.zst"), ("archive", "none", "app.log.1"),
        ("live", "none", "app.log"),
    ]  # fmt: skip
    assert document["files"][0]["last"] == "2026-11-27T05:00:00.000000+00:00"
    assert document["files"][3]["size"] == log.stat().st_size
    plain = run("ls", str(log))[1].splitlines()
    assert plain[0].split() == ["SIZE", "CODEC", "FROM", "TO", "PATH"]
    assert plain[-1].endswith(str(log))


def test_nothing_at_all_is_an_error(run: Run, tmp_path: Path) -> None:
    code, _, err = run("cat", str(tmp_path / "none.log"))
    assert code == 1
    assert "there is neither" in err


def test_what_is_no_archive_or_a_damaged_one_is_told_and_the_rest_is_printed(
    run: Run, log: Path, tmp_path: Path
) -> None:
    """Another program's half-made archive, one that is none, a link, a FIFO that nobody writes to, a directory."""
    packed = (tmp_path / "app.log.3.gz").read_bytes()
    (tmp_path / "app.log.3.gz").write_bytes(packed[: len(packed) - 20])
    (tmp_path / "app.log.4.gz").write_bytes(b"this isn't gzip\n")
    (tmp_path / "app.log.5.gz").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "app.log.6")
    (tmp_path / "app.log.7").mkdir()
    code, out, err = run("cat", str(log))
    whole = b"".join(map(line, range(24))).decode()
    assert code == 1
    assert out.splitlines()[-18:] == whole.splitlines()[-18:]
    assert "passwd" not in out
    told = [each for each in err.splitlines() if "missing here" in each]
    assert [name for name in ("app.log.4.gz", "app.log.3.gz") if name not in "".join(told)] == []
    assert len(told) == 2
    assert "damaged at byte 0: no gzip member begins there" in told[0]
    code, out, _ = run("grep", "-c", "request", str(log))
    assert (code, int(out) >= 18) == (1, True)


def test_a_line_without_an_end_fills_no_memory(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(searching, "LONGEST", 1000)
    monkeypatch.setattr(archives, "LONGEST", 1000)
    query = Searcher(Query("needle"))
    pieces = [b"x" * 300] * 10 + [b"x needle", b" y\nneedle\n"]
    found = list(joined(query, map(query.search, pieces)))
    assert [len(each) <= 1000 and b"needle" in each for each in found] == [True, True]
    part = Part(str(log), "none", 0, None, 0, None, None)
    lines = [text for text, _ in archives.bounded(Piece(data, part) for data in pieces)]
    assert b"".join(lines) == b"".join(pieces)
    assert max(map(len, lines)) == 1000


def test_archives_outlive_their_log(run: Run, log: Path) -> None:
    log.unlink()
    assert run("cat", str(log))[:2] == (0, b"".join(map(line, range(18))).decode())


def test_archives_elsewhere(run: Run, log: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    for each in tmp_path.glob("app.log.*"):
        each.rename(tmp_path / "elsewhere" / each.name)
    assert run("cat", str(log), "--dir", str(tmp_path / "elsewhere"))[1] == WHOLE


def test_a_member_whose_file_is_gone_is_searched_by_who_holds_it(log: Path) -> None:
    archive = log.with_name("app.log.3.gz")
    query = Query("ERROR")
    with archive.open("rb") as file:
        member = next(codecs.members(file.fileno(), codecs.codec("gzip")))
        seen = os.fstat(file.fileno())
        task = archives.Task(str(archive), (seen.st_dev, seen.st_ino), "gzip", member, query)
        assert archives.search_member(task) == archives.searched(file.fileno(), codecs.codec("gzip"), member, query)
        assert archives.search_member(task._replace(inode=(0, 0))) is None
        assert archives.search_member(task._replace(path=str(log.parent))) is None
        assert archives.search_member(task._replace(path="/nowhere")) is None


def test_a_killed_process_is_made_up_for(log: Path) -> None:
    archive = log.with_name("app.log.3.gz")
    query = Query("request")
    with archive.open("rb") as file, archives.processes(2, query) as whole:
        assert whole is not None
        for child in multiprocessing.active_children():
            child.kill()
            child.join()
        part = Part(str(archive), "gzip", 0, None, 0, None, 1)
        found = [made for made, _ in whole(file.fileno(), codecs.codec("gzip"), part)]
    assert list(joined(Searcher(query), found)) == list(map(line, range(6)))


def test_a_person_who_waits_is_told_how_far_it_is(log: Path) -> None:
    words = ["-m", "filewatchd.cli.control", "archive", "cat", "--state-dir", "/nowhere", str(log)]
    command = f"{shlex.join([sys.executable, *words])} > {shlex.quote(str(log.parent))}/read; echo done"
    shown = told(command)
    assert "app.log" in shown
    assert "/" in shown
    assert (log.parent / "read").read_text() == WHOLE


def told(command: str) -> str:
    shell = pexpect.spawn("/bin/sh", ["-c", command], timeout=30, encoding="utf-8", env={**os.environ, "TERM": "xterm"})
    shell.expect("done")
    shell.close()
    return str(shell.before)


# ---- lines


PATTERNS = ["a", "b$", "^ab", "a*", "^$", "a.b", r"a\sb", "ba+", "[^b]b"]


@given(st.text("ab\n", max_size=60), st.lists(st.integers(1, 9)), st.sampled_from(PATTERNS), st.booleans())
def test_a_stream_is_searched_as_lines(text: str, cuts: list[int], pattern: str, invert: bool) -> None:
    data, at, stretches = text.encode(), 0, []
    searcher = Searcher(Query(pattern, invert=invert))
    for cut in [*cuts, len(data)]:
        stretches.append(searcher.search(data[at : at + cut]))
        at += cut
    lines = [each.encode() for each in re.findall(r"[^\n]*\n|[^\n]+", text)]
    wanted = [each for each in lines if (re.search(pattern.encode(), each.removesuffix(b"\n")) is not None) != invert]
    assert list(joined(searcher, stretches)) == wanted
    part = Part("app.log", "none", 0, None, 0, 10**9, 1)
    pieces = iter(Piece(data[n : n + 7], part) for n in range(0, len(data), 7))
    assert list(archives.bounded(pieces)) == [(line, 1.0) for line in lines]


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


LATEST = datetime(2026, 11, 28, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"2026-11-27T21:51:31Z hello", "2026-11-27T21:51:31+00:00"),
        (b"2026-11-27T21:51:31.250+01:00 hello", "2026-11-27T20:51:31.250000+00:00"),
        (b"2026-11-27 21:51:31,123 INFO hello", "2026-11-27T20:51:31.123000+00:00"),
        (b"2026/11/27 21:51:31 [error] hello", "2026-11-27T20:51:31+00:00"),
        (b'10.0.0.1 - - [27/Nov/2026:21:51:31 +0000] "GET /"', "2026-11-27T21:51:31+00:00"),
        (b"Nov 27 21:51:31 host app: hello", "2026-11-27T20:51:31+00:00"),
        (b"<13>Dec  3 01:00:00 host app: hello", "2025-12-03T00:00:00+00:00"),
        (b"1795816291.5 hello", "2026-11-27T21:51:31.500000+00:00"),
        (b"2026-02-30T21:51:31Z hello", None),
        (b"hello", None),
        (b"x" * 250 + b" 2026-11-27T21:51:31Z", None),
    ],
)
@pytest.mark.usefixtures("utc")
def test_times_of_lines(text: bytes, expected: str | None) -> None:
    found = LineTimes(LATEST).of(text)
    assert (None if found is None else datetime.fromtimestamp(found, UTC).isoformat()) == expected


def test_lines_without_a_time_go_with_the_one_before() -> None:
    lines = [
        b"Traceback of an older one\n",
        b"2026-11-27T21:00:00Z a\n",
        b"  at x\n",
        b"2026-11-27T23:00:00Z b\n",
        b" y",
    ]
    since = datetime(2026, 11, 27, 20, tzinfo=UTC).timestamp()
    assert list(between([(each, LATEST) for each in lines], since, since + 7200)) == lines[1:3]
