"""Commands in units of a real systemd. `test_units` has this module run inside a machine, where systemd is PID 1."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import pwd
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from filewatchd.errors import ActionError
from filewatchd.testing import eventually, wait_until
from filewatchd.work import cgroup, manager, transient, units
from filewatchd.work.command import Command, Finished, Limits, Unit
from filewatchd.work.helper import Commands
from filewatchd.work.pool import Pool
from filewatchd.work.units import Units
from tests.e2e.commanding import ENVIRONMENT, alive, escape, new_mark, none_alive

T = TypeVar("T")
SUCCESS = Finished(0, None, False, 0)
KEY = "0123456789abcdef"
UNIT = Unit("nginx", 7)

#: Words that a shell, systemd or D-Bus would take for something else.
HOSTILE = [
    "%i", "%n", "%%", "%", "$HOME", "${HOME}", "$$", "$", "a b", " ", "", "\n", "a\nExecStart=/bin/false", "\t", "\r",
    '"', "'", '"quoted', "\\", "\\x41", "\\\n", ";", "&& true", "`id`", "$(id)", "*", "~", "-n", "@", "!", "+", ":",
    "\x01\x7f", "é", "\u2028", "\U0001f600", os.fsdecode(b"not-utf-8-\xff\xfe"), os.fsdecode(bytes(range(1, 256))),
    "x" * 100_000,
]  # fmt: skip

_SHOW = """
import json, os, sys
with open(sys.argv[1], "w") as out:
    json.dump({
        "argv": [os.fsencode(word).hex() for word in sys.argv[2:]],
        "env": {name.hex(): value.hex() for name, value in os.environb.items()},
        "stdin": os.read(0, 1 << 20).hex(),
        "cwd": os.getcwdb().hex(),
        "fds": sorted(map(int, os.listdir("/proc/self/fd"))),
        "status": open("/proc/self/status").read(),
        "ids": [os.getresuid(), os.getresgid(), sorted(os.getgroups())],
        "nice": os.nice(0),
        "cgroup": open("/proc/self/cgroup").read(),
    }, out)
"""


class Desk:
    """Units to run, and what came of them."""

    def __init__(self, ways: Units | Commands) -> None:
        self.units = ways
        self.output = bytearray()

    async def run(self, *argv: str, **more: Any) -> Finished:
        """Run a command to its end."""
        command = Command(argv, **{"env": ENVIRONMENT, "timeout": 60.0, "unit": UNIT, **more})
        return await self.units.run(command, self.output.extend)

    async def start(self, *argv: str, until: bytes, **more: Any) -> asyncio.Task[Finished]:
        """Start a command and return when it has printed something."""
        task = asyncio.ensure_future(self.run(*argv, **more))
        await eventually(lambda: task.done() or until in self.output, f"{argv[0]} to print {until!r}")
        return task

    async def show(self, place: Path, *argv: str, **more: Any) -> dict[str, Any]:
        """What a command sees of itself."""
        target = place / "shown"
        target.touch()
        target.chmod(0o666)
        assert await self.run(sys.executable, "-c", _SHOW, str(target), *argv, **more) == SUCCESS
        return dict(json.loads(target.read_text()))

    def time_out(self) -> None:
        """Have all running commands' time come now."""
        assert isinstance(self.units, Units)
        for run in list(self.units._runs.values()):
            self.units._time_out(run)


def play(work: Callable[[Desk], Awaitable[T]], key: str = KEY) -> T:
    """Do the work with a connection of its own, and see that no unit stays."""

    async def main() -> T:
        pool = Pool()
        desk = Desk(Units(key, lambda: "test", pool))
        try:
            return await work(desk)
        finally:
            await desk.units.stop()
            pool.close()
            wait_until(lambda: not loaded(key), "all units to go")

    return asyncio.run(main())


def loaded(key: str) -> list[str]:
    """The units of an instance."""
    said = systemctl("list-units", "--all", "--plain", "--no-legend", f"filewatchd-{key}-*")
    return [line.split()[0] for line in said.splitlines()]


def systemctl(*words: str) -> str:
    return said("systemctl", *words)


def said(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def mark() -> Iterator[str]:
    """Marks the processes of a test; none may be left at its end."""
    value = new_mark()
    yield value
    none_alive(value)


@pytest.fixture
def open_tmp(tmp_path: Path) -> Path:
    """A directory that any user may go into."""
    for directory in (tmp_path, *tmp_path.parents):
        if directory != Path("/tmp"):
            directory.chmod(0o755) if directory.is_relative_to("/tmp") else None
    return tmp_path


# ---- what reaches the command


def test_words_variables_input_and_directory_arrive_byte_for_byte(tmp_path: Path) -> None:
    place = Path(os.fsdecode(os.fsencode(tmp_path) + b"/%i $HOME \n \xff"))
    place.mkdir()
    env = {**ENVIRONMENT, **{f"V{index}": word for index, word in enumerate(HOSTILE)}, os.fsdecode(b"N\xff"): "x"}
    stdin = bytes(range(256)) * 2000

    async def scene(desk: Desk) -> None:
        shown = await desk.show(tmp_path, *HOSTILE, env=env, stdin=stdin, cwd=str(place))
        assert [bytes.fromhex(word) for word in shown["argv"]] == list(map(os.fsencode, HOSTILE))
        found = {bytes.fromhex(name): bytes.fromhex(value) for name, value in shown["env"].items()}
        assert found.pop(b"LC_CTYPE", b"C.UTF-8") == b"C.UTF-8"  # Python's own
        assert found == {os.fsencode(name): os.fsencode(value) for name, value in env.items()}
        assert stdin.startswith(bytes.fromhex(shown["stdin"]))
        assert bytes.fromhex(shown["cwd"]) == os.fsencode(place)

    play(scene)


def test_all_of_a_long_input_arrives(tmp_path: Path) -> None:
    data = os.urandom(1 << 20)

    async def scene(desk: Desk) -> None:
        assert await desk.run("sha256sum", stdin=data) == SUCCESS
        assert desk.output.split()[0].decode() == hashlib.sha256(data).hexdigest()
        assert await desk.run("true", stdin=data) == SUCCESS  # nobody need read it

    play(scene)


def test_without_input_there_is_an_empty_one() -> None:
    async def scene(desk: Desk) -> None:
        assert await desk.run("wc", "-c") == SUCCESS
        assert desk.output == b"0\n"

    play(scene)


def test_it_begins_like_an_ordinary_command(tmp_path: Path) -> None:
    async def scene(desk: Desk) -> None:
        shown = await desk.show(tmp_path)
        status = dict(line.split(":\t", 1) for line in shown["status"].splitlines() if ":\t" in line)
        assert int(status["SigBlk"], 16) == 0
        ignored = {number for number in range(1, 65) if int(status["SigIgn"], 16) >> (number - 1) & 1}
        # Two by Python itself, which shows this; two are the C library's own, which nobody can reset (signal(7)).
        assert ignored <= {signal.SIGPIPE, signal.SIGXFSZ, 32, 33}
        assert shown["fds"] == [0, 1, 2, 3, 4]  # the last two are the file written to and the directory listed
        assert status["NoNewPrivs"] == "0"
        assert shown["cgroup"].rstrip().endswith(f"/filewatchd.slice/filewatchd-{KEY}-job7-1.service")
        assert await desk.run("sh", "-c", "yes | head -n 1; kill -PIPE $$") == Finished(None, signal.SIGPIPE, False, 0)

    play(scene)


def test_a_user_has_its_own_groups_and_no_way_back(open_tmp: Path) -> None:
    subprocess.run(["useradd", "--system", "--groups", "adm", "worker"], check=False)
    worker = pwd.getpwnam("worker")

    async def scene(desk: Desk) -> None:
        shown = await desk.show(open_tmp, user="worker")
        groups = sorted(os.getgrouplist("worker", worker.pw_gid))
        assert shown["ids"] == [[worker.pw_uid] * 3, [worker.pw_gid] * 3, groups]
        assert "NoNewPrivs:\t1" in shown["status"]
        assert all(f"{name}:\t0000000000000000" in shown["status"] for name in ("CapEff", "CapPrm", "CapAmb", "CapInh"))
        shown = await desk.show(open_tmp, user="worker", group="mail")
        assert shown["ids"][1] == [8, 8, 8]
        shown = await desk.show(open_tmp, group="mail")
        assert shown["ids"][:2] == [[0, 0, 0], [8, 8, 8]]

    play(scene)


def test_limits_are_systemds(tmp_path: Path) -> None:
    limits = Limits(memory=64 << 20, cpu=1.5, tasks=50, io_weight=20, nice=7)

    async def scene(desk: Desk) -> None:
        script = f"systemctl show filewatchd-{KEY}-job7-1.service"
        assert (
            await desk.run("sh", "-c", script, unit=Unit("nginx", 7, limits), stop_signal=2, stop_timeout=3) == SUCCESS
        )
        shown = dict(line.split("=", 1) for line in desk.output.decode().splitlines() if "=" in line)
        wanted = {
            "MemoryMax": "67108864", "CPUQuotaPerSecUSec": "1.500000s", "TasksMax": "50", "IOWeight": "20", "Nice": "7",
            "Slice": "filewatchd.slice", "Description": "filewatchd test: rule nginx, job 7", "KillSignal": "2",
            "TimeoutStopUSec": "1min 3s", "RuntimeMaxUSec": "2min", "Restart": "no",
            "CollectMode": "inactive-or-failed",
        }  # fmt: skip
        assert {name: shown[name] for name in wanted} == wanted
        assert (await desk.show(tmp_path, unit=Unit("nginx", 7, limits)))["nice"] == 7

    play(scene)


def test_nobody_reads_its_words_or_variables_from_systemd(mark: str) -> None:
    async def scene(desk: Desk) -> None:
        script = "echo ready; exec sleep $0"
        task = await desk.start("sh", "-c", script, mark, until=b"ready", env={**ENVIRONMENT, "TOKEN": "s3cr3t"})
        (name,) = loaded(KEY)
        told = systemctl("show", name) + systemctl("cat", name)
        assert "filewatchd.work.launcher" in told
        assert "s3cr3t" not in told
        assert mark not in told
        task.cancel()
        await asyncio.wait([task])

    play(scene)


def test_what_it_logs_itself_carries_rule_and_job() -> None:
    async def scene(desk: Desk) -> None:
        word = new_mark()
        # The journal asks /proc which unit a message came from: its sender has to live until then.
        script = "import subprocess, sys, syslog; syslog.syslog(sys.argv[1]); subprocess.run(['journalctl', '--sync'])"
        assert await desk.run("python3", "-c", script, word) == SUCCESS
        lines = said("journalctl", "--output=json", "FILEWATCHD_RULE=nginx", "FILEWATCHD_JOB=7").splitlines()
        assert word in [json.loads(line)["MESSAGE"] for line in lines]

    play(scene)


# ---- how it ends


@pytest.mark.parametrize(
    ("script", "code", "number"),
    [("exit 0", 0, None), ("exit 3", 3, None), ("exit 203", 203, None), ("exit 255", 255, None)]
    + [(f"kill -{name} $$", None, int(signal.Signals[f"SIG{name}"])) for name in ("KILL", "TERM", "HUP", "INT", "PIPE")]
    + [("ulimit -c unlimited; kill -SEGV $$", None, int(signal.SIGSEGV)), ("kill -ABRT $$", None, int(signal.SIGABRT))],
)
def test_every_way_to_end(tmp_path: Path, script: str, code: int | None, number: int | None) -> None:
    async def scene(desk: Desk) -> None:
        finished = await desk.run("sh", "-c", f"echo out; echo err >&2; {script}", cwd=str(tmp_path))
        assert finished == Finished(code, number, False, 0)
        assert desk.output == b"out\nerr\n"

    play(scene)


@pytest.mark.parametrize("kind", ["missing", "not on PATH", "mode", "interpreter", "format", "cwd", "user", "long"])
def test_what_cant_be_started_fails_with_the_words_of_an_ordinary_command(tmp_path: Path, kind: str) -> None:
    program = tmp_path / "program"
    program.write_text("#!/no/interpreter\n" if kind == "interpreter" else "nothing\n")
    program.chmod(0o644 if kind == "mode" else 0o755)
    argv = {"missing": (f"{program}.not",), "not on PATH": ("no-such-program",), "cwd": ("true",), "user": ("true",)}
    more: dict[str, Any] = (
        {"cwd": f"{tmp_path}/none"} if kind == "cwd" else {"user": "nobody-there"} if kind == "user" else {}
    )
    words = ("true", "x" * 200_000) if kind == "long" else argv.get(kind, (str(program),))

    async def fails(desk: Desk) -> tuple[str, bool]:
        with pytest.raises(ActionError) as failed:
            await desk.run(*words, **more)
        return str(failed.value), failed.value.retryable

    async def scene(desk: Desk) -> None:
        pool = Pool()
        commands = Commands(cgroup.Groups(KEY, "", "test"), pool)
        assert await fails(desk) == await fails(Desk(commands))
        await commands.stop()
        pool.close()

    play(scene)


def test_where_the_launcher_cant_begin_the_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scene(desk: Desk) -> None:
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr(transient, "_HOME", "/no/such/place")
            with pytest.raises(ActionError, match="No module named 'filewatchd'; its user must be able to read"):
                await desk.run("true")
        with monkeypatch.context() as elsewhere:
            elsewhere.setattr(sys, "executable", "/no/such/python")
            with pytest.raises(ActionError, match="could not start 'true': exit status 203") as failed:
                await desk.run("true")
            assert not failed.value.retryable
        assert await desk.run("true") == SUCCESS

    play(scene)


def test_a_time_out_ends_an_obedient_command(mark: str) -> None:
    async def scene(desk: Desk) -> None:
        task = await desk.start("sh", "-c", f"echo ready; exec sleep {mark}", until=b"ready", timeout=1.0)
        assert await task == Finished(None, signal.SIGTERM, True, 0)

    play(scene)


def test_no_time_at_all_is_a_time_out_whatever_was_done_by_then(mark: str) -> None:
    async def scene(desk: Desk) -> None:
        for _ in range(10):
            assert (await desk.run("sleep", mark, timeout=0.0, stop_timeout=60.0)).timed_out

    play(scene)


def test_one_that_ignores_the_stop_signal_is_killed_whole(mark: str) -> None:
    async def scene(desk: Desk) -> None:
        script = f"trap '' TERM; (trap '' TERM; sleep {mark}) & echo ready; while :; do sleep {mark}; done"
        task = await desk.start("sh", "-c", script, until=b"ready", stop_timeout=0.05)
        desk.time_out()
        finished = await task
        assert (finished.signal, finished.timed_out) == (signal.SIGKILL, True)
        assert not alive(mark)

    play(scene)


def test_a_grace_of_nothing_is_none(mark: str) -> None:
    async def scene(desk: Desk) -> None:
        script = f"trap '' TERM; echo ready; while :; do sleep {mark}; done"
        task = await desk.start("sh", "-c", script, until=b"ready", stop_timeout=0.0)
        desk.time_out()
        assert (await task).timed_out

    play(scene)


def test_the_stop_signal_can_be_another() -> None:
    async def scene(desk: Desk) -> None:
        script = "trap 'echo bye; exit 7' USR1; echo ready; while :; do sleep 0.01; done"
        task = await desk.start("sh", "-c", script, until=b"ready", stop_signal=signal.SIGUSR1)
        desk.time_out()
        finished = await task
        assert (finished.code, finished.timed_out) == (7, True)
        assert desk.output.endswith(b"bye\n")

    play(scene)


def test_cancelling_ends_it_whole_and_waits_for_that(mark: str) -> None:
    async def scene(desk: Desk) -> None:
        script = f"trap '' TERM; (trap '' TERM; sleep {mark}) & echo ready; sleep {mark}; sleep {mark}"
        task = await desk.start("sh", "-c", script, until=b"ready", stop_timeout=0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not alive(mark)
        assert await desk.run("true") == SUCCESS

    play(scene)


def test_a_second_cancellation_skips_the_grace(mark: str) -> None:
    async def scene(desk: Desk) -> None:
        script = f"trap '' TERM; echo ready; while :; do sleep {mark}; done"
        task = await desk.start("sh", "-c", script, until=b"ready", stop_timeout=3600.0)
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    play(scene)


def test_what_it_leaves_behind_is_counted_and_ended(mark: str) -> None:
    async def scene(desk: Desk) -> None:
        assert (await desk.run(*escape(mark), stop_timeout=3600.0)).code == 0
        assert desk.output == b"away\n"
        assert not alive(mark)
        ignoring = f"trap '' TERM; sleep {mark} & sleep {mark} & exit 4"
        assert await desk.run("sh", "-c", ignoring, stop_timeout=3600.0) == Finished(4, None, False, 2)
        assert not alive(mark)

    play(scene)


def test_a_fork_bomb_is_ended(mark: str) -> None:
    async def scene(desk: Desk) -> None:
        script = f"f() {{ for i in 1 2 3 4; do sleep {mark} & done; ( sleep 0.01; f ) & }}; f; echo ready; wait"
        task = await desk.start("sh", "-c", script, until=b"ready", stop_timeout=0.0)
        await eventually(lambda: len(alive(mark)) > 20, "it to grow")
        desk.time_out()
        assert (await task).timed_out
        assert not alive(mark)

    play(scene)


def test_a_flood_of_output_comes_in_pieces() -> None:
    sizes: list[int] = []

    async def scene(desk: Desk) -> None:
        command = Command(("head", "-c", "100000000", "/dev/zero"), ENVIRONMENT, timeout=60.0, unit=UNIT)
        assert await desk.units.run(command, lambda data: sizes.append(len(data))) == SUCCESS
        assert sum(sizes) == 100_000_000
        assert max(sizes) <= 65536

    play(scene)


def test_many_at_once() -> None:
    async def scene(desk: Desk) -> None:
        found = await asyncio.gather(*(desk.run("sh", "-c", f"exit {number}") for number in range(20)))
        assert [finished.code for finished in found] == list(range(20))

    play(scene)


# ---- earlier lives


_LIFE = """
import asyncio, sys
from tests.e2e.systemd.units_inside import Desk, Pool, Units
async def main(key, mark):
    desk = Desk(Units(key, lambda: "test", Pool()))
    script = f"trap '' TERM; (trap '' TERM; exec sleep {mark}) & echo ready; sleep {mark}; sleep {mark}"
    await asyncio.gather(*(desk.start("sh", "-c", script, until=b"ready") for _ in range(3)))
    print("ready", flush=True)
    await asyncio.sleep(3600)
asyncio.run(main(*sys.argv[1:]))
"""


def life(key: str, mark: str) -> subprocess.Popen[str]:
    """A process that runs three units."""
    process = subprocess.Popen([sys.executable, "-c", _LIFE, key, mark], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


def test_a_killed_life_is_swept_and_others_are_not_touched(mark: str) -> None:
    other = new_mark()
    with life(KEY, mark) as killed, life("fedcba9876543210", other) as spared:
        killed.kill()
        killed.wait()
        wait_until(lambda: len(loaded(KEY)) == 3, "its units to be there")

        async def sweep(desk: Desk) -> None:
            assert isinstance(desk.units, Units)
            assert alive(mark)
            await desk.units.sweep()
            assert not alive(mark)
            assert not loaded(KEY)

        play(sweep)
        assert len(alive(other)) == 6
        spared.kill()
    play(sweep_of_the_other, "fedcba9876543210")
    none_alive(other)


async def sweep_of_the_other(desk: Desk) -> None:
    assert isinstance(desk.units, Units)
    await desk.units.sweep()


def test_a_life_that_left_nothing_asks_nobody() -> None:
    async def scene(desk: Desk) -> None:
        assert isinstance(desk.units, Units)
        await desk.units.sweep()
        assert desk.units._manager is None

    play(scene)


# ---- when systemd or the bus is away


def test_systemd_may_be_loaded_and_executed_anew_meanwhile(mark: str) -> None:
    async def scene(desk: Desk) -> None:
        for verb in ("daemon-reload", "daemon-reexec"):
            task = await desk.start("sh", "-c", "echo ready; read line; exit 5", until=b"ready", stdin=None)
            assert (await task).code == 5
            desk.output.clear()
            waiting = asyncio.ensure_future(desk.run("sh", "-c", f"echo ready; sleep 0.5; systemctl {verb}; exit 6"))
            assert await waiting == Finished(6, None, False, 0)
            task = await desk.start("sh", "-c", f"echo then; exec sleep {mark}", until=b"then")
            await asyncio.to_thread(systemctl, verb)
            desk.time_out()
            assert await task == Finished(None, signal.SIGTERM, True, 0)

    play(scene)


def test_systemd_reads_what_it_was_told_from_its_own_file_again(mark: str) -> None:
    async def scene(desk: Desk) -> None:
        task = await desk.start("sh", "-c", f"echo ready; exec sleep {mark}", until=b"ready")
        assert isinstance(desk.units, Units)
        assert desk.units._manager is not None
        (name,) = loaded(KEY)
        before = await desk.units._manager.state(name)
        await asyncio.to_thread(systemctl, "daemon-reload")
        after = await desk.units._manager.state(name)
        ((_, words, *_),) = before["ExecStart"]
        ((_, again, *_),) = after["ExecStart"]
        assert again == words
        same = ("Description", "LogExtraFields", "KillSignal", "TimeoutStopUSec", "Slice", "Before")
        assert {name: after[name] for name in same} == {name: before[name] for name in same}
        task.cancel()
        await asyncio.wait([task])

    play(scene)


def test_commands_may_begin_while_systemd_is_executed_anew() -> None:
    async def scene(desk: Desk) -> None:
        anew = asyncio.ensure_future(asyncio.to_thread(systemctl, "daemon-reexec"))
        codes: set[int | str | None] = set()
        while not anew.done():
            try:
                codes.add((await desk.run("sh", "-c", "exit 8")).code)
            except ActionError as error:
                codes.add("again" if error.retryable else str(error))
        assert codes <= {8, "again"}
        assert (await desk.run("sh", "-c", "exit 8")).code == 8

    play(scene)


def test_when_the_bus_dies_commands_fail_and_are_ended_before_the_next(mark: str) -> None:
    async def scene(desk: Desk) -> None:
        task = await desk.start("sh", "-c", f"echo ready; exec sleep {mark}", until=b"ready")
        bus = int(systemctl("show", "--value", "--property=MainPID", "dbus.service"))
        os.kill(bus, signal.SIGKILL)
        with pytest.raises(ActionError, match="the connection to systemd is lost") as failed:
            await task
        assert failed.value.retryable
        await eventually(lambda: not alive(mark), "what it had started to be ended")

        systemctl("start", "dbus.service")  # it may be there already: somebody else has asked for it
        assert await desk.run("true") == SUCCESS

    play(scene)


def test_without_a_bus_commands_fail_until_there_is_one() -> None:
    async def scene(desk: Desk) -> None:
        systemctl("stop", "dbus.socket", "dbus.service")
        try:
            with pytest.raises(ActionError, match="no connection to the system bus") as failed:
                await desk.run("true")
            assert failed.value.retryable
        finally:
            systemctl("start", "dbus.socket")
        assert await desk.run("true") == SUCCESS

    play(scene)


def test_a_bus_that_hangs_is_given_up(mark: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manager, "PATIENCE", 0.3)
    monkeypatch.setattr(units, "KILL_GRACE", 0.3)

    async def scene(desk: Desk) -> None:
        task = await desk.start("sh", "-c", f"echo ready; exec sleep {mark}", until=b"ready", stop_timeout=0.1)
        bus = int(systemctl("show", "--value", "--property=MainPID", "dbus.service"))
        os.kill(bus, signal.SIGSTOP)
        try:
            with pytest.raises(ActionError, match="didn't answer"):
                await desk.run("true")
            with pytest.raises(ActionError, match="was given up"):
                await task
            with pytest.raises(ActionError, match="no connection") as failed:
                await desk.run("true")
            assert failed.value.retryable
        finally:
            os.kill(bus, signal.SIGCONT)
        monkeypatch.undo()
        assert await desk.run("true") == SUCCESS
        assert not alive(mark)

    play(scene)
