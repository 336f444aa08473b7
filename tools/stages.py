"""Run all stages of CI in order, the quick ones first, and say how long each took and which failed.

A test stage that executed no test has failed: a gate that runs nothing guards nothing. Only what takes root and
programs of Debian may be skipped whole, outside of CI.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path
from typing import NamedTuple

BIN = Path(sys.executable).parent
REPORTS = Path("build/reports")


class Stage(NamedTuple):
    """One command of CI. ``tests``: a pytest run, which has to execute at least one test; ``root``: in CI, as root."""

    name: str
    command: tuple[str, ...]
    tests: bool = False
    root: bool = False


def pytest(name: str, *arguments: str, cover: bool = True, root: bool = False) -> Stage:
    """A pytest stage that leaves a report for the count, and adds to the coverage data.

    That makes it slower by half where daemons and commands are started, so only unit tests and faults are counted.
    """
    report = f"--junitxml={REPORTS / name}.xml"
    coverage = ("--cov", "--cov-append", "--cov-report=", "--cov-fail-under=0") if cover else ()
    return Stage(name, ("pytest", "-q", *coverage, report, *arguments), tests=True, root=root)


STAGES = (
    Stage("lint", ("ruff", "check", ".")),
    Stage("format", ("ruff", "format", "--check", ".")),
    Stage("types", ("mypy",)),
    Stage("layers", ("lint-imports",)),
    pytest("unit", "-n", "2", "tests/unit", "tests/plugin"),
    pytest("scripts", "-n", "4", "--durations=3", "tests/scripts", cover=False),  # they wait for kernel and programs
    pytest("faults", "-n", "2", "tests/faults"),
    pytest("e2e", "-n", "4", "--durations=10", "--ignore=tests/e2e/systemd", "tests/e2e", cover=False),
    pytest("systemd", "-n", "2", "--dist=worksteal", "--durations=10", "tests/e2e/systemd", cover=False, root=True),
    pytest("oracle", "-n", "2", "--durations=3", "tests/oracle", cover=False),
    pytest("rotation", "-n", "2", "--durations=3", "tests/rotation", cover=False, root=True),
    pytest("integrity", "-n", "2", "--durations=3", "tests/integrity", cover=False, root=True),
    Stage("coverage", ("coverage", "report")),
)


def run(stage: Stage) -> int:
    """Run one stage, its output straight through; returns its exit status."""
    print(f"==> {stage.name}: {' '.join(stage.command)}", flush=True)
    program, *arguments = stage.command
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}
    return subprocess.run([BIN / program, *arguments], env=environment, check=False).returncode


def counts(stage: Stage) -> Counter[str]:
    """How a test stage's tests fared: passed, failed, skipped."""
    found: Counter[str] = Counter()
    report = REPORTS / f"{stage.name}.xml"
    for case in ET.parse(report).iter("testcase") if report.exists() else ():
        states = {child.tag for child in case}
        verdict = "failed" if states & {"failure", "error"} else "skipped" if "skipped" in states else "passed"
        found[verdict] += 1
    return found


def main(wanted: list[str]) -> int:
    """Run the stages, or only those named; returns the exit status."""
    REPORTS.mkdir(parents=True, exist_ok=True)
    for stale in (*REPORTS.glob("*.xml"), *Path().glob(".coverage*")):
        stale.unlink()
    total: Counter[str] = Counter()
    times: list[str] = []
    failed: list[str] = []
    for stage in STAGES:
        if wanted and stage.name not in wanted:
            continue
        start = time.monotonic()
        good = run(stage) == 0
        times.append(f"{stage.name} {time.monotonic() - start:.0f} s")
        if stage.tests:
            found = counts(stage)
            total += found
            if not found["passed"] + found["failed"]:
                print(f"==> {stage.name} executed no test")
                good = good and stage.root and ("CI" not in os.environ or os.geteuid() != 0)
        if not good:
            failed.append(stage.name)
    print(f"==> times: {', '.join(times)}")
    print(f"==> failed: {', '.join(failed)}" if failed else "==> all stages passed")
    if total:
        print(f"{total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
