from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filewatchd.cli.options import Since
from filewatchd.errors import SecretError
from filewatchd.measures import (
    format_duration,
    format_rate,
    format_room,
    format_size,
    parse_duration,
    parse_every,
    parse_rate,
    parse_room,
    parse_share,
    parse_size,
)
from filewatchd.notation import (
    MalformedError,
    format_signal,
    parse_group,
    parse_moment,
    parse_path,
    parse_signal,
    parse_user,
)
from filewatchd.values import MOST_SECRET, Secret


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("5s", 5), ("10m", 600), ("1h", 3600), ("1d", 86400), ("1h30m", 5400), ("1.5s", 1.5), (0, 0)],
)
def test_durations(text: object, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "bytes_"),
    [("64KiB", 65536), ("100MiB", 104857600), ("1GB", 10**9), ("1.5kB", 1500), ("7B", 7), (512, 512), ("2 TiB", 2**41)],
)
def test_sizes(text: object, bytes_: int) -> None:
    assert parse_size(text) == bytes_


def test_rates_and_shares() -> None:
    assert parse_rate("50MB/s") == 50_000_000
    assert parse_rate("2000/s") == 2000
    assert parse_rate("60/m") == 1
    assert [format_rate(each) for each in (50e6, 2000.0, 0.5, 1536.0)] == ["50MB/s", "2000/s", "0.5/s", "1536/s"]
    assert all(parse_rate(format_rate(each)) == each for each in (50e6, 2000.0, 0.5, 2.0**30, 1e6 + 0.5))
    assert parse_share("10%") == 0.1
    assert [parse_room(each) for each in ("10%", "5 GiB", 700)] == [0.1, 5 << 30, 700]
    assert [format_room(each) for each in (0.1, 5 << 30)] == ["10%", "5GiB"]


def test_signals_by_name_and_number() -> None:
    assert [parse_signal(word) for word in ("TERM", "sigterm", 15)] == [15, 15, 15]
    assert format_signal(15) == "TERM"
    assert format_signal(40) == "40"


def test_users_and_groups_that_exist() -> None:
    assert parse_user("root") == "root"
    assert parse_group("root") == "root"


def test_periods() -> None:
    assert parse_every("day") == "day"
    assert parse_every("10m") == 600


def test_moments() -> None:
    assert parse_moment("1970-01-01T00:00:01.000001Z") == 1_000_001_000
    assert parse_moment("1970-01-01T01:00:00+01:00") == 0
    assert parse_moment("9999-12-31T23:59:59Z") == 2**63 - 1  # SQLite has no larger number
    assert parse_moment("0001-01-01T00:00:00+14:00") == -(2**63)


@pytest.mark.parametrize("text", ["9999999999d", "0001-01-01T00:00:00+14:00", "yesterday"])
def test_what_is_no_time_for_a_command(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Since().convert(text, None, None)


@pytest.mark.parametrize(
    ("parse", "value", "told"),
    [
        (parse_duration, 5, "5 has no unit; write 5s"),
        (parse_duration, "5", "'5' is not a duration"),
        (parse_duration, "-5s", "can't be negative"),
        (parse_duration, -1, "can't be negative"),
        (parse_duration, "1m1h", "is not a duration"),
        (parse_duration, "", "is not a duration"),
        (parse_duration, "5s\n", "is not a duration"),
        (parse_duration, True, "is not a duration"),
        (parse_duration, "99999999d", "longer than a century"),
        (parse_duration, "9" * 400 + "s", "longer than a century"),
        (parse_size, "5M", "is not a size"),
        (parse_size, "-5MB", "is not a size"),
        (parse_size, True, "true is not a size"),
        (parse_size, "9" * 400 + "MB", "is not a size"),
        (parse_size, 2**70, "is not a size"),
        (parse_rate, "50MB", "is not a rate"),
        (parse_rate, "/s", "is not a rate"),
        (parse_rate, 5, "is not a rate"),
        (parse_share, "101%", "is not a share"),
        (parse_room, "101%", "is neither a share nor a size"),
        (parse_room, "half", "is neither a share nor a size"),
        (parse_share, 10, "is not a share"),
        (parse_signal, "TREM", "'TREM' is not a signal"),
        (parse_signal, 99, "99 is not a signal"),
        (parse_signal, True, "is not a signal"),
        (parse_user, "nobody-of-that-name", "no user named"),
        (parse_user, 1000, "is not a user name"),
        (parse_group, "no-such-group", "no group named"),
        (parse_path, "", "is not a path"),
        (parse_path, "a\0b", "is not a path"),
        (parse_every, "year", "hour, day, week, month"),
        (parse_every, "100ms", "too often"),
        (parse_moment, "yesterday", "a time is expected"),
        (parse_moment, "0001-01-01", "time zone is missing"),
    ],
)
def test_what_is_malformed(parse: Callable[[object], object], value: object, told: str) -> None:
    with pytest.raises(MalformedError) as caught:
        parse(value)
    text = f"{caught.value}; {caught.value.hint}"
    assert told in text
    assert caught.value.hint
    assert len(text) < 300


@given(st.integers(0, 10**12))
def test_a_duration_is_read_as_it_was_written(milliseconds: int) -> None:
    text = format_duration(milliseconds / 1000)
    assert round(parse_duration(text) * 1000) == milliseconds if milliseconds else text == "0s"


@given(st.integers(0, 2**53))
def test_a_size_is_read_as_it_was_written(size: int) -> None:
    assert parse_size(format_size(size)) == size


def test_a_secret_is_read_when_it_is_needed(tmp_path: Path) -> None:
    file = tmp_path / "token"
    secret = Secret(file=str(file))
    file.write_text("hunter2\n")
    assert secret.reveal() == "hunter2"
    assert "hunter2" not in repr(secret)
    assert str(tmp_path) not in repr(secret)


def test_a_secret_is_a_systemd_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = Secret(credential="token")
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(SecretError, match="LoadCredential="):
        secret.reveal()
    (tmp_path / "token").write_text("hunter2")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert secret.reveal() == "hunter2"


def huge(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, ": No such file or directory; write the secret there"),
        (lambda path: path.mkdir(), " is no regular file; write the secret into one"),
        (os.mkfifo, " is no regular file; write the secret into one"),
        (lambda path: path.symlink_to("/dev/zero"), " is no regular file; write the secret into one"),
        (lambda path: path.symlink_to(path), ": Too many levels of symbolic links; its symlinks lead in a circle"),
        (lambda path: path.write_text("\n"), " is empty; write the secret into it"),
        (lambda path: path.write_bytes(b"hunter2\xff"), " is no text in UTF-8; write the secret as text"),
        (lambda path: path.write_bytes(b"x" * (MOST_SECRET + 1)), " has more than 64 KiB, which no secret has"),
        (huge, " has more than 64 KiB, which no secret has"),
    ],
)
def test_what_a_secret_cant_be_read_from(tmp_path: Path, make: Callable[[Path], object], said: str) -> None:
    """No FIFO holds up a job, no device is read, and the error says nothing of what is there."""
    make(tmp_path / "token")
    with pytest.raises(SecretError) as caught:
        Secret(file=f"{tmp_path}/token").reveal()
    assert str(caught.value).startswith(f"{tmp_path}/token{said}")
    assert "hunter2" not in repr(caught.value)


def test_a_secret_behind_links_may_have_the_most(tmp_path: Path) -> None:
    """As Kubernetes mounts them."""
    (tmp_path / "..2026").mkdir()
    (tmp_path / "..2026/token").write_text("x" * MOST_SECRET)
    (tmp_path / "..data").symlink_to("..2026")
    (tmp_path / "token").symlink_to("..data/token")
    assert len(Secret(file=f"{tmp_path}/token").reveal()) == MOST_SECRET


@pytest.mark.parametrize("fields", [{}, {"file": "a", "credential": "b"}, {"credential": "../b"}, {"credential": ""}])
def test_what_is_no_secret(fields: dict[str, str]) -> None:
    with pytest.raises(MalformedError):
        Secret(**fields)


def test_a_reader_of_values_can_cross_processes() -> None:
    assert pickle.loads(pickle.dumps(Secret(credential="token"))) == Secret(credential="token")
