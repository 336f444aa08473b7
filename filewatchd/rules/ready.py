"""Is a due path complete, or is somebody still writing it? Pure."""

from __future__ import annotations

from filewatchd.model import FileIdentity, Hint, Look, Ready

_OLD = 2.0  # seconds of unchanged mtime that prove quiet where nothing else can (the coarsest mtime is 2 s)
_LONGEST = 10.0  # seconds between two askings
_NANO = 1e-9
_SURE = {Ready.IMMEDIATE: ~0, Ready.CLOSED: Hint.CLOSED, Ready.STABLE: 0}


def sure_hint(ready: Ready) -> int:
    """The hints one of which makes a path ready without asking: all with `immediate`, a close with `closed`."""
    return _SURE[ready]


def asks_writers(ready: Ready, hint: int) -> bool:
    """True if readiness hangs on who has the file open: `stable`, or `closed` without having seen a close."""
    return ready is not Ready.IMMEDIATE and not hint & sure_hint(ready)


def is_ready(ready: Ready, hint: int, look: Look, previous: FileIdentity | None, settle: float, wall_ns: int) -> bool:
    """Whether a path that is due may be taken. ``previous``: what the last look, at least ``settle`` ago, found."""
    identity = look.identity
    if identity is None or not asks_writers(ready, hint) or look.writers is False:
        return True
    if look.writers:
        return False
    if previous is not None and (previous.size, previous.mtime_ns) == (identity.size, identity.mtime_ns):
        return True
    return (wall_ns - identity.mtime_ns) * _NANO >= max(_OLD, settle)


def ask_again(settle: float, asked: int) -> float:
    """Seconds until a path that wasn't ready is asked again, should no event come before."""
    return min(_LONGEST, max(settle, 0.1) * 2.0 ** min(asked, 10))
