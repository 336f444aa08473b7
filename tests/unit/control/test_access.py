"""The kernel's word on who is at the other end."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from filewatchd.control.access import Named, groups_of, peer_of
from filewatchd.control.api import Peer

_MANY = """
import os, socket
from filewatchd.control.access import groups_of
for number in (0, 1, 64, 65, 300, 5000):
    os.setgroups(range(70_000, 70_000 + number))
    with socket.socketpair()[0] as end:
        print(len(groups_of(end)), groups_of(end) == frozenset(range(70_000, 70_000 + number)))
"""


def test_who_connected() -> None:
    one, other = socket.socketpair()
    with one as end, other:
        assert peer_of(end) == Peer(os.getpid(), os.geteuid(), os.getegid())
        assert groups_of(end) == set(os.getgroups())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can take groups")
def test_all_groups_are_told_however_many() -> None:
    found = subprocess.run([sys.executable, "-c", _MANY], capture_output=True, text=True, check=True).stdout
    assert found.splitlines() == [f"{number} True" for number in (0, 1, 64, 65, 300, 5000)]


def test_a_name_counts_as_user_as_first_group_and_as_another_one() -> None:
    named = Named(frozenset({1}), frozenset({2}))
    me = Peer(1, 9, 9)
    for uid, gid, groups, expected in ((1, 9, (), True), (9, 2, (), True), (9, 9, (2,), True), (9, 9, (1,), False)):
        assert named.has(me._replace(uid=uid, gid=gid), frozenset(groups)) is expected
