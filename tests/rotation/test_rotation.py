"""The crash points of a rotation are the calls of `Ledger.record`: it dies at each, under writers, losing nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from filewatchd.actions.rotate.machine import Step
from tests.rotation.cases import KINDS, die_at_random, die_everywhere, trial_of
from tests.scripts.mounts import Mounts, programs

FILESYSTEMS = {"xfs": "punch", "btrfs": "punch of a plain writer", "tmpfs": "short of space", "overlay": "exchange"}


def test_every_step_has_its_deaths() -> None:
    assert {step for kind in KINDS.values() for step in kind.steps} == set(Step)


@pytest.mark.parametrize("name", KINDS)
def test_it_dies_at_each_step_and_loses_nothing(name: str, tmp_path: Path) -> None:
    kind = KINDS[name]
    trial = trial_of(kind, tmp_path / "trial", tmp_path / "root")
    die_everywhere(trial, kind.steps)
    assert trial.finish() > 0


@pytest.mark.parametrize(("filesystem", "name"), FILESYSTEMS.items())
def test_on_other_filesystems(
    filesystem: str, name: str, tmp_path: Path, mounts: Mounts, program: Callable[[str], str]
) -> None:
    for each in programs(filesystem):
        program(each)
    place = tmp_path / "mounted"
    place.mkdir()
    mounts.mount(filesystem, str(place))
    trial = trial_of(KINDS[name], tmp_path / "trial", place / "root")
    die_everywhere(trial, KINDS[name].steps[-1:])
    die_at_random(trial, seed=7, count=2)
    assert trial.finish() > 0
