"""Write what is made of something else: completion scripts, man pages, and the configuration of `filewatchd init`.

`python -m tools.pages` writes them; a test says when they are out of date.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from filewatchd.cli.commands.completion import SHELLS, script
from filewatchd.cli.control import filewatchctl
from tools import man, manual

ROOT = Path(__file__).parents[1]
# Named as the shells look for them.
_SCRIPTS = {"bash": "filewatchctl.bash", "zsh": "_filewatchctl", "fish": "filewatchctl.fish"}


def pages() -> Iterator[tuple[Path, str]]:
    """Each file and what it should hold."""
    for shell in SHELLS:
        yield ROOT / "packaging/completions" / _SCRIPTS[shell], script(shell, filewatchctl)
    for name, text in (*man.pages(), manual.page()):
        yield ROOT / "docs/man" / name, text
    yield ROOT / "filewatchd/cli/data/filewatchd.yaml", installed((ROOT / "config/filewatchd.yaml").read_text())


def installed(text: str) -> str:
    """A configuration as it stands outside this source tree, without the line that names its schema to editors."""
    return re.sub(r"\A# yaml-language-server:.*\n#\n", "", text)


def main() -> None:
    """Write all."""
    for path, text in pages():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
