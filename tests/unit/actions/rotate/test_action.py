"""The action on real files: refusals, what others left, what is kept, attributes, and a log that grows."""

from __future__ import annotations

import asyncio
import gzip
import os
import stat
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from filewatchd.actions import rotate
from filewatchd.actions.rotate.action import RotateAction
from filewatchd.actions.rotate.documents import Which
from filewatchd.actions.rotate.ledger import Part
from filewatchd.model import Outcome, RuleSettings, Trigger
from filewatchd.testing import FakeContext, FakeJob, FakeSpawn, changed
from filewatchd.testing.waiting import wait_until


class Place:
    """A log, and a rule that rotates it."""

    def __init__(self, root: Path, **options: Any) -> None:
        self.root = root
        self.log = root / "app.log"
        said = {"when": {"size": 100}, "compress": {"codec": "none"}, **options}
        self.options = msgspec.convert(said, rotate.Options)
        self.spawn = FakeSpawn()
        self.ctx = FakeContext(RuleSettings(name="rule", roots=(str(root),), actions=()), spawn=self.spawn)
        self.action = rotate.open(self.options, self.ctx)

    async def run(self, path: Path | None = None) -> Outcome:
        live = str(path or self.log)
        (outcome,) = (await self.action.run(FakeJob([changed(live, str(self.root))]))).values()
        for task in [task for name, task in self.ctx.follow_ups.items() if name.startswith("archive")]:
            await asyncio.wait_for(task, 10)
        for name in [name for name in self.ctx.follow_ups if name.startswith("archive")]:
            del self.ctx.follow_ups[name]
        return outcome

    def parts(self) -> list[Part]:
        return self.action._ledger.parts(str(self.log))

    def names(self) -> set[str]:
        return {path.name for path in self.root.iterdir()}


async def until(so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not so():  # noqa: ASYNC110 - the fakes have no event of it
            await asyncio.sleep(0.005)


def play(story: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        await asyncio.wait_for(story(), 30)

    asyncio.run(whole())


def rotated(place: Place) -> Outcome:
    outcomes: list[Outcome] = []

    async def story() -> None:
        outcomes.append(await place.run())
        await place.action.stop(0.0)

    play(story)
    return outcomes[0]


def test_a_name_forges_no_line_of_output(tmp_path: Path) -> None:
    place = Place(tmp_path, when={"size": 1})
    live = tmp_path / "a\nb\x1b[1m.log"
    live.write_text("line\n")
    job = FakeJob([changed(str(live), str(tmp_path))])

    async def story() -> None:
        await place.action.run(job)
        await place.action.stop(0.0)

    play(story)
    (line,) = job.text.splitlines()
    assert line.startswith(f"{tmp_path}/a\\nb\\x1b[1m.log: ")


@pytest.mark.parametrize("method", ["exchange", "copy", "punch", "copytruncate"])
def test_what_others_left_stays(method: str, tmp_path: Path) -> None:
    place = Place(tmp_path, method=method, name="numbered")
    (tmp_path / "app.log.1").write_text("logrotate's half\n")
    place.log.write_text("line\n" * 50)
    assert rotated(place).verdict == "ok"
    assert (tmp_path / "app.log.1").read_text() == "logrotate's half\n"
    assert (tmp_path / "app.log.2").read_text() == "line\n" * 50


def test_archives_that_others_have_packed_are_no_logs(tmp_path: Path) -> None:
    place = Place(tmp_path)
    packed = tmp_path / "app.log.2.gz"
    packed.write_bytes(gzip.compress(b"line\n") + bytes(200))

    async def story() -> None:
        assert (await place.run(packed)).message == "an archive by its name"
        await place.action.stop(0.0)

    play(story)
    assert place.names() == {packed.name}
    assert place.action._judging.plan(str(packed), 0) == f"leave {packed}: it is an archive"


def test_links_fifos_and_files_with_two_names_are_refused(tmp_path: Path) -> None:
    place = Place(tmp_path)
    (tmp_path / "other").write_text("line\n" * 50)
    link, fifo, hard = tmp_path / "link.log", tmp_path / "fifo.log", tmp_path / "hard.log"
    link.symlink_to(tmp_path / "other")
    os.mkfifo(fifo)
    os.link(tmp_path / "other", hard)

    async def story() -> None:
        for path, why in ((link, "name what it points to"), (fifo, "it is not a regular file"), (hard, "2 names")):
            outcome = await place.run(path)
            assert (outcome.verdict, why in outcome.message) == ("rejected", True), outcome
        await place.action.stop(0.0)

    play(story)
    assert (tmp_path / "other").read_text() == "line\n" * 50


def test_the_archive_and_the_fresh_log_are_as_the_log_was(tmp_path: Path) -> None:
    place = Place(tmp_path, compress={"codec": "gzip"})
    place.log.write_text("line\n" * 50)
    place.log.chmod(0o640)
    os.setxattr(place.log, "user.origin", b"app")
    os.utime(place.log, ns=(10**18, 10**18))
    assert rotated(place).verdict == "ok"
    (archive,) = tmp_path.glob("app.log-*.gz")
    for path in (archive, place.log):
        assert stat.S_IMODE(path.stat().st_mode) == 0o640
        assert os.getxattr(path, "user.origin") == b"app"
    assert archive.stat().st_mtime_ns == 10**18
    assert place.log.read_bytes() == b""


def test_modes_that_are_asked_for(tmp_path: Path) -> None:
    place = Place(tmp_path, into={"dir": "old/er", "mode": "0400"}, create={"mode": "0600"})
    place.log.write_text("line\n" * 50)
    rotated(place)
    (archive,) = (tmp_path / "old/er").iterdir()
    assert stat.S_IMODE(archive.stat().st_mode) == 0o400
    assert stat.S_IMODE(place.log.stat().st_mode) == 0o600


def as_nobody(target: Path, *said: str) -> subprocess.CompletedProcess[str]:
    """`take_over` by somebody who has no rights."""
    script = (
        "import os, sys; from filewatchd.work.attributes import *\n"
        "source = os.open(sys.argv[1], os.O_RDONLY); target = os.open(sys.argv[2], os.O_RDWR)\n"
        "os.setgroups([]); os.setresgid(*3 * [65534]); os.setresuid(*3 * [65534])\n"
        "said = dict(word.split('=') for word in sys.argv[3:])\n"
        "print(take_over(source, target, **{key: int(value) for key, value in said.items()}))\n"
    )
    target.unlink(missing_ok=True)
    target.touch()
    os.chown(target, 65534, 65534)
    words = [sys.executable, "-c", script, str(target.with_name("app.log")), str(target), *said]
    env = {name: value for name, value in os.environ.items() if not name.startswith("COV")}  # nobody could write it
    return subprocess.run(words, env=env, capture_output=True, text=True, check=False)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has users to become")
def test_what_a_rules_user_may_not_give_away_is_told_and_opens_nothing(tmp_path: Path) -> None:
    log, target = tmp_path / "app.log", tmp_path / "fresh"
    log.touch()
    os.chown(log, 0, 4)
    group, user = "the group adm", "the user root"
    for mode, as_found, told in (
        (0o640, 0o600, f"{group} and {user}"), (0o664, 0o644, f"{group} and {user}"), (0o600, 0o600, user),
        (0o444, 0o444, ""),
    ):  # fmt: skip
        log.chmod(mode)
        found = as_nobody(target)
        assert (found.stdout, found.stderr) == (f"{told}\n", "")
        assert stat.S_IMODE(target.stat().st_mode) == as_found
    assert as_nobody(target, "mode=416").returncode == 0
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    os.chown(log, 65534, 4)
    log.chmod(0o640)
    assert as_nobody(target).stdout == "the group adm\n"
    refused = "nobody can't give files to the group adm: make nobody a member of it, or leave it out of the rule"
    assert refused in as_nobody(target, "group=4").stderr
    assert "nobody can't give files to the user root: only root may" in as_nobody(target, "owner=0").stderr


def test_a_folder_for_archives_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    root = tmp_path / "root"
    root.mkdir()
    (root / "old").symlink_to(tmp_path / "elsewhere")
    place = Place(root, method="copy", into={"dir": "old"})
    place.log.write_text("line\n" * 50)

    async def story() -> None:
        outcome = await place.run()
        assert outcome.verdict == "failed"
        assert "old: it is a symlink or a file; name the directory" in outcome.message
        await place.action.stop(0.0)

    play(story)
    assert not list((tmp_path / "elsewhere").iterdir())
    assert place.names() == {"app.log", "old"}, "nothing is left of it"


def test_archives_beyond_the_limit_are_deleted_and_counted(tmp_path: Path) -> None:
    place = Place(tmp_path, name="numbered", keep={"count": 2})

    async def story() -> None:
        for number in range(4):
            place.log.write_text(f"{number}\n" * 60)
            await place.run()
        await place.action.stop(0.0)

    play(story)
    assert place.names() == {"app.log", "app.log.1", "app.log.2"}
    assert (tmp_path / "app.log.1").read_text() == "3\n" * 60
    assert place.ctx.counters["expired"] == 2


@pytest.mark.parametrize("name", ["timestamp", "numbered"])
def test_archives_that_somebody_took_away_cost_none_that_are_there(name: str, tmp_path: Path) -> None:
    place = Place(tmp_path, name=name, keep={"count": 3})
    there: list[list[str]] = []

    async def story() -> None:
        for number in range(7):
            place.log.write_text(f"{number}\n" * 60)
            await place.run()
            there.append(sorted(path.read_text()[0] for path in tmp_path.glob("app.log?*")))
            if number == 2:
                for part in place.parts()[1:3]:
                    Path(part.path).unlink()
        await place.action.stop(0.0)

    play(story)
    assert there[3:] == [["0", "3"], ["0", "3", "4"], ["3", "4", "5"], ["4", "5", "6"]]
    assert len(place.parts()) == 4


def test_numbers_that_another_program_has_shifted_too(tmp_path: Path) -> None:
    """A log that logrotate rotates as well: its files are never taken for ours, and ours are found again."""
    place = Place(tmp_path, name="numbered", keep={"count": 3})

    async def story() -> None:
        for text in ("one", "two"):
            place.log.write_text(f"{text}\n" * 50)
            assert (await place.run()).verdict == "ok"
        for number in (2, 1):
            (tmp_path / f"app.log.{number}").rename(tmp_path / f"app.log.{number + 1}")
        (tmp_path / "app.log.1").write_text("theirs\n")
        for text in ("three", "four"):
            place.log.write_text(f"{text}\n" * 50)
            assert (await place.run()).verdict == "ok"
        await place.action.stop(0.0)

    play(story)
    assert (tmp_path / "app.log.1").read_text() == "theirs\n"
    archives = [Path(part.path).read_text() for part in place.parts() if part.archive is not None]
    assert archives == [f"{text}\n" * 50 for text in ("two", "three", "four")]
    assert len(place.names()) == 5, "the log, theirs and three of ours"


def test_archives_of_a_log_that_is_gone_expire_too(tmp_path: Path) -> None:
    place = Place(tmp_path, keep={"age": 10.0, "min_count": 0})
    place.log.write_text("line\n" * 50)
    rotated(place)
    place.log.unlink()

    async def story() -> None:
        place.ctx.clock.advance(3601.0)
        await place.ctx.follow_ups["keep"]

    play(story)
    assert place.names() == set()


def test_its_own_archives_are_no_logs(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.log.write_text("line\n" * 50)
    rotated(place)
    (archive,) = tmp_path.glob("app.log-*")

    async def story() -> None:
        assert (await place.run(archive)).message == "an archive of its own"
        await place.action.stop(0.0)

    play(story)


def test_a_log_is_woken_by_a_write_and_asks_for_its_job(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.log.write_text("line\n")

    async def story() -> None:
        assert (await place.run()).message == "it isn't due"
        await until(lambda: place.action.statistics()["looks"] > 0)
        assert place.ctx.requested == []
        with place.log.open("a") as file:
            file.write("line\n" * 50)
        assert place.ctx.write(str(place.log)) == 1
        await until(lambda: bool(place.ctx.requested))
        assert place.ctx.requested == [(Trigger.SCHEDULE, (str(place.log),))]
        await place.action.stop(0.0)

    play(story)


def test_a_quiet_log_that_waits_for_a_size_is_due_by_its_age_after_days_too(tmp_path: Path) -> None:
    place = Place(tmp_path, when={"size": 100, "age": 7 * 86_400.0})
    place.log.write_text("line\n")

    async def story() -> None:
        watching = place.action._watching
        assert (await place.run()).message == "it isn't due"
        for day in range(7):
            assert place.ctx.requested == []
            looks = watching.looks
            watching._begin()  # as its timer would
            await until(lambda looks=looks: watching.looks > looks)  # type: ignore[misc]
            assert len(watching._queue) == 1, day
            place.ctx.clock.advance(86_400)
        watching._begin()
        await until(lambda: bool(place.ctx.requested))
        await place.action.stop(0.0)

    play(story)


def test_after_gets_the_archive_and_before_may_forbid(tmp_path: Path) -> None:
    place = Place(tmp_path, before={"command": ["check", "{path}"]}, after={"command": ["send", "{archive}"]})
    place.log.write_text("line\n" * 50)
    assert rotated(place).verdict == "ok"
    (archive,) = tmp_path.glob("app.log-*")
    commands = [call.argv for call in place.spawn.commands]
    assert commands == [("check", str(place.log)), ("send", str(archive))]


def test_what_is_not_a_whole_line_stays(tmp_path: Path) -> None:
    place = Place(tmp_path, method="copy")
    place.log.write_text("line\n" * 50 + "half")
    rotated(place)
    assert place.parts()[-1].start == 250


def test_an_archive_folder_that_vanishes_is_made_again(tmp_path: Path) -> None:
    place = Place(tmp_path, into={"dir": "old"})

    async def story() -> None:
        for _ in range(2):
            place.log.write_text("line\n" * 50)
            assert (await place.run()).verdict == "ok"
            for path in (tmp_path / "old").iterdir():
                path.unlink()
            (tmp_path / "old").rmdir()
        await place.action.stop(0.0)

    play(story)
    wait_until(lambda: place.names() == {"app.log"}, "only the log is left")


def problems(user: str | None = None, **options: Any) -> list[str]:
    said = msgspec.convert({"when": {"size": 100}, **options}, rotate.Options)
    rule = RuleSettings(name="rule", roots=("/var/log/app",), actions=(), user=user)
    return [problem.message for problem in rotate.check(said, rule)]


@pytest.mark.parametrize("options", [{}, {"compress": {"codec": "gzip"}}, {"method": "copy"}, {"method": "punch"}])
def test_an_archive_that_is_away_keeps_its_name(options: dict[str, Any], tmp_path: Path) -> None:
    """Its filesystem may come back: then two archives of one second may not have one name."""
    away = tmp_path / "away"
    place = Place(tmp_path, into={"dir": "old"}, **options)

    async def story() -> None:
        for number in range(2):
            with place.log.open("a") as log:
                log.write(f"{number}\n" * 50)
            assert (await place.run()).verdict == "ok"
            if not number:
                (tmp_path / "old").rename(away)
        await place.action.stop(0.0)

    play(story)  # the clock stands
    (first,), (second,) = (sorted(os.listdir(folder)) for folder in (away, tmp_path / "old"))
    assert first != second
    (away / first).rename(tmp_path / "old" / first)
    archives = [part.path for part in place.parts() if part.archive is not None]
    assert archives == [str(tmp_path / "old" / name) for name in (first, second)]


def test_mistakes(tmp_path: Path) -> None:
    assert problems() == []
    assert problems(when={}) == ["no log would ever be due"]
    assert problems(when={"size": 10, "min_size": 20}) == ["min_size holds back beyond size"]
    assert problems(when={"every": "day", "timezone": "Nowhere/At"}) == ["time zone 'Nowhere/At' is unknown here"]
    assert problems(when={"every": "day", "weekday": "mon"}) == ["a weekday needs every: week or every: month"]
    assert problems(compress={"codec": "gzip", "level": 12}) == ["gzip has no level 12"]
    assert "reopen does nothing" in problems(method="punch", reopen={"command": ["/bin/true"]})[0]
    assert problems(after={"command": ["/bin/true", "{archives}"]}) != []
    given = {"create": {"owner": "root"}, "into": {"dir": "old", "owner": "root"}}
    assert problems("nobody", **given) == 2 * ["nobody, who does the rule's work, can't give files to root"]
    assert problems("root", create={"owner": "nobody"}) == problems("nobody", create={"owner": "nobody"}) == []
    program = tmp_path / "program"
    assert problems(before={"command": [str(program)]}) == [f"there is no program {program}"]
    assert problems(after={"command": ["true"], "env": {"A": {"file": str(program)}}}) == [
        f"there is no file {program}"
    ]
    program.write_text("#!/bin/sh\n")
    program.chmod(0o777)
    unsafe = [f"run by root, this program is unsafe: everybody may write {program} (mode 0777)"]
    assert problems(before={"command": [str(program)]}) == (unsafe if os.geteuid() == 0 else [])


@pytest.mark.skipif(os.geteuid() != 0, reason="it is about root")
def test_archives_do_not_go_where_others_may_write(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    assert "others may write" in problems(into={"dir": str(tmp_path)})[0]
    tmp_path.chmod(0o700)
    assert problems(into={"dir": str(tmp_path)}) == []


def test_dockers_files_are_refused_with_the_setting() -> None:
    said = msgspec.convert({"when": {"size": 100}}, rotate.Options)
    rule = RuleSettings(name="rule", roots=("/var/lib/docker/containers/abc",), actions=())
    assert ["max-size" in problem.message for problem in rotate.check(said, rule)] == [True]


def test_an_action_is_answering(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.log.write_text("line\n" * 10)
    answers: list[Any] = []

    async def story() -> None:
        await place.run()
        answers.append(await place.action.answer("plan", rotate.documents.Which(path=str(place.log))))
        await place.action.stop(0.0)

    play(story)
    (log,) = answers[0].logs
    assert (log.due, log.method, log.size) == ("", "exchange", 50)
    assert isinstance(place.action, RotateAction)


def test_a_schedule_asks_for_all_logs_and_an_empty_one_waits_for_its_first_line(tmp_path: Path) -> None:
    place = Place(tmp_path, when={"every": "day", "at": "00:00", "timezone": "UTC"})
    place.log.write_text("line\n")
    empty = tmp_path / "empty.log"
    empty.touch()

    async def story() -> None:
        for path in (place.log, empty):
            assert (await place.run(path)).verdict == "skipped"
        place.ctx.clock.advance(86_400.0)
        assert place.ctx.requested == [(Trigger.SCHEDULE, (str(place.log), str(empty)))]
        assert (await place.run()).verdict == "ok"
        assert (await place.run()).message == "nothing is in it"
        assert (await place.run(empty)).message == "nothing is in it"
        empty.write_text("line\n")
        assert (await place.run(empty)).verdict == "ok", "its time had come"
        await place.action.stop(0.0)

    play(story)


def test_a_writer_that_may_not_have_been_told_is_told_after_a_crash(tmp_path: Path) -> None:
    place = Place(tmp_path, method="exchange", compress={"codec": "gzip"}, reopen={"command": ["reopen"]})
    place.log.write_text("line\n" * 50)
    writer = place.log.open("a")

    async def story() -> None:
        first = asyncio.ensure_future(place.run())
        await until(lambda: len(place.spawn.commands) == 1)
        await place.action.stop(0.0)
        await first
        again = rotate.open(place.options, place.ctx)
        await again.recover()
        await until(lambda: len(place.spawn.commands) == 2)
        writer.write("late line\n")
        writer.close()
        (task,) = (task for name, task in place.ctx.follow_ups.items() if name.startswith("archive"))
        await task
        await again.stop(0.0)

    play(story)
    (archive,) = tmp_path.glob("app.log-*.gz")
    assert gzip.decompress(archive.read_bytes()) == b"line\n" * 50 + b"late line\n"
    assert place.names() == {"app.log", archive.name}


def test_a_writer_that_goes_on_in_the_old_file_is_told_of_until_it_has_gone(tmp_path: Path) -> None:
    """`reopen` may succeed and do nothing."""
    place = Place(tmp_path, compress={"codec": "gzip"}, reopen={"command": ["reopen"]})
    place.log.write_text("line\n" * 50)

    async def story() -> None:
        script = "import sys; f = open(sys.argv[1], 'a'); print(flush=True); sys.stdin.read()"
        with subprocess.Popen(  # noqa: ASYNC220 - nothing else runs on this loop
            [sys.executable, "-c", script, str(place.log)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as other:
            assert other.stdout is not None
            other.stdout.readline()
            rotating = asyncio.ensure_future(place.run())
            await until(lambda: any(name.endswith(".rotated") for name in place.names()))
            assert place.ctx.findings == {}
            place.ctx.clock.advance(3600)
            await until(lambda: bool(place.ctx.findings))
            ((message, path),) = place.ctx.findings.values()
            assert f"({other.pid}) still writes to the old file" in message
            assert path == str(place.log)
            other.communicate(b"")
        await rotating
        assert place.ctx.findings == {}
        await place.action.stop(0.0)

    play(story)


def test_a_refused_log_is_a_finding_until_it_can_be_rotated(tmp_path: Path) -> None:
    place = Place(tmp_path, method="collapse")
    place.log.write_text("line\n" * 50)

    async def story() -> None:
        with place.log.open("r+"):
            script = "import sys; f = open(sys.argv[1], 'r+'); print(flush=True); sys.stdin.read()"
            with subprocess.Popen(  # noqa: ASYNC220 - nothing else runs on this loop
                [sys.executable, "-c", script, str(place.log)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            ) as other:
                assert other.stdout is not None
                other.stdout.readline()
                assert (await place.run()).verdict == "rejected"
                other.communicate(b"")
        assert f"refused:{place.log}" in place.ctx.findings
        assert (await place.run()).verdict == "ok"
        assert f"refused:{place.log}" not in place.ctx.findings
        await place.action.stop(0.0)

    play(story)


def test_a_log_that_another_rule_has_is_refused_until_it_has_it_no_more(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.log.write_text("line\n" * 50)

    async def story() -> None:
        place.ctx.others[str(place.log)] = "first"
        assert (await place.run()).verdict == "rejected"
        message, _ = place.ctx.findings[f"refused:{place.log}"]
        assert "the rule first has it, which rotates it, too, and stands before this one" in message
        assert place.log.read_text() == "line\n" * 50
        place.ctx.others.clear()
        assert (await place.run()).verdict == "ok"
        assert place.ctx.findings == {}
        await place.action.stop(0.0)

    play(story)


def test_what_is_told_of_a_refused_log_goes_with_it(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.log.write_text("line\n" * 50)
    place.ctx.others[str(place.log)] = "first"

    async def story() -> None:
        await place.run()
        assert place.ctx.findings
        place.log.unlink()
        await place.run()
        assert place.ctx.findings == {}
        await place.action.stop(0.0)

    play(story)


def test_a_log_that_is_refused_is_known_all_the_same(tmp_path: Path) -> None:
    """Whoever asks for the rule's logs is told of it, and another life looks at it again."""
    place = Place(tmp_path)
    place.log.write_text("line\n" * 50)
    os.link(place.log, tmp_path / "other")

    async def story() -> None:
        assert (await place.run()).verdict == "rejected"
        assert place.action.logs() == [str(place.log)]
        planned = await place.action.answer("plan", Which())
        inode = place.log.stat().st_ino
        why = f"it has 2 names: remove the others, which `find -xdev -inum {inode}` finds on its filesystem"
        assert [(log.method, log.reasons) for log in planned.logs] == [("refuse", [why])]
        message, _ = place.ctx.findings[f"refused:{place.log}"]
        assert message == f"{place.log} isn't rotated: {why}"
        await place.action.stop(0.0)

    play(story)
    (tmp_path / "other").unlink()
    again = rotate.open(place.options, place.ctx)

    async def next_life() -> None:
        await again.recover()
        await asyncio.wait_for(place.ctx.follow_ups["logs"], 10)
        await until(lambda: (Trigger.SCHEDULE, (str(place.log),)) in place.ctx.requested)
        await again.stop(0.0)

    play(next_life)
