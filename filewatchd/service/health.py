"""Whether the daemon is well: what a load balancer, an orchestrator or a person asks first.

It isn't while it doesn't do its work, or can't do all of it until somebody helps: it starts, ends, can't write its job
journal, has lost state, or a root is covered partly or not at all. A doubt that goes by itself (an overflow, until
the rescan is through), a rule that somebody or its own limit holds, failed paths and findings are no illness: metrics
and status tell of them. Nothing here names a path, because everybody on this host may ask.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from filewatchd.control import documents
from filewatchd.control.api import Told

_STATES = {
    "starting": "it starts: roots are still compared with what was known of them",
    "draining": "it ends",
    "blocked": "the job journal can't be written, so no job starts",
}
_DOUBTS = {
    "state": "the job journal was lost; `resume` acknowledges it",
    "stalled": "{} of its roots: the filesystem doesn't answer",
    "degraded": "{} of its roots: some directories can't be watched",
}


def health(status: documents.Status) -> Told:
    """The document; with status 503 where the daemon isn't well."""
    why = list(_reasons(status))
    return Told(503 if why else 200, documents.Health(healthy=not why, state=status.state, why=why))


def _reasons(status: documents.Status) -> Iterator[str]:
    if status.state in _STATES:
        yield _STATES[status.state]
    doubts = Counter(reason.about for reason in status.promise.reasons)
    yield from (text.format(doubts[about]) for about, text in _DOUBTS.items() if about in doubts)
