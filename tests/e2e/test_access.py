"""Who may ask and act: root, named users, members of named groups, and strangers; all of them real."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from filewatchd.cli.daemon import main
from filewatchd.control.api import socket_in
from tests.e2e.running import Daemon
from tests.e2e.servicing import Record, rule
from tests.e2e.steps import configure
from tests.e2e.test_reload import reload
from tests.e2e.users import ask_as, group, let_through, uid_of, unique, user

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make users")

READ, ACT = ("GET", "/v1/status"), ("POST", "/v1/resume")


class People(NamedTuple):
    """Users, and the groups that two of them are in."""

    reader: str
    actor: str
    member: str  # of the group of readers, besides
    first: str  # has the group of actors as its first
    stranger: str
    readers: str
    actors: str


@pytest.fixture
def people() -> Iterator[People]:
    with contextlib.ExitStack() as stack:
        readers, actors = (stack.enter_context(group(unique(word))) for word in ("readers", "actors"))
        yield People(
            stack.enter_context(user(unique("reader"))),
            stack.enter_context(user(unique("actor"))),
            stack.enter_context(user(unique("member"), groups=[readers])),
            stack.enter_context(user(unique("first"), primary=actors)),
            stack.enter_context(user(unique("stranger"))),
            readers,
            actors,
        )


def test_everybody_may_do_what_the_configuration_says(daemon: Daemon, people: People) -> None:
    control = {"read": [people.reader, f"@{people.readers}"], "act": [people.actor, f"@{people.actors}"]}
    configure(daemon, daemon.rule(), control=control)
    daemon.start()
    let_through(daemon.directory)
    place = socket_in(str(daemon.directory / "run"))

    def statuses(name: str) -> tuple[int, int]:
        return ask_as(name, place, *READ)[0], ask_as(name, place, *ACT)[0]

    assert statuses("root") == (200, 200)
    assert statuses(people.reader) == (200, 403)
    assert statuses(people.member) == (200, 403)
    assert statuses(people.actor) == (200, 200)
    assert statuses(people.first) == (200, 200)
    assert statuses(people.stranger) == (403, 403)

    who = f"{people.reader} (uid {uid_of(people.reader)})"
    assert f"{who} may not act on this daemon: name the user" in ask_as(people.reader, place, *ACT)[1]
    daemon.says(f"{people.actor} (uid {uid_of(people.actor)}), pid ")
    daemon.says(f"{who}, pid ")
    log = daemon.log()
    assert log.count(f"{who}, pid ") == 1  # of two refusals
    assert "was refused: resume needs control.act" in log


def test_a_reload_lets_others_in_and_out(daemon: Daemon, people: People) -> None:
    configure(daemon, daemon.rule())
    daemon.start()
    let_through(daemon.directory)
    place = socket_in(str(daemon.directory / "run"))
    assert ask_as(people.reader, place, *READ)[0] == 403
    configure(daemon, daemon.rule(), control={"read": [people.reader]})
    reload(daemon, 2)
    assert ask_as(people.reader, place, *READ)[0] == 200
    configure(daemon, daemon.rule())
    reload(daemon, 3)
    assert ask_as(people.reader, place, *READ)[0] == 403


def test_who_may_only_ask_sees_of_a_services_files_what_they_could_read(daemon: Daemon, people: People) -> None:
    root = daemon.directory / "etc"
    root.mkdir()
    (root / "open.conf").write_text("one")
    (root / "shut.conf").write_text("pin 1234")
    (root / "shut.conf").chmod(0o600)
    control = {"read": [people.reader], "act": [people.actor]}
    configure(daemon, rule(root, {"check": ["true"], "cooldown": 0}), control=control)
    daemon.start()
    let_through(daemon.directory)
    record = Record(daemon)
    record.becomes("synced", good=1)
    (root / "open.conf").write_text("two")
    (root / "shut.conf").write_text("pin 5678")
    record.becomes("synced", good=2)
    place = socket_in(str(daemon.directory / "run"))

    def told(name: str) -> tuple[bool, bool, bool]:
        status, text = ask_as(name, place, "GET", "/v1/actions/reload/diff?before=1&after=2")
        assert status == 200
        return "+two" in text, "+pin 5678" in text, "may act (control.act)" in text

    assert told(people.reader) == (True, False, True)
    assert told(people.actor) == told("root") == (True, True, False)
    assert (
        f"{root}/shut.conf: +1 -1 lines" in ask_as(people.reader, place, "GET", "/v1/actions/reload/diff?before=1")[1]
    )


@pytest.mark.parametrize(("name", "what"), [("fw-nobody-at-all", "user"), ("@fw-nobody-at-all", "group")])
def test_a_name_that_nobody_has_is_a_mistake_at_its_line(
    daemon: Daemon, capsys: pytest.CaptureFixture[str], name: str, what: str
) -> None:
    configure(daemon, daemon.rule(), control={"read": ["root", name]})
    assert main(["check", "--config", str(daemon.config)]) == 78
    said = capsys.readouterr().err
    assert f"{daemon.config}:4:28: no {what} named 'fw-nobody-at-all' on this system; create the {what}" in said


def test_who_may_only_ask_isnt_told_what_there_is_elsewhere(daemon: Daemon, people: People) -> None:
    """The daemon may look into any directory, and a symlink below a root may be anybody's."""
    shut = daemon.directory / "shut"
    shut.mkdir(mode=0o700)
    (shut / "file").touch()
    (daemon.root / "way").symlink_to(shut)
    (daemon.root / "mine").touch()
    configure(daemon, daemon.rule(), control={"read": [people.reader], "act": [people.actor]})
    daemon.start()
    let_through(daemon.directory)
    place = socket_in(str(daemon.directory / "run"))

    def told(name: str, path: object) -> tuple[str, str]:
        status, text = ask_as(name, place, "GET", f"/v1/explain?path={path}")
        assert status == 200
        found = json.loads(text)
        return found["exists"], json.dumps(found["rules"]).replace("absent", "file")

    for where in (shut, daemon.root / "way"):
        assert told(people.reader, where / "file") == told(people.reader, where / "absent")
        assert told(people.actor, where / "file")[0] == "file"
        assert told("root", where / "absent")[0] == "nothing"
    assert told(people.reader, daemon.root / "mine")[0] == "file"
    assert told(people.reader, daemon.root / "absent")[0] == "nothing"
