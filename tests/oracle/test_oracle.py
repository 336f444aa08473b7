"""Whatever is done to a tree and to the daemon, its jobs know the tree in the end. `make soak` tries many seeds."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.oracle.deaths import die_everywhere
from tests.oracle.operations import BACKENDS, Operation, plan
from tests.oracle.rounds import Rounds
from tests.oracle.shrink import report
from tests.oracle.tree import Tree
from tests.oracle.trial import Trial

SEEDS = 12
ROUNDS = 15


@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_jobs_know_the_tree_in_the_end(seed: int, backend: str, tmp_path: Path) -> None:
    drawn = plan(seed, backend)
    wrong = Trial(drawn, tmp_path).run()
    assert not wrong, report(drawn, wrong)


@pytest.mark.parametrize("backend", BACKENDS)
def test_after_each_round_of_moves_all_is_known(backend: str, tmp_path: Path) -> None:
    wrong = Rounds(1, backend, ROUNDS, tmp_path).run()
    assert not wrong, "\n".join(wrong[:10])


def test_a_plan_is_a_pure_function_of_its_seed() -> None:
    assert plan(7) == plan(7)
    assert plan(7) != plan(8)


def test_operations_do_what_they_say(tmp_path: Path) -> None:
    """All kinds are drawn, and those of one worker find something to do."""
    drawn = [operation for seed in range(20) for _, operation in plan(seed).flat()]
    assert len({operation.name for operation in drawn}) >= 25
    (tmp_path / "root").mkdir()
    tree = Tree(tmp_path / "root")
    for operation in plan(1).lists["before"]:
        tree.do(*operation)
    tree.let_go()
    assert tree.files()


def test_an_oracle_that_is_lied_to_notices(tmp_path: Path) -> None:
    """A rule that never tells of deletions leaves the oracle with a file that is gone."""
    drawn = plan(1).only([])
    drawn.lists["before"].append(Operation("create", ("f0", "content")))
    drawn.lists["0 daemon"].append(Operation("wait_until_ready"))
    drawn.lists["1 worker 0"].append(Operation("unlink", ("f0",)))
    keys = {**drawn.settings.keys, "changes": ["created", "modified", "moved"], "initial": "ignore"}
    wrong = Trial(drawn._replace(settings=drawn.settings._replace(keys=keys)), tmp_path).run()
    assert "f0: the jobs know 'content', the disk has 'nothing'" in wrong


@pytest.mark.parametrize("side", ["before", "after"])
def test_it_dies_at_each_step_in_turn(side: str, tmp_path: Path) -> None:
    wrong = die_everywhere(side, "inotify", tmp_path)
    assert not wrong, "\n".join(wrong)
