"""Plays a script: a real daemon over real files, asked with flush, so that nobody waits for time to pass.

Besides those of `files`, the commands are:

    start, stop, kill, restart    the daemon's life; start waits until all roots have been looked at
    stall, go                     it stands still, goes on: what happens in between it learns at once
    rule NAME KEY VALUE, reload   change a rule's key, and let the daemon take it in
    mount TYPE PATH [IMAGE]       ext4, ext4-128, xfs, btrfs, tmpfs, overlay; bindfs shows `PATH.behind`
    umount PATH, bind OLD NEW
    freeze PATH, thaw PATH        the server of a bindfs stops, goes on
    watches N                     another budget of inotify watches
    run PROGRAM ARGUMENT...       in the scene's directory; must end with status 0
    terminal SHOWS PROGRAM...     the same at a terminal; once it SHOWS something, type the ``keys`` below
    flush [KIND PATH...]          all that happened before is worked, but for these that are left: held, stalled...
    expect [RULE]                 what was told since the last expect amounts to just the changes below
    expect [RULE] nothing         to nothing
    status root PATH KEY OP VALUE waits until status says so; OP is == != <= >= or contains
    status rule NAME KEY OP VALUE
    status backend KEY OP VALUE
    says TEXT                     waits until the daemon's log has it

At the end of every script all is flushed and nothing more may be told; what was told, carried out over what stood at
the start, must be what is on the disk; the daemon must end with status 0 and must not have logged an error of its own.
"""

from __future__ import annotations

import json
import operator
import os
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pexpect

from filewatchd.control import client
from filewatchd.control.api import RequestError, socket_in
from filewatchd.errors import FilewatchdError
from tests.e2e.running import Daemon, Recorder, eventually, named
from tests.scripts.account import PAIRING, Account
from tests.scripts.files import Files
from tests.scripts.language import Line, Script, expected, unrolled
from tests.scripts.mounts import Mounts, private

#: What isn't asked of every script's daemon: one rule that wants to know all, soon.
MIRROR = {
    "changes": "[created, modified, deleted, moved, metadata]",
    "settle": "20ms",
    "max_wait": "1s",
    "ready": "closed",
    "presets": "[]",
}
_LEFT = ("held", "backoff", "failed", "skipped", "paused", "stalled")
_WITHIN = 30.0  # seconds for what status or the log shall say
_WITHIN_FAULT = 3.0  # seconds, where a known fault keeps it from coming
_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "contains": operator.contains,
}


#: What goes wrong in a command: the script's fault or the daemon's, both are shown.
_TROUBLE = (
    AssertionError, OSError, subprocess.SubprocessError, pexpect.ExceptionPexpect, FilewatchdError, RequestError,
    KeyError, TypeError, ValueError,
)  # fmt: skip


class Failed(AssertionError):  # noqa: N818 - reads as pytest shows it
    """A script that failed: its line, what was expected, what was told, the end of the daemon's log."""


class Stage:
    """One performance of a script."""

    def __init__(
        self, script: Script, backend: str, directory: Path, *, place: Path | None = None, seen: Path | None = None
    ) -> None:
        """``directory`` takes the daemon's own files; ``place`` the script's, which the daemon sees at ``seen``."""
        self._script = script
        self._backend = backend
        self._seen = str(seen or place or directory)
        self._place = str(place or directory)
        self._within = _WITHIN_FAULT if script.xfail else _WITHIN
        self._daemon = Daemon(directory)
        self._daemon.quickly = True
        os.makedirs(os.path.join(self._place, "root"), exist_ok=True)
        self._files = Files(self._place)
        self._mounts = Mounts(directory)
        if "root" in script.needs:
            private()  # before the daemon starts, which else would see none of its mounts
        self._rules = {name: {**MIRROR, "backend": backend, **keys} for name, keys in script.rules.items()}
        self._accounts = {
            name: Account(
                Recorder(directory / f"recorded-{name}"),
                self._seen,
                script.roots_of(name),
                follow="follow_symlinks" in keys,
                pairs=backend in PAIRING,
            )
            for name, keys in script.rules.items()
        }
        self._started = False
        self._left: Mapping[str, list[str]] = {}
        self._commands: Mapping[str, Callable[..., None]] = {
            "start": self._begin,
            "stop": self._daemon.stop,
            "kill": self._daemon.kill,
            "restart": self._restart,
            "stall": lambda: self._daemon.signal(signal.SIGSTOP),
            "go": lambda: self._daemon.signal(signal.SIGCONT),
            "rule": self._change_rule,
            "reload": self._reload,
            "umount": lambda path: self._mounts.umount(self._files.at(path)),
            "bind": lambda old, new: self._mounts.bind(self._files.at(old), self._files.at(new)),
            "freeze": lambda path: self._mounts.freeze(self._files.at(path)),
            "thaw": lambda path: self._mounts.thaw(self._files.at(path)),
            "mount": self._mount,
            "watches": self._budget,
            "run": self._run,
            "flush": self._flush,
            "status": self._status,
            "says": self._daemon.says,
            **self._files.commands,
        }

    # ---- the play

    def play(self) -> None:
        """Play it to the end. Raises Failed."""
        line = Line(0, ())
        try:
            if not self._script.later:
                self._begin()
            for line in unrolled(self._script.lines):
                self._carry_out(line)
            line = Line(line.number, ("the end of the script",))
            self._end()
        except _TROUBLE as error:
            raise Failed(self._report(line, error)) from error
        finally:
            self._daemon.kill()
            self._files.end()
            self._mounts.close()

    def _carry_out(self, line: Line) -> None:
        name, *words = line.words
        if name == "expect":
            rules = [word for word in words if word != "nothing"]
            assert line.below or "nothing" in words, "nothing is listed below it"
            self._accounts[rules[0] if rules else "mirror"].expect([expected(below) for below in line.below])
        elif name == "terminal":
            self._terminal(words, [key for below in line.below for key in below.words[1:]])
        else:
            self._commands[name](*words)

    def _end(self) -> None:
        if self._daemon.process is not None:
            self._flush(*(word for kind, paths in self._left.items() for word in (kind, *paths)))
        for account in self._accounts.values():
            account.close(whole=self._script.whole_view)
        opened = self._files.opened()
        assert not opened, f"somebody opened {', '.join(opened)}"
        self._daemon.stop()
        for trouble in ("internal error", "Traceback"):
            assert trouble not in self._daemon.log(), f"the daemon logged: {trouble}"

    def _report(self, line: Line, error: Exception) -> str:
        place = f"{self._script.path}:{line.number}"
        log = self._daemon.log().splitlines()[-40:]
        text = str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
        head = f"{place}: {' '.join(line.words)[:500]} (backend {self._backend}): {self._script.about}"
        return "\n".join([head, text, "the end of the daemon's log:", *log])

    # ---- the daemon

    def _begin(self) -> None:
        script = self._script
        if script.powerless:
            none = [f"--{kind}=-all" for kind in ("bounding-set", "inh-caps", "ambient-caps")]
            self._daemon.through = ["setpriv", *none]
        if script.watches is not None:
            budget = f'echo {script.watches} > /proc/sys/user/max_inotify_watches && exec "$@"'
            self._daemon.through = ["unshare", "-Ur", "sh", "-c", budget, "sh"]
        self._configure()
        for rule, account in self._accounts.items() if not self._started else ():
            account.open(known=self._rules[rule].get("initial") != "process")
        self._started = True
        self._daemon.start()

    def _configure(self) -> None:
        rules = []
        for name, keys in self._rules.items():
            roots = json.dumps([f"{self._seen}/{root}" for root in self._script.roots_of(name)])
            lines = [f"  - name: {name}", f"    roots: {roots}", *(f"    {key}: {keys[key]}" for key in keys)]
            rules += [*lines, "    actions:", f"      - {self._accounts[name].recorder.action()}"]
        self._daemon.config.write_text("\n".join(["version: 1", "rules:", *rules]) + "\n")

    def _restart(self) -> None:
        self._daemon.stop()
        self._begin()

    def _change_rule(self, name: str, key: str, value: str) -> None:
        self._rules[name][key] = value

    def _reload(self) -> None:
        self._configure()
        before = len(self._daemon.log())
        self._daemon.signal(signal.SIGHUP)
        self._daemon.says("generation", before)

    def _ask(self, name: str) -> dict[str, Any]:
        return client.ask(socket_in(str(self._daemon.directory / "run")), name)

    def _flush(self, *words: str) -> None:
        wanted: dict[str, list[str]] = {}
        for word in words:
            if word in _LEFT:
                wanted[word] = []
            else:
                wanted[next(reversed(wanted))].append(word)
        self._left = wanted

        def left() -> dict[str, list[str]]:
            found = self._ask("flush")
            assert found["done"], f"flush didn't end: {found}"
            return {kind: sorted(map(self._short, found[kind])) for kind in _LEFT if kind != "paused" and found[kind]}

        if wanted:  # that a file is held shows once it was looked at
            eventually(lambda: left() == wanted, f"a flush leaves {wanted}, not {left()}", self._within)
        else:
            found = left()
            assert not found, f"flush left {found}"

    def _short(self, entry: Mapping[str, Any]) -> str:
        return named(entry).removeprefix(self._seen + "/")

    def _status(self, *words: str) -> None:
        *subject, key, sign, value = words
        wanted = json.loads(value) if value.isdigit() or value in ("true", "false", "null") else value
        found: Any = None

        def so() -> bool:
            nonlocal found
            found = self._subject(*subject)
            for part in key.split("."):
                found = found[part]
            return _OPERATORS[sign](found, wanted)

        try:
            eventually(so, "status", self._within)
        except AssertionError:
            raise AssertionError(f"status says: {' '.join(words[:-2])} is {found!r}") from None

    def _subject(self, kind: str, name: str = "") -> Any:
        status = self._ask("status")
        if kind == "backend":
            return status["watch"]["backends"][self._backend]
        if kind == "rule":
            return status["rules"][name]
        return next(root for root in status["watch"]["roots"] if root["path"] == f"{self._seen}/{name}")

    # ---- others

    def _mount(self, kind: str, path: str, image: str = "disk") -> None:
        behind = self._files.at(path) + ".behind"
        if kind == "bindfs":
            os.makedirs(behind, exist_ok=True)
        self._mounts.mount(kind, self._files.at(path), image, behind)

    def _budget(self, watches: str) -> None:
        """Only from inside its user namespace can a budget be set, namespaces(7)."""
        inside = ["nsenter", "--user", f"--target={self._daemon.pid}", "sh", "-c"]
        subprocess.run([*inside, f"echo {watches} > /proc/sys/user/max_inotify_watches"], check=True)

    def _run(self, *command: str) -> None:
        subprocess.run(command, cwd=self._place, check=True, stdin=subprocess.DEVNULL)

    def _terminal(self, words: Sequence[str], keys: Sequence[str]) -> None:
        shows, program, *arguments = words
        with pexpect.spawn(program, arguments, cwd=self._place, encoding="utf-8", timeout=_WITHIN) as terminal:
            terminal.expect_exact(shows)
            for key in keys:
                terminal.send(key)
            terminal.expect(pexpect.EOF)
        assert terminal.exitstatus == 0, f"{program} ended with {terminal.exitstatus}"
