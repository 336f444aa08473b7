"""What systemd starts in a transient unit: it takes the command from the daemon, byte for byte, and becomes it.

D-Bus carries text, so a word that isn't UTF-8 can't be said to systemd; and what is said of a unit (its command line,
its environment) anybody may read with ``systemctl show``. So systemd is told of this program only, and the command
comes down the pipe that is its standard input, followed by what the command itself shall read there. Nothing runs
before all of it has come: a daemon that died or gave up meanwhile has closed the pipe.

Standard output is the command's; standard error is a pipe for reports: `BEGUN`, and after it, if the command can't be
started, the errno and the stage. It closes on exec. The unit has the user, the limits and the cgroup already.

Every command in a unit waits for this program's start, so it imports nothing but itself and what every Python has
built in: os, signal and contextlib would be as much as the bare start of Python.
"""

import _signal  # type: ignore[import-not-found]  # the built-in part of signal
import marshal
import posix

from filewatchd.work.execute import execute

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

BEGUN = b"."
HEADER = 8  # bytes: the length of the request that follows, little-endian


def request(argv: list[bytes], env: dict[bytes, bytes], cwd: bytes | None, stdin: bytes | None) -> bytes:
    """What is to be written to a launcher's standard input."""
    said = marshal.dumps((argv, env, cwd, stdin is not None))
    return len(said).to_bytes(HEADER, "little") + said + (stdin or b"")


def main() -> "NoReturn":
    """Become the command, or report why not."""
    report = posix.dup(2)  # closes on exec
    stage = "start"
    try:
        posix.dup2(1, 2)
        posix.write(report, BEGUN)
        argv, env, cwd, reads = marshal.loads(take(int.from_bytes(take(HEADER), "little")))
        if not reads:
            posix.dup2(posix.open("/dev/null", posix.O_RDWR), 0)
        if cwd is not None:
            stage = "cwd"
            posix.chdir(cwd)
        stage = "exec"
        for number in (_signal.SIGPIPE, _signal.SIGXFSZ):  # Python ignores them, and the command would, too
            _signal.signal(number, _signal.SIG_DFL)
        execute(argv, env)
    except BaseException as error:  # noqa: BLE001 - all of it is told, nothing may escape
        tell(report, error, stage)
    finally:
        posix._exit(127)


def tell(report: int, error: BaseException, stage: str) -> None:
    """Say why the command can't be started."""
    try:  # noqa: SIM105 - contextlib is a large import
        posix.write(report, marshal.dumps((getattr(error, "errno", None) or 0, stage)))
    except OSError:  # the daemon has gone
        pass


def take(size: int) -> bytes:
    """Exactly so many bytes of standard input; ends the process if there won't be as many."""
    pieces = []
    while size:
        piece = posix.read(0, size)
        if not piece:
            posix._exit(0)
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)
