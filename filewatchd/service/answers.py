"""All handlers of the control socket's routes, put together, and who may use them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from filewatchd.config.configuration import Configuration
from filewatchd.control import access
from filewatchd.control.api import Handler
from filewatchd.errors import FatalError
from filewatchd.service import report
from filewatchd.service.asking import Asking
from filewatchd.service.configuring import Configuring
from filewatchd.service.examining import Examining
from filewatchd.service.explaining import Explaining
from filewatchd.service.following import Following
from filewatchd.service.listing import Listing
from filewatchd.service.living import Living
from filewatchd.service.pausing import Pausing
from filewatchd.service.reloading import Reloading
from filewatchd.service.steering import Operating


def answers(
    parts: report.Parts, configured: asyncio.Event, reloading: Reloading, living: Living
) -> Mapping[str, Handler]:
    """By the routes' names. ``configured``: the rules have their roots."""
    return {
        **Asking(parts.engine, parts.rooting, lambda: report.status(parts), configured).handlers(),
        **Following(parts.engine, parts.control.label, configured).handlers(),
        **Examining(parts).handlers(),
        **Explaining(parts.engine, parts.rooting, parts.life, configured).handlers(),
        **Listing(parts.engine, parts.life).handlers(),
        **Pausing(parts.engine, configured).handlers(),
        **Operating(parts.engine, configured).handlers(),
        **Configuring(reloading, configured).handlers(),
        **living.handlers(),
    }


def rights_of(settings: Configuration) -> access.Access:
    """Who may read and act, by numbers: names are looked up once, at a start or reload. May ask LDAP, so it may block.

    Raises:
        FatalError: one isn't there any more.
    """
    try:
        return access.Access(access.named(settings.control.read), access.named(settings.control.act))
    except KeyError as error:
        raise FatalError(f"control: {error.args[0]}; mend control.read and control.act") from error
