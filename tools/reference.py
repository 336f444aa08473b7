"""The pages of docs/reference that are made of the code: ``python -m tools.reference`` writes them; a test compares."""

from __future__ import annotations

import json
from pathlib import Path

from filewatchd.control.api import ROUTES
from filewatchd.control.openapi import openapi
from filewatchd.control.reference import reference
from filewatchd.service import exposition

PLACE = Path(__file__).parents[1] / "docs" / "reference"


def pages() -> dict[str, str]:
    """What each file shall hold, by its name."""
    return {
        "api.md": reference(),
        "openapi.json": json.dumps(openapi(ROUTES), indent=1, ensure_ascii=False) + "\n",
        "metrics.md": exposition.reference(),
    }


def main() -> None:
    """Write them."""
    for name, text in pages().items():
        (PLACE / name).write_text(text)
        print(PLACE / name)


if __name__ == "__main__":
    main()
