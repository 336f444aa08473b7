"""Archives: written by us, read by us and by the formats' own tools; damaged, cut off, resumed."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import tempfile
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from filewatchd import codecs
from filewatchd.codecs import Codec, DamagedError, Member, base, reading, writing
from filewatchd.codecs import gzip as own_gzip
from filewatchd.errors import ActionError

NAMES = list(codecs.CODECS)
PACKED = [name for name in NAMES if name != "none"]
TOOLS = {
    "gzip": ["gzip", "-dc"], "zstd": ["zstd", "-dcq"], "lz4": ["lz4", "-dcq"], "xz": ["xz", "-dc"],
    "bz2": ["bzip2", "-dc"], "none": ["cat"],
}  # fmt: skip
MAKERS = {
    "gzip": ["gzip", "-c"], "zstd": ["zstd", "-cq"], "lz4": ["lz4", "-cq"], "xz": ["xz", "-c0"], "bz2": ["bzip2", "-c"],
}  # fmt: skip
SMALL = 1 << 15


def log(lines: int, seed: int = 7) -> bytes:
    chance = random.Random(seed)
    return b"".join(
        b"2026-11-27T21:%02d:%02d host app[%d]: request %x done in %d ms\n"
        % (n // 60 % 60, n % 60, chance.randrange(9999), chance.getrandbits(64), chance.randrange(500))
        for n in range(lines)
    )


CONTENT = log(4000)


@pytest.fixture(params=NAMES)
def codec(request: pytest.FixtureRequest) -> Codec:
    return codecs.usable(request.param)


@pytest.fixture(params=PACKED)
def packed(request: pytest.FixtureRequest) -> Codec:
    return codecs.usable(request.param)


class Pair:
    """A source and its archive."""

    def __init__(self, where: Path, content: bytes) -> None:
        self.path = where / "archive"
        (where / "source").write_bytes(content)
        self.source = os.open(where / "source", os.O_RDONLY)
        self.target = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)

    def compress(self, codec: Codec, member: int = SMALL, **options: Any) -> list[Member]:
        return list(codecs.compress(self.source, self.target, codec, member=member, **options))

    def close(self) -> None:
        os.close(self.source)
        os.close(self.target)


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    made = Pair(tmp_path, CONTENT)
    yield made
    made.close()


def listen(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Where in the archive something is decompressed from now on."""
    decoded: list[int] = []
    real = codec.decode

    def decode(fd: int, offset: int, end: int) -> Generator[bytes, None, int]:
        decoded.append(offset)
        return real(fd, offset, end)

    monkeypatch.setattr(codec, "decode", decode)
    return decoded


def until_damage(pieces: Iterator[bytes]) -> tuple[bytes, DamagedError | None]:
    """What is read, and what ended it."""
    found = b""
    try:
        for piece in pieces:
            found += piece
    except DamagedError as error:
        return found, error
    return found, None


@pytest.mark.parametrize("threads", [1, 3])
def test_written_members_are_found_again_and_make_the_content(pair: Pair, codec: Codec, threads: int) -> None:
    written = pair.compress(codec, threads=threads)
    assert len(written) > 5
    assert b"".join(codecs.read(pair.target, codec)) == CONTENT
    assert b"".join(codecs.contents(pair.target, codec, written, threads)) == CONTENT
    codecs.verify(pair.target, codec, written, threads)
    if codec.name != "none":
        assert [member._replace(digest="") for member in written] == list(codecs.members(pair.target, codec))


def test_members_end_at_line_ends(pair: Pair, codec: Codec) -> None:
    for member in pair.compress(codec):
        assert CONTENT[: member.stop].endswith(b"\n")


def test_the_formats_own_tool_reads_them(pair: Pair, codec: Codec) -> None:
    pair.compress(codec, threads=2)
    with pair.path.open("rb") as archive:
        assert subprocess.run(TOOLS[codec.name], stdin=archive, capture_output=True, check=True).stdout == CONTENT


CATS = {"gzip": "zcat", "zstd": "zstdcat", "lz4": "lz4cat", "xz": "xzcat", "bz2": "bzcat"}


def test_people_read_them_by_name(pair: Pair, packed: Codec) -> None:
    chosen, tool = packed, CATS[packed.name]
    pair.compress(chosen)
    named = pair.path.with_name("app.log" + chosen.suffix)
    pair.path.rename(named)
    assert subprocess.run([tool, named], capture_output=True, check=True).stdout == CONTENT
    assert codecs.codec_of(str(named)) is chosen


def test_zgrep_finds_a_line(pair: Pair) -> None:
    pair.compress(codecs.codec("gzip"))
    named = pair.path.rename(pair.path.with_name("app.log.gz"))
    line = CONTENT.splitlines()[3210]
    assert subprocess.run(["zgrep", "-F", line, named], capture_output=True, check=True).stdout == line + b"\n"


def test_what_the_tool_wrote_is_read(tmp_path: Path, packed: Codec) -> None:
    halves = CONTENT[: len(CONTENT) // 2], CONTENT[len(CONTENT) // 2 :]
    archive = tmp_path / "foreign"
    for half in halves:
        with archive.open("ab") as end:
            subprocess.run(MAKERS[packed.name], input=half, stdout=end, check=True)
    with archive.open("rb") as file:
        found = list(codecs.members(file.fileno(), packed))
        assert [member.size for member in found] == [len(half) for half in halves]
        assert found[-1].end == archive.stat().st_size
        assert b"".join(codecs.read(file.fileno(), packed)) == CONTENT
        assert b"".join(codecs.contents(file.fileno(), packed, found, 2)) == CONTENT


def test_reading_from_the_middle_decompresses_nothing_before_it(
    pair: Pair, codec: Codec, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = pair.compress(codec)
    decoded = listen(codec, monkeypatch)
    start = written[-2].start + 10
    assert b"".join(codecs.read(pair.target, codec, start)) == CONTENT[start:]
    hops = codec.name not in ("bz2", "none")
    assert not hops or decoded == [written[-2].offset, written[-1].offset]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data(), name=st.sampled_from(NAMES))
def test_any_range_of_any_content(data: st.DataObject, name: str) -> None:
    content = data.draw(st.binary(max_size=3000) | st.text("ab\n\0", max_size=3000).map(str.encode))
    low = data.draw(st.integers(0, len(content) + 5))
    high = data.draw(st.none() | st.integers(0, len(content) + 5))
    start = data.draw(st.integers(0, len(content)))
    chosen = codecs.usable(name)
    with tempfile.TemporaryDirectory() as where:
        pair = Pair(Path(where), content)
        written = pair.compress(chosen, start=start, member=data.draw(st.integers(1, 3000)), threads=2)
        assert b"".join(codecs.read(pair.target, chosen, low, high)) == content[start:][low:high]
        codecs.verify(pair.target, chosen, written)
        assert [0, *(member.end for member in written)] == [*(member.offset for member in written), *(
            [written[-1].end] if written else [0])]  # fmt: skip
        pair.close()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data(), name=st.sampled_from(PACKED))
def test_damage_is_told(data: st.DataObject, name: str) -> None:
    content, chosen = log(60), codecs.usable(name)
    with tempfile.TemporaryDirectory() as where:
        pair = Pair(Path(where), content)
        written = pair.compress(chosen, member=2000)
        share = data.draw(st.integers(0, 1 << 16))  # not a byte of it: its length is the codec's affair
        at = share * (written[-1].end - 1) >> 16
        byte = os.pread(pair.target, 1, at)[0]
        os.pwrite(pair.target, bytes([byte ^ data.draw(st.integers(1, 255))]), at)
        found, error = until_damage(codecs.read(pair.target, chosen))
        if error is None:
            assert found == content  # a flag or a time in a header, which no checksum guards
        else:
            assert error.offset <= at
            assert not error.retryable
        pair.close()


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data(), name=st.sampled_from(PACKED))
def test_a_broken_off_compression_goes_on_after_the_last_whole_member(data: st.DataObject, name: str) -> None:
    content, chosen = log(80), codecs.usable(name)
    with tempfile.TemporaryDirectory() as where:
        pair = Pair(Path(where), content)
        written = pair.compress(chosen, member=1500)
        last = data.draw(st.sampled_from([None, *written]))  # that is recorded
        length, size = (last.end, last.stop) if last is not None else (0, 0)
        os.ftruncate(pair.target, length)
        pair.compress(chosen, start=size, at=length, member=1500)
        assert b"".join(codecs.read(pair.target, chosen)) == content
        pair.close()


def test_a_cut_archive_gives_all_before_the_cut(pair: Pair, packed: Codec) -> None:
    written = pair.compress(packed)
    os.ftruncate(pair.target, written[-1].end - 3)
    found, error = until_damage(codecs.read(pair.target, packed))
    assert str(error).startswith("damaged at byte")
    assert found.startswith(CONTENT[: written[-1].start])
    assert CONTENT.startswith(found)


def test_damage_is_told_at_the_beginning_of_its_member(pair: Pair) -> None:
    lz4 = codecs.usable("lz4")
    (written,) = pair.compress(lz4, member=1 << 20)
    flags = os.pread(pair.target, 5, 0)[4]
    os.pwrite(pair.target, bytes([flags ^ 1]), 4)  # a dictionary's number, which would move the blocks by its length
    _, error = until_damage(codecs.read(pair.target, lz4))
    assert error is not None
    assert (error.offset, written.start) == (0, 0)


def test_what_is_no_archive_is_told_from_one(tmp_path: Path, packed: Codec) -> None:
    (tmp_path / "no").write_bytes(b"no archive at all, but long enough to be one")
    with (tmp_path / "no").open("rb") as file, pytest.raises(DamagedError):
        list(codecs.members(file.fileno(), packed))
    with (tmp_path / "no").open("rb") as file, pytest.raises(DamagedError):
        list(codecs.read(file.fileno(), packed))


def test_padding_behind_the_last_member_is_none(pair: Pair, packed: Codec) -> None:
    written = pair.compress(packed)
    os.ftruncate(pair.target, written[-1].end + 8192)
    assert b"".join(codecs.read(pair.target, packed)) == CONTENT
    assert len(list(codecs.members(pair.target, packed))) == len(written)


def test_verify_tells_another_content_from_the_one_written(pair: Pair, codec: Codec) -> None:
    written = pair.compress(codec)
    other = [written[0]._replace(digest="00" * 32), *written[1:]]
    for wrong in (other, [written[0]._replace(size=written[0].size - 1)], [written[0]._replace(length=1)]):
        with pytest.raises(DamagedError):
            codecs.verify(pair.target, codec, wrong)


def test_nothing_is_written_before_the_one_who_drives_asks(pair: Pair, codec: Codec) -> None:
    steps = codecs.compress(pair.source, pair.target, codec, member=SMALL, threads=2)
    for member in itertools.islice(steps, 3):
        assert os.fstat(pair.target).st_size == member.end
    steps.close()  # type: ignore[attr-defined]
    assert os.fstat(pair.target).st_size == member.end


def test_a_source_that_shrinks_is_an_error_and_no_archive_of_nothing(pair: Pair, codec: Codec) -> None:
    for threads in (1, 2):
        with pytest.raises(ActionError, match="became shorter"):
            pair.compress(codec, end=len(CONTENT) + 1, threads=threads)


def test_a_full_disk_shows_as_the_systems_error(pair: Pair, codec: Codec) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        with pytest.raises(OSError, match="No space left"):
            list(codecs.compress(pair.source, full, codec, threads=2))
    finally:
        os.close(full)


def test_members_that_hardly_shrink_dont_pile_up(tmp_path: Path) -> None:
    pair = Pair(tmp_path, random.Random(3).randbytes(40 * SMALL))
    live: list[int] = []

    class Counting(writing.Work):
        def __call__(self, start: int, stop: int) -> writing.Made:
            live.append(start)
            return super().__call__(start, stop)

    work = Counting(pair.source, codecs.codec("gzip"), 1, False)
    shares = writing.cuts(pair.source, 0, 40 * SMALL, SMALL)
    for number, _ in enumerate(writing.ahead(work, shares, 3)):
        assert len(live) <= number + 3
    pair.close()


@pytest.mark.parametrize("level", range(1, 10))
def test_every_level_of_gzip_with_and_without_the_fast_library(
    pair: Pair, level: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = codecs.codec("gzip")
    pair.compress(chosen, level=level)
    assert b"".join(codecs.read(pair.target, chosen)) == CONTENT
    monkeypatch.setattr(own_gzip, "fast", False)
    assert b"".join(codecs.read(pair.target, chosen)) == CONTENT
    os.ftruncate(pair.target, 0)
    written = pair.compress(chosen, level=level)
    codecs.verify(pair.target, chosen, written)
    monkeypatch.undo()
    assert b"".join(codecs.read(pair.target, chosen)) == CONTENT


def test_a_frame_written_from_a_pipe_doesnt_tell_its_size_and_is_read_all_the_same(tmp_path: Path) -> None:
    for name, tool in (("zstd", ["zstd", "-cq", "--no-check"]), ("lz4", ["lz4", "-cq", "--no-frame-crc", "-B4"])):
        archive = tmp_path / name
        with archive.open("wb") as end:
            subprocess.run(tool, input=CONTENT, stdout=end, check=True)
        with archive.open("rb") as file:
            assert codecs.codec(name).measure(file.fileno(), 0, archive.stat().st_size) is None
            assert b"".join(codecs.read(file.fileno(), codecs.codec(name), 100)) == CONTENT[100:]
        os.truncate(archive, archive.stat().st_size - 1)
        with archive.open("rb") as file, pytest.raises(DamagedError):
            list(codecs.read(file.fileno(), codecs.codec(name)))


def test_skippable_frames_are_empty_members(pair: Pair) -> None:
    for name in ("zstd", "lz4"):
        chosen = codecs.codec(name)
        os.ftruncate(pair.target, 0)
        os.pwrite(pair.target, b"\x50\x2a\x4d\x18\x04\x00\x00\x00note", 0)
        pair.compress(chosen, at=12)
        assert b"".join(codecs.read(pair.target, chosen)) == CONTENT
        assert next(codecs.members(pair.target, chosen)) == Member(0, 0, 0, 12)


def test_a_bomb_is_read_in_pieces_and_never_held(tmp_path: Path, packed: Codec) -> None:
    with (tmp_path / "zeros").open("wb") as file:
        file.truncate(1 << 22)
    with (tmp_path / "zeros").open("rb") as file, (tmp_path / "bomb").open("w+b") as bomb:
        list(codecs.compress(file.fileno(), bomb.fileno(), packed, member=1 << 22, level=min(packed.levels[-1], 1)))
        assert max(map(len, codecs.read(bomb.fileno(), packed))) <= base.PIECE
        claimed = Member(0, 1000, 0, bomb.seek(0, 2))
        with pytest.raises(DamagedError):
            reading.whole(bomb.fileno(), packed, claimed)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codecs, "lacks", lambda extra: (f"the extra {extra} is not installed", f"pip install {extra}"))
    monkeypatch.setattr(codecs.codec("zstd"), "ready", False)
    with pytest.raises(ActionError, match="pip install zstd"):
        codecs.usable("zstd")
    assert codecs.usable("gzip").name == "gzip"
    with pytest.raises(KeyError):
        codecs.codec("rar")


def test_damage_travels_between_processes() -> None:
    import pickle

    again = pickle.loads(pickle.dumps(DamagedError(7, "torn")))
    assert (again.offset, again.why, str(again)) == (7, "torn", "damaged at byte 7: torn")
