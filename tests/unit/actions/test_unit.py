"""``unit:`` of exec: how it is written, what is checked, and what is spawned."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from filewatchd.actions import exec as package
from filewatchd.actions.command import unit
from filewatchd.actions.command.unit import UnitLimits
from filewatchd.config.load import load
from filewatchd.errors import ConfigError
from filewatchd.model import Outcome, RuleSettings, Verdict
from filewatchd.notation import MalformedError
from filewatchd.testing import FakeContext, FakeJob, FakeSpawn, Scripted, changed
from filewatchd.work.command import Finished, Limits, Unit

CHANGE = changed("/r/a", "/r")
RULE = RuleSettings(name="nginx", roots=("/r",), actions=())


@pytest.fixture
def booted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Systemd is the system's manager."""
    monkeypatch.setattr(unit, "BOOTED", str(tmp_path))


def options(wanted: bool | UnitLimits) -> package.Options:
    return package.Options(command=("true",), unit=wanted)


def asked(wanted: bool | UnitLimits, *script: Scripted) -> tuple[Unit | None, Any]:
    """The unit that is asked for, and the outcome."""
    spawn = FakeSpawn(*script)
    action = package.open(options(wanted), FakeContext(RULE, spawn=spawn))
    job = FakeJob([CHANGE], rule="nginx", id=7)
    outcome = asyncio.run(action.run(job))
    return spawn.commands[0].unit, outcome


def test_without_it_there_is_none() -> None:
    assert asked(False)[0] is None
    assert package.needs(options(False)).extras == ()


def test_true_has_no_limits() -> None:
    assert asked(True)[0] == Unit("nginx", 7, Limits())
    assert package.needs(options(True)).extras == ("systemd",)


def test_limits_are_handed_on() -> None:
    limits = UnitLimits(memory=2**29, cpu=1.5, tasks=64, io_weight=50, nice=10)
    assert asked(limits)[0] == Unit("nginx", 7, Limits(2**29, 1.5, 64, 50, 10))


def test_the_outcome_names_a_limit_that_was_met() -> None:
    _, outcome = asked(True, Scripted(Finished(None, 9, False, 0, "it met the memory limit of its unit")))
    assert outcome == Outcome(Verdict.FAILED, "ended by SIGKILL (it met the memory limit of its unit)")


def test_the_plan_says_so() -> None:
    action = package.open(options(True), FakeContext(RULE))
    assert action.plan(FakeJob([CHANGE])) == ["run in a unit of its own: true"]


@pytest.mark.parametrize(("text", "processors"), [("50%", 0.5), ("200 %", 2.0), ("12.5%", 0.125)])
def test_processors(text: str, processors: float) -> None:
    assert unit.parse_processors(text) == processors


@pytest.mark.parametrize("text", ["0%", "50", 50, "-5%", "", "x%", True])
def test_no_processors(text: object) -> None:
    with pytest.raises(MalformedError, match="is not a share of a processor"):
        unit.parse_processors(text)


def test_memory_in_which_nothing_can_start_is_refused() -> None:
    with pytest.raises(MalformedError, match="less than 16 MiB"):
        UnitLimits(memory=2**20)


def test_without_systemd_check_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unit, "BOOTED", "/no/run/systemd/system")
    (problem,) = package.check(options(True), RULE)
    assert problem.message == "systemd doesn't run here (there is no /no/run/systemd/system), so no unit can be made"
    assert problem.where == ("unit",)


def mistakes(tmp_path: Path, written: str) -> list[str]:
    """What is wrong with a ``unit:`` in a configuration."""
    config = tmp_path / "filewatchd.yaml"
    action = f"exec: {{command: ['true'], unit: {written}}}"
    config.write_text(f"version: 1\nrules:\n  - name: a\n    roots: [.]\n    actions:\n      - {action}\n")
    try:
        load(config, registry={"exec": package}, environ={}, flags={})
    except ConfigError as error:
        return [mistake.message for mistake in error.mistakes]
    return []


@pytest.mark.usefixtures("booted")
def test_it_is_written_as_a_truth_or_as_limits(tmp_path: Path) -> None:
    assert mistakes(tmp_path, "true") == []
    assert mistakes(tmp_path, "{memory: 512MiB, cpu: 150%, tasks: 64, io_weight: 50, nice: 10}") == []
    assert mistakes(tmp_path, "yes-please") == ["true or false or a mapping is expected here, not text"]
    assert mistakes(tmp_path, "{memory: 1MiB}") == ["no command can be started with less than 16 MiB"]
    found = mistakes(tmp_path, "{cpu: half, tasks: 0, nice: 20, memry: 1GB}")
    assert found == [
        "'half' is not a share of a processor", "0 is out of range", "20 is out of range", "unknown key 'memry'",
    ]  # fmt: skip


@pytest.mark.usefixtures("booted")
def test_without_the_extra_check_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("filewatchd.config.rules.lacks", lambda extra: (f"the extra {extra} is not installed", "pip"))
    (message,) = mistakes(tmp_path, "true")
    assert message == "the action exec can't work so: the extra systemd is not installed"
