"""Commands of every kind of malice, and what must not be left of them."""

from __future__ import annotations

import asyncio
import hashlib
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest

from filewatchd.errors import ActionError
from filewatchd.testing import eventually, wait_until
from filewatchd.work import cgroup, helper
from filewatchd.work.command import Command, Finished
from tests.amounts import amount
from tests.e2e.commanding import ENVIRONMENT, Desk, alive, escape, new_mark, none_alive, with_desk

T = TypeVar("T")
Play = Callable[[Callable[[Desk], Awaitable[T]]], T]
SUCCESS = Finished(0, None, False, 0)
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@pytest.fixture(params=["cgroup", "best effort"])
def containment(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways of keeping a command's processes together."""
    if request.param == "best effort":
        monkeypatch.setenv(cgroup.VARIABLE, "off")
    elif (groups := cgroup.find(str(tmp_path))).why:
        pytest.skip(f"no cgroup is delegated here: {groups.why}")
    else:
        groups.remove()
    return str(request.param)


@pytest.fixture
def play(containment: str, tmp_path: Path) -> Play[Any]:
    """Runs a scene with a spawner of its own."""
    return lambda work: with_desk(tmp_path, work)


@pytest.fixture
def mark() -> Iterator[str]:
    """Marks the processes of a test; none may be left at its end."""
    value = new_mark()
    yield value
    none_alive(value)


# ---- ends


@pytest.mark.parametrize(
    ("script", "code", "number"),
    [("exit 0", 0, None), ("exit 3", 3, None), ("exit 255", 255, None)]
    + [(f"kill -{name} $$", None, int(signal.Signals[f"SIG{name}"])) for name in ("KILL", "TERM", "HUP", "INT", "PIPE")]
    + [("ulimit -c unlimited; kill -SEGV $$", None, int(signal.SIGSEGV)), ("kill -ABRT $$", None, int(signal.SIGABRT))],
)
def test_every_way_to_end(play: Play[Any], tmp_path: Path, script: str, code: int | None, number: int | None) -> None:
    async def scene(desk: Desk) -> None:
        finished = await desk.run("sh", "-c", f"echo out; echo err >&2; {script}", cwd=str(tmp_path))
        assert finished == Finished(code, number, False, 0)
        assert desk.text == "out\nerr\n"

    play(scene)


def test_a_time_out_ends_an_obedient_command(play: Play[Any], mark: str) -> None:
    async def scene(desk: Desk) -> None:
        assert await desk.run("sleep", mark, timeout=0.05) == Finished(None, signal.SIGTERM, True, 0)

    play(scene)


def test_a_stop_signal_is_not_lost_before_exec(play: Play[Any], mark: str) -> None:
    async def scene(desk: Desk) -> None:
        for _ in range(30):
            finished = await desk.run("sleep", mark, timeout=0.0, stop_timeout=60.0)
            assert finished == Finished(None, signal.SIGTERM, True, 0)

    play(scene)


def test_one_that_ignores_the_stop_signal_is_killed(play: Play[Any], mark: str) -> None:
    async def scene(desk: Desk) -> None:
        script = f"trap '' TERM; sleep {mark} & echo ready; wait; sleep {mark}"
        task = await desk.start("sh", "-c", script, until=b"ready", stop_timeout=0.05)
        desk.time_out()
        finished = await task
        assert finished.signal == signal.SIGKILL
        assert finished.timed_out
        assert not alive(mark)

    play(scene)


def test_the_stop_signal_can_be_another(play: Play[Any], mark: str) -> None:
    async def scene(desk: Desk) -> None:
        script = f"trap 'echo bye; exit 7' USR1; echo ready; while :; do sleep 0.01; done; sleep {mark}"
        task = await desk.start("sh", "-c", script, until=b"ready", stop_signal=signal.SIGUSR1)
        desk.time_out()
        assert await task == Finished(7, None, True, 0)
        assert desk.text.endswith("\nbye\n")

    play(scene)


def test_cancelling_ends_it_whole_and_waits_for_that(play: Play[Any], mark: str) -> None:
    async def scene(desk: Desk) -> None:
        script = f"trap '' TERM; (trap '' TERM; sleep {mark}) & echo ready; sleep {mark}; sleep {mark}"
        task = await desk.start("sh", "-c", script, until=b"ready", stop_timeout=0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not alive(mark)
        assert await desk.run("true") == SUCCESS

    play(scene)


def test_a_second_cancellation_skips_the_grace(play: Play[Any], mark: str) -> None:
    async def scene(desk: Desk) -> None:
        script = f"trap '' TERM; echo ready; while :; do sleep {mark}; done"
        task = await desk.start("sh", "-c", script, until=b"ready", stop_timeout=3600.0)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    play(scene)


def test_a_stopped_one_gets_its_stop_signal(play: Play[Any], mark: str) -> None:
    async def scene(desk: Desk) -> None:
        task = await desk.start("sh", "-c", f"echo ready; exec sleep {mark}", until=b"ready")
        (pid,) = await eventually(lambda: alive(mark), "sleep to run")
        os.kill(pid, signal.SIGSTOP)
        desk.time_out()
        assert await task == Finished(None, signal.SIGTERM, True, 0)

    play(scene)


# ---- what they leave behind


def test_one_that_forks_away_is_ended_and_counted(play: Play[Any], mark: str) -> None:
    async def scene(desk: Desk) -> None:
        finished = await desk.run(*escape(mark))
        assert (finished.code, finished.leftover) == (0, 1)
        assert desk.text == "away\n"
        assert not alive(mark)

    play(scene)


def test_background_processes_are_ended_and_counted(play: Play[Any], mark: str) -> None:
    async def scene(desk: Desk) -> None:
        finished = await desk.run("sh", "-c", f"sleep {mark} & sleep {mark} & echo done")
        assert (finished.code, finished.leftover) == (0, 2)
        assert not alive(mark)

    play(scene)


def test_what_another_command_left_is_not_touched_meanwhile(play: Play[Any], mark: str) -> None:
    """A process that forked away belongs to the command that still runs, also when others end."""

    async def scene(desk: Desk) -> None:
        script = '"$@"; echo ready; read line; echo end'
        argv = ("sh", "-c", script, "sh", *escape(mark))
        task = await desk.start(*argv, until=b"ready", env={**ENVIRONMENT, "FILEWATCHD_TOKEN": "someone-1"}, stdin=None)
        assert (await task).leftover == 1  # stdin is empty: it ends by itself

        sleeper = await desk.start(
            "sh", "-c", f'"$@"; echo ready; exec sleep {mark}', "sh", *escape(mark), until=b"ready"
        )
        await eventually(lambda: len(alive(mark)) == 2, "both to run")
        for _ in range(5):
            assert await desk.run("true") == SUCCESS
            assert len(alive(mark)) == 2
        sleeper.cancel()
        await asyncio.wait([sleeper])
        assert not alive(mark)

    play(scene)


def test_a_fork_bomb_is_ended(play: Play[Any], mark: str) -> None:
    async def scene(desk: Desk) -> None:
        script = f"f() {{ for i in 1 2 3 4; do sleep {mark} & done; ( sleep 0.01; f ) & }}; f; echo ready; wait"
        task = await desk.start("sh", "-c", script, until=b"ready", stop_timeout=0.0)
        await eventually(lambda: len(alive(mark)) > 20, "it to grow")
        desk.time_out()
        assert (await task).timed_out
        assert not alive(mark)

    play(scene)


_DAEMON = """
import asyncio, sys
from filewatchd.testing import eventually
from tests.e2e.commanding import Desk, alive, escape
from filewatchd.work import cgroup
from filewatchd.work.helper import Commands
from filewatchd.work.pool import Pool
async def main(state, mark):
    groups = cgroup.find(state)
    desk = Desk(Commands(groups, Pool()))
    ignoring = f"trap '' TERM HUP; (trap '' TERM; sleep {mark}) & \\"$@\\"; echo ready; sleep {mark}; sleep {mark}"
    for number in range(3):
        await desk.start("sh", "-c", ignoring, "sh", *escape(mark), until=b"ready")
    await eventually(lambda: len(alive(mark)) == 9, "all to run")
    print(desk.commands.statistics()["spawner"], flush=True)
    await asyncio.sleep(3600)
asyncio.run(main(*sys.argv[1:]))
"""


def daemon_with_commands(state: Path, mark: str) -> tuple[subprocess.Popen[str], int]:
    """A process that runs nine marked processes, and the pid of its spawner."""
    process = subprocess.Popen([sys.executable, "-c", _DAEMON, str(state), mark], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    spawner = int(process.stdout.readline())
    assert len(alive(mark)) == 9
    return process, spawner


def test_kill_9_of_the_daemon_leaves_nothing(containment: str, tmp_path: Path, mark: str) -> None:
    process, _ = daemon_with_commands(tmp_path, mark)
    with process:
        process.kill()
    none_alive(mark)


def test_kill_9_of_daemon_and_spawner_is_swept_at_the_next_start(containment: str, tmp_path: Path, mark: str) -> None:
    process, spawner = daemon_with_commands(tmp_path, mark)
    with process:
        process.send_signal(signal.SIGSTOP)  # it must not see its spawner die
        os.kill(spawner, signal.SIGKILL)
        process.kill()
    groups = cgroup.find(str(tmp_path))
    assert groups.sweep() > 0
    if containment == "cgroup":
        assert not alive(mark)
    groups.remove()
    for pid in alive(mark):  # best effort: those that had cleared their environment
        os.kill(pid, signal.SIGKILL)


def test_the_spawner_outlives_the_signals_of_a_terminal(play: Play[Any], mark: str) -> None:
    async def scene(desk: Desk) -> None:
        assert await desk.run("true") == SUCCESS
        spawner = desk.commands.statistics()["spawner"]
        children = Path(f"/proc/{spawner}/task/{spawner}/children").read_text().split()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            for pid in (spawner, *map(int, children)):  # and the spare, which must not die of it later
                os.kill(pid, number)
        assert await desk.run("true") == SUCCESS
        assert desk.commands.statistics()["spawner"] == spawner

    play(scene)


def test_when_the_spawner_dies_its_commands_fail_and_the_next_gets_another(play: Play[Any], mark: str) -> None:
    async def scene(desk: Desk) -> None:
        script = f"sleep {mark} & echo ready; sleep {mark}"
        tasks = [await desk.start("sh", "-c", script, until=b"ready") for _ in range(2)]
        os.kill(desk.commands.statistics()["spawner"], signal.SIGKILL)
        for task in tasks:
            with pytest.raises(ActionError, match="has died") as failed:
                await task
            assert failed.value.retryable
        assert not alive(mark)
        assert await desk.run("true") == SUCCESS
        assert desk.commands.statistics()["spawners_started"] == 2

    play(scene)


def test_a_spawner_that_does_not_answer_is_replaced(
    play: Play[Any], mark: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(desk: Desk) -> None:
        task = await desk.start("sh", "-c", f"echo ready; exec sleep {mark}", until=b"ready", stop_timeout=0.05)
        os.kill(desk.commands.statistics()["spawner"], signal.SIGSTOP)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not alive(mark)
        assert await desk.run("true") == SUCCESS

    monkeypatch.setattr(helper, "KILL_GRACE", 0.1)
    play(scene)


def test_a_killed_spare_is_replaced(play: Play[Any]) -> None:
    async def scene(desk: Desk) -> None:
        assert await desk.run("true") == SUCCESS
        spawner = desk.commands.statistics()["spawner"]
        spare = await eventually(lambda: spare_of(spawner), "a spare")
        assert spare is not None
        os.kill(spare, signal.SIGKILL)
        await eventually(lambda: spare_of(spawner) not in (None, spare), "the spare to be waited for")
        assert await desk.run("true") == SUCCESS

    play(scene)


# ---- output and input


def test_a_flood_of_output_fills_no_memory_and_holds_up_nobody(play: Play[Any]) -> None:
    async def scene(desk: Desk) -> None:
        seen = 0

        def count(data: bytes) -> None:
            nonlocal seen
            assert len(data) <= 65536
            seen += len(data)

        command = Command(("head", "-c", str(3 << 30), "/dev/zero"), ENVIRONMENT, timeout=600.0)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        flood = asyncio.ensure_future(desk.commands.run(command, count))
        for _ in range(5):
            assert await desk.run("true") == SUCCESS
        assert not flood.done()
        assert await flood == SUCCESS
        assert seen == 3 << 30
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8192  # KiB

    play(scene)


def test_input_of_any_size_is_fed_without_blocking(play: Play[Any]) -> None:
    async def scene(desk: Desk) -> None:
        data = os.urandom(5 << 20)
        assert await desk.run("sha256sum", stdin=data) == SUCCESS
        assert hashlib.sha256(data).hexdigest() in desk.text
        assert await desk.run("true", stdin=data) == SUCCESS  # it doesn't read it
        assert await desk.run("wc", "-c", stdin=b"") == SUCCESS
        assert desk.text.endswith("0\n")

    play(scene)


def test_a_command_gets_its_words_environment_and_directory_as_they_are(play: Play[Any], tmp_path: Path) -> None:
    async def scene(desk: Desk) -> None:
        odd = "a b'\"$(x)\n" + os.fsdecode(b"\xff")
        script = 'printf "%s|%s|%s|" "$1" "$ODD" "$PWD"; cat'
        finished = await desk.run("sh", "-c", script, "sh", odd, env={**ENVIRONMENT, "ODD": odd}, cwd=str(tmp_path))
        assert finished == SUCCESS
        assert bytes(desk.output) == b"|".join([os.fsencode(odd)] * 2 + [os.fsencode(tmp_path), b""])

    play(scene)


def test_arguments_of_a_megabyte(play: Play[Any]) -> None:
    async def scene(desk: Desk) -> None:
        words = [f"{number:0100}" for number in range(10_000)]
        assert await desk.run("sh", "-c", 'echo "$#"', "sh", *words) == SUCCESS
        assert desk.text == "10000\n"

    play(scene)


def test_a_command_inherits_nothing_of_ours(play: Play[Any]) -> None:
    async def scene(desk: Desk) -> None:
        fds = "import os; print(sorted(os.listdir('/proc/self/fd')))"  # 3 is the listing's own
        await desk.run(sys.executable, "-I", "-S", "-c", fds)
        assert desk.text == "['0', '1', '2', '3']\n"
        desk.output.clear()
        await desk.run("grep", "-E", "^Sig(Blk|Ign|Pnd)|^ShdPnd", "/proc/self/status")
        # make leaves 32 and 33, which the C library keeps to itself, ignored in all it starts; nobody can undo that.
        libc_own = 1 << 31 | 1 << 32
        assert [int(line.split()[1], 16) & ~libc_own for line in desk.text.splitlines()] == [0] * 4
        desk.output.clear()
        await desk.run("env", env={"ONLY": "this"}, stdin=None)
        assert {line.partition("=")[0] for line in desk.text.splitlines()} == {"ONLY", "FILEWATCHD_TOKEN"}

    play(scene)


# ---- what can't be started


def test_what_cannot_be_started_says_why_and_what_to_do(play: Play[Any], tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("text")
    wrong = tmp_path / "wrong"
    wrong.write_text("#!/no/such/interpreter\n")
    empty = tmp_path / "empty"
    empty.write_bytes(b"\x01\x02")
    for script in (wrong, empty):
        script.chmod(0o755)
    cases: list[tuple[tuple[str, ...], dict[str, Any], str, bool]] = [
        (("no-such-program",), {}, "no such program on its PATH .* install it", False),
        ((f"{tmp_path}/missing",), {}, "no such file; install it", False),
        ((str(plain),), {}, "not an executable file .*chmod", False),
        ((str(tmp_path),), {}, "not an executable file", False),
        ((str(wrong),), {}, "interpreter is missing", False),
        ((str(empty),), {}, "first line like #!", False),
        (("true", "x" * 200_000), {}, "too long", False),
        (("true", *["x" * 100_000] * 30), {}, "too long", False),
        (("true", "a\0b"), {}, "NUL", False),
        (("",), {}, "empty", False),
        ((), {}, "empty", False),
        (("true",), {"cwd": f"{tmp_path}/missing"}, "can't work in .*missing", True),
        (("true",), {"cwd": str(plain)}, "can't work in", False),
        (("true",), {"user": "no-such-user"}, "no user 'no-such-user'", False),
        (("true",), {"group": "no-such-group"}, "no group 'no-such-group'", False),
    ]

    async def scene(desk: Desk) -> None:
        for argv, more, text, retryable in cases:
            with pytest.raises(ActionError, match=text) as failed:
                await desk.run(*argv, **more)
            assert failed.value.retryable is retryable, argv
        assert await desk.run("true") == SUCCESS

    play(scene)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may become anybody")
def test_only_root_can_run_as_somebody_else(play: Play[Any]) -> None:
    async def scene(desk: Desk) -> None:
        with pytest.raises(ActionError, match="isn't root"):
            await desk.run("true", user="root")

    play(scene)


# ---- users


@root_only
def test_a_user_keeps_no_right_of_roots(play: Play[Any], tmp_path: Path) -> None:
    async def scene(desk: Desk) -> None:
        assert await desk.run("cat", "/proc/self/status", user="daemon") == SUCCESS
        fields = dict(line.split(":", 1) for line in desk.text.splitlines() if ":" in line)
        own = " ".join(map(str, sorted(os.getgrouplist("daemon", 1))))
        assert fields["Uid"].split() == fields["Gid"].split() == ["1"] * 4
        assert fields["Groups"].strip() == own
        assert {int(fields[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}
        assert fields["NoNewPrivs"].strip() == "1"
        secret = tmp_path / "secret"
        secret.write_text("s")
        secret.chmod(0o600)
        assert (await desk.run("cat", str(secret), user="daemon")).code == 1

    ours = os.getgroups()
    os.setgroups([0, 4, 24])  # what a daemon may have, and its commands must not
    try:
        play(scene)
    finally:
        os.setgroups(ours)


@root_only
def test_a_group_replaces_the_users_own(play: Play[Any]) -> None:
    async def scene(desk: Desk) -> None:
        assert await desk.run("id", "-g", "-n", user="daemon", group="mail") == SUCCESS
        assert await desk.run("id", "-u", "-n", user="daemon", group="mail") == SUCCESS
        assert desk.text == "mail\ndaemon\n"

    play(scene)


@root_only
def test_even_root_by_name_drops_what_it_need_not_keep(play: Play[Any]) -> None:
    async def scene(desk: Desk) -> None:
        assert await desk.run("grep", "NoNewPrivs", "/proc/self/status", user="root") == SUCCESS
        assert desk.text.split() == ["NoNewPrivs:", "1"]

    play(scene)


@root_only
def test_a_users_leftovers_are_ended_too(play: Play[Any], mark: str) -> None:
    async def scene(desk: Desk) -> None:
        finished = await desk.run("sh", "-c", f"setsid sleep {mark} & sleep {mark} & echo", user="daemon")
        assert finished.leftover == 2
        assert not alive(mark)

    play(scene)


# ---- for ever


def test_thousands_of_commands_leak_nothing(play: Play[Any]) -> None:
    async def many(desk: Desk, count: int) -> None:
        for _ in range(count // 4):
            for finished in await asyncio.gather(*(desk.run("/bin/true", stdin=b"x") for _ in range(4))):
                assert finished == SUCCESS

    def footprint(desk: Desk) -> dict[str, int]:
        spawner = desk.commands.statistics()["spawner"]
        return {
            "our descriptors": len(os.listdir("/proc/self/fd")),
            "its descriptors": len(os.listdir(f"/proc/{spawner}/fd")),
            "threads": threading.active_count(),
            "tasks": len(asyncio.all_tasks()),
            "children": len(Path(f"/proc/{spawner}/task/{spawner}/children").read_text().split()),
        }

    async def settled(desk: Desk) -> dict[str, int]:
        await eventually(lambda: spare_of(desk.commands.statistics()["spawner"]), "only the spare to be left")
        return footprint(desk)

    async def scene(desk: Desk) -> None:
        await many(desk, amount(600, 2000))
        spawner = desk.commands.statistics()["spawner"]
        before, memory = await settled(desk), [resident(os.getpid()), resident(spawner)]
        await many(desk, amount(1600, 8000))
        after = await settled(desk)
        # Threads that an earlier test left may end meanwhile.
        assert all(after[what] <= count for what, count in before.items()), (before, after)
        assert desk.commands.statistics()["spawner"] == spawner
        for was, now in zip(memory, [resident(os.getpid()), resident(spawner)], strict=True):
            assert now - was < 1024  # KiB

    play(scene)


def spare_of(spawner: int) -> int | None:
    """The idle spawner's only child, if that waits for its request: it has not become a command yet."""
    children = Path(f"/proc/{spawner}/task/{spawner}/children").read_text().split()
    waiting = [pid for pid in children if command_line(pid) == command_line(spawner)]
    asleep = "S (sleeping)" in Path(f"/proc/{spawner}/status").read_text()
    return int(waiting[0]) if asleep and len(children) == len(waiting) == 1 else None


def command_line(pid: object) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def resident(pid: int) -> int:
    """KiB of memory that a process has."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmRSS")))


def waits_for_ever(pid: int) -> bool:
    """True while a process is blocked in poll(2) without a limit: -1, or no timespec where the call is ppoll(2)."""
    words = Path(f"/proc/{pid}/syscall").read_text().split()  # number, arguments; see proc(5)
    return len(words) > 3 and int(words[3], 16) & 0xFFFFFFFF in (0, 0xFFFFFFFF)


def test_an_idle_spawner_sleeps(play: Play[Any]) -> None:
    async def scene(desk: Desk) -> None:
        await desk.run("true")
        spawner = desk.commands.statistics()["spawner"]
        wait_until(lambda: waits_for_ever(spawner), "it to sleep until it is asked")

    play(scene)
