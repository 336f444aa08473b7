"""filewatchctl index: what it reads from an index without a daemon, lists, keys and audits."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from filewatchd.cli.asking import Session
from filewatchd.cli.control import main
from filewatchd.cli.index import keys, waiting
from filewatchd.cli.index.checking import check
from filewatchd.cli.index.sealing import statement_of
from filewatchd.cli.index.verifying import progress
from filewatchd.control.places import Place
from filewatchd.model import FileIdentity
from filewatchd.state.index.editing import Told
from filewatchd.state.index.rows import Attributes, Record, State, Verdict
from filewatchd.state.index.writing import Index
from filewatchd.testing import FakeClock
from tests.unit.cli.conftest import Ctl

NAMES = [b"a", b"d/b", b"d/e/line\nbreak", b"\xff\\", b"new"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    tree = tmp_path / "tree"
    for name in NAMES:
        path = os.path.join(os.fsencode(tree), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(b"same" if name in (b"a", b"new") else name)
    return tree


def record(path: bytes) -> Record:
    found = os.stat(path)
    with open(path, "rb") as file:
        digest = hashlib.sha256(file.read()).digest()
    identity = FileIdentity(found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
    return Record(identity, "sha256", digest, Attributes(found.st_mode, 0, 0, 1), 1_700_000_000)


@pytest.fixture
def index(tmp_path: Path, tree: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    """An index of the tree, with an open finding, a pending upgrade and an accepted change."""
    state = tmp_path / "state"
    state.mkdir()
    monkeypatch.setenv("FILEWATCHCTL_STATE_DIR", str(state))
    index = Index(str(state / "index.db"), FakeClock())
    root = index.root("rule", str(tree))
    rows = {os.fsdecode(name): record(os.path.join(os.fsencode(tree), name)) for name in NAMES}
    other = rows["a"]._replace(digest=bytes(32), identity=rows["a"].identity._replace(size=99))
    with index.edit() as edit:
        for path, row in rows.items():
            edit.put(root, path, row)
        edit.keep_version(root, "a", other, 5)
        edit.built(root, "fs")
    with index.edit() as edit:
        edit.tell(Told(root, "a", Verdict.CORRUPT, State.OPEN, rows["a"], other, message="rot"))
        for path in ("d/b", "d/e/line\nbreak"):
            edit.tell(Told(root, path, Verdict.MODIFIED, State.PENDING, rows["d/b"], other, label="dpkg tool 2"))
        edit.tell(Told(root, "new", Verdict.NEW, State.ACCEPTED, None, rows["new"]))
        edit.packages({"dpkg tool": "1"})
    yield index
    index.close()


def documents(out: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in out.splitlines()]


def test_status_says_how_it_stands(ctl: Ctl, index: Index, tree: Path) -> None:
    found = ctl("index", "status")
    assert found.code == 0
    assert f"rule  {tree}      5" in found.out
    assert "1 open, 2 pending" in found.out
    (root,) = json.loads(ctl("index", "status", "--json").out)["roots"]
    assert (root["files"], root["unverified"], root["waiting"]) == (5, 0, {"open": 1, "pending": 2})


def test_ls_lists_a_rule_a_directory_or_a_file(ctl: Ctl, index: Index, tree: Path) -> None:
    def paths(*words: str) -> list[bytes]:
        return [
            base64.b64decode(each["path_b64"]) if "path_b64" in each else os.fsencode(each["path"])  # type: ignore[arg-type]
            for each in documents(ctl("index", "ls", *words, "--json").out)
        ]

    beginning = os.fsencode(tree) + b"/"
    assert sorted(paths()) == sorted(paths("rule")) == sorted(paths(str(tree))) == sorted(beginning + n for n in NAMES)
    assert paths(f"{tree}/d/e") == [beginning + b"d/e/line\nbreak"]
    assert paths(f"{tree}/d/b") == [beginning + b"d/b"]
    assert paths(str(tree.parent)) == paths()
    plain = ctl("index", "ls", f"{tree}/d")
    assert "line\\nbreak" in plain.out
    assert len(plain.lines) == 2
    wrong = ctl("index", "ls", "/elsewhere")
    assert wrong.code == 64
    assert "there are rule" in wrong.err


def test_show_tells_all_of_a_file(ctl: Ctl, index: Index, tree: Path) -> None:
    found = ctl("index", "show", f"{tree}/a")
    assert found.code == 3
    assert "corrupt" in found.out
    (story,) = json.loads(ctl("index", "show", f"{tree}/a", "--json").out)["files"]
    assert story["row"]["digest"] == hashlib.sha256(b"same").hexdigest()
    assert [old["size"] for old in story["versions"]] == [99]
    assert ctl("index", "show", f"{tree}/new").code == 0
    assert ctl("index", "show", f"{tree}/none").code == 1
    assert f"index ls {tree}/d` lists" in ctl("index", "show", f"{tree}/d").err
    for path in ("none", "d/none", "a/none"):
        assert ctl("index", "ls", f"{tree}/{path}").code == 1


def test_find_by_hash_by_its_beginning_and_duplicates(ctl: Ctl, index: Index, tree: Path) -> None:
    digest = hashlib.sha256(b"same").hexdigest()
    for words in ([digest], [digest.upper()], [f"sha256:{digest}"], [digest[:11]]):
        assert [d["path"] for d in documents(ctl("index", "find", *words, "--json").out)] == [
            f"{tree}/a",
            f"{tree}/new",
        ]
    (group,) = documents(ctl("index", "find", "--duplicates", "--json").out)
    assert len(group["files"]) == 2  # type: ignore[arg-type]
    none = ctl("index", "find", "00" * 32)
    assert (none.code, none.out, "knows no file" in none.err) == (1, "", True)
    for words in ([], ["zz"], ["abc"], [digest, "--duplicates"]):
        assert ctl("index", "find", *words).code == 64


def test_pending_puts_an_upgrade_on_one_line(ctl: Ctl, index: Index, tree: Path) -> None:
    found = ctl("index", "pending")
    assert found.code == 3
    assert "package tool 1 \N{RIGHTWARDS ARROW} 2, 2 files" in found.out
    assert "line" not in found.out
    assert f"{tree}/a" in found.out
    assert "line\\nbreak" in ctl("index", "pending", "--files").out
    document = json.loads(ctl("index", "pending", "--json").out)
    assert len(document["changes"]) == 3
    assert document["packages"][0]["files"] == 2
    assert ctl("index", "pending", f"{tree}/new").code == 0


def test_pending_lists_as_many_as_a_person_reads(
    ctl: Ctl, index: Index, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "_SHOWN", 3)
    root = index.root("rule", str(tree))
    with index.edit() as edit:
        for number in range(7):
            edit.tell(Told(root, f"n{number}", Verdict.NEW, State.PENDING))
    found = ctl("index", "pending")
    assert (found.code, "n1" in found.out, "n2" in found.out, "and 5 more" in found.out) == (3, True, False, True)
    assert "dpkg tool" in found.out or "tool 1" in found.out
    assert len(json.loads(ctl("index", "pending", "--json").out)["changes"]) == 10


def test_diff_shows_whatever_was_decided(ctl: Ctl, index: Index) -> None:
    assert ctl("index", "diff", "--since", "2100-01-01").out == ""
    found = documents(ctl("index", "diff", "--since", "2000-01-01", "--json").out)
    assert [change["state"] for change in found] == ["open", "pending", "pending", "accepted"]
    assert "size 4 B -> 99 B" in ctl("index", "diff", "--since", "2000-01-01").out
    assert ctl("index", "diff", "--since", "soon").code == 64


def test_without_an_index_it_says_what_makes_one(ctl: Ctl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FILEWATCHCTL_STATE_DIR", str(tmp_path))
    found = ctl("index", "status")
    assert found.code == 1
    assert "there is no index; a rule with the action checksum makes one, and --state-dir names" in found.err
    for words in (["verify"], ["approve", "--all"], ["reject", "1"]):  # whatever they would have found
        assert ctl("index", *words).code == 69


def test_nobody_is_asked_where_nothing_fits(ctl: Ctl, index: Index, tree: Path) -> None:
    assert "nothing waits" in ctl("index", "approve", "--path", f"{tree}/new", "--dry-run").out
    assert ctl("index", "approve").code == 64
    unknown = ctl("index", "approve", "1", "99", "--dry-run")
    assert (unknown.code, "nothing that waits has the number 99" in unknown.err) == (1, True)
    for words in (["approve", "--all", "--dry-run"], ["import", "/dev/null", "--dry-run"]):
        assert ctl("index", *words, "--rule", "none").code == 64
    shown = ctl("index", "approve", "--package", "tool", "--dry-run")
    assert (shown.code, shown.out.count("dpkg tool 2")) == (0, 2)
    assert ctl("index", "approve", "--package", "tool").code == 69  # it would have asked


def test_rules_that_are_configured_no_more_are_told_and_not_asked(
    ctl: Ctl, index: Index, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The daemon would refuse: the rest wouldn't be done."""
    monkeypatch.delenv("FILEWATCHCTL_STATE_DIR")
    index.root("kept", "/elsewhere")
    asked: list[tuple[str, Any]] = []

    def ask(session: Session, name: str | Place, arguments: Any = None, **_: object) -> dict[str, object]:
        asked.append((str(name), arguments))
        kept = {"name": "kept", "actions": ["log", "checksum"]}
        rules = [kept, {"name": "rule", "actions": ["log"]}]
        return {"state_dir": os.path.dirname(index.path), "rules": rules, "runs": [], "rule": "rule", "files": 5}

    monkeypatch.setattr(Session, "ask", ask)
    status = json.loads(ctl("index", "status", "--json").out)
    assert {root["rule"]: root["configured"] for root in status["roots"]} == {"rule": False, "kept": True}
    assert "not configured any more" in ctl("index", "status").out
    approved = ctl("index", "approve", "--all", "--yes")
    assert (approved.code, approved.err) == (0, "left out, as no such rule is configured: rule\n")
    assert ctl("index", "verify", "rule").code == 1
    ctl("index", "verify")
    assert ctl("index", "forget", "kept").code == 1
    assert ctl("index", "forget", "none").code == 64
    ctl("index", "forget", "rule", "--yes")
    assert asked[-1][1] == {"rule": "kept", "former": "rule"}
    assert {arguments["rule"] for _, arguments in asked if arguments} == {"kept"}


# ---- lists


@pytest.fixture
def raw(capsysbinary: pytest.CaptureFixture[bytes]) -> Callable[..., tuple[int, bytes]]:
    """Runs a command of the index in this process; its exit code, and the bytes it wrote."""

    def run(*words: str) -> tuple[int, bytes]:
        code = main(["index", *words])
        return code, capsysbinary.readouterr().out

    return run


@pytest.mark.parametrize("words", [[], ["--relative"], ["--format", "bsd"], ["rule", "--algorithm", "sha256"]])
def test_sha256sum_agrees_with_what_is_exported(
    raw: Callable[..., tuple[int, bytes]], index: Index, tree: Path, words: list[str]
) -> None:
    code, listed = raw("export", *words)
    checked = subprocess.run(["sha256sum", "--check", "--strict"], cwd=tree, input=listed, capture_output=True)
    assert (code, checked.returncode) == (0, 0), checked
    assert listed.count(b"\n") == len(NAMES)


def test_what_is_exported_is_read_again(
    raw: Callable[..., tuple[int, bytes]], index: Index, tree: Path, tmp_path: Path
) -> None:
    for form in ("sha256sum", "bsd", "hashdeep", "json", "csv"):
        (tmp_path / form).write_bytes(raw("export", "--format", form)[1])
        found = json.loads(raw("check", str(tmp_path / form), "--json")[1])
        assert (found["ok"], found["findings"], found["bad_lines"]) == (len(NAMES), [], []), form
    assert raw("export", "-z")[1].count(b"\0") == len(NAMES)
    assert raw("export", "-z", "--format", "csv")[0] == 1


def test_a_name_steers_no_terminal(index: Index, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hostile = os.fsdecode(b"\x1b]0;x\x07\xe2\x80\xae\xff")
    root = index.root("rule", str(tree))
    with index.edit() as edit:
        edit.put(root, hostile, record(b"/dev/null"))
    above, below = os.openpty()
    with open(below, "w") as terminal:
        monkeypatch.setattr("sys.stdout", terminal)
        assert main(["index", "export", f"{tree}/{hostile}"]) == 0
    printed = os.read(above, 4096)
    os.close(above)
    assert b"\\x1b]0;x\\x07\\u202e\\udcff" in printed
    assert printed.rstrip().decode().isprintable()


def test_check_tells_what_is_otherwise(ctl: Ctl, tree: Path, tmp_path: Path) -> None:
    sums = subprocess.run(["md5sum", "a", "d/b", "new"], cwd=tree, capture_output=True, check=True).stdout
    (tree / "a").write_bytes(b"diff")
    (tree / "new").unlink()
    (tree / "d/b").unlink()
    os.mkfifo(tree / "d/b")
    (tmp_path / "sums").write_bytes(sums + b"what\n")
    found = ctl("index", "check", str(tmp_path / "sums"), "--base", str(tree), "--json")
    document = json.loads(found.out)
    assert found.code == 3
    assert [(each["path"], each["found"]) for each in document["findings"]] == [
        ("a", "differs"), ("d/b", "is no regular file"), ("new", "missing"),
    ]  # fmt: skip
    assert [each["line"] for each in document["bad_lines"]] == [4]
    page = ctl("index", "check", str(tmp_path / "sums"), "--base", str(tree))
    assert "md5 tells of accidents" in page.out
    assert "3 files: 0 ok, 3 otherwise" in page.out


def test_check_of_a_list_made_elsewhere_says_where_names_start(ctl: Ctl, tree: Path, tmp_path: Path) -> None:
    sums = subprocess.run(["md5sum", "a"], cwd=tree, capture_output=True, check=True).stdout
    (tmp_path / "sums").write_bytes(sums)
    found = ctl("index", "check", str(tmp_path / "sums"), "--base", str(tmp_path))
    assert found.code == 3
    assert f"names start at {tmp_path}; --base names another directory" in found.out


def test_check_of_what_is_no_list_fails(ctl: Ctl, tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b"%%%% HASHDEEP-1.0\n")
    (tmp_path / "text").write_bytes(b"hello\n")
    for name, why in (("list", "header"), ("text", "line 1"), ("none", "can't be read")):
        found = ctl("index", "check", str(tmp_path / name))
        assert found.code == 1
        assert why in found.err


@pytest.mark.parametrize(("program", "algorithm"), [("b2sum", "blake2b"), ("sha512sum", "sha512"), ("", "blake3")])
def test_check_finds_out_by_which_of_two_hashes_a_list_was_made(
    ctl: Ctl, tree: Path, tmp_path: Path, program: str, algorithm: str
) -> None:
    if program:
        sums = subprocess.run([program, "a", "d/b", "new"], cwd=tree, capture_output=True, check=True).stdout
    else:
        blake3 = pytest.importorskip("blake3").blake3
        lines = [f"{blake3((tree / name).read_bytes()).hexdigest()}  {name}\n" for name in ("a", "d/b", "new")]
        sums = "".join(lines).encode()
    (tree / "new").write_bytes(b"diff")
    (tmp_path / "sums").write_bytes(sums)
    document = json.loads(ctl("index", "check", str(tmp_path / "sums"), "--base", str(tree), "--json").out)
    assert (document["ok"], [each["found"] for each in document["findings"]]) == (2, ["differs"])
    assert algorithm in document["algorithms"]


def test_many_files_are_checked_in_order(tmp_path: Path) -> None:
    from filewatchd.actions.checksum.formats import Entry

    names = [f"f{number}" for number in range(300)]
    for name in names:
        (tmp_path / name).write_text(name)
    wrong = [Entry(name.encode(), "sha1", bytes(20), None, line) for line, name in enumerate(names)]
    found = check(wrong, str(tmp_path))
    assert [each.path.decode() for each in found.findings] == names
    assert found.bytes == sum(map(len, names))


def test_a_list_with_a_bad_line_isnt_taken(ctl: Ctl, index: Index, tmp_path: Path) -> None:
    (tmp_path / "sums").write_text("0" * 64 + "  a\nwhat\n")
    found = ctl("index", "import", str(tmp_path / "sums"))
    assert found.code == 1
    assert "sums:2: " in found.err
    (tmp_path / "sums").write_text("0" * 64 + "  /elsewhere/a\n")
    unknown = ctl("index", "import", str(tmp_path / "sums"), "--dry-run", "--json")
    assert (unknown.code, json.loads(unknown.out)["unknown"]) == (3, [{"path": "/elsewhere/a"}])


def test_a_list_that_may_be_of_two_algorithms_isnt_taken(ctl: Ctl, index: Index, tree: Path, tmp_path: Path) -> None:
    sums, root = tmp_path / "sums", index.root("rule", str(tree))
    for size, both in ((128, "sha512 or blake2b"), (64, "sha256 or blake3")):
        if size == 64:
            with index.edit() as edit:
                edit.put(root, "other", Record(FileIdentity(1, 1, 1, 1), "blake3", bytes(32)))
        sums.write_text("0" * size + "  /elsewhere/a\n")
        found = ctl("index", "import", str(sums), "--dry-run")
        assert (found.code, f"may be of {both}; say --algorithm" in found.err) == (64, True)
        assert ctl("index", "import", str(sums), "--dry-run", "--algorithm", both.split()[0]).code == 3


def test_what_acts_reads_the_daemons_own_index(
    ctl: Ctl, index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers of another one would mean other changes."""
    asked: list[str] = []

    def ask(session: Session, name: str, *_: object, **__: object) -> dict[str, object]:
        asked.append(name)
        return {"state_dir": str(tmp_path)}

    monkeypatch.setattr(Session, "ask", ask)
    for words in (["approve", "1"], ["verify"]):
        found = ctl("index", *words)
        assert (found.code, "the daemon keeps its index in" in found.err) == (64, True)
    assert asked == ["status"] * 2


# ---- seals


def signed(index: Index, key: str, **other: object) -> int:
    """Seal as the command does, without a daemon."""
    link = index.seal()
    statement = statement_of({"number": link.number, "head": link.hash.hex(), "time": "now", "files": 5, **other})
    private = keys.private_key(key)
    signature = private.sign(statement.encode())
    assert index.sealed(link.number, statement, private.public_key().public_bytes_raw(), signature, uid=0)
    return link.number


@pytest.fixture
def key(ctl: Ctl, tmp_path: Path) -> str:
    path = str(tmp_path / "index.key")
    assert ctl("index", "seal", "--new-key", path).code == 0
    return path


def test_a_new_key_is_ours_alone_and_never_overwrites(ctl: Ctl, key: str) -> None:
    assert os.stat(key).st_mode & 0o777 == 0o600
    assert ctl("index", "seal", "--new-key", key).code == 73
    os.unlink(key)
    assert ctl("index", "seal", "--new-key", key).code == 73  # its public half is there
    assert not os.path.exists(key)


def test_openssl_reads_the_keys_and_checks_the_signature(key: str, tmp_path: Path) -> None:
    (tmp_path / "statement").write_text("said")
    (tmp_path / "signature").write_bytes(keys.private_key(key).sign(b"said"))
    words = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", f"{key}.pub", "-rawin", "-in", "statement"]
    found = subprocess.run([*words, "-sigfile", "signature"], cwd=tmp_path, capture_output=True, text=True)
    assert "Verified Successfully" in found.stdout, found


def test_a_key_that_others_may_read_is_refused(ctl: Ctl, index: Index, key: str, tmp_path: Path) -> None:
    os.chmod(key, 0o640)
    found = ctl("index", "seal", "--key", key)
    assert found.code == 77
    assert "chmod 600" in found.err
    os.chmod(key, 0o600)
    assert ctl("index", "seal", "--key", key).code == 69  # it would have asked
    assert ctl("index", "seal").code == 64
    for wrong in (f"{key}.pub", str(tmp_path), str(tmp_path / "none")):
        os.chmod(wrong, 0o700) if os.path.exists(wrong) else None
        assert ctl("index", "seal", "--key", wrong).code == 1


def test_an_audit_of_a_sealed_index_finds_nothing(ctl: Ctl, index: Index, key: str) -> None:
    assert "nothing is sealed" in ctl("index", "audit").out
    number = signed(index, key)
    assert ctl("index", "audit").code == 0
    found = ctl("index", "audit", "--key", f"{key}.pub", "--json")
    document = json.loads(found.out)
    assert (found.code, document["faults"], document["rows"]) == (0, [], 5)
    assert ctl("index", "audit", "--head", document["head"]).code == 0
    assert ctl("index", "audit", "--head", f"{number}:{'00' * 32}").code == 3
    assert ctl("index", "audit", "--head", "9").code == 64


def test_an_audit_finds_what_was_rewritten(ctl: Ctl, index: Index, key: str, tmp_path: Path) -> None:
    signed(index, key)
    with sqlite3.connect(index.path) as other:
        other.execute("UPDATE files SET digest = zeroblob(32) WHERE name = ?", (b"a",))
    other.close()
    found = ctl("index", "audit", "--key", f"{key}.pub")
    assert found.code == 3
    assert "its rows were changed past the chain" in found.out
    index.seal()  # an unsigned one proves nothing
    assert ctl("index", "audit", "--key", f"{key}.pub").code == 3
    stranger = str(tmp_path / "stranger")
    keys.make(stranger)
    signed(index, stranger)
    assert "signed with another key" in ctl("index", "audit", "--key", f"{key}.pub").out


def test_an_audit_finds_a_seal_that_was_changed(ctl: Ctl, index: Index, key: str) -> None:
    signed(index, key)
    for column, value, what in (
        ("signature", bytes(64), "signature is wrong"),
        ("statement", "{}", "signature is wrong"),
    ):
        kept = index.connection.execute(f"SELECT {column} FROM seals").fetchone()[0]
        index.connection.execute(f"UPDATE seals SET {column} = ?", (value,))
        assert what in ctl("index", "audit").out
        index.connection.execute(f"UPDATE seals SET {column} = ?", (kept,))
    assert ctl("index", "audit").code == 0
    signed(index, key, head="00" * 32)
    assert "the chain was made anew" in ctl("index", "audit").out


# ---- progress


def test_progress_has_a_bar_rates_and_the_time_left() -> None:
    assert progress("etc", 50, 200, 1024, 10.0, 2048.0) == (
        "etc  [#####---------------]  25%  50 of 200 files, 1.0 KiB  10 files/s, 2.0 KiB/s  15s left"
    )
    assert progress("etc", 50, 0, 0, 0.0, 0.0) == "etc  50 files, 0 B  0 files/s, 0 B/s"
