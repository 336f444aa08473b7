"""Lists of checksums: names of any bytes go there and back, and other programs read what we write and we theirs."""

import hashlib
import io
import os
import subprocess
import tracemalloc
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO, cast

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from filewatchd.actions.checksum import formats
from filewatchd.actions.checksum.formats import FORMATS, Bad, Entry, Format, FormatError, read, write
from filewatchd.actions.checksum.formats.entry import DIGEST_SIZES, MAX_LINE
from filewatchd.actions.checksum.formats.escape import escaped, unescaped

HOSTILE = [
    b"a", b"b\nc", b"d\\e", b"f\r", b"g\rh", b"\\lead", b"caf\xe9", b" sp ", b"*star", b"x,y", b'q"z', b"h) = i", b"#c",
    "é".encode(), b"ctl\x01\x1b[m", b"tab\t", b"\n", b"end\n", b"\\", b"\\n", b"\xff\xfe\n\r\\", b"--", b"%s",
    b"x" * 255,
    b"MD5 (a) = 00", b"0123456789abcdef0123456789abcdef  b", b"=1+1", b"'", b"new\x0bline\x85\xe2\x80\xa8",
]  # fmt: skip
names = st.binary(min_size=1, max_size=60).filter(lambda name: b"\0" not in name)


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    algorithm = draw(st.sampled_from(formats.STRONG))
    digest = draw(st.binary(min_size=DIGEST_SIZES[algorithm], max_size=DIGEST_SIZES[algorithm]))
    return Entry(draw(names), algorithm, digest, draw(st.integers(0, 2**63)))


def of(*rows: bytes, **how: Any) -> list[Entry | Bad]:
    return list(read(io.BytesIO(b"".join(rows)), **how).entries)


def known(found: Iterable[Entry | Bad], *, size: bool = True) -> list[Entry]:
    read = [entry for entry in found if isinstance(entry, Entry)]
    return [entry._replace(line=0, size=entry.size if size else None, guessed=False) for entry in read]


def sha256(path: bytes, data: bytes) -> Entry:
    return Entry(path, "sha256", hashlib.sha256(data).digest(), len(data))


@given(st.lists(entries(), max_size=5), st.sampled_from(["bsd", "json", "csv"]))
@settings(max_examples=200, deadline=None)
@example([Entry(name, "sha256", bytes(32), 1) for name in HOSTILE], "bsd")
@example([Entry(name, "sha256", bytes(32), 1) for name in HOSTILE], "json")
@example([Entry(name, "sha256", bytes(32), 1) for name in HOSTILE], "csv")
def test_every_name_and_algorithm_goes_there_and_back(given: list[Entry], how: Format) -> None:
    sized = how != "bsd"
    assert known(of(*write(given, how), format=how), size=sized) == known(given, size=sized)


@given(st.lists(entries(), min_size=1, max_size=5), st.booleans())
@settings(max_examples=200, deadline=None)
@example([Entry(name, "sha256", bytes(32), 1) for name in HOSTILE], False)
@example([Entry(name, "sha256", bytes(32), 1) for name in HOSTILE], True)
def test_names_and_digests_go_there_and_back_in_the_format_that_says_no_algorithm(
    given: list[Entry], zero: bool
) -> None:
    algorithm = given[0].algorithm
    given = [entry._replace(algorithm=algorithm, digest=bytes(DIGEST_SIZES[algorithm])) for entry in given]
    found = of(*write(given, "sha256sum", zero=zero), algorithm=algorithm)
    assert known(found) == known(given, size=False)


@given(st.binary(max_size=400))
@settings(max_examples=300, deadline=None)
def test_whatever_comes_is_read_or_told_with_its_line(data: bytes) -> None:
    for how in FORMATS:
        try:
            found = of(data, format=how)
        except FormatError:
            continue
        assert all(entry.line >= 1 for entry in found)


@given(names)
def test_an_escaped_name_is_one_line(name: bytes) -> None:
    before, text = escaped(name)
    assert b"\n" not in text
    assert unescaped(text) == name if before else text == name


@pytest.mark.parametrize("text", [b"\\x", b"a\\", b"\\\\\\"])
def test_what_coreutils_never_write_is_no_name(text: bytes) -> None:
    assert unescaped(text) is None


# ---- the programs themselves


@pytest.fixture
def tree(tmp_path: Path) -> list[Entry]:
    found = []
    for name in HOSTILE:
        path = os.path.join(os.fsencode(tmp_path), name)
        with open(path, "wb") as file:
            file.write(name * 3)
        found.append(sha256(name, name * 3))
    return sorted(found)


@pytest.mark.parametrize("how", ["sha256sum", "bsd"])
def test_sha256sum_agrees_with_every_line(tmp_path: Path, tree: list[Entry], how: Format) -> None:
    listed = b"".join(write(tree, how))
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet", "-"], cwd=tmp_path, input=listed, capture_output=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize("flags", [[], ["--tag"], ["--binary"], ["--zero"], ["--zero", "--tag"]])
@pytest.mark.parametrize(
    ("program", "algorithm"),
    [("sha256sum", None), ("md5sum", None), ("sha1sum", None), ("sha512sum", None), ("b2sum", "blake2b")],
)
def test_what_coreutils_write_is_read(
    tmp_path: Path, tree: list[Entry], program: str, algorithm: str | None, flags: list[str]
) -> None:
    wanted = sorted(entry.path for entry in tree)
    listed = subprocess.run([program, *flags, "--", *wanted], cwd=tmp_path, capture_output=True, check=True).stdout
    found = known(of(listed, algorithm=algorithm))
    assert [entry.path for entry in found] == wanted
    for entry in found:
        empty = formats.hasher(entry.algorithm)()
        empty.update(entry.path * 3)
        assert empty.digest() == entry.digest


def test_b2sum_agrees_also_with_short_digests(tmp_path: Path, tree: list[Entry]) -> None:
    for length in (8, 256, 512):
        listed = subprocess.run(
            ["b2sum", "--tag", f"--length={length}", "--", *(entry.path for entry in tree)],
            cwd=tmp_path, capture_output=True, check=True,
        ).stdout  # fmt: skip
        found = known(of(listed))
        empty = formats.hasher("blake2b", length // 8)()
        empty.update(found[0].path * 3)
        assert found[0].digest == empty.digest()
        assert b"".join(write(found, "bsd")) == listed


def test_hashdeep_is_read_with_names_of_any_bytes(tmp_path: Path, tree: list[Entry]) -> None:
    listed = subprocess.run(
        ["hashdeep", "-l", "-c", "md5,sha1,tiger,sha256", *(b"./" + entry.path for entry in tree)],
        cwd=tmp_path, capture_output=True, check=True,
    ).stdout  # fmt: skip
    reading = read(io.BytesIO(listed))
    found = {entry.path.removeprefix(b"./"): entry for entry in known(reading.entries)}
    assert reading.format == "hashdeep"
    assert {path: entry.digest for path, entry in found.items()} == {entry.path: entry.digest for entry in tree}
    assert {path: entry.size for path, entry in found.items()} == {entry.path: entry.size for entry in tree}
    assert reading.notes == ["the hashes tiger are not checked; sha256 is"]


def test_hashdeep_agrees_with_what_we_write(tmp_path: Path, tree: list[Entry]) -> None:
    listed = tmp_path.parent / f"{tmp_path.name}.hashdeep"
    where = os.fsencode(tmp_path)
    given = [entry._replace(path=os.path.join(where, entry.path)) for entry in tree]
    given = [entry for entry in given if b"\n" not in entry.path and not entry.path.endswith(b"\r")]  # its own limits
    listed.write_bytes(b"".join(write(given, "hashdeep")))
    done = subprocess.run(["hashdeep", "-a", "-v", "-k", listed, *(e.path for e in given)], capture_output=True)
    assert b"Audit passed" in done.stdout, done


# ---- what is wrong is told


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"hello", "neither"),
        (b"00  a", "doesn't have 2 digits"),
        (b"0" * 63 + b"  a", "doesn't have 63 digits"),
        (b"SHA3 (a) = 00", "the algorithm SHA3 isn't one"),
        (b"SHA256 (a) = 00", "sha256 doesn't have 2 digits"),
        (b"BLAKE2b-256 (a) = 00", "BLAKE2b-256 isn't one"),
        (b"\\" + b"0" * 64 + b"  a\\x", "backslash"),
        (b"0" * 64 + b"  " + b"x" * 5000, "no file can have this name"),
        (b"0" * 64 + b"  " + b"x" * MAX_LINE, "longer than any name"),
        (b"0" * 64 + b"  " + b"x" * 3 * MAX_LINE, "longer than any name"),
    ],
)
def test_a_bad_line_is_told_and_the_next_is_read(line: bytes, why: str) -> None:
    bad, good = of(b"# comment\n\n", line + b"\n", b"1" * 64 + b"  good\r\n")
    assert isinstance(bad, Bad)
    assert bad.line == 3
    assert why in bad.why
    assert good == Entry(b"good", "sha256", bytes.fromhex("11" * 32), None, 4, guessed=True)


def test_a_list_that_is_signed_or_marked_is_read_without_that() -> None:
    line = b"0" * 64
    signed = (
        b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n" + line + b"  a\n- " + line + b"  b\n"
        b"-----BEGIN PGP SIGNATURE-----\n\niQIz\n=abcd\n-----END PGP SIGNATURE-----\n" + line + b"  c\n"
    )
    for text in (signed, signed.replace(b"\n", b"\r\n"), b"\xef\xbb\xbf" + signed):
        reading = formats.read(io.BytesIO(text))
        assert [entry.path if isinstance(entry, Entry) else entry for entry in reading.entries] == [b"a", b"b", b"c"]
        assert reading.notes == ["its PGP signature wasn't checked; gpg --verify does that"]
    assert known(of(b"\xef\xbb\xbf" + line + b"  a\n")) == [Entry(b"a", "sha256", bytes(32))]


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"{", "JSON"),
        (b"[1]", "no object"),
        (b"[" * 30_000, "JSON"),
        (b"{}", "no `path`"),
        (b'{"path":"a","algorithm":"crc","digest":"00"}', "crc isn't one"),
        (b'{"path":"a","algorithm":"md5","digest":"00"}', "none of md5"),
        (b'{"path":"a\\u0000","algorithm":"md5","digest":"00"}', "no `path`"),
        (b'{"path":"a","path_b64":"?","algorithm":"md5","digest":"00"}', "no `path`"),
        (b'{"path":["a"],"algorithm":"md5","digest":"00"}', "no `path`"),
    ],
)
def test_a_bad_object_is_told(line: bytes, why: str) -> None:
    (bad,) = of(line + b"\n", format="json")
    assert isinstance(bad, Bad)
    assert why in bad.why


def test_a_table_without_its_columns_is_told() -> None:
    assert of(b"path,size\na,1\n", format="csv") == [Bad(1, "the header doesn't name algorithm, digest")]


@pytest.mark.parametrize("head", [b"", b"%%%% HASHDEEP-1.0\n", b"%%%% HASHDEEP-1.0\n%%%% size,tiger,filename\n"])
def test_a_list_of_hashdeep_without_its_header_is_refused(head: bytes) -> None:
    with pytest.raises(FormatError):
        of(head, format="hashdeep")


def test_a_line_that_cant_be_a_row_before_the_first_is_told() -> None:
    found = of(b"%%%% HASHDEEP-1.0\n%%%% size,md5,filename\nwhat\n1," + b"0" * 32 + b",a\nb\n")
    assert found == [Bad(3, "it isn't `SIZE,HASH,...,NAME` as the header says"), Entry(b"a\nb", "md5", bytes(16), 1, 4)]


def test_what_a_format_cant_say_is_refused() -> None:
    unsized, other = Entry(b"a", "sha256", bytes(32)), Entry(b"a", "sha512", bytes(64), 1)
    for refused in (write([other], "hashdeep"), write([unsized], "hashdeep"), write([unsized], "json", zero=True)):
        with pytest.raises(FormatError):
            list(refused)


def test_memory_stays_bounded_however_long_a_line_is() -> None:
    class Long:
        left = 50 * 1024 * 1024

        def read(self, size: int) -> bytes:
            size = min(size, self.left)
            self.left -= size
            return b"x" * size

    tracemalloc.start()
    try:
        found = list(read(cast(BinaryIO, Long())).entries)
        assert tracemalloc.get_traced_memory()[1] < 4 * 1024 * 1024
    finally:
        tracemalloc.stop()
    assert found == [Bad(1, "the line is longer than any name")]
