"""The import contracts of pyproject.toml, which lint-imports checks, name every part of the package."""

from __future__ import annotations

import tomllib
from pathlib import Path

import filewatchd

PACKAGE = Path(filewatchd.__file__).parent
CONTRACTS = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]

# What stands above everything or is only a protocol's company has nothing to be forbidden.
FREE = {"__init__", "__main__", "testing"}


def test_every_part_of_the_package_has_a_contract() -> None:
    parts = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    bound = {source.split(".")[1] for contract in CONTRACTS for source in contract.get("source_modules", ())}
    assert parts - FREE == bound


def test_every_action_is_bound_not_to_know_the_others() -> None:
    independent = next(contract for contract in CONTRACTS if contract["type"] == "independence")
    helpers = {"probes", "probing", "secrecy", "telling", "ways", "weburl", "wording"}
    shared = {"__init__", "base", "given", "registry", "template", "keeping", "command", *helpers}
    actions = {path.stem for path in (PACKAGE / "actions").iterdir() if path.suffix == ".py" or path.is_dir()}
    assert {f"filewatchd.actions.{name}" for name in actions - shared - {"__pycache__"}} == set(independent["modules"])
