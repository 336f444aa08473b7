"""Write what is made from the commands' own help: the shells' completion scripts, and the man pages.

`python -m tools.pages` writes them; a test says when they are out of date.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from filewatchd.cli.commands.completion import SHELLS, script
from filewatchd.cli.control import filewatchctl
from tools import man

ROOT = Path(__file__).parents[1]
# Named as the shells look for them.
_SCRIPTS = {"bash": "filewatchctl.bash", "zsh": "_filewatchctl", "fish": "filewatchctl.fish"}


def pages() -> Iterator[tuple[Path, str]]:
    """Each file and what it should hold."""
    for shell in SHELLS:
        yield ROOT / "packaging/completions" / _SCRIPTS[shell], script(shell, filewatchctl)
    for name, text in man.pages():
        yield ROOT / "docs/man" / name, text


def main() -> None:
    """Write all."""
    for path, text in pages():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
