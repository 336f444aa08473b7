"""The shipped examples, schema and reference: loaded, validated, compared, with the actions that are built in."""

from __future__ import annotations

import contextlib
import io
import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from filewatchd.actions.command import unit
from filewatchd.actions.registry import packages
from filewatchd.cli.check import schema
from filewatchd.config.load import load

HERE = Path(__file__).resolve().parents[3]
EXAMPLES = sorted((HERE / "config").rglob("*.yaml"))
WHOLE = ["quickstart.yaml", "filewatchd.yaml", "outside-the-sandbox.yaml"]
SCHEMA = HERE / "docs/reference/schema/filewatchd.json"


def printed(*, markdown: bool) -> str:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        schema(packages(), markdown=markdown)
    return out.getvalue()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The examples as somebody installed them: the checkout may belong to anybody."""
    for example in EXAMPLES:
        copy = tmp_path / example.relative_to(HERE)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(example.read_text())
        copy.chmod(0o644)
    return tmp_path / "config"


@pytest.mark.parametrize("name", WHOLE)
def test_an_example_loads(name: str, config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unit, "BOOTED", "/")  # as if systemd were the manager here, which one of them asks for
    found = load(config / name, registry=packages(), environ={}, flags={})
    assert found.rules
    assert not [warning for warning in found.warnings if "user" not in warning.hint]


def test_every_example_is_loaded_by_one_of_them(config: Path) -> None:
    found = load(config / "filewatchd.yaml", registry=packages(), environ={}, flags={})
    assert {Path(file) for file in found.files} | {config / name for name in WHOLE} == set(config.rglob("*.yaml"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_fits_the_schema_it_names(example: Path) -> None:
    text = example.read_text()
    named = text.splitlines()[0].removeprefix("# yaml-language-server: $schema=")
    assert (example.parent / named).resolve() == SCHEMA
    jsonschema.validate(yaml.safe_load(text), json.loads(SCHEMA.read_text()), jsonschema.Draft202012Validator)


def test_the_shipped_schema_is_up_to_date() -> None:
    assert SCHEMA.read_text() == printed(markdown=False), f"run: filewatchd schema > {SCHEMA.relative_to(HERE)}"


def test_the_reference_is_up_to_date() -> None:
    page = HERE / "docs/reference/configuration.md"
    assert page.read_text() == printed(markdown=True), f"run: filewatchd schema --markdown > {page.relative_to(HERE)}"


def test_every_key_is_described() -> None:
    found = json.loads(printed(markdown=False))
    for name, section in found["$defs"].items():
        for key, value in section.get("properties", {}).items():
            assert value.get("description"), f"{name}.{key} has no description"


@pytest.mark.parametrize("struct", ["Daemon", "History", "Control", "Logging", "LogFiles", "Rule", "File"])
def test_the_annotated_example_names_every_key(struct: str) -> None:
    text = (HERE / "config/filewatchd.yaml").read_text()
    keys = json.loads(printed(markdown=False))["$defs" if struct != "File" else "properties"]
    wanted = keys[struct]["properties"] if struct != "File" else keys
    missing = [key for key in wanted if not re.search(rf"\b{key}:", text)]
    assert missing == []
