"""Real users and groups of this system, made for a test and removed after it; and a client that runs as one."""

from __future__ import annotations

import contextlib
import os
import pwd
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

_ASK = """
import http.client, os, pwd, socket, sys
name, path, method, target = sys.argv[1:]
user = pwd.getpwnam(name)
os.initgroups(name, user.pw_gid)
os.setgid(user.pw_gid)
os.setuid(user.pw_uid)
connection = http.client.HTTPConnection("localhost")
connection.sock = socket.socket(socket.AF_UNIX)
connection.sock.connect(path)
connection.request(method, target)
answer = connection.getresponse()
print(answer.status, answer.read().decode())
"""


def unique(word: str) -> str:
    """A name that nobody else has: this process's."""
    return f"fw-{word}-{os.getpid()}"


@contextlib.contextmanager
def group(name: str) -> Iterator[str]:
    """A group."""
    subprocess.run(["groupadd", "--system", name], check=True)
    try:
        yield name
    finally:
        subprocess.run(["groupdel", name], check=True)


@contextlib.contextmanager
def user(name: str, *, primary: str | None = None, groups: Sequence[str] = ()) -> Iterator[str]:
    """A user without a home, in a group of its own unless said otherwise."""
    words = ["useradd", "--system", "--no-create-home", *(["--gid", primary] if primary else ["--user-group"])]
    subprocess.run([*words, *(["--groups", ",".join(groups)] if groups else []), name], check=True)
    try:
        yield name
    finally:
        subprocess.run(["userdel", name], check=True)


def uid_of(name: str) -> int:
    return pwd.getpwnam(name).pw_uid


def let_through(directory: Path) -> None:
    """Let everybody pass this directory and those above it."""
    for each in (directory, *directory.parents):
        each.chmod(each.stat().st_mode | 0o011)


def ask_as(name: str, socket: str, method: str, target: str) -> tuple[int, str]:
    """What a user's request gets: status and text."""
    words = [sys.executable, "-I", "-c", _ASK, name, socket, method, target]
    status, _, text = subprocess.run(words, capture_output=True, text=True, check=True).stdout.partition(" ")
    return int(status), text
