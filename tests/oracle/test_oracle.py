"""Whatever is done to a tree and to the daemon, its jobs know the tree in the end. `make soak` tries many seeds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.oracle.operations import Tree, plan
from tests.oracle.shrink import report
from tests.oracle.trial import Trial

SEEDS = 12


@pytest.mark.parametrize("seed", range(SEEDS))
def test_the_jobs_know_the_tree_in_the_end(seed: int, tmp_path: Path) -> None:
    drawn = plan(seed)
    wrong = Trial(drawn, tmp_path).run()
    assert not wrong, report(drawn, wrong)


def test_a_plan_is_a_pure_function_of_its_seed() -> None:
    assert plan(7) == plan(7)
    assert plan(7) != plan(8)


def test_operations_do_what_they_say(tmp_path: Path) -> None:
    """All kinds are drawn, and most of them find something to do."""
    drawn = [operation for seed in range(20) for operation in plan(seed).operations]
    assert len({operation.name for operation in drawn}) >= 19
    tree = Tree(tmp_path)
    for operation in plan(1).before:
        tree.do(operation)
    assert tree.files()
    tree.let_go()


def test_an_oracle_that_is_lied_to_notices(tmp_path: Path) -> None:
    """A rule that never tells of deletions leaves the oracle with files that are gone."""
    drawn = plan(1)
    keys = {**drawn.settings.keys, "changes": ["created", "modified", "moved"], "initial": "process"}
    trial = Trial(drawn._replace(settings=drawn.settings._replace(keys=keys)), tmp_path)
    trial.patience = 3.0
    assert any("the disk has 'nothing'" in line for line in trial.run())
