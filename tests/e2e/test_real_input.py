"""What people really do to a tree, with the programs they do it with: afterwards the jobs' view equals the disk."""

from __future__ import annotations

import subprocess
import sysconfig
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.running import Daemon, eventually

EVERY_KIND = "[created, modified, moved, deleted]"
MEBIBYTE = 1024 * 1024


def run(*command: object, cwd: Path | None = None) -> None:
    """Run a command that has to succeed."""
    subprocess.run([str(word) for word in command], cwd=cwd, check=True, capture_output=True)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A source distribution: the running interpreter's own library, packed."""
    library = Path(sysconfig.get_path("stdlib"))
    unwanted = {"site-packages", "dist-packages", "__pycache__"}

    def wanted(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
        inside = not unwanted & set(entry.name.split("/"))
        return entry if inside and (entry.isfile() or entry.isdir()) else None

    archive = tmp_path_factory.mktemp("source") / "library.tar.gz"
    with tarfile.open(archive, "w:gz", compresslevel=1) as packed:
        packed.add(library, "library", filter=wanted)
        assert sum(entry.isfile() for entry in packed.getmembers()) > 500
    return archive


@pytest.fixture
def tree(source: Path, tmp_path: Path) -> Path:
    """The source distribution, unpacked outside every root."""
    run("tar", "-xzf", source, "-C", tmp_path)
    return tmp_path / "library"


def test_unpacking_a_source_distribution(daemon: Daemon, source: Path) -> None:
    daemon.configure(daemon.rule(changes=EVERY_KIND))
    daemon.start()
    run("tar", "-xzf", source, "-C", daemon.root)
    daemon.sees_the_disk()
    run("rm", "-r", daemon.root / "library" / "email")
    run("mv", daemon.root / "library" / "json", daemon.root / "moved")
    daemon.sees_the_disk()


def test_git_clone_and_checkout_between_branches(
    daemon: Daemon, tree: Path, tmp_path: Path, program: Callable[[str], str]
) -> None:
    git = (program("git"), "-c", "user.name=A Person", "-c", "user.email=person@example.org")
    run(*git, "init", "-q", "-b", "first", tree)
    run(*git, "add", "-A", cwd=tree)
    run(*git, "commit", "-q", "-m", "first", cwd=tree)
    run(*git, "checkout", "-q", "-b", "second", cwd=tree)
    run(*git, "rm", "-q", "-r", "asyncio", cwd=tree)
    run(*git, "mv", "email", "mail", cwd=tree)
    for module in (tree / "json").glob("*.py"):
        module.write_text("# rewritten\n")
    run(*git, "commit", "-q", "-a", "-m", "second", cwd=tree)

    daemon.configure(daemon.rule(changes=EVERY_KIND, presets="[editors, vcs]"))
    daemon.start()
    clone = daemon.root / "clone"
    run(*git, "clone", "-q", "-b", "first", tree, clone)
    daemon.sees_the_disk(skip=".git")
    for branch in ("second", "first", "second"):
        run(*git, "checkout", "-q", branch, cwd=clone)
        daemon.sees_the_disk(skip=".git")


def test_rsync_with_its_temporary_names(daemon: Daemon, tree: Path, program: Callable[[str], str]) -> None:
    rsync = program("rsync")
    daemon.configure(daemon.rule(changes=EVERY_KIND))
    daemon.start()
    run(rsync, "-a", f"{tree}/", daemon.root / "copy")
    daemon.sees_the_disk()
    for module in (tree / "json").glob("*.py"):
        module.write_text("# rewritten\n")
    (tree / "email" / "policy.py").unlink()
    run(rsync, "-a", "--delete", f"{tree}/", daemon.root / "copy")
    run(rsync, "-a", "--inplace", "--checksum", f"{tree}/", daemon.root / "copy")
    daemon.sees_the_disk()


def test_a_slow_copy_of_a_gibibyte_is_one_change_after_its_last_byte(daemon: Daemon) -> None:
    daemon.configure(daemon.rule(ready="stable"))
    daemon.start()
    target = daemon.root / "image"
    bursts, burst = 16, bytes(64 * MEBIBYTE)
    with subprocess.Popen(["cp", "/dev/stdin", str(target)], stdin=subprocess.PIPE, bufsize=0) as copy:
        assert copy.stdin is not None
        for number in range(1, bursts + 1):
            for at in range(0, len(burst), MEBIBYTE):
                copy.stdin.write(burst[at : at + MEBIBYTE])
            if number < bursts:
                time.sleep(0.1)  # the input's own pace: longer than settle, with the file held open
        assert not daemon.recorder.changes(), "a job ran before the copy was finished"
    daemon.sees_the_disk()
    (daemon.root / "sentinel").touch()
    daemon.sees_the_disk()
    sizes = [change["seen"][1] for change in daemon.recorder.changes() if change["path"] == str(target)]
    target.unlink()
    assert sizes == [bursts * len(burst)]


def test_the_first_file_in_a_fresh_tree_is_never_missed(daemon: Daemon) -> None:
    daemon.configure(daemon.rule(changes=EVERY_KIND))
    daemon.start()
    for number in range(300):
        directory = daemon.root / str(number) / "b" / "c"
        directory.mkdir(parents=True)
        (directory / "first").write_text("x")
    daemon.sees_the_disk()
    assert len(daemon.recorder.view()) == 300


def test_files_that_were_changed_while_it_was_stopped(daemon: Daemon, tree: Path) -> None:
    daemon.configure(daemon.rule(changes=EVERY_KIND))
    daemon.start()
    run("cp", "-r", tree, daemon.root)
    daemon.sees_the_disk()
    daemon.stop()
    before = len(daemon.recorder.changes())
    changed = sorted((daemon.root / "library" / "json").glob("*.py"))
    for module in changed:
        module.write_text("# rewritten\n")
    (daemon.root / "library" / "this.py").unlink()
    daemon.start()
    daemon.sees_the_disk()
    told = sorted((change["path"], change["kind"]) for change in daemon.recorder.changes()[before:])
    expected = [(str(module), "modified") for module in changed]
    assert told == sorted([*expected, (str(daemon.root / "library" / "this.py"), "deleted")])


def test_nothing_happens_on_a_quiet_tree(daemon: Daemon, tree: Path) -> None:
    run("cp", "-r", tree, daemon.root)
    daemon.configure(daemon.rule(changes=EVERY_KIND))
    daemon.start()
    (daemon.root / "sentinel").touch()
    eventually(daemon.recorder.changes, "the sentinel's job")
    assert [change["path"] for change in daemon.recorder.changes()] == [str(daemon.root / "sentinel")]
