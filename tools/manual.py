"""filewatchd.yaml(5): the configuration's man page, made of the same reference as docs/reference/configuration.md."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from filewatchd.actions.registry import packages
from filewatchd.config.reference import reference
from filewatchd.config.schema import Daemon
from tools.man import head, see_also
from tools.roff import Tag, literal, markdown, paragraphs, tagged

_EXAMPLE = Path(__file__).parents[1] / "filewatchd/cli/data/rules.d/exec.yaml"
_HEADINGS = {
    "Configuration": ".SH DESCRIPTION",
    "How YAML is read": ".SH SYNTAX",
    "Values": ".SH VALUES",
    "Layers": ".SH LAYERS",
    "What is refused": ".SH SECURITY",
    "The file": ".SH KEYS",
}
_FILES = (
    Tag("/etc/filewatchd/filewatchd.yaml", "The configuration, unless --config or FILEWATCHD_CONFIG names another."),
    Tag("/etc/filewatchd/rules.d/*.yaml", "Rule files, where it says rule_files: [rules.d/*.yaml]."),
    Tag(f"{Daemon().state_dir}, {Daemon().runtime_dir}", "State, and the control socket, unless it says otherwise."),
)


def page() -> tuple[str, str]:
    """The page's file name and text."""
    return "filewatchd.yaml.5", "".join(f"{line}\n" for line in _roff())


def _roff() -> Iterator[str]:
    yield from head("filewatchd.yaml", 5, "File Formats")
    yield from (".SH NAME", "filewatchd.yaml \\- the configuration of filewatchd")
    yield from (".SH SYNOPSIS", ".B /etc/filewatchd/filewatchd.yaml")
    yield from markdown(reference(packages()), _HEADINGS)
    yield ".SH EXAMPLE"
    yield from paragraphs(
        "A whole configuration of one rule; filewatchd init --for exec writes it, with the rest around it."
    )
    yield from literal(_EXAMPLE.read_text())
    yield from (".SH FILES", *tagged(_FILES))
    yield from see_also(("filewatchd(8)", "filewatchctl(1)", "gitignore(5)"))
