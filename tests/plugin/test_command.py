"""The plug-in's own command, found by its entry point as pip would have installed it; and broken ones."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path

import pytest

from filewatchd.cli.control import main

PROJECT = tomllib.loads((Path(__file__).parent / "pyproject.toml").read_text())["project"]


def install(site: Path, **commands: str) -> None:
    """What pip writes of a distribution's entry points."""
    info = site / "an_example-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: an-example\nVersion: 1.0\n")
    lines = "".join(f"{name} = {value}\n" for name, value in commands.items())
    (info / "entry_points.txt").write_text(f"[filewatchd.commands]\n{lines}")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    found = tmp_path / "site"
    monkeypatch.syspath_prepend(str(found))
    return found


def test_a_plug_ins_command(site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install(site, **PROJECT["entry-points"]["filewatchd.commands"])
    seals, files = tmp_path / "seals", tmp_path / "files"
    for place in (seals, files):
        place.mkdir()
    (files / "a").write_bytes(b"x")
    (seals / "a.seal").write_text(hashlib.sha256(b"x").hexdigest() + "\n")
    assert (main(["seals", str(seals), str(files)]), capsys.readouterr().out) == (0, "")
    (files / "a").write_bytes(b"y")
    assert (main(["seals", str(seals), str(files)]), capsys.readouterr().out) == (3, "'a' isn't as it was sealed\n")
    assert main(["seals"]) == 64
    capsys.readouterr()
    assert main(["--help"]) == 0
    assert "  seals       Check seals against their files.\n" in capsys.readouterr().out


def test_broken_ones_say_so_in_one_line(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    install(site, gone="no_such_module:command", wrong="json:dumps", status="json:dumps")
    for name, why in (("gone", "an-example needs no_such_module"), ("wrong", "json:dumps is no click command")):
        assert main([name, "--any", "thing"]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"filewatchctl: the command {name} can't be loaded: {why}")
    assert main(["--help"]) == 0
    told = capsys.readouterr().out
    assert "  gone        (the command gone can't be loaded" in told
    assert told.count("  status ") == 1
