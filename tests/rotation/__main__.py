"""Many random deaths of rotations, on every filesystem, one trial after the other.

    python -m tests.rotation [--count N] [--first SEED] [--filesystem NAME]... [--kind NAME]... [--keep]
    python -m tests.rotation --calls [--way NAME]... [--count N] [--first SEED]
    python -m tests.rotation --fault WAY/CALL/NUMBER/ERROR/HOW

A trial is a kind of rotation on a filesystem: it dies at each of all its steps, then ten times at random. A failing one
is printed with the command that tries it again; --keep leaves its directory. Only root can mount. With --calls every
system call of each way to rotate fails in turn (`failing`), in an order that the seed says. Exit status 1 if anything
failed.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import shutil
import sys
import tempfile
import traceback
from pathlib import Path

from tests.rotation import failing
from tests.rotation.cases import KINDS, die_at_random, die_everywhere, trial_of
from tests.scripts.mounts import Mounts

_FILESYSTEMS = ("ext4", "xfs", "btrfs", "tmpfs", "overlay")


def main() -> int:
    """Run the trials."""
    parser = argparse.ArgumentParser(prog="python -m tests.rotation", description=__doc__)
    parser.add_argument("--count", type=int, default=int(os.environ.get("SOAK_SEEDS", "1000")))
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--filesystem", action="append", choices=_FILESYSTEMS)
    parser.add_argument("--kind", action="append", choices=list(KINDS))
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--calls", action="store_true")
    parser.add_argument("--way", action="append", choices=list(failing.WAYS))
    parser.add_argument("--fault", type=failing.fault_of)
    arguments = parser.parse_args()
    if arguments.calls or arguments.fault is not None:
        return calls(arguments)
    pairs = itertools.product(arguments.filesystem or _FILESYSTEMS, arguments.kind or KINDS)
    cases = [pair for pair in pairs if pair[1] != "collapse" or pair[0] == "ext4"]
    failed = lines = deaths = 0
    for seed in range(arguments.first, arguments.first + arguments.count):
        filesystem, name = cases[seed % len(cases)]
        directory = Path(tempfile.mkdtemp(prefix="filewatchd-rotation-"))
        try:
            found = one(filesystem, name, seed, directory)
        except (AssertionError, OSError):
            failed += 1
            traceback.print_exc()
            again = f"--first {seed} --count 1 --filesystem {filesystem} --kind '{name}'"
            print(f"seed {seed} failed; python -m tests.rotation {again}", flush=True)
        else:
            lines, deaths = lines + found[0], deaths + found[1]
        if not arguments.keep:
            shutil.rmtree(directory, ignore_errors=True)
        print(f"{seed}: {name} on {filesystem}; {deaths:,} deaths, {lines:,} lines, {failed} failed", flush=True)
    return 1 if failed else 0


def calls(arguments: argparse.Namespace) -> int:
    """Every system call failing in turn."""
    with tempfile.TemporaryDirectory(prefix="filewatchd-calls-") as name:
        where = Path(name)
        ways = enumerate(arguments.way or failing.WAYS)
        faults = [arguments.fault] if arguments.fault is not None else [
            fault for number, way in ways for fault in failing.faults(way, where / f"clean-{number}")
        ]  # fmt: skip
        random.Random(arguments.first).shuffle(faults)
        faults = faults[: arguments.count]
        failed = told = 0
        for number, fault in enumerate(faults, 1):
            place = where / str(number)
            try:
                told += failing.fail(fault, place)
            except (AssertionError, OSError):
                failed += 1
                traceback.print_exc()
                print(f"python -m tests.rotation --fault '{fault}' failed", flush=True)
            shutil.rmtree(place, ignore_errors=True)
            if number % 100 == 0 or number == len(faults):
                print(f"{number:,} of {len(faults):,} faults, {told:,} told, {failed} failed", flush=True)
    return 1 if failed else 0


def one(filesystem: str, name: str, seed: int, directory: Path) -> tuple[int, int]:
    """One trial: its lines and deaths."""
    place = directory / "mounted"
    place.mkdir()
    mounts = Mounts(directory)
    try:
        mounts.mount(filesystem, str(place), image=f"disk-{seed}")
        trial = trial_of(KINDS[name], directory / "trial", place / "root")
        die_everywhere(trial, KINDS[name].steps)
        die_at_random(trial, seed, 10)
        return trial.finish(), trial.deaths
    finally:
        mounts.close()


if __name__ == "__main__":
    sys.exit(main())
