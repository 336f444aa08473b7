"""Secrets' files, looked at when the configuration is checked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from filewatchd.actions import webhook
from filewatchd.actions.command.check import check_env
from filewatchd.actions.probes import Probe
from filewatchd.actions.probes import problems as probe_problems
from filewatchd.actions.secrecy import secret_problems
from filewatchd.actions.telling import Telling
from filewatchd.actions.telling import problems as telling_problems
from filewatchd.model import RuleSettings
from filewatchd.values import Secret

RULE = RuleSettings(name="app", roots=("/srv",), actions=())


def test_every_place_of_a_secret_is_looked_at(tmp_path: Path) -> None:
    missing = Secret(file=f"{tmp_path}/nothing")
    for found in (
        webhook.check(webhook.Options(url=missing), RULE),
        webhook.check(webhook.Options(url="http://x/", headers={"A": missing}), RULE),
        telling_problems(Telling(http="http://x/", headers={"A": missing}), RULE),
        telling_problems(Telling(command=("/bin/true",), env={"A": missing}), RULE),
        probe_problems([Probe(http="http://x/", headers={"A": missing})], RULE),
        check_env({"A": missing}),
    ):
        assert [f"there is no file {tmp_path}/nothing"] == [problem.message for problem in found]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root is led elsewhere")
def test_root_reads_no_secret_that_others_could_exchange(tmp_path: Path) -> None:
    """Else whose home it is in could have root send /etc/shadow to a server, or hand it to a command of theirs."""
    home = tmp_path / "home"
    home.mkdir()
    (home / "token").write_text("x")
    secret = Secret(file=f"{home}/token")
    assert not list(secret_problems(secret, ("sign",)))
    os.chown(home, 65534, 65534)
    (problem,) = secret_problems(secret, ("sign",))
    assert problem.message.startswith(f"others could have root read another file in its place: {home} belongs to ")
    assert problem.where == ("sign",)
    assert not list(secret_problems(Secret(credential="token"), ("sign",)))
