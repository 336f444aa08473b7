"""The man pages tell what the code has: variables, signals, exit codes, keys; and groff finds nothing wrong there."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from filewatchd.actions.registry import packages
from filewatchd.cli.daemon import main
from filewatchd.config.editors import json_schema
from filewatchd.service.signals import Signals
from tools.pages import ROOT, pages
from tools.roff import markdown, text

MAN = {path.name: content for path, content in pages() if path.parent.name == "man"}
HEADINGS = {
    "filewatchctl.1": ["OPTIONS", "COMMANDS", "EXIT STATUS", "ENVIRONMENT", "FILES", "SEE ALSO"],
    "filewatchd.8": ["OPTIONS", "COMMANDS", "SIGNALS", "EXIT STATUS", "ENVIRONMENT", "FILES", "SEE ALSO"],
    "filewatchd.yaml.5": ["SYNTAX", "VALUES", "LAYERS", "SECURITY", "KEYS", "EXAMPLE", "FILES", "SEE ALSO"],
}
OTHERS = {"TERM"}  # every program with a terminal has it


def printed(name: str, program: Callable[[str], str]) -> str:
    """A page as it is read."""
    command = [program("groff"), "-man", "-Tutf8", "-ww", "-P-cbou", str(ROOT / "docs/man" / name)]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert found.stderr == ""
    return found.stdout


def section(page: str, title: str) -> str:
    found = re.search(rf"^{title}\n(.*?)(?=^\S|\Z)", page, re.MULTILINE | re.DOTALL)
    assert found is not None, title
    return textwrap.dedent(found[1])


@pytest.mark.parametrize("name", MAN)
def test_groff_finds_nothing_wrong(name: str, program: Callable[[str], str]) -> None:
    page = printed(name, program)
    titles = re.findall(r"^([A-Z][A-Z ]+)$", page, re.MULTILINE)
    assert titles == ["NAME", "SYNOPSIS", "DESCRIPTION", *HEADINGS[name]]
    assert re.match(r"\S+ - \w", section(page, "NAME"))


def test_they_refer_to_one_another(program: Callable[[str], str]) -> None:
    names = {f"{name.rpartition('.')[0]}({name[-1]})" for name in MAN}
    for name in MAN:
        own = f"{name.rpartition('.')[0]}({name[-1]})"
        assert set(re.findall(r"filewatch[\w.]+\(\d\)", section(printed(name, program), "SEE ALSO"))) == names - {own}


def test_the_units_name_them() -> None:
    for unit in (ROOT / "systemd").rglob("*.service"):
        named = re.findall(r"man:([\w.]+)\((\d)\)", unit.read_text())
        assert {".".join(each) for each in named} == set(MAN)


def told(name: str, title: str) -> str:
    """A section of a page's source."""
    found = re.search(rf"^\.SH {title}\n(.*?)^\.SH", MAN[name], re.MULTILINE | re.DOTALL)
    assert found is not None, title
    return found[1]


def test_the_variables_are_those_of_the_code() -> None:
    trees = [ast.parse(path.read_text()) for path in ROOT.glob("filewatchd/**/*.py")]
    read = {name for tree in trees for name in variables(tree)} - OTHERS
    environment = told("filewatchd.8", "ENVIRONMENT") + told("filewatchctl.1", "ENVIRONMENT")
    tags = {name for tag in re.findall(r"^\.B (.*)$", environment, re.MULTILINE) for name in tag.split(", ")}
    assert len(read) > 12
    assert read - tags == set()
    constants = {node.value for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    assert tags - constants == {"FILEWATCHD_SECTION__KEY"}


def variables(tree: ast.AST) -> Iterator[str]:
    """Names that are looked up in something that is called environ."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "get"
            and node.args
        ):
            place, key = node.func.value, node.args[0]
        elif isinstance(node, ast.Subscript):
            place, key = node.value, node.slice
        elif isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], ast.In | ast.NotIn):
            place, key = node.comparators[0], node.left
        else:
            continue
        if isinstance(key, ast.Constant) and ast.unparse(place).endswith("environ"):
            yield str(key.value)


def test_the_signals_are_those_of_the_code() -> None:
    handled = set(re.findall(r"signal\.(SIG\w+)", inspect.getsource(Signals.close)))
    assert set(re.findall(r"\bSIG[A-Z0-9]+", told("filewatchd.8", "SIGNALS"))) == handled


@pytest.mark.parametrize("name", ["filewatchd.8", "filewatchctl.1"])
def test_the_exit_codes_are_those_of_the_reference(name: str) -> None:
    page = (ROOT / "docs/reference/command-line.md").read_text()
    codes = dict(re.findall(r"^\| (\d+) \| (.*?)(?: \(`.*)? \|$", page, re.MULTILINE))
    told = re.search(r"^\.SH EXIT STATUS\n(.*?)^\.SH", MAN[name], re.MULTILINE | re.DOTALL)
    assert told is not None
    assert (
        dict(re.findall(r"^\.B (\d+)\n(.*)$", told[1], re.MULTILINE)).items()
        <= {code: text(meaning) for code, meaning in codes.items()}.items()
    )


# ---- filewatchd.yaml(5)


def test_it_has_every_key_with_its_default() -> None:
    page = re.sub(r"\\f[BP]|\\(?=-)", "", told("filewatchd.yaml.5", "KEYS"))
    schema = json_schema(packages())
    rows = {*re.findall(r"^\.TP\n(\w+) \((.*)\)\n(.*)$", page, re.MULTILINE)}
    assert len(rows) > 60
    sections = [
        section for name, section in schema["$defs"].items() if name not in ("Secret", "Action")
    ]  # these are notations
    for section in (schema, *sections):
        for key, value in section.get("properties", {}).items():
            abouts = [about for name, about, what in rows if name == key and what]
            assert abouts, key
            if (default := shown(value.get("default"))) is not None:
                assert any(about.endswith(f"default {default}") for about in abouts), key


def shown(default: object) -> str | None:
    """A plain default, as the page has it."""
    if isinstance(default, bool):
        return str(default).lower()
    return str(default) if default and isinstance(default, int | str) else None


def test_every_notation_is_told() -> None:
    page = (ROOT / "docs/reference/configuration.md").read_text()
    values = re.search(r"^## Values\n(.*?)^## ", page, re.MULTILINE | re.DOTALL)
    assert values is not None
    told = {name for row in re.findall(r"^\| ([a-z, ]+) \|", values[1], re.MULTILINE) for name in row.split(", ")}
    kinds = re.findall(r"^\| `\w+` \| ([a-z ]+?) \|", page, re.MULTILINE)
    used = {kind for each in kinds for kind in re.split(r" or (?:list of )?(?!false)", each.removeprefix("list of "))}
    short = {"codec", "dir"}  # a key that stands for a mapping with it
    assert used - told - short == {"any", "mapping", "number", "text", "true or false"}
    assert {"duration", "size", "pattern", "schedule"} <= told


def test_its_example_loads(tmp_path: Path, program: Callable[[str], str], capsys: pytest.CaptureFixture[str]) -> None:
    example = section(printed("filewatchd.yaml.5", program), "EXAMPLE")
    config = tmp_path / "filewatchd.yaml"
    config.write_text(example[example.index("# A command") :])
    assert main(["check", "--config", str(config)]) == 0
    assert capsys.readouterr().out == "configuration ok: 1 rule, 1 file\n"


def test_markdown_becomes_roff() -> None:
    page = """# Title
<!-- a note -->
One `*` [link](there.md)
and **two** words.

- an item
  goes on
1. first

| key | value | default | what it does |
|---|---|---|---|
| `a` | text | | Does `x`. |
| `b` | `y` | `z` | |

```yaml
.a: 'b'

c
```
"""
    assert list(markdown(page, {"Title": ".SH TITLE"})) == [
        ".SH TITLE",
        ".PP",
        "One \\fB*\\fP link and \\fBtwo\\fP words.",
        ".IP \\(bu 3",
        "an item goes on",
        ".IP 1. 4",
        "first",
        ".TP",
        "\\fBa\\fP (text)",
        "Does \\fBx\\fP.",
        ".TP",
        "\\fBb\\fP (\\fBy\\fP, default \\fBz\\fP)",
        "\\&",
        ".PP",
        ".RS 4",
        ".nf",
        "\\&.a: \\(aqb\\(aq",
        "\\&",
        "c",
        ".fi",
        ".RE",
    ]
