"""What looks secret in a text is replaced before anybody is shown it. Pure.

A value is a secret if its key says so (``password = x``, ``token: x``, also over several lines), a block if it is a
private key, a word if it has the shape of one (a URL's password, a password's hash, a bearer's token). It is rather
hidden too much than shown: the files themselves are there for who may read them. Equal secrets look equal, so that one
that changed still shows.

Configuration may be written by others than root: each expression takes time that grows with a line's length, not with
its square.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable

_MOST_HELD = 64 << 10  # bytes of a line that isn't at its end yet
_MOST_OUTPUT = 256 << 10  # bytes that are passed on: masking takes time, on the loop
_SALT = secrets.token_bytes(16)  # a short secret can't be guessed from what stands for it
_STRONG = (
    r"password|passwd|passphrase|passwort|passcode|secret|credential|private[_-]?key|pre[_-]?shared[_-]?key"
    r"|(?:access|encryption|signing|session|master|account|storage)[_-]?key|api[_-]?key"
)
_NGINX = "".join(f"(?<!{word}_)" for word in ("proxy", "fastcgi", "uwsgi", "scgi", "grpc", "memcached"))  # to whom
_WEAK = rf"(?<!by){_NGINX}pass|pwd|psk|tokens?|auth(?:orization)?|community|bearer"
_NAMED = rf"(?:(?:{_STRONG})[\w.-]{{0,64}}|(?:{_WEAK})(?:[_.-][\w.-]{{0,64}})?)"
_KEYED = re.compile(rf"""(?i){_NAMED}["']?(?:\s*[:=,]+\s*|\s+)""")
_NESTING = re.compile(r"(?i)(?!auth|community).*[:=]\s*$")  # whose value may be lines of its own
_HARMLESS = re.compile(r"(?i)[\"']?(?:on|off|yes|no|true|false|null|none)[\"']?[;,]?")
_OPENED = re.compile(r"""[|>][+-]?\d?[+-]?|["']{3}|\[|\{|\\""")  # what is more than the line itself
_TAGGED = re.compile(rf"(?i)(<[\w:.-]{{0,64}}{_NAMED}[^<>]{{0,256}}>)([^<]+)(?=</)")
_SHAPES = (
    re.compile(r"""(://[^\s:/@]{0,256}:)([^\s/"'<>]{1,1024})(?=@)"""),
    re.compile(r"(?i)(\bbearer\s+)([\w+/=.~-]{6,})"),
    re.compile(r"(\b[Bb]asic\s+)((?=[A-Za-z+/]{0,256}[\d=])[\w+/]{4,}={0,2})"),
    re.compile(r"()(\beyJ[\w-]{8,}\.[\w-]{4,}\.[\w-]*)"),  # a JSON Web Token
    re.compile(
        r"()(\b(?:gh[pousr]_|github_pat_|glpat-|xox[abeprs]-|sk_live_|rk_live_|hvs\.|AGE-SECRET-KEY-)[\w-]{10,})"
    ),
    re.compile(r"(?i)(\bhooks\.slack\.com/services/)([\w/]+)"),
    re.compile(
        r"()(\$(?:1|2[abxy]?|5|6|7|y|gy|apr1|md5|sha1|argon2\w{0,2}|scrypt|pbkdf2[\w-]{0,16})\$[\w./=,$+-]{20,})"
    ),
    re.compile(r"()(\{S?(?:SHA|MD5|CRYPT|SHA256|SHA512)\}[^\s:;,\"'<>]+|SCRAM-SHA-256\$[^\s;,\"'<>]+)"),
    re.compile(r"^([^:\s]{1,256}:(?:\d{1,5}|\*):[^:\s]{0,256}:[^:\s]{0,256}:)(\S+)$"),  # ~/.pgpass
)
_KEY = r"-----{} [A-Z0-9 ]{{0,64}}PRIVATE KEY(?: BLOCK)?-----"
_BEGIN, _END = re.compile(_KEY.format("BEGIN")), re.compile(_KEY.format("END"))


def masked(text: str) -> str:
    """The text with what looks secret replaced."""
    masker = Masker()
    return "\n".join(masker.line(line) for line in text.split("\n"))


class Masker:
    """Masks the lines of one text, in their order: a secret may go over several."""

    def __init__(self) -> None:
        self._in_key = False
        self._deeper: int | None = None  # lines deeper than this belong to a secret's key
        self._next = False  # the next line does, however deep

    def line(self, line: str) -> str:
        """One line, without its end."""
        if self._in_key or _BEGIN.search(line):
            return self._of_key(line)
        if self._belongs(line):
            return _whole(line)
        line = _TAGGED.sub(lambda found: found[1] + _mask(found[2]), line)
        for shape in _SHAPES:
            line = shape.sub(lambda found: found[1] + _mask(found[2]), line)
        return self._keyed(line)

    def _of_key(self, line: str) -> str:
        begin, end = (expression.search(line) for expression in (_BEGIN, _END))
        start = begin.end() if begin is not None and not self._in_key else 0
        stop = end.start() if end is not None and end.start() >= start else len(line)
        self._in_key = end is None
        body = line[start:stop]
        return line[:start] + (_mask(body) if body.strip() else body) + line[stop:]

    def _belongs(self, line: str) -> bool:
        """Whether a line goes on with the secret of a line before it."""
        if not line.strip():
            return False
        if self._next:
            self._next = line.rstrip().endswith("\\")
            return True
        if self._deeper is not None and _depth(line) <= self._deeper:
            self._deeper = None
        return self._deeper is not None

    def _keyed(self, line: str) -> str:
        found = _KEYED.search(line if line.endswith((" ", "\t")) else f"{line} ")
        if found is None:
            return line
        value = line[found.end() :].rstrip()
        if (not value or _OPENED.fullmatch(value)) and _NESTING.match(found[0]):
            self._deeper, self._next = _depth(line), value in ("\\", "'''", '"""')
            return line
        if not any(map(str.isalnum, value)) or _HARMLESS.fullmatch(value):
            return line
        self._next = value.endswith("\\")
        return line[: found.end()] + _mask(value)


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip())


def _whole(line: str) -> str:
    bare = line.strip()
    return line[: _depth(line)] + _mask(bare) if any(map(str.isalnum, bare)) else line


def _mask(secret: str) -> str:
    digest = hashlib.blake2b(secret.encode("utf-8", "surrogateescape"), digest_size=16, key=_SALT).hexdigest()
    return f"(masked {digest[:6]})"


class MaskedOutput:
    """Takes what a command prints, in pieces of any size, and passes the beginning of it on masked, line by line."""

    def __init__(self, output: Callable[[bytes], None]) -> None:
        self._output = output
        self._masker = Masker()
        self._held = b""
        self._room = _MOST_OUTPUT

    def __call__(self, data: bytes) -> None:
        """A piece."""
        data, self._room = data[: self._room], max(0, self._room - len(data))
        *lines, self._held = (self._held + data).split(b"\n")
        if len(self._held) > _MOST_HELD:
            lines, self._held = [*lines, self._held], b""
        if lines:
            self._say(lines)

    def end(self) -> None:
        """Nothing comes any more: a last line without an end is passed on."""
        if self._held:
            held, self._held = self._held, b""
            self._say([held], "")

    def _say(self, lines: list[bytes], end: str = "\n") -> None:
        texts = (self._masker.line(line.decode("utf-8", "surrogateescape")) for line in lines)
        self._output(b"".join(f"{text}{end}".encode("utf-8", "surrogateescape") for text in texts))
