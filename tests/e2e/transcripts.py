"""Documents whose commands are typed in order, as they stand, and whose printed lines are compared.

A block is fenced as ``console``. Its first line begins with the prompt, ``$`` or, for root, ``#``; each line with the
same prompt is a command, and the lines below it are what it prints: nothing, if there are none. A line of ``...``
stands for any lines. Durations, moments, sizes and versions need not be the same, nor how many blanks part words.
``/home/ada`` is the directory in which all is done.

Words after ``console`` are marks. ``background``: the one command goes on in a terminal of its own, once it has printed
its lines. Others say what is needed, such as ``package``, ``pip`` or ``systemd``: whoever runs the blocks chooses.
"""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, NamedTuple, cast

from tests.e2e.running import eventually

HOME = "/home/ada"
_PATIENCE = 120.0  # seconds that a command may take
_BLOCK = re.compile(r"^```console([\w ]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_VARIES = (
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?"), "MOMENT"),
    (re.compile(r"\bjust now\b|\b(\d+(ms|s|m|h|d))+ ago\b"), "AGO"),
    (re.compile(r"\b(\d+(ms|s|m|h|d))+\b|<1ms"), "DURATION"),
    (re.compile(r"\b[\d.,]+ ([KMG]iB|B|bytes)\b"), "SIZE"),
    (re.compile(r"\bfilewatchd \d+\.\d+\.\d+\S*"), "filewatchd VERSION"),
    (re.compile(r"[ \t]+"), " "),
)


class Step(NamedTuple):
    """A command, and what it prints. ``line``: where it stands, from 1."""

    line: int
    command: str
    printed: str


class Block(NamedTuple):
    """Commands that belong together."""

    line: int
    marks: frozenset[str]
    steps: tuple[Step, ...]


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of a document, in order."""
    text = page.read_text()
    for found in _BLOCK.finditer(text):
        line = text.count("\n", 0, found.start()) + 1
        yield Block(line, frozenset(found[1].split()), tuple(_steps(found[2], line + 1)))


def _steps(text: str, first: int) -> Iterator[Step]:
    prompt = text[:2]
    assert prompt in ("$ ", "# "), f"line {first}: a block begins with a prompt"
    for part in re.finditer(rf"^{re.escape(prompt)}(.*)\n((?:(?!{re.escape(prompt)}).*\n)*)", text, re.MULTILINE):
        yield Step(first + text.count("\n", 0, part.start()), part[1], part[2])


def agrees(expected: str, printed: str) -> bool:
    """Whether these lines are those that the document has, but for what varies."""
    lines = (r"(?:.*\n)*?" if line == "..." else f"{re.escape(line)}\n" for line in _settled(expected).splitlines())
    return re.fullmatch("".join(lines), _settled(printed)) is not None


def _settled(text: str) -> str:
    for pattern, word in _VARIES:
        text = pattern.sub(word, text)
    return "".join(f"{line.strip()}\n" for line in text.splitlines())


class Terminal:
    """A shell in which steps are typed, one after the other. Use as a context: at its end nothing of it runs any more.

    A command that takes more than two minutes is killed with all that the shell has started.

    Args:
        directory: what ``/home/ada`` stands for, as the shell sees it.
        environ: its environment; None: ours.
        through: a program with arguments that runs the shell elsewhere, such as nsenter; the shell goes there first.
    """

    def __init__(self, directory: str, environ: Mapping[str, str] | None = None, through: Sequence[str] = ()) -> None:
        self._directory = directory
        self._start = [*through, "bash", "--noprofile", "--norc"]
        self._environ = environ
        self._jobs: list[str] = []

    def __enter__(self) -> Terminal:
        self._shell = subprocess.Popen(
            self._start, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1,
            env=self._environ, start_new_session=True,
        )  # fmt: skip
        self.run(f"cd '{self._directory}'")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shell.poll() is None:
            self.ends()
        cast(IO[str], self._shell.stdin).close()
        self._shell.wait(_PATIENCE)
        cast(IO[str], self._shell.stdout).close()

    def type(self, block: Block) -> None:
        """Do a block, and compare. Raises AssertionError: it prints something else."""
        for step in block.steps:
            if "background" in block.marks:
                self._background(step)
            else:
                self._expect(step, self.run(step.command)[0])

    def ends(self) -> list[int]:
        """End what runs in the background as an operator would, where a step hasn't; the exit statuses."""
        found = [self.run(f"kill {job} 2>/dev/null; wait {job}")[1] for job in self._jobs]
        self._jobs.clear()
        return found

    def run(self, command: str) -> tuple[str, int]:
        """Run one command; returns what it printed, to either stream, and its exit status."""
        end = f"end-{secrets.token_hex(8)}"
        stdin, stdout = cast(IO[str], self._shell.stdin), cast(IO[str], self._shell.stdout)
        stdin.write(f"{{ {command}\n}} </dev/null\nprintf '\\n{end} %s\\n' $?\n")
        late = threading.Timer(_PATIENCE, os.killpg, (self._shell.pid, signal.SIGKILL))
        late.start()
        lines: list[str] = []
        try:
            for line in stdout:
                if line.startswith(end):
                    return "".join(lines)[:-1], int(line.split()[1])
                lines.append(line)
        finally:
            late.cancel()
        self._shell.wait(_PATIENCE)
        raise AssertionError(f"the shell ended, or was ended after {_PATIENCE} s, at {command!r}: {''.join(lines)}")

    def _background(self, step: Step) -> None:
        log = f"/tmp/terminal-{secrets.token_hex(8)}.log"
        job = self.run(f"{step.command} >{log} 2>&1 & echo $!")[0].strip()
        self._jobs.append(job)

        def ready() -> bool:
            return agrees(f"{step.printed}...\n", self._read(log)) or self.run(f"kill -0 {job} 2>/dev/null")[1] != 0

        eventually(ready, f"{step.command!r} prints what line {step.line} says")
        self._expect(step._replace(printed=f"{step.printed}...\n"), self._read(log))
        self.run(f"rm {log}")

    def _read(self, log: str) -> str:
        return self.run(f"cat {log}")[0]

    def _expect(self, step: Step, printed: str) -> None:
        expected = step.printed.replace(HOME, self._directory)
        assert agrees(expected, printed), f"line {step.line}: {step.command}\n{printed}\ninstead of\n{expected}"
