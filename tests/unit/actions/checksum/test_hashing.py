"""Looking at real files: digests that can be trusted, or none."""

from __future__ import annotations

import hashlib
import mmap
import os
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from unittest import mock

import pytest

from filewatchd.actions.checksum import extended, hashing
from filewatchd.actions.checksum.hashing import CHUNK, ChangedError, Hashed, hash_file
from filewatchd.actions.checksum.listing import walk
from filewatchd.actions.checksum.looking import look, look_large
from filewatchd.actions.checksum.seeing import Presence, Seen, Tracking, Wanted
from filewatchd.work.cached import Cache, _by_mincore

SHA = ("sha256",)
LARGE = 6 * CHUNK


PLAIN = Tracking()


def see(path: Path, tracking: Tracking = PLAIN, *algorithms: str, prefix: int = -1) -> Seen:
    wanted = Wanted("", path.name, algorithms or SHA, prefix)
    (found,) = look(str(path.parent), [wanted], tracking)
    if found.presence is Presence.LARGE:
        *_, last = look_large(str(path.parent), wanted, tracking)
        assert last.seen is not None
        return last.seen
    return found


def sha(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


@pytest.mark.parametrize("size", [0, 1, 4096, hashing.SMALL, hashing.SMALL + 1, LARGE + 7])
@pytest.mark.parametrize("algorithm", list(hashing.HASHERS))
def test_digests_are_right(tmp_path: Path, size: int, algorithm: str) -> None:
    data = os.urandom(size)
    (tmp_path / "a").write_bytes(data)
    hasher = hashing.HASHERS[algorithm]()
    hasher.update(data)
    found = see(tmp_path / "a", Tracking(), algorithm, "sha256")
    assert found.presence is Presence.HERE
    assert found.digests == (hasher.digest(), sha(data))
    assert found.read == size
    assert see(tmp_path / "a", Tracking(), algorithm).digests == (hasher.digest(),)


@pytest.mark.parametrize("prefix", [0, 1, CHUNK, CHUNK + 1, LARGE])
def test_a_prefix_is_hashed_on_the_way(tmp_path: Path, prefix: int) -> None:
    data = os.urandom(LARGE)
    (tmp_path / "a").write_bytes(data)
    assert see(tmp_path / "a", prefix=prefix).prefix == sha(data[:prefix])


def steps(path: Path) -> Iterator[int | Hashed]:
    fd = os.open(path, os.O_RDONLY)
    try:
        yield from hash_file(fd, SHA, Cache())
    finally:
        os.close(fd)


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def rewrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(os.urandom(1))


CHANGES: list[Callable[[Path], object]] = [
    lambda path: os.truncate(path, CHUNK + 1),
    append,
    rewrite,
    lambda path: os.utime(path, ns=(1, 1)),
]


@pytest.mark.parametrize("change", CHANGES, ids=["truncated", "appended", "rewritten", "touched"])
def test_a_change_in_the_middle_has_the_file_read_again_at_once(
    tmp_path: Path, change: Callable[[Path], object]
) -> None:
    path = tmp_path / "a"
    path.write_bytes(os.urandom(LARGE))
    running = steps(path)
    assert next(running) == CHUNK
    change(path)
    assert next(running) == CHUNK  # of the second reading: not one chunk more of the first
    *_, last = running
    assert isinstance(last, Hashed)
    assert last.digests == (sha(path.read_bytes()),)


@pytest.mark.parametrize("change", CHANGES[1:], ids=["appended", "rewritten", "touched"])
def test_what_never_stands_still_has_no_digest(tmp_path: Path, change: Callable[[Path], object]) -> None:
    path = tmp_path / "a"
    path.write_bytes(os.urandom(LARGE))

    def read() -> None:
        for number, _ in enumerate(steps(path)):
            change(path)
            if change is CHANGES[3]:
                os.utime(path, ns=(number, number))

    with pytest.raises(ChangedError):
        read()


def test_a_file_that_grows_for_ever_ends_the_reading(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x")
    real = os.preadv

    def growing(fd: int, buffers: Sequence[memoryview], at: int) -> int:
        with path.open("ab") as file:
            file.write(b"more")
        return real(fd, buffers, at)

    with mock.patch.object(os, "preadv", growing):
        found = see(path, Tracking(), "sha256", "blake3")
    assert (found.presence, found.digests) == (Presence.UNSTABLE, ())


def test_a_writer_through_a_mapping_makes_it_unstable(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(bytes(4096))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 4096) as mapping:
        file.close()
        mapping[0] = 1
        found = see(path)
    assert found.presence is Presence.UNSTABLE
    assert "open for writing" in found.reason
    assert see(path).presence is Presence.HERE


def test_holes_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with path.open("wb") as file:
        file.seek(64 * CHUNK)
        file.write(b"data")
        file.truncate(100 * CHUNK + 3)
    calls = []
    real = os.preadv

    def counted(fd: int, buffers: Sequence[memoryview], at: int) -> int:
        calls.append(at)
        return real(fd, buffers, at)

    with mock.patch.object(os, "preadv", counted):
        found = see(path)
    expected = bytes(64 * CHUNK) + b"data" + bytes(36 * CHUNK + 3 - 4)
    assert found.digests == (sha(expected),)
    assert found.read == len(expected)
    assert len(calls) <= 3  # what is stored, and that there is nothing after the end


@pytest.mark.parametrize("name", ["version", "filesystems"])
def test_a_file_that_lies_about_its_size(name: str) -> None:
    found = see(Path("/proc") / name)
    assert found.identity.size == 0
    assert found.digests == (sha((Path("/proc") / name).read_bytes()),)


def test_only_files_are_opened(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "target").write_text("x")
    (tmp_path / "link").symlink_to("target")
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "socket"))
        for name in ("directory", "link", "fifo", "socket", "none"):
            assert see(tmp_path / name).presence is Presence.ABSENT, name
    assert see(tmp_path / "link", Tracking(follow=True)).digests == (sha(b"x"),)


def test_no_link_is_followed_on_the_way(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real/a").write_text("x")
    (tmp_path / "link").symlink_to("real")
    (found,) = look(str(tmp_path), [Wanted("link", "a", SHA)], Tracking())
    assert found.presence is Presence.ABSENT
    (found,) = look(str(tmp_path / "link"), [Wanted("", "a", SHA)], Tracking())  # a root may be one
    assert found.presence is Presence.HERE


@pytest.mark.skipif(os.geteuid() != 0, reason="only root reads what it may not")
def test_extended_attributes_and_acls(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("x")
    tracking = Tracking(xattr=True, acl=True)
    assert see(path, tracking).attributes[4:6] == (b"", b"")
    os.setxattr(path, "user.a", b"1")
    first = see(path, tracking).attributes
    os.setxattr(path, "user.a", b"2" * 500)
    with mock.patch.object(extended, "_LONG", 400):
        second = see(path, tracking).attributes
    assert len(second.xattr or b"") < 100
    assert len({b"", first.xattr, second.xattr}) == 3
    assert (first.acl, second.acl) == (b"", b"")


def resident(path: Path) -> int:
    """Pages in the cache, as fincore says."""
    out = subprocess.run(["fincore", "-n", "-b", "-o", "RES", path], capture_output=True, text=True, check=True)
    return int(out.stdout) // mmap.PAGESIZE


@pytest.mark.parametrize("size", [10 * 4096, LARGE])
@pytest.mark.parametrize("ask", ["cachestat", "mincore"])
def test_the_page_cache_is_left_as_it_was(tmp_path: Path, size: int, ask: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(os.urandom(size))
    if filesystem(tmp_path) == "tmpfs":
        pytest.skip("what is in memory only can't leave it")
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        assert resident(path) == 0
        absent = Cache.absent if ask == "cachestat" else lambda self, fd, size: _by_mincore(fd, size)
        with mock.patch.object(Cache, "absent", absent):
            assert see(path).digests == (sha(path.read_bytes()),)
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            see(path)
            assert resident(path) == 0
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)  # no reading ahead
            os.pread(file.fileno(), 4096, 5 * 4096)
            assert resident(path) == 1
            see(path)
            assert resident(path) == 1
            path.read_bytes()
            before = resident(path)
            see(path)
            assert resident(path) == before == -(-size // 4096)


def filesystem(path: Path) -> str:
    return subprocess.run(["stat", "-f", "-c", "%T", path], capture_output=True, text=True, check=True).stdout.strip()


# ---- walks


def tree(root: Path) -> list[str]:
    names = ["a", "b/1", "b/2", "b/c/1", "b-x/1", "d/1", "d/e/f/1"]
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    return names


def walked(root: Path, after: tuple[str, str] | None = None, **more: tuple[str, ...]) -> list[str]:
    found = walk(str(root), ("",), after, more.get("include", ()), more.get("exclude", ()), False, Tracking(), True)
    return [
        f"{listing.directory}/{entry.name}".lstrip("/")
        for batch in found
        for listing in batch
        for entry in listing.entries
    ]


def test_a_walk_goes_on_behind_any_file(tmp_path: Path) -> None:
    names = tree(tmp_path)
    whole = walked(tmp_path)
    assert sorted(whole) == sorted(names)
    for number, name in enumerate(whole):
        directory, _, last = name.rpartition("/")
        assert walked(tmp_path, (directory, last)) == whole[number + 1 :]


def test_a_walk_looks_only_where_the_rule_does(tmp_path: Path) -> None:
    tree(tmp_path)
    assert walked(tmp_path, exclude=("b/", "f/")) == ["a", "b-x/1", "d/1"]
    assert walked(tmp_path, include=("a",)) == ["a"]
