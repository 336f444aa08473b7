"""Values as people write them in YAML: ``250ms``, ``64KiB``, ``50MB/s``, ``10%``, paths, signals, users, secrets.

How an action's options use them. The names in capitals-and-small (`Duration`, `Size`, `PathTo`, ...) are plain
``float``, ``int`` or ``str`` to Python and to mypy; the annotation tells the configuration how the YAML text is
read, and the JSON Schema what it looks like::

    class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        command: tuple[str, ...]
        stop_timeout: Duration = 10.0                    # YAML: 10s      Python: 10.0
        stop_signal: Signal = 15                         # YAML: TERM     Python: 15
        cwd: PathTo | None = None                        # YAML: ../work  Python: an absolute path
        env: dict[str, str | Secret] = {}                # YAML: {TOKEN: {file: token.txt}}
        note: Annotated[str, Meta(description="...")] = ""

So a test builds ``Options(command=("true",), stop_timeout=5.0)`` with ordinary values. A description for editors
and the reference goes into ``Annotated[Duration, msgspec.Meta(description="...")]``. What no type can say goes into
``__post_init__`` as a `filewatchd.notation.MalformedError`, or into the package's ``check``.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, NamedTuple

from msgspec import Meta, Struct

from filewatchd.errors import SecretError
from filewatchd.measures import (
    DURATION_PATTERN,
    RATE_PATTERN,
    ROOM_PATTERN,
    SHARE_PATTERN,
    SIZE_PATTERN,
    format_duration,
    format_rate,
    format_room,
    format_size,
    parse_duration,
    parse_every,
    parse_rate,
    parse_room,
    parse_share,
    parse_size,
)
from filewatchd.notation import (
    MalformedError,
    format_signal,
    parse_group,
    parse_path,
    parse_signal,
    parse_user,
    quoted,
    shown,
)


class Reader(NamedTuple):
    """How a scalar is read: the function takes the YAML value (str, int, float, bool); may raise `MalformedError`."""

    name: str
    read: Callable[[Any], Any]
    write: Callable[[Any], str] = str


READERS: dict[str, Reader] = {}  # by name, for those who have only the JSON Schema in hand


def annotation(reader: Reader, **schema: Any) -> Meta:
    """An annotation that makes a type of one's own: how its text is read, and the JSON Schema of that text."""
    # msgspec would let the Python type win over our "type", so the schema travels whole and is put in its place later.
    READERS[reader.name] = reader
    return Meta(extra={"reader": reader}, extra_json_schema={"x-value": schema, "x-reader": reader.name})


def of_form(name: str, pattern: str, hint: str, **schema: Any) -> Meta:
    """An annotation for text of a form; the hint says what would be right, which no pattern tells people."""

    def read(value: object) -> str:
        if not isinstance(value, str) or re.search(pattern, value) is None:
            raise MalformedError(f"{shown(value)} is no {name}", hint)
        return value

    return annotation(Reader(name, read), type="string", pattern=pattern, **schema)


_TEXT_OR_ZERO: dict[str, Any] = {"type": ["string", "integer"], "minimum": 0, "maximum": 0}
PATH_READER = Reader("path", parse_path)
Duration = Annotated[
    float,
    annotation(
        Reader("duration", parse_duration, format_duration),
        **_TEXT_OR_ZERO,
        pattern=DURATION_PATTERN,
        examples=["250ms", "5s", "10m", "1h", "1d"],
    ),
]
Size = Annotated[
    int,
    annotation(
        Reader("size", parse_size, format_size),
        type=["string", "integer"],
        minimum=0,
        pattern=SIZE_PATTERN,
        examples=["64KiB", "100MiB", "1GB"],
    ),
]
Rate = Annotated[
    float,
    annotation(
        Reader("rate", parse_rate, format_rate), type="string", pattern=RATE_PATTERN, examples=["50MB/s", "2000/s"]
    ),
]
Share = Annotated[
    float,
    annotation(
        Reader("share", parse_share, lambda share: f"{share * 100:g}%"),
        type="string",
        pattern=SHARE_PATTERN,
        examples=["10%"],
    ),
]
Room = Annotated[
    int | float,
    annotation(
        Reader("room", parse_room, format_room),
        type=["string", "integer"],
        minimum=0,
        pattern=ROOM_PATTERN,
        examples=["10%", "5GiB"],
    ),
]
Signal = Annotated[
    int,
    annotation(
        Reader("signal", parse_signal, format_signal), type=["string", "integer"], examples=["TERM", "HUP", "USR1"]
    ),
]
User = Annotated[str, annotation(Reader("user", parse_user), type="string")]
Group = Annotated[str, annotation(Reader("group", parse_group), type="string")]
PathTo = Annotated[str, annotation(PATH_READER, type="string", minLength=1)]
Every = Annotated[
    float | str,
    annotation(
        Reader("period", parse_every, lambda every: every if isinstance(every, str) else format_duration(every)),
        type="string",
        examples=["hour", "day", "week", "month", "10m"],
    ),
]


#: A list of actions, as a rule's ``actions`` has it: each entry names one, with its options. In an action's options the
#: fields ``on_failure``, ``on_recovery`` and ``on_finding`` of this type add to the rule's own notifications; there is
#: nothing else to be done about them. To Python it is a tuple of `filewatchd.model.ActionSpec`.
ActionList = Annotated[tuple[Any, ...], Meta(extra={"actions": True}, extra_json_schema={"x-actions": True})]


# ---- values of several keys

MOST_SECRET = 64 * 1024  # bytes
_SECRET_REMEDIES = {
    errno.ENOENT: "write the secret there, or correct the path",
    errno.EACCES: "let the daemon's user read it: chown and chmod 0600 or 0640",
    errno.ELOOP: "its symlinks lead in a circle; write the secret into a file",
}


class Secret(Struct, frozen=True, forbid_unknown_fields=True):
    """A secret kept elsewhere: in a file, or a systemd credential. It is read when it is needed, and never shown."""

    instead: ClassVar[str] = "write {file: PATH}, or {credential: NAME}"

    file: Annotated[PathTo | None, Meta(description="A file that holds the secret.")] = None
    credential: Annotated[str | None, Meta(description="A systemd credential (LoadCredential=).")] = None

    def __post_init__(self) -> None:
        if (self.file is None) == (self.credential is None):
            raise MalformedError(
                "a secret needs one of file and credential", "write {file: PATH} or {credential: NAME}"
            )
        if self.credential is not None and ("/" in self.credential or self.credential in ("", ".", "..")):
            raise MalformedError(
                f"{quoted(self.credential)} is no credential's name", "name it as LoadCredential= does"
            )

    def reveal(self) -> str:
        """The secret itself, without its last line end. Blocks, but never waits for a writer.

        Raises:
            SecretError: it can't be had.
        """
        path = self._place()
        try:
            data = _read_secret(path)
        except OSError as error:
            hint = _SECRET_REMEDIES.get(error.errno or 0, "write the secret into a file that the daemon may read")
            raise SecretError(f"{path}: {error.strerror}; {hint}") from error
        try:
            text = data.decode().removesuffix("\n")
        except UnicodeDecodeError:
            raise SecretError(f"{path} is no text in UTF-8; write the secret as text, perhaps in base64") from None
        if not text:
            raise SecretError(f"{path} is empty; write the secret into it")
        return text

    def _place(self) -> str:
        if self.file is not None:
            return self.file
        if "CREDENTIALS_DIRECTORY" not in os.environ:
            raise SecretError(f"no credential {self.credential}: systemd gave none; add LoadCredential= to the unit")
        return os.path.join(os.environ["CREDENTIALS_DIRECTORY"], str(self.credential))

    def __repr__(self) -> str:
        return "Secret(***)"


def _read_secret(path: str) -> bytes:
    """A regular file's bytes; what it is, is known before it is opened: a FIFO doesn't wait, a device does nothing.

    Raises:
        OSError: the system's own refusals.
        SecretError: it is something else, or too large for a secret.
    """
    held = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(held).st_mode):
            raise SecretError(f"{path} is no regular file; write the secret into one")
        fd = os.open(f"/proc/self/fd/{held}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    finally:
        os.close(held)
    with os.fdopen(fd, "rb") as file:
        data = file.read(MOST_SECRET + 1)
    if len(data) > MOST_SECRET:
        raise SecretError(f"{path} has more than {MOST_SECRET // 1024} KiB, which no secret has; is it another file?")
    return data


class CommandOption(Struct, frozen=True, forbid_unknown_fields=True):
    """A command: an argv list, or a mapping that says more about it."""

    short: ClassVar[str] = "command"  # a list alone stands for {command: [...]}

    command: Annotated[tuple[str, ...], Meta(min_length=1, description="The program and its arguments.")]
    user: Annotated[User | None, Meta(description="Run as this user.")] = None
    timeout: Annotated[Duration | None, Meta(description="End it after this time.")] = None
    env: Annotated[dict[str, str | Secret], Meta(description="Variables to add to the environment.")] = {}
    cwd: Annotated[PathTo | None, Meta(description="Its working directory.")] = None


TimeOfDay = Annotated[str, of_form("time of day", "^([01][0-9]|2[0-3]):[0-5][0-9]$", "write 03:30, or 22:15")]
Weekday = Annotated[str, of_form("weekday", "^(mon|tue|wed|thu|fri|sat|sun)$", "write mon, tue, ..., or sun")]


class ScheduleOption(Struct, frozen=True, forbid_unknown_fields=True):
    """When something happens. ``actions.base.Schedule(*msgspec.structs.astuple(option))`` is what timers take."""

    every: Annotated[Every, Meta(description="A duration, or hour, day, week or month.")]
    at: Annotated[TimeOfDay | None, Meta(description="Time of day, HH:MM.")] = None
    weekday: Annotated[Weekday | None, Meta(description="Day of a weekly schedule: mon to sun.")] = None
    timezone: Annotated[str | None, Meta(description="An IANA time zone; the system's where it isn't said.")] = None
    splay: Annotated[Duration, Meta(description="Spread over this time, to spare what all hosts share.")] = 0.0
