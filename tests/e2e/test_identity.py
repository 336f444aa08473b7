"""As whom a rule works: a root daemon's rules with `user`."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.running import Daemon, eventually
from tests.e2e.steps import lines, shell

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only a root daemon works as other users")


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory that everybody may write to."""
    path = Path(tempfile.mkdtemp(prefix="filewatchd-"))
    path.chmod(0o777)
    yield path
    shutil.rmtree(path)


REPORT = """
import os, sys
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
with open(sys.argv[1], "a") as out:
    print(*os.getresuid(), *os.getresgid(), file=out)
    print(*os.getgroups(), file=out)
    print(*(status[name].strip() for name in ("CapPrm", "CapEff", "CapInh", "CapAmb", "NoNewPrivs")), file=out)
    print(os.environ["USER"], os.environ["HOME"], file=out)
"""


def nobody() -> tuple[int, int, str]:
    """The ids and the home of nobody."""
    entry = pwd.getpwnam("nobody")
    return entry.pw_uid, entry.pw_gid, entry.pw_dir


@pytest.mark.parametrize("where", ["rule", "action"])
def test_a_rules_user_has_no_rights_left(daemon: Daemon, public: Path, where: str) -> None:
    out = public / "out"
    command = ["/usr/bin/python3", "-I", "-S", "-c", REPORT, str(out)]
    action = {"command": command, **({"user": "nobody"} if where == "action" else {})}
    more = {"user": "nobody"} if where == "rule" else {}
    daemon.configure(daemon.rule(actions=f"exec: {json.dumps(action)}", **more))
    daemon.start()
    (daemon.root / "a").write_text("x")
    eventually(lambda: len(lines(out)) == 4, "the command ran", 20)
    uid, gid, home = nobody()
    assert lines(out) == [
        " ".join(map(str, [uid] * 3 + [gid] * 3)),
        str(gid),
        "0000000000000000 " * 4 + "1",
        f"nobody {home}",
    ]


def test_a_rules_user_cannot_read_what_only_root_may(daemon: Daemon, public: Path) -> None:
    secret = public / "secret"
    secret.write_text("secret")
    secret.chmod(0o600)
    out = public / "out"
    script = 'cat "$1" && echo read >> "$2" || echo refused >> "$2"'
    daemon.configure(daemon.rule(user="nobody", actions=shell(script, str(secret), str(out))))
    daemon.start()
    (daemon.root / "a").write_text("x")
    eventually(lambda: lines(out), "the command ran", 20)
    assert lines(out) == ["refused"]


def test_a_tree_that_others_may_write_needs_a_user(daemon: Daemon, public: Path) -> None:
    rule = daemon.rule(roots=[str(public)]).replace(f'    roots: ["{daemon.root}"]\n', "")
    daemon.configure(rule)
    assert daemon.launch().wait(20) == 78
    assert "user" in daemon.log()
    assert str(public) in daemon.log()


def test_root_by_name_is_accepted_for_such_a_tree(daemon: Daemon, public: Path) -> None:
    rule = daemon.rule(roots=[str(public)], user="root").replace(f'    roots: ["{daemon.root}"]\n', "")
    daemon.configure(rule)
    daemon.start()
    (public / "a").write_text("x")
    eventually(lambda: len(daemon.recorder.changes()) == 1, "its job ran", 20)
