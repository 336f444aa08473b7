"""The control socket: status, flush, and whom it answers."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from filewatchd.control.api import RequestError, socket_in
from filewatchd.errors import FatalError
from tests.e2e.running import Daemon, eventually
from tests.e2e.steps import CONTENT, ask, configure, gate, lines, shell, small_queue, tell, told


def flush(daemon: Daemon, /, **arguments: Any) -> Mapping[str, Any]:
    found = ask(daemon, "flush", **arguments)
    assert found["done"], found
    return found


def test_status_tells_of_roots_and_rules(daemon: Daemon) -> None:
    daemon.configure(daemon.rule())
    daemon.start()
    status = ask(daemon, "status")
    (root,) = status["watch"]["roots"]
    assert (root["path"], root["state"], root["backend"]) == (str(daemon.root), "live", "inotify")
    assert root["reason"].endswith("is local")
    assert status["pid"] == daemon.pid
    assert status["ready"] is True
    assert status["rules"]["recorded"]["dirty"] == 0
    assert status["watch"]["backends"]["inotify"]["limits"]
    place = daemon.directory / "run" / "control.sock"
    assert stat.S_IMODE(place.stat().st_mode) == 0o666
    daemon.stop()
    assert not place.exists()


def test_flush_returns_when_all_that_happened_before_is_done(daemon: Daemon) -> None:
    daemon.configure(daemon.rule(changes=CONTENT))
    daemon.start()
    for number in range(30):
        deep = daemon.root / f"{number}" / "a" / "b"
        deep.mkdir(parents=True)
        for name in range(20):
            (deep / f"{name}").write_text("x")
        left = flush(daemon)
        assert len(daemon.recorder.view()) == 20 * (number + 1)
        assert not any(left[kind] for kind in ("held", "backoff", "failed", "skipped", "paused", "stalled"))


def test_flush_lists_what_it_doesnt_wait_for(daemon: Daemon) -> None:
    failing = shell('[ "$1" != b ] && [ "$1" != c ]', "{name}")
    retries = {"attempts": 2, "backoff": "1h", "max_backoff": "1h"}
    daemon.configure(
        daemon.rule(),
        daemon.rule("failing", actions=failing, retry=retries, include=["b"]),
        daemon.rule("lost", actions=failing, retry={"attempts": 1}, include=["c"]),
    )
    daemon.start()
    with (daemon.root / "a").open("w") as held:
        held.write("x")
        held.flush()
        (daemon.root / "b").write_text("x")
        (daemon.root / "c").write_text("x")
        left = flush(daemon)
        assert [entry["path"] for entry in left["held"]] == [str(daemon.root / "a")] * (left["held"] != [])
        eventually(lambda: flush(daemon)["held"] == [{"path": str(daemon.root / "a")}], "a is seen to be held", 20)
    assert flush(daemon)["backoff"] == [{"path": str(daemon.root / "b")}]
    assert flush(daemon)["failed"] == [{"path": str(daemon.root / "c")}]
    tell(daemon, ("created", "a"), ("created", "b"), ("created", "c"))


def test_a_flush_during_a_retry_lists_its_paths(daemon: Daemon) -> None:
    """It waits for no retry: not for one that is to come, nor for one that runs."""
    out, door = daemon.directory / "out", gate(daemon)
    script = 'echo begin >> "$1"; [ $(wc -l < "$1") = 2 ] || exit 1; read line < "$2"'
    retries = {"attempts": 2, "backoff": "10ms", "max_backoff": "10ms"}
    daemon.configure(daemon.rule(actions=shell(script, str(out), str(door)), retry=retries))
    daemon.start()
    (daemon.root / "a").write_text("x")
    eventually(lambda: lines(out) == ["begin", "begin"], "the retry runs", 20)
    assert flush(daemon)["backoff"] == [{"path": str(daemon.root / "a")}]
    door.write_text("go\n")
    eventually(lambda: flush(daemon)["backoff"] == [], "the retry is over", 20)


def test_what_a_newer_change_takes_out_of_a_failed_job_is_listed(daemon: Daemon) -> None:
    """It is neither in back-off any more, nor dirty since before the flush; but nobody was told of it."""
    out, slow, door = daemon.directory / "out", gate(daemon, "slow"), gate(daemon)
    script = 'echo begin >> "$1"; [ $(wc -l < "$1") = 2 ] || exit 1; read line < "$2"'
    retries = {"attempts": 2, "backoff": "1h", "max_backoff": "1h"}
    daemon.configure(
        daemon.rule("failing", actions=shell(script, str(out), str(door)), retry=retries, include=["a"]),
        daemon.rule("slow", actions=shell('read line < "$1"', str(slow)), include=["b"]),
    )
    daemon.start()
    (daemon.root / "a").write_text("x")
    eventually(lambda: flush(daemon)["backoff"] == [{"path": str(daemon.root / "a")}], "it has failed", 20)
    (daemon.root / "b").write_text("x")
    before = daemon.log().count("flush {")
    with ThreadPoolExecutor(1) as pool:
        flushed = pool.submit(flush, daemon)
        eventually(lambda: daemon.log().count("flush {") > before, "it waits for the slow one")
        (daemon.root / "a").write_text("y")
        eventually(lambda: lines(out) == ["begin", "begin"], "the newer change runs", 20)
        slow.write_text("go\n")
        assert flushed.result(20)["backoff"] == [{"path": str(daemon.root / "a")}]
    door.write_text("go\n")
    eventually(lambda: flush(daemon)["backoff"] == [], "it has been told", 20)


def test_a_move_in_back_off_is_listed_by_both_names(daemon: Daemon) -> None:
    """Nobody has been told that the old name is gone, neither before the retry nor while it runs."""
    out, door = daemon.directory / "out", gate(daemon)
    script = 'test "$1" = b || exit 0; echo begin >> "$2"; [ $(wc -l < "$2") = 2 ] || exit 1; read line < "$3"'
    retries = {"attempts": 2, "backoff": "1h", "max_backoff": "1h"}
    action = shell(script, "{name}", str(out), str(door))
    daemon.configure(daemon.rule(actions=action, retry=retries, changes=["created", "moved", "deleted"]))
    daemon.start()
    (daemon.root / "a").write_text("x")
    flush(daemon)
    (daemon.root / "a").rename(daemon.root / "b")
    both = [{"path": str(daemon.root / "b")}, {"path": str(daemon.root / "a")}]
    eventually(lambda: flush(daemon)["backoff"] == both, "the move waits for its retry", 20)
    assert ask(daemon, "retry", all=True)["paths"] == 1
    eventually(lambda: lines(out) == ["begin", "begin"], "the retry runs", 20)
    assert flush(daemon)["backoff"] == both
    door.write_text("go\n")
    eventually(lambda: flush(daemon)["backoff"] == [], "the retry is over", 20)


def test_a_flush_that_takes_too_long_says_so(daemon: Daemon) -> None:
    out, door = daemon.directory / "out", gate(daemon)
    script = 'echo begin >> "$2"; read line < "$3"'
    daemon.configure(daemon.rule(actions=shell(script, "{name}", str(out), str(door))), daemon.rule("other"))
    daemon.start()
    (daemon.root / "a").write_text("x")
    eventually(lambda: lines(out) == ["begin"], "the job began", 20)
    assert ask(daemon, "flush", timeout=0.1)["done"] is False
    assert ask(daemon, "flush", rule="other")["done"] is True
    door.write_text("go\n")
    assert ask(daemon, "flush")["done"] is True


def test_a_flush_in_an_overflow_waits_for_the_rescan(daemon: Daemon) -> None:
    daemon.configure(daemon.rule(changes=CONTENT, settle="10ms"))
    with small_queue():
        daemon.start()
    daemon.signal(signal.SIGSTOP)  # else it may read as fast as the files are written
    for number in range(3000):
        (daemon.root / f"{number}").write_text("x")
    daemon.signal(signal.SIGCONT)
    flush(daemon)
    assert len(told(daemon.recorder, daemon.root)) == 3000
    status = ask(daemon, "status")
    assert status["watch"]["backends"]["inotify"]["overflows"] > 0
    promise = status["promise"]
    assert (promise["kept"], promise["in_doubt_since"], promise["reasons"]) == (True, None, [])
    assert promise["doubts"] > 0
    assert promise["seconds_in_doubt_total"] > 0
    daemon.says("the promise is kept again, after ")


def doubts(daemon: Daemon) -> list[dict[str, Any]]:
    return list(ask(daemon, "status")["promise"]["reasons"])


def test_status_tells_what_puts_the_promise_in_doubt(daemon: Daemon) -> None:
    out, door = daemon.directory / "out", gate(daemon)
    script = 'echo begin >> "$1"; read line < "$2"'
    daemon.configure(daemon.rule(actions=shell(script, str(out), str(door)), on_busy="skip"))
    daemon.start()
    assert ask(daemon, "status")["promise"]["kept"] is True
    (daemon.root / "a").write_text("x")
    eventually(lambda: lines(out) == ["begin"], "the job began", 20)
    (daemon.root / "b").write_text("x")
    (reason,) = eventually(lambda: doubts(daemon), "b is left", 20)
    since = ask(daemon, "status")["promise"]["in_doubt_since"]
    assert (reason["about"], reason["what"], reason["since"]) == ("skipped", "recorded", since)
    door.write_text("go\n")
    eventually(lambda: not ask(daemon, "status")["rules"]["recorded"]["running"], "the job ended", 20)
    (daemon.root / "c").write_text("x")
    eventually(lambda: lines(out) == ["begin"] * 2, "b and c have a job", 20)
    promise = ask(daemon, "status")["promise"]
    assert (promise["kept"], promise["doubts"]) == (True, 1)
    door.write_text("go\n")


def test_resume_acknowledges_that_state_was_lost(daemon: Daemon) -> None:
    daemon.configure(daemon.rule())
    daemon.start()
    daemon.stop()
    (daemon.state_dir / "journal.db").write_bytes(b"garbage" * 1000)
    daemon.start()
    (reason,) = ask(daemon, "status")["promise"]["reasons"]
    assert reason["about"] == "state"
    assert ask(daemon, "resume", rule="recorded")["acknowledged"] is False
    assert ask(daemon, "status")["promise"]["kept"] is False
    assert ask(daemon, "resume")["acknowledged"] is True
    assert ask(daemon, "status")["promise"]["kept"] is True
    daemon.stop()
    daemon.start()
    assert ask(daemon, "status")["promise"]["doubts"] == 0


def test_what_is_wrong_with_a_request_is_said(daemon: Daemon) -> None:
    daemon.configure(daemon.rule())
    daemon.start()
    with pytest.raises(RequestError, match="there is no rule nope; there are recorded"):
        ask(daemon, "flush", rule="nope")
    with pytest.raises(RequestError, match="timeout: expected `float`, got `str`"):
        ask(daemon, "flush", timeout="soon")
    assert raw(daemon, b"GET /v1/nothing HTTP/1.1\r\nHost: x\r\n\r\n").startswith(b"HTTP/1.1 404")
    assert raw(daemon, b"GET /v1/flush HTTP/1.1\r\nHost: x\r\n\r\n").startswith(b"HTTP/1.1 405")
    body = b"POST /v1/flush HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n"
    assert b"isn't JSON" in raw(daemon, body % 3 + b"[[[")
    assert b"must be a JSON object" in raw(daemon, body % 2 + b"[]")
    assert raw(daemon, body % 1100000 + b"x" * 1100000).startswith(b"HTTP/1.1 413")
    assert raw(daemon, b"x" * 40000).startswith(b"HTTP/1.1 4")
    assert ask(daemon, "status")["ready"] is True


def raw(daemon: Daemon, data: bytes) -> bytes:
    """Send bytes and take what comes until the other end closes or an answer is whole."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        sock.connect(socket_in(str(daemon.directory / "run")))
        try:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            pass
        found = b""
        with contextlib.suppress(ConnectionResetError):  # it was closed with bytes of ours unread
            while piece := sock.recv(65536):
                found += piece
        return found


def test_several_requests_on_one_connection(daemon: Daemon) -> None:
    daemon.configure(daemon.rule())
    daemon.start()
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(socket_in(str(daemon.directory / "run")))
    for _ in range(3):
        connection.request("GET", "/v1/status")
        answer = connection.getresponse()
        assert answer.status == 200
        assert answer.read()
    connection.close()


def test_a_client_that_stays_connected_keeps_nobody_from_ending(daemon: Daemon) -> None:
    daemon.configure(daemon.rule())
    daemon.start()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(socket_in(str(daemon.directory / "run")))
        client.sendall(b"GET /v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert client.recv(65536)
        daemon.stop()
    assert "Traceback" not in daemon.log()


def test_a_stranger_gets_the_reason(daemon: Daemon) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can play a stranger")
    daemon.configure(daemon.rule())
    daemon.start()
    for directory in (daemon.directory, *daemon.directory.parents):
        directory.chmod(directory.stat().st_mode | 0o011)
    script = (
        "import os, socket, sys; os.setgid(65534); os.setuid(65534); s = socket.socket(socket.AF_UNIX);"
        "s.connect(sys.argv[1]); s.sendall(b'GET /v1/status HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n');"
        "print(b''.join(iter(lambda: s.recv(65536), b'')).decode())"
    )
    words = [sys.executable, "-I", "-c", script, socket_in(str(daemon.directory / "run"))]
    found = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert found.startswith("HTTP/1.1 403")
    assert (
        "nobody (uid 65534) may not ask this daemon: name the user, or a @group of theirs, under control.read" in found
    )


def test_a_dead_daemons_socket_is_replaced_and_nothing_else_is(daemon: Daemon) -> None:
    configure(daemon, daemon.rule())
    daemon.start()
    daemon.kill()
    place = daemon.directory / "run" / "control.sock"
    assert place.exists()
    with pytest.raises(FatalError, match="no daemon answers"):
        ask(daemon, "status")
    daemon.start()
    assert ask(daemon, "status")["ready"] is True
    daemon.stop()
    place.write_text("mine")
    process = daemon.launch()
    assert process.wait(20) == 1
    daemon.says("control.sock is no socket; move it away")
    assert place.read_text() == "mine"
