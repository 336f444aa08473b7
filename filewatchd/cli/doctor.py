"""`filewatchd doctor`: what the service's doctor found, for people or as JSON. Progress goes to a terminal's stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from filewatchd.cli.examination import page
from filewatchd.cli.mistakes import tell_mistakes
from filewatchd.cli.page import plain
from filewatchd.cli.text import to_json
from filewatchd.config.load import load
from filewatchd.errors import ConfigError
from filewatchd.service.doctor import examine
from filewatchd.service.findings import document

if TYPE_CHECKING:
    from filewatchd.actions.base import ActionPackage

_FINDINGS = 3  # exit code
_LONG = 1.0  # seconds after which progress is worth a line


def doctor(
    config: Path,
    *,
    registry: Mapping[str, ActionPackage],
    environ: Mapping[str, str],
    flags: Mapping[str, object],
    as_json: bool = False,
    quick: bool = False,
) -> int:
    """Examine and print; the exit code is 0, 3 with warnings or errors, 78 with mistakes in the configuration."""
    progress = Progress()
    try:
        report = examine(
            partial(load, config, registry=registry, environ=environ, flags=flags),
            registry,
            quick=quick,
            tell=progress.tell,
        )
    except ConfigError as error:
        tell_mistakes(error.mistakes, as_json)
        return error.exit_code
    finally:
        progress.end()
    if as_json:
        print(to_json(document(report)))
    else:
        print("\n".join(plain(page(document(report), quick=quick))))
    return 0 if report.healthy else _FINDINGS


class Progress:
    """A line on a terminal, rewritten while the walk takes long."""

    def __init__(self) -> None:
        self._from = time.monotonic() + _LONG if sys.stderr.isatty() else float("inf")
        self._shown = False

    def tell(self, directories: int) -> None:
        """Show how many directories were counted so far."""
        if time.monotonic() >= self._from:
            self._shown = True
            print(f"\r{directories:,} directories", end="\x1b[K", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Take the line away."""
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
