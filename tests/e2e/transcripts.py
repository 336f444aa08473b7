"""Documents whose commands are typed in order, as they stand, and whose printed lines are compared.

A block is fenced as ``console``. Its first line begins with the prompt, ``$`` or, for root, ``#``; each line with the
same prompt is a command, and the lines below it are what it prints: nothing, if there are none. A line of ``...``
stands for any lines, and at the end of one for the rest of it. Durations, moments, sizes and versions need not be the
same, nor how many blanks part words.
``/home/ada`` is the directory in which all is done.

A block of YAML whose first line is a comment with a path from the root is written there. What a reader has already
may be made by a block within an HTML comment, which no page shows.

Words after ``console`` are marks. ``background``: the command goes on, once it has printed its lines, in a second
terminal, where the next one can be typed when it has ended. Others say what is needed, such as ``package``, ``pip`` or
``systemd``: whoever runs the blocks chooses.
"""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple, cast

from tests.e2e.running import eventually

HOME = "/home/ada"
_PATIENCE = 120.0  # seconds that a command may take
_BLOCK = re.compile(r"^```(?:console([\w ]*)|yaml(?=\n# /))\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_VARIES = (
    (re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?([+-]\d\d:\d\d|Z)?"), "MOMENT"),
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
        if found[1] is None:
            yield Block(line, frozenset(), (_written(found[2], line + 1),))
            continue
        yield Block(line, frozenset(found[1].split()), tuple(_steps(found[2], line + 1)))


def _written(text: str, line: int) -> Step:
    """A file that is written."""
    path = text.split("\n", 1)[0].removeprefix("# ")
    return Step(line, f"mkdir -p '{os.path.dirname(path)}' && cat >'{path}' <<'end-of-file'\n{text}end-of-file", "")


def _steps(text: str, first: int) -> Iterator[Step]:
    prompt = text[:2]
    assert prompt in ("$ ", "# "), f"line {first}: a block begins with a prompt"
    for part in re.finditer(rf"^{re.escape(prompt)}(.*)\n((?:(?!{re.escape(prompt)}).*\n)*)", text, re.MULTILINE):
        yield Step(first + text.count("\n", 0, part.start()), part[1], part[2])


def agrees(expected: str, printed: str) -> bool:
    """Whether these lines are those that the document has, but for what varies."""
    lines = (r"(?:.*\n)*?" if line == "..." else f"{_line(line)}\n" for line in _settled(expected).splitlines())
    return re.fullmatch("".join(lines), _settled(printed)) is not None


def _line(line: str) -> str:
    """What a line may be: all that it says, and with ``...`` at its end anything after that."""
    return f"{re.escape(line[:-3])}.*" if line.endswith("...") else re.escape(line)


def _settled(text: str) -> str:
    for pattern, word in _VARIES:
        text = pattern.sub(word, text)
    return "".join(f"{line.strip()}\n" for line in text.splitlines())


def environment(path: str, home: str) -> dict[str, str]:
    """The variables of somebody who sits down at this machine."""
    unset = ("FILEWATCHD_", "FILEWATCHCTL_")
    environ = {name: value for name, value in os.environ.items() if not name.startswith(unset)}
    return environ | {"PATH": path, "LC_ALL": "C.UTF-8", "HOME": home}


def here(*argv: str, **more: Any) -> subprocess.Popen[str]:
    """Start a program on this machine; ``more`` goes to Popen."""
    return subprocess.Popen(argv, text=True, **more)


class Terminal:
    """A shell in which steps are typed, one after the other. Use as a context: at its end nothing of it runs any more.

    A command that takes more than two minutes is killed with all that the shell has started.

    Args:
        directory: what ``/home/ada`` stands for, as the shell sees it.
        start: starts a program by its words, with Popen's other arguments; elsewhere, if need be.
    """

    def __init__(self, directory: str, start: Callable[..., subprocess.Popen[str]] | None = None) -> None:
        self._directory = directory
        self._start = start or here
        self._job = ""  # the pid of what goes on in the background
        self._statuses: list[int] = []

    def __enter__(self) -> Terminal:
        pipe = subprocess.PIPE
        self._shell = self._start(
            "bash", "--noprofile", "--norc",
            stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, bufsize=1, start_new_session=True,
        )  # fmt: skip
        self.run(f"cd '{self._directory}'")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._job and self._shell.poll() is None:
            self.run(f"kill -KILL {self._job} 2>/dev/null; wait {self._job}")
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
        """Wait for what goes on in the background, which a step has asked to end; all exit statuses so far."""
        if self._job:
            self._statuses.append(self.run(f"wait {self._job}")[1])
            self._job = ""
        return self._statuses

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
        self.ends()  # as long as it goes on, nothing can be typed in its terminal
        log = f"/tmp/terminal-{secrets.token_hex(8)}.log"
        job = self._job = self.run(f"{step.command} >{log} 2>&1 & echo $!")[0].strip()

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
