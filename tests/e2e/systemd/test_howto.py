"""A service's configuration, reloaded as the how-to says it, with Debian's nginx: only in `make soak`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.amounts import SOAK
from tests.e2e.systemd.conftest import Boot
from tests.e2e.transcripts import Terminal, blocks

PAGE = Path(__file__).parents[3] / "docs/how-to/reload-a-service.md"


@pytest.mark.skipif(not SOAK, reason="it boots a machine for one page; FILEWATCHD_SOAK=1 does")
def test_its_commands_do_what_it_says(boot: Boot) -> None:
    machine = boot("nginx-light")
    with Terminal("/root", machine.start) as root:
        for block in blocks(PAGE):
            root.type(block)
        assert set(root.ends()) <= {0}
