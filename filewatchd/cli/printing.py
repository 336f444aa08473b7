"""Where pages go: to a terminal by rich, or plainly to whoever else reads."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from filewatchd.cli.page import Block, filled, plain


def show(blocks: Iterable[Block]) -> None:
    """Print the blocks that hold anything, with a free line between them."""
    if is_terminal():
        from filewatchd.cli.terminal import draw

        draw(list(filled(blocks)), sys.stdout)
    else:
        sys.stdout.write("".join(f"{line}\n" for line in plain(blocks)))
    sys.stdout.flush()


def is_terminal() -> bool:
    """Whether somebody looks who can be shown colours and columns that fit."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
