"""Whose a file is and whether it agrees: the machine's own dpkg database, and real packages in made-up roots."""

import asyncio
import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

from filewatchd.actions.checksum.packages.claim import Claim, Owner, attributes_agree, labelled
from filewatchd.actions.checksum.packages.dpkg import Dpkg
from filewatchd.actions.checksum.packages.labels import Asked, agreeing
from filewatchd.actions.checksum.packages.names import Names, diversions
from filewatchd.actions.checksum.packages.rpm import Rpm, owned
from tests.unit.actions.checksum import installing

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="dpkg and rpm install for root only")


class Attributes(NamedTuple):
    mode: int | None = 0o100644
    uid: int | None = 0
    gid: int | None = 0


def asked(path: str, beneath: str = "/") -> Asked:
    return Asked(path, beneath, "sha256", hashlib.sha256(Path(path).read_bytes()).digest())


# ---- this machine's own


def test_this_machines_files_agree_as_dpkg_says_itself() -> None:
    """All files of packages that every Debian has, against `dpkg --verify`."""
    packages = ["base-files", "coreutils", "dpkg", "libc6", "tzdata"]
    installed = [name for name in packages if subprocess.run(["dpkg", "-s", name], capture_output=True).returncode == 0]
    listed = subprocess.run(["dpkg", "-L", *installed], capture_output=True, text=True, check=True).stdout.split("\n")
    files = [path for path in listed if os.path.isfile(path) and not os.path.islink(path)]
    real = sorted({os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path)) for path in files})
    claims = Dpkg().claims(real)
    found = agreeing([asked(path) for path in real], claims)
    verified = subprocess.run(["dpkg", "--verify", *installed], capture_output=True, text=True).stdout
    changed = {line.split(maxsplit=2)[-1].removeprefix("c ") for line in verified.splitlines() if line[2:3] == "5"}
    assert {path for path in claims if path not in found} == {path for path in real if path in changed}
    assert len(found) > 300
    versions = Dpkg().versions()
    for path in ("/usr/bin/dpkg", "/usr/bin/ls"):
        label = labelled(found[path])
        assert label is not None
        assert label.database == "dpkg"
        assert versions[label.package] == label.version


# ---- dpkg in a root of its own


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return installing.dpkg_root(tmp_path / "root")


def labels_of(root: Path, *paths: str) -> dict[str, str]:
    """What agrees, by path without the root."""
    claims = {f"{root}{path}": each for path, each in Dpkg(str(root)).claims(paths).items()}
    found = agreeing([asked(f"{root}{path}", str(root)) for path in paths], claims)
    return {path.removeprefix(str(root)): label for path, label in found.items()}


@needs_root
def test_an_upgrade_agrees_with_the_new_version_and_an_edit_with_none(root: Path, tmp_path: Path) -> None:
    files = {"usr/bin/tool": "one\n", "lib/tool.so": "one\n", "etc/tool.conf": "a\n", "usr/share/doc/caf\udce9": "x"}
    installing.dpkg(root, "dpkg", "-i", installing.deb(tmp_path, "tool", "1", files, conffiles=["etc/tool.conf"]))
    paths = ["/usr/bin/tool", "/usr/lib/tool.so", "/etc/tool.conf", "/usr/share/doc/caf\udce9"]
    assert labels_of(root, *paths) == dict.fromkeys(paths, "dpkg tool 1")
    files |= {"usr/bin/tool": "two\n"}
    installing.dpkg(root, "dpkg", "-i", installing.deb(tmp_path, "tool", "2", files, conffiles=["etc/tool.conf"]))
    assert labels_of(root, *paths) == dict.fromkeys(paths, "dpkg tool 2")
    assert Dpkg(str(root)).versions() == {"tool": "2"}
    (root / "usr/bin/tool").write_text("three\n")
    (root / "etc/tool.conf").write_text("b\n")
    (root / "usr/bin/stranger").write_text("two\n")
    found = labels_of(root, *paths, "/usr/bin/stranger")
    assert sorted(found) == ["/usr/lib/tool.so", "/usr/share/doc/caf\udce9"]
    known = Dpkg(str(root)).claims(["/lib/tool.so", "/usr/lib/tool.so"])
    assert known["/lib/tool.so"] == known["/usr/lib/tool.so"]


@needs_root
def test_packages_of_one_name_for_two_architectures_have_their_own_lists(root: Path, tmp_path: Path) -> None:
    installing.dpkg(root, "dpkg", "-i", installing.deb(tmp_path, "lib", "1", {"usr/lib/lib.so": "x"}, same=True))
    (label,) = labels_of(root, "/usr/lib/lib.so").values()
    assert re.fullmatch(r"dpkg lib:\w+ 1", label)


@needs_root
def test_a_diverted_file_is_found_where_it_is(root: Path, tmp_path: Path) -> None:
    installing.dpkg(root, "dpkg", "-i", installing.deb(tmp_path, "old", "1", {"usr/bin/tool": "old\n"}))
    divert = ["dpkg-divert", "--package", "new", "--rename", "--divert", "/usr/bin/tool.old", "--add", "/usr/bin/tool"]
    installing.dpkg(root, *divert)
    installing.dpkg(root, "dpkg", "-i", installing.deb(tmp_path, "new", "7", {"usr/bin/tool": "new\n"}))
    assert labels_of(root, "/usr/bin/tool", "/usr/bin/tool.old") == {
        "/usr/bin/tool": "dpkg new 7", "/usr/bin/tool.old": "dpkg old 1",
    }  # fmt: skip
    (root / "usr/bin/tool").write_text("old\n")  # what another package shipped for this name is not what belongs here
    assert labels_of(root, "/usr/bin/tool") == {}


@needs_root
def test_an_override_tells_mode_and_owner(root: Path, tmp_path: Path) -> None:
    installing.dpkg(root, "dpkg", "-i", installing.deb(tmp_path, "tool", "1", {"usr/bin/tool": "x"}))
    installing.dpkg(root, "dpkg-statoverride", "--force-all", "--add", "root", "root", "4755", "/usr/bin/tool")
    (claim,) = Dpkg(str(root)).claims(["/usr/bin/tool"])["/usr/bin/tool"]
    assert claim.owner == Owner("root", "root", 0o4755)


@needs_root
def test_a_package_that_isnt_installed_whole_says_nothing(root: Path, tmp_path: Path) -> None:
    built = installing.deb(tmp_path, "tool", "1", {"usr/bin/tool": "x"})
    installing.dpkg(root, "dpkg", "--unpack", built)
    assert labels_of(root, "/usr/bin/tool") == {}
    installing.dpkg(root, "dpkg", "--configure", "tool")
    assert labels_of(root, "/usr/bin/tool") == {"/usr/bin/tool": "dpkg tool 1"}


def test_a_lock_that_somebody_holds_says_that_dpkg_runs(root: Path) -> None:
    lock = root / "var/lib/dpkg/lock-frontend"
    lock.touch()
    assert not Dpkg(str(root)).busy()
    hold = f"import fcntl; file = open({str(lock)!r}, 'w'); fcntl.lockf(file, fcntl.LOCK_EX);print(flush=True);input()"
    with subprocess.Popen([sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert Dpkg(str(root)).busy()
        holder.communicate(b"\n")
    assert not Dpkg(str(root)).busy()


def test_no_database_is_none(tmp_path: Path) -> None:
    assert not Dpkg(str(tmp_path)).present()
    assert Dpkg(str(tmp_path)).claims(["/etc/passwd"]) == {}
    assert Dpkg(str(tmp_path)).versions() == {}
    assert not Dpkg(str(tmp_path)).busy()


def test_a_damaged_database_claims_what_can_be_read(root: Path) -> None:
    base = root / "var/lib/dpkg"
    good = "Package: good\nStatus: install ok installed\nArchitecture: all\nVersion: 1\n"
    (base / "status").write_text(f"{good}\nStatus: install ok installed\n\nPackage: ../../x\nStatus: installed\n\nx")
    (base / "info/good.md5sums").write_bytes(b"\n\xff\nzz  usr/bin/a\n" + b"0" * 32 + b"  usr/bin/b\n" + b"1" * 32)
    (base / "diversions").write_text("/a\n/b\n")
    (base / "statoverride").write_text("root root x /usr/bin/b\nroot\nroot root 99 /usr/bin/b\n")
    found = Dpkg(str(root)).claims(["/usr/bin/a", "/usr/bin/b"])
    assert {path: claim.digest for path, (claim,) in found.items()} == {"/usr/bin/b": bytes(16)}


def test_names_of_merged_usr_and_diversions_without_a_disk() -> None:
    table = diversions(b"/lib/x\n/usr/lib/x.old\nkeeper\n/bin/sh\n/bin/sh.local\n:\n/cut\n")
    names = Names({b"/lib": b"/usr/lib", b"/bin": b"/usr/bin"}, table)
    assert names.canonical(b"/lib/a") == b"/usr/lib/a"
    assert names.canonical(b"/library") == b"/library"
    assert names.listed(b"/usr/lib/x").of(b"keeper")
    assert not names.listed(b"/lib/x").of(b"other")
    assert names.listed(b"/lib/x.old")[:1] == (b"/usr/lib/x",)
    assert not names.listed(b"/lib/x.old").of(b"keeper")
    assert names.listed(b"/usr/bin/sh.local").of(b"dash")
    assert not names.listed(b"/bin/sh").of(b"dash")
    assert len(table) == 2


# ---- mode and owner


CLAIM = Claim("dpkg", "tool", "1", "md5", bytes(16))


@pytest.mark.parametrize(
    ("owner", "before", "after", "agrees"),
    [
        (None, Attributes(), Attributes(), True),
        (None, Attributes(), Attributes(mode=0o104755), False),
        (None, Attributes(), Attributes(uid=7), False),
        (None, None, Attributes(), True),
        (None, None, Attributes(None, None, None), True),
        (None, None, Attributes(mode=0o104755), False),
        (None, None, Attributes(mode=0o100666), False),
        (None, None, Attributes(gid=7), False),
        (Owner("root", "root", 0o4755), None, Attributes(mode=0o104755), True),
        (Owner("root", "root", 0o4755), Attributes(mode=0o104755), Attributes(), False),
        (Owner("root", "root", 0o644), None, Attributes(uid=7), False),
        (Owner("no such user", "root", 0o644), None, Attributes(), False),
    ],
)
def test_right_content_with_other_rights_agrees_with_no_package(
    owner: Owner | None, before: Attributes | None, after: Attributes, agrees: bool
) -> None:
    claim = CLAIM._replace(owner=owner)
    assert attributes_agree(claim, before, after) == agrees


def test_a_file_that_changed_since_it_was_indexed_gets_no_label(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"indexed")
    known = asked(str(path), str(tmp_path))
    path.write_bytes(b"shipped")
    claim = CLAIM._replace(digest=hashlib.md5(b"shipped").digest())
    assert agreeing([known], {str(path): (claim,)}) == {}
    assert agreeing([asked(str(path), str(tmp_path))], {str(path): (claim,)}) == {str(path): "dpkg tool 1"}
    path.unlink()
    path.symlink_to("/etc/passwd")
    assert agreeing([known], {str(path): (claim,)}) == {}


def test_the_same_algorithm_needs_no_reading() -> None:
    claim = Claim("rpm", "tool", "1-1", "sha256", bytes(32))
    assert agreeing([Asked("/gone", "/", "sha256", bytes(32))], {"/gone": (claim,)}) == {"/gone": "rpm tool 1-1"}
    assert labelled("rpm tool 1-1") == ("rpm", "tool", "1-1")
    assert labelled("rotated by archive") is None
    assert labelled(None) is None


# ---- rpm


async def run(argv: Sequence[str]) -> bytes:
    done = await asyncio.create_subprocess_exec(*argv, stdout=-1, stderr=asyncio.subprocess.STDOUT)
    return (await done.communicate())[0]


@needs_root
def test_rpms_word_is_content_mode_and_owner(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "usr/bin").mkdir(parents=True)
    (root / "usr/lib").mkdir()
    (root / "lib").symlink_to("usr/lib")
    files = {"usr/bin/tool": "one\n", "usr/lib/plain": "one\n"}
    built = installing.rpm(tmp_path, "tool", "1.5", files, {"usr/bin/tool": "4755"})
    database = Rpm(run, str(root))
    assert not asyncio.run(database.present())
    subprocess.run(["rpm", "--root", root, "--nodeps", "-i", built], check=True, capture_output=True)
    assert asyncio.run(database.present())
    paths = [*(f"/{path}" for path in files), "/lib/plain", "/usr/bin/none"]
    (root / "usr/bin/none").touch()
    claims = asyncio.run(database.claims(paths))
    assert sorted(claims) == ["/lib/plain", "/usr/bin/tool", "/usr/lib/plain"]
    (claim,) = claims["/usr/bin/tool"]
    digest, owner = hashlib.sha256(b"one\n").digest(), Owner("root", "root", 0o4755)
    assert claim == Claim("rpm", "tool", "1.5-1", "sha256", digest, owner)
    assert asyncio.run(database.versions()) == {"tool": "1.5-1"}


def test_what_rpm_says_besides_is_no_claim() -> None:
    line = b"filewatchd\ta\t1\t8\t%s\t33188\troot\troot\t/a\tb" % (b"00" * 32)
    answer = b"error: no\nfilewatchd\tshort\n" + line + b"\nfilewatchd\ta\t1\t8\t\t16877\troot\troot\t/dir\n\xff"
    (found,) = owned(answer)
    assert found == (b"/a\tb", Claim("rpm", "a", "1", "sha256", bytes(32), Owner("root", "root", 0o644)))
