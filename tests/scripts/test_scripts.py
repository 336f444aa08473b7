"""The conformance suite: every script, on every backend; and some on every kind of filesystem.

A new script is picked up by its name. The language is described in `language`, the commands in `files` and `stage`.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from filewatchd.extras import backend_lacks
from tests.scripts.language import Script, parse
from tests.scripts.mounts import Mounts, programs
from tests.scripts.stage import Failed, Stage

BACKENDS = ("inotify", "poll", "watchdog", "pyinotify")
#: Each kind of filesystem with the backend it is tried with; bindfs is changed behind the mount, as a server's disk is.
FILESYSTEMS = (
    ("ext4-128", "inotify"),
    ("xfs", "inotify"),
    ("btrfs", "inotify"),
    ("tmpfs", "inotify"),
    ("overlay", "inotify"),
    ("bindfs", "poll"),
)
HERE = Path(__file__).parent
SCRIPTS = [parse(path.relative_to(Path.cwd()), path.read_text("utf-8")) for path in sorted(HERE.glob("*.txt"))]


def there(backend: str) -> bool:
    """Whether a backend is part of this installation."""
    return importlib.util.find_spec(f"filewatchd.watch.backends.{backend}") is not None and not backend_lacks(backend)


def cases() -> Iterator[tuple[Script, str]]:
    """Each script with each backend that it holds for."""
    for script in SCRIPTS:
        for backend in script.backends or BACKENDS:
            yield script, backend


def need(condition: bool, what: str) -> None:
    """Skip where something is missing; in CI nothing may be."""
    if not condition:
        assert "CI" not in os.environ, what
        pytest.skip(what)


def prepare(script: Script, backend: str, *commands: str) -> None:
    """Skip a script that can't be played here, and expect a known fault to show."""
    if not there(backend):
        pytest.skip(f"there is no backend {backend} here")
    wanted = [*commands, *(need.partition(" ")[2] for need in script.needs if need.startswith("program "))]
    for command in wanted:
        need(shutil.which(command) is not None, f"{command} is not installed (as root, `make deps` installs it)")
    rooted = "root" in script.needs or script.powerless
    need(not rooted or os.geteuid() == 0, "it needs root")


def play(stage: Stage, fault: str | None) -> None:
    """Play a script; one with a known fault must fail."""
    report = None
    try:
        stage.play()
    except Failed as failed:
        report = str(failed)
    if report is not None:
        pytest.fail(report, pytrace=False) if fault is None else pytest.xfail(fault)
    assert fault is None, f"it no longer fails, so take away its `xfail: {fault}`"


@pytest.mark.parametrize(("script", "backend"), [pytest.param(s, b, id=f"{s.name}-{b}") for s, b in cases()])
def test_script(script: Script, backend: str, tmp_path: Path) -> None:
    prepare(script, backend)
    play(Stage(script, backend, tmp_path), script.xfail.get(backend, script.xfail.get("")))


# ---- every kind of filesystem

Room = Callable[[str], tuple[Path, Path]]


@pytest.fixture(scope="session")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Room]:
    """Gives a fresh directory on a kind of filesystem, and where the daemon sees it. Each kind is mounted once."""
    directory = tmp_path_factory.mktemp("filesystems")
    mounts = Mounts(directory)
    count = 0

    def give(kind: str) -> tuple[Path, Path]:
        nonlocal count
        place, behind = directory / kind, directory / f"{kind}-behind"
        if not place.exists():
            place.mkdir()
            behind.mkdir()
            mounts.mount(kind, str(place), behind=str(behind))
        count += 1
        own = (behind if kind == "bindfs" else place) / str(count)
        own.mkdir()
        return own, place / str(count)

    yield give
    mounts.close()


@pytest.mark.parametrize(("kind", "backend"), FILESYSTEMS, ids=[kind for kind, _ in FILESYSTEMS])
@pytest.mark.parametrize("script", [pytest.param(s, id=s.name) for s in SCRIPTS if s.everywhere])
def test_filesystem(script: Script, kind: str, backend: str, tmp_path: Path, room: Room) -> None:
    need(os.geteuid() == 0, "mounting needs root")
    prepare(script, backend, *programs(kind))
    place, seen = room(kind)
    play(Stage(script, backend, tmp_path, place=place, seen=seen), script.xfail.get(kind))


def test_the_suite_is_whole() -> None:
    """A script that isn't found guards nothing."""
    assert len(SCRIPTS) >= 70
    assert sum(script.everywhere for script in SCRIPTS) >= 12
