"""The how-tos' commands, typed by root as they stand, print what they say, with their rules in a running daemon.

A page has the machine for itself: /etc, /srv and /var are layers over the real ones, in namespaces that end with it.
Pages that need systemd are in `tests.e2e.systemd.test_howto`.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.transcripts import Block, Step, Terminal, blocks, environment, here

PAGES = Path(__file__).parents[2] / "docs/how-to"
_NAMESPACES = ("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--mount-proc")
_LAYERS = """
set -e
mount -t tmpfs layers "$0"
for place in etc srv var; do
    mkdir -p "$0/$place/upper" "$0/$place/work"
    mount -t overlay -o "lowerdir=/$place,upperdir=$0/$place/upper,workdir=$0/$place/work" "$place" "/$place"
done
mount -t tmpfs run /run
exec "$@"
"""
RUN = Block(0, frozenset({"background"}), (Step(0, "filewatchd run", "...\n2026-11-27 19:25:12.467    ready: ...\n"),))


TYPED = (
    "delete-old-files", "find-out-why", "follow-changes", "rotate-logs", "steer-the-daemon", "tell-damage-from-change",
)  # fmt: skip


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
@pytest.mark.parametrize("page", TYPED)
def test_its_commands_do_what_it_says(page: str, commands: str, tmp_path: Path) -> None:
    layers, home = tmp_path / "layers", tmp_path / "home"
    layers.mkdir()
    home.mkdir()

    def start(*argv: str, **more: Any) -> subprocess.Popen[str]:
        # Two of these machines would have the same group: they share the cgroup, and the state directory's name.
        environ = {**environment(commands, str(home)), "FILEWATCHD_CGROUP": "off"}
        return here(*_NAMESPACES, "sh", "-c", _LAYERS, str(layers), *argv, env=environ, **more)

    with Terminal(str(home), start) as root:
        assert root.run("filewatchd init")[1] == 0
        root.type(RUN)
        found = list(blocks(PAGES / f"{page}.md"))
        for block in found:
            root.type(block)
        root.run("filewatchctl shutdown")  # unless the page did
        assert set(root.ends()) == {0}
    assert sum(len(block.steps) for block in found) > 3
