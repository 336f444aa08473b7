"""How mistakes in a configuration are told, whoever found them."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from filewatchd.cli.text import count, to_json
from filewatchd.errors import Mistake


def tell_mistakes(mistakes: Sequence[Mistake], as_json: bool) -> None:
    """Say why a configuration is refused."""
    if as_json:
        print(to_json({"ok": False, "mistakes": [fields(mistake) for mistake in mistakes]}))
        return
    for mistake in mistakes:
        print(mistake, file=sys.stderr)
    print(f"configuration refused: {count(mistakes, 'mistake')}", file=sys.stderr)


def fields(mistake: Mistake) -> dict[str, object]:
    """A mistake as JSON has it."""
    return {key: getattr(mistake, key) for key in ("file", "line", "column", "message", "hint")}
