"""Real programs that write a log, and real programs that read one while it is rotated.

A writer is told to write line after line, numbered from 0, and says how many it wrote. A reader follows a log and
leaves the lines that it saw in a file.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from tests.e2e.running import eventually

NUMBER = re.compile(rb"filewatchd/(\d{7})/x{40}\b")
SECONDS, TURN, PAUSE = 4.0, 40, 0.01


def line(number: int) -> str:
    """What tells a line from all others, and a whole one from a torn one."""
    return f"filewatchd/{number:07}/{'x' * 40}"


class Writer:
    """A program that writes a log. ``reopen``: how it is told to open it anew, if it can be."""

    name = ""
    reopen: Mapping[str, Any] | None = None

    def __init__(self, where: Path, log: Path) -> None:
        self.where, self.log = where, log

    @contextmanager
    def running(self) -> Iterator[None]:
        """While it runs."""
        yield

    def write(self, first: int, count: int) -> None:
        """So many lines, from that one on."""
        raise NotImplementedError

    def work(self, seconds: float = SECONDS, first: int = 0) -> int:
        """Write for a while; how many lines."""
        ends, written = time.monotonic() + seconds, 0
        while time.monotonic() < ends:
            self.write(first + written, TURN)
            written += TURN
            time.sleep(PAUSE)
        return written


class Nginx(Writer):
    """Debian's nginx, its access log; USR1 makes it open its logs anew."""

    name = "nginx (USR1)"

    def __init__(self, where: Path, log: Path) -> None:
        super().__init__(where, log)
        self.reopen = {"signal": "USR1", "pidfile": str(where / "nginx.pid")}

    @contextmanager
    def running(self) -> Iterator[None]:
        """Serves a Unix socket."""
        self.where.chmod(0o755)
        conf = self.where / "nginx.conf"
        conf.write_text(f"""
            daemon off; user root; worker_processes 2; pid {self.where}/nginx.pid; error_log {self.where}/error.log;
            events {{}}
            http {{
                log_format plain '$time_iso8601 $request_uri';
                access_log {self.log} plain;
                client_body_temp_path {self.where}/t1; proxy_temp_path {self.where}/t2;
                fastcgi_temp_path {self.where}/t3;
                uwsgi_temp_path {self.where}/t4; scgi_temp_path {self.where}/t5;
                keepalive_requests 1000000;
                server {{ listen unix:{self.where}/nginx.sock; location / {{ return 204; }} }}
            }}
        """)
        process = subprocess.Popen(["nginx", "-c", str(conf)])
        try:
            eventually((self.where / "nginx.pid").exists, "nginx runs", 10)
            eventually((self.where / "nginx.sock").exists, "nginx listens", 10)
            self.connection = HTTPConnection("localhost")
            self.connection.sock = socket.socket(socket.AF_UNIX)
            self.connection.sock.connect(str(self.where / "nginx.sock"))
            yield
            self.connection.close()
        finally:
            process.send_signal(signal.SIGQUIT)
            process.wait(10)

    def write(self, first: int, count: int) -> None:
        """A request a line."""
        for number in range(first, first + count):
            self.connection.request("GET", "/" + line(number))
            self.connection.getresponse().read()


class Rsyslog(Writer):
    """rsyslog's omfile, fed by a socket; HUP makes it open its files anew."""

    name = "rsyslog (HUP)"

    def __init__(self, where: Path, log: Path) -> None:
        super().__init__(where, log)
        self.reopen = {"signal": "HUP", "pidfile": str(where / "rsyslog.pid")}

    @contextmanager
    def running(self) -> Iterator[None]:
        """A private one."""
        conf = self.where / "rsyslog.conf"
        conf.write_text(
            f'module(load="imuxsock" SysSock.Use="off")\n'
            f'input(type="imuxsock" Socket="{self.where}/syslog.sock" RateLimit.Interval="0")\n'
            f'global(workDirectory="{self.where}")\n*.* action(type="omfile" file="{self.log}")\n'
        )
        pid = self.where / "rsyslog.pid"
        process = subprocess.Popen(["rsyslogd", "-n", "-f", str(conf), "-i", str(pid)], stderr=subprocess.DEVNULL)
        try:
            eventually((self.where / "syslog.sock").exists, "rsyslog listens", 10)
            eventually(pid.exists, "rsyslog has its pid file", 10)
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self.socket.connect(str(self.where / "syslog.sock"))
            yield
            self.socket.close()
        finally:
            process.terminate()
            process.wait(10)

    def write(self, first: int, count: int) -> None:
        """A datagram a line; a full socket waits."""
        for number in range(first, first + count):
            self.socket.send(f"<13>Nov 27 21:51:31 test: {line(number)}".encode())


class Python(Writer):
    """Python's logging in a process of its own, which is told numbers on its standard input."""

    name = "Python logging, append"
    handler = "logging.FileHandler({log!r})"

    @contextmanager
    def running(self) -> Iterator[None]:
        """The process."""
        program = (
            "import logging, logging.handlers, sys\n"
            f"handler = {self.handler.format(log=str(self.log))}\n"
            "log = logging.getLogger('test'); log.addHandler(handler); log.setLevel(logging.INFO)\n"
            f"for words in sys.stdin:\n    first, count = map(int, words.split())\n"
            "    for n in range(first, first + count):\n"
            "        log.info('filewatchd/%07d/' + 40 * 'x', n)\n"
            "    print(flush=True)\n"
        )
        self.process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            yield
        finally:
            assert self.process.stdin is not None
            assert self.process.stdout is not None
            self.process.stdin.close()
            self.process.stdout.close()
            self.process.wait(10)

    def write(self, first: int, count: int) -> None:
        """By one word."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(b"%d %d\n" % (first, count))
        self.process.stdin.flush()
        self.process.stdout.readline()


class PythonWrites(Python):
    """The same without O_APPEND."""

    name = "Python logging, mode w"
    handler = "logging.FileHandler({log!r}, mode='w')"


class PythonWatches(Python):
    """The handler that looks for itself whether its file is another one."""

    name = "Python WatchedFileHandler"
    handler = "logging.handlers.WatchedFileHandler({log!r})"


class Shell(Writer):
    """Opens, appends and closes for each line."""

    name = "shell `>>` loop"

    def write(self, first: int, count: int) -> None:
        """One shell for a turn."""
        script = 'i=$1; while [ $i -lt $2 ]; do printf "filewatchd/%07d/%s\\n" $i "$3" >>"$4"; i=$((i+1)); done'
        words = (str(first), str(first + count), "x" * 40, str(self.log))
        subprocess.run(["sh", "-c", script, "sh", *words], check=True)


WRITERS: tuple[type[Writer], ...] = (Nginx, Rsyslog, Python, PythonWrites, PythonWatches, Shell)


# ---- readers


class Reader:
    """A program that follows a log."""

    name = ""

    def __init__(self, where: Path, log: Path) -> None:
        self.where, self.log, self.seen = where, log, where / f"seen-{type(self).__name__}"

    @contextmanager
    def running(self) -> Iterator[None]:
        """While it runs; it has opened the log when this begins."""
        yield

    def lines(self) -> bytes:
        """What it has seen."""
        return self.seen.read_bytes() if self.seen.exists() else b""


class Tail(Reader):
    """coreutils' tail."""

    name = "`tail -F`"

    @contextmanager
    def running(self) -> Iterator[None]:
        """From the beginning of the file."""
        with self.seen.open("wb") as out:
            process = subprocess.Popen(["tail", "-n", "+1", "-F", self.log], stdout=out, stderr=subprocess.DEVNULL)
            try:
                eventually(lambda: opened(process.pid, self.log), "tail has opened the log", 10)
                yield
            finally:
                process.kill()
                process.wait()


class Imfile(Reader):
    """rsyslog as a reader."""

    name = "rsyslog imfile"

    @contextmanager
    def running(self) -> Iterator[None]:
        """A private one."""
        state = self.where / "imfile"
        state.mkdir(exist_ok=True)
        conf, pid = self.where / "imfile.conf", self.where / "imfile.pid"
        conf.write_text(
            f'module(load="imfile" mode="inotify")\nglobal(workDirectory="{state}")\n'
            f'input(type="imfile" File="{self.log}" Tag="t" reopenOnTruncate="on")\n'
            f'template(name="raw" type="string" string="%msg%\\n")\n'
            f'*.* action(type="omfile" file="{self.seen}" template="raw")\n'
        )
        process = subprocess.Popen(["rsyslogd", "-n", "-f", str(conf), "-i", str(pid)], stderr=subprocess.DEVNULL)
        try:
            eventually(lambda: opened(process.pid, self.log), "imfile has opened the log", 10)
            yield
        finally:
            process.terminate()
            process.wait(10)


READERS: tuple[type[Reader], ...] = (Tail, Imfile)


def opened(pid: int, path: Path) -> bool:
    """Whether a process has a file open."""
    try:
        links = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    except OSError:
        return False
    return str(path) in links
