"""Files that came and went before anybody looked: counted, and named where the kernel kept the news over a restart."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from filewatchd.model import Hint
from filewatchd.rules.resolve import Found

if TYPE_CHECKING:
    from filewatchd.jobs.pipeline import Pipeline

log = logging.getLogger("filewatchd.jobs")

_NAMED = 20  # of one look


def note_transients(pipeline: Pipeline, found: Sequence[Found]) -> None:
    """Count those of the found paths; what came and went while no daemon ran has no other trace, so it is named."""
    transients = [f for f in found if f.resolved.transient]
    if not transients:
        return
    pipeline.count("transient", len(transients))
    unseen = [f.path for f in transients if f.hint & Hint.RETAINED]
    extra = {"rule": pipeline.settings.name}
    for path in unseen[:_NAMED]:
        log.info("came and went while no daemon ran: %s", path, extra={**extra, "path": path})
    if len(unseen) > _NAMED:
        log.info("... and %d more that came and went while no daemon ran", len(unseen) - _NAMED, extra=extra)
