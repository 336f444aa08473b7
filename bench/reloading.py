"""Reloads: from a saved file to the service that has it, against incron and systemd.path; and a set of many files.

systemd.path needs a systemd that has booted. filewatchd is measured there too, in the same run and machine: as the
packaged service, whose sandbox may not mount, so that the check is a unit of systemd's, and started by root.

``FILEWATCHD_BENCH_SCALE`` (1) shrinks the numbers for a first try.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bench.measure import Spread
from bench.places import REPEATS, Table, place, ratio
from bench.watchers import Filewatchd, Incron, Job
from filewatchd.actions.reload.store import Store
from filewatchd.actions.reload.taking import Taker
from filewatchd.clock import SystemClock
from filewatchd.model import RuleSettings
from filewatchd.testing import FakeContext

if TYPE_CHECKING:
    from tests.e2e.systemd.machine import Machine

SCALE = float(os.environ.get("FILEWATCHD_BENCH_SCALE", "1"))
SAVES = max(3, int(40 * SCALE))
FILES, CHANGES = max(100, int(5000 * SCALE)), 11

# Saves a site again and again, and asks nginx until it answers so. Prints the milliseconds from close() to then.
_MEASURE = """
import json, sys, time, urllib.request
path, port, saves = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
found = []
for number in range(saves):
    text = f"server {{ listen 127.0.0.1:{port}; location / {{ return 200 '{time.time_ns()}'; }} }}" + chr(10)
    with open(path, "w") as file:
        file.write(text)
    began = time.perf_counter()
    wanted = text.split("'")[1]
    while True:
        try:
            if urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).read().decode() == wanted:
                break
        except OSError:
            pass
        if time.perf_counter() - began > 20:
            sys.exit(f"save {number}: nginx never had it")
    found.append((time.perf_counter() - began) * 1000)
    time.sleep(0.3)  # old workers end
print(json.dumps(found))
"""
_NGINX = """daemon off; worker_processes 1; pid {0}/nginx.pid; error_log {0}/error.log; events {{}}
http {{ access_log off; client_body_temp_path {0}/1; proxy_temp_path {0}/2; fastcgi_temp_path {0}/3;
uwsgi_temp_path {0}/4; scgi_temp_path {0}/5; include {1}/*.conf; }}
"""
_PATH_UNITS = {
    "/etc/systemd/system/site.path": "[Path]\nPathChanged=/etc/nginx/conf.d/site.conf\n",
    "/etc/systemd/system/site.service": "[Unit]\nStartLimitIntervalSec=0\n[Service]\nType=oneshot\n"
    "ExecStart=/usr/sbin/nginx -s reload\n",
}
_PATH_UNIT, _SITE = "systemd.path", "/etc/nginx/conf.d/site.conf"
_SIGNAL = {"signal": "HUP", "pidfile": "/run/nginx.pid"}
_APPLIES: dict[str, object] = {
    "filewatchd by root, command": ["nginx", "-s", "reload"],
    "filewatchd by root, signal": _SIGNAL,
    "filewatchd.service, signal": _SIGNAL,
}


@contextlib.contextmanager
def nginx(job: Job) -> Iterator[int]:
    """Nginx with the tree's sites; gives its port."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = int(sock.getsockname()[1])
    config = job.work / "nginx.conf"
    config.write_text(_NGINX.format(job.work, job.tree))
    with subprocess.Popen(["nginx", "-c", str(config)], stdin=subprocess.DEVNULL) as running:
        try:
            while not (job.work / "nginx.pid").exists():
                time.sleep(0.01)
            yield port
        finally:
            running.terminate()


def rules(job: Job, apply: object) -> Job:
    """One rule that reloads it."""
    options = {"check": ["true"], "apply": apply, "cooldown": 0}
    text = f"version: 1\nrules:\n  - name: nginx\n    roots: ['{job.tree}']\n    settle: 0s\n"
    return job._replace(rules=f"{text}    actions: [reload: {json.dumps(options)}]\n")


def reloads() -> Table:
    """A site is saved; until nginx answers with it."""
    found = {}
    for name in ("incron", "filewatchd, command", "filewatchd, signal"):
        found[name] = Spread.of([time for _ in range(REPEATS) for time in _once(name)])
    ratios = [ratio(f"{name} to incron", found[name], found["incron"]) for name in list(found)[1:]]
    booted, why = _booted()
    for name, times in booted.items():
        found[f"booted: {name}"] = Spread.of(times)
    peer = found.get(f"booted: {_PATH_UNIT}")
    if peer is not None:
        ratios += [ratio(f"{name} to {_PATH_UNIT}, both booted", found[f"booted: {name}"], peer) for name in _APPLIES]
    rows = [(name, spread.text()) for name, spread in found.items()]
    if why:
        rows.append((_PATH_UNIT, f"not measured: {why}"))
    return Table(
        f"From a saved file to nginx that has it ({SAVES} saves a run, one at a time)",
        "From close() to the first answer with what was saved, asked for all the time. filewatchd with `settle: 0s`"
        " keeps the set, runs `true` with it mounted in the live place, and tells nginx by `nginx -s reload` as incron"
        " and systemd do, or by a signal; the others check nothing and keep nothing. Booted is a Debian in a container,"
        " where nginx runs as its unit has it; filewatchd's own service has its check run as a unit, started"
        " by root in a namespace.",
        ("what", "ms"),
        rows,
        ratios,
    )


def _once(name: str) -> list[float]:
    with place() as job, nginx(job) as port:
        site = job.tree / "site.conf"
        command = ("nginx", "-c", str(job.work / "nginx.conf"), "-s", "reload")
        if name == "incron":
            watcher: Filewatchd | Incron = Incron()
            job = job._replace(probe=command)
            # incron adds the path of what was written; nginx would take it for an option's value
            wrapper = job.work / "reload"
            wrapper.write_text(f"#!/bin/sh\nexec {' '.join(command)}\n")
            wrapper.chmod(0o755)
            job = job._replace(probe=(str(wrapper),))
        else:
            watcher = Filewatchd()
            signal = {"signal": "HUP", "pidfile": str(job.work / "nginx.pid")}
            job = rules(job, list(command) if name.endswith("command") else signal)
        with watcher.running(job):
            time.sleep(1.0)  # incron doesn't say when it is ready; filewatchd takes its first set
            return _measure([sys.executable], site, port)


def _measure(python: list[str], site: Path, port: int) -> list[float]:
    done = subprocess.run(
        [*python, "-c", _MEASURE, str(site), str(port), str(SAVES)], capture_output=True, text=True, check=True
    )
    return list(json.loads(done.stdout))


def _booted() -> tuple[dict[str, list[float]], str]:
    """The same in a booted Debian, by a path unit and by filewatchd in turn; or why not."""
    from tests.e2e.systemd import layers, product
    from tests.e2e.systemd.machine import Machine

    if why := layers.lacking():
        return {}, why
    stack = product.installed(layers.packages(layers.debian("bookworm"), "nginx-light"), product.package("bookworm"))
    machine = Machine(stack)
    found: dict[str, list[float]] = {}
    with contextlib.closing(machine):
        machine.boot()
        for path, text in _PATH_UNITS.items():
            machine.put(path, text)
        machine.path("/etc/nginx/sites-enabled/default").unlink()
        machine.put(_SITE, "\n")
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "restart", "nginx")
        for _ in range(REPEATS):
            for name in (_PATH_UNIT, *_APPLIES):
                with _watching(machine, name):
                    words = ("python3", "-c", _MEASURE, _SITE, "8080", str(SAVES))
                    found.setdefault(name, []).extend(json.loads(machine.run(*words, timeout=120).stdout))
    return found, ""


@contextlib.contextmanager
def _watching(machine: Machine, name: str) -> Iterator[None]:
    """Who tells nginx in the machine."""
    if name == _PATH_UNIT:
        machine.run("systemctl", "start", "site.path")
        yield
        machine.run("systemctl", "stop", "site.path")
        return
    options = {"check": ["true"], "apply": _APPLIES[name], "cooldown": 0}
    text = "version: 1\nrules:\n  - name: nginx\n    roots: [/etc/nginx]\n    settle: 0s\n"
    machine.put("/etc/filewatchd/filewatchd.yaml", f"{text}    actions: [reload: {json.dumps(options)}]\n")
    unit = "filewatchd.service"
    if "service" in name:
        machine.run("systemctl", "start", unit)
    else:  # a unit of nobody's, without a sandbox
        unit = "by-hand.service"
        machine.run("systemd-run", "--quiet", f"--unit={unit}", "filewatchd", "run", "--runtime-dir", "/run/filewatchd")
    _synced(machine)
    yield
    machine.run("systemctl", "stop", unit)


def _synced(machine: Machine) -> None:
    """Wait until the first set is taken."""
    deadline = time.monotonic() + 30
    while '"synced"' not in machine.run("filewatchctl", "reload", "history", "nginx", "--json", check=False).stdout:
        if time.monotonic() > deadline:
            raise TimeoutError(f"filewatchd takes no set: {machine.run('journalctl', '-n', '50', check=False).stdout}")
        time.sleep(0.1)


# ---- a set of many files


class Later(SystemClock):
    """An hour from now: nothing was just written."""

    def wall_ns(self) -> int:
        """Nanoseconds since the epoch."""
        return super().wall_ns() + 3600 * 10**9


class Here:
    """A worker without a thread, and without a wire."""

    async def call(self, work, *args):  # type: ignore[no-untyped-def]
        """Do it."""
        return work(*args)


def sets() -> Table:
    """A set of 5,000 files with one changed: two looks, one read, and the digest of all."""
    first, again = [], []
    for _ in range(REPEATS):
        with place() as job:
            for number in range(FILES):
                folder = job.tree / str(number // 100)
                folder.mkdir(exist_ok=True)
                (folder / f"{number}.conf").write_text(f"server {number}\n" * 20)
            ctx = FakeContext(RuleSettings(name="set", roots=(str(job.tree),), actions=()))
            ctx.clock, ctx.worker = Later(), Here()  # type: ignore[assignment]
            store = Store(str(job.work / "versions/set"))
            store.prepare()
            taker = Taker(ctx, store, [str(job.tree)])
            first.append(_timed(taker))
            for number in range(CHANGES):
                (job.tree / "0/0.conf").write_text(f"changed {number}\n")
                again.append(_timed(taker))
    return Table(
        f"A set of {FILES:,} files",
        "A look at every name, a read of what isn't known, the same look again, and the digest. The first time all is"
        " read and kept, with two syncs of the filesystem for each thousand files.",
        ("what", "ms"),
        [("the first time", Spread.of(first).text()), ("one file changed", Spread.of(again).text())],
        [],
    )


def _timed(taker: Taker) -> float:
    began = time.perf_counter()
    asyncio.run(taker.take())
    return (time.perf_counter() - began) * 1000
