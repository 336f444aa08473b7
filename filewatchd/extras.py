"""Extras: what pip installs only where it is asked for, as ``filewatchd[NAME]``, and how to tell that it is missing."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping

#: extra -> the modules it brings
EXTRAS: Mapping[str, tuple[str, ...]] = {}


def lacks(extra: str) -> tuple[str, str] | None:
    """What is wrong with an extra that is needed, and the remedy; None if it is installed."""
    if extra not in EXTRAS:
        return f"filewatchd has no extra {extra}", "report it to the action's authors"
    missing = [module for module in EXTRAS[extra] if importlib.util.find_spec(module) is None]
    if not missing:
        return None
    return f"the extra {extra} is not installed ({', '.join(missing)})", f"pip install 'filewatchd[{extra}]'"
