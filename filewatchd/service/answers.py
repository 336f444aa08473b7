"""All handlers of the control socket's routes, put together."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from filewatchd.control.api import Handler
from filewatchd.service import report
from filewatchd.service.asking import Asking
from filewatchd.service.following import Following
from filewatchd.service.listing import Listing
from filewatchd.service.pausing import Pausing
from filewatchd.service.steering import Operating


def answers(parts: report.Parts, configured: asyncio.Event) -> Mapping[str, Handler]:
    """By the routes' names. ``configured``: the rules have their roots."""
    return {
        **Asking(parts.engine, parts.rooting, lambda: report.status(parts), configured).handlers(),
        **Following(parts.engine, parts.control.label, configured).handlers(),
        **Listing(parts.engine, parts.life).handlers(),
        **Pausing(parts.engine, configured).handlers(),
        **Operating(parts.engine, configured).handlers(),
    }
