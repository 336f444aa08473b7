"""Our findings, sha256sum's and AIDE's on the same tree before and after edits: file by file the same."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.amounts import amount
from tests.integrity.proving import proof
from tests.integrity.tree import copied, made_up

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away, and run AIDE on them")


def test_a_made_up_tree_with_names_of_any_bytes(tmp_path: Path) -> None:
    found = proof(tmp_path, lambda root: made_up(root, 1000, 7), amount(300, 2000), 7)
    assert found.parted == []
    assert len(found.edits) == 20
    assert {"new", "modified", "deleted", "moved", "metadata"} <= set(found.verdicts)


def test_a_part_of_this_machines_own_tree(tmp_path: Path) -> None:
    found = proof(tmp_path, lambda root: copied(root, "/usr/share", amount(1000, 20_000)), amount(200, 2000), 8)
    assert found.parted == []
