"""How much of a long test is done: some in CI, all in `make soak`."""

from __future__ import annotations

import os

SOAK = "FILEWATCHD_SOAK" in os.environ


def amount(in_ci: int, in_soak: int) -> int:
    """The number that applies here."""
    return in_soak if SOAK else in_ci
