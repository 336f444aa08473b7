"""Whether a service is healthy: asked by HTTP, by connecting, of systemd, or by a command; until it is, and stays so.

A probe's life is a table: it waits for the service to answer well (`within` is the deadline), then sees that it stays
so (`stay`). A bad answer meanwhile, while the deadline isn't over, begins the waiting anew: the processes that a reload
replaces answer well until they are gone, and a restart takes its time. After the deadline it is the verdict. `Watching`
is pure; time comes in as numbers.

While it waits a probe asks soon, then more seldom; then it asks every ``interval``, and once at the end.
Several probes run side by side, and the first that is unhealthy ends them all.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import NamedTuple

from filewatchd.actions import telling
from filewatchd.actions.base import Context
from filewatchd.actions.probes import Probe, describe
from filewatchd.actions.weburl import revealed, secrets_of
from filewatchd.clock import Clock
from filewatchd.errors import ActionError
from filewatchd.work import web

_SOONEST = 0.05  # seconds to the second look
_LATE = 0.001  # seconds by which timers may be early


class Health(NamedTuple):
    """The verdict. ``message``: why not, for people; of a healthy service, what was seen."""

    healthy: bool
    message: str


# ---- time


class Stage(StrEnum):
    """How far a probe has come."""

    WAITING = "waiting"
    STAYING = "staying"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


class Sign(StrEnum):
    """What a look says, and when."""

    GOOD = "good"
    LASTED = "good for long enough"
    BAD = "bad"
    LATE = "bad, and the deadline is over"


STAGES: dict[tuple[Stage, Sign], Stage] = {
    (Stage.WAITING, Sign.GOOD): Stage.STAYING,
    (Stage.WAITING, Sign.LASTED): Stage.HEALTHY,
    (Stage.WAITING, Sign.BAD): Stage.WAITING,
    (Stage.WAITING, Sign.LATE): Stage.UNHEALTHY,
    (Stage.STAYING, Sign.GOOD): Stage.STAYING,
    (Stage.STAYING, Sign.LASTED): Stage.HEALTHY,
    (Stage.STAYING, Sign.BAD): Stage.WAITING,
    (Stage.STAYING, Sign.LATE): Stage.UNHEALTHY,
}


class Watching:
    """One probe's timing. ``stage`` says where it stands."""

    def __init__(self, probe: Probe, now: float) -> None:
        self.stage = Stage.WAITING
        self._probe = probe
        self._deadline = now + probe.within
        self._since = now  # healthy without a break
        self._pause = _SOONEST

    def saw(self, good: bool, began: float, now: float) -> None:
        """Take a look's result. ``began``: when it was begun, which is what it is about."""
        if good and self.stage is Stage.WAITING:
            self._since = began
        if good:
            sign = Sign.LASTED if began - self._since >= self._probe.stay - _LATE else Sign.GOOD
        else:
            sign = Sign.LATE if now >= self._deadline - _LATE else Sign.BAD
        before, self.stage = self.stage, STAGES[self.stage, sign]
        if before is Stage.STAYING and self.stage is Stage.WAITING:
            self._pause = _SOONEST

    @property
    def over(self) -> bool:
        """The verdict is known."""
        return self.stage in (Stage.HEALTHY, Stage.UNHEALTHY)

    def pause(self, now: float) -> float:
        """Seconds until the next look: in time for the deadline, or for the end of the stay."""
        if self.stage is Stage.STAYING:
            return max(0.0, min(self._probe.interval, self._since + self._probe.stay - now))
        pause, self._pause = self._pause, min(self._probe.interval, self._pause * 2)
        return max(0.0, min(pause, self._deadline - now))

    def room(self, now: float) -> float:
        """Seconds that a look begun now may take."""
        if self.stage is Stage.STAYING:
            return self._probe.timeout
        return min(self._probe.timeout, max(self._deadline - now, _SOONEST))


# ---- asking


async def probe_all(probes: Sequence[Probe], ctx: Context, output: Callable[[bytes], None] = telling.nothing) -> Health:
    """See whether a service is healthy, by all probes; cancelling it ends them. The first verdict against it is it.

    Args:
        probes: none: it is.
        ctx: the action's.
        output: gets what commands print.
    """
    tasks = [asyncio.ensure_future(probe_one(probe, ctx, output)) for probe in probes]
    try:
        for done in asyncio.as_completed(tasks):
            health = await done
            if not health.healthy:
                return health
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return Health(True, "; ".join(task.result().message for task in tasks))


async def probe_one(probe: Probe, ctx: Context, output: Callable[[bytes], None] = telling.nothing) -> Health:
    """See whether a service is healthy, by one probe."""
    clock = ctx.clock
    began = clock.monotonic()
    watching = Watching(probe, began)
    known: str | None = None  # why it wasn't healthy, by a look that had its time
    while True:
        looked = clock.monotonic()
        room = watching.room(looked)
        why = await look(probe, ctx, room, output)
        now = clock.monotonic()
        watching.saw(why is None, looked, now)
        cut = room < probe.timeout and now - looked >= room - _LATE  # by the deadline
        known = why = known if known and cut and why else why
        if watching.stage is Stage.HEALTHY:
            return Health(True, f"{describe(probe)}: healthy after {max(0.0, now - began - probe.stay):.3g} s")
        if watching.stage is Stage.UNHEALTHY:
            return Health(False, f"{describe(probe)}: {why} (not healthy within {probe.within:.3g} s)")
        await _sleep(watching.pause(clock.monotonic()), clock)


async def _sleep(seconds: float, clock: Clock) -> None:
    """A pause; a fake clock's is the test's to end."""
    sleep = getattr(clock, "sleep", asyncio.sleep)
    await sleep(seconds)


async def look(
    probe: Probe, ctx: Context, seconds: float, output: Callable[[bytes], None] = telling.nothing
) -> str | None:
    """One look: None if the service is well, or why it isn't."""
    try:
        async with asyncio.timeout(seconds + 1.0):  # each way has a time-out of its own
            return await _LOOKS[probe.way](probe, ctx, seconds, output)
    except TimeoutError:
        return f"no answer within {seconds:.3g} s"
    except ActionError as error:
        return str(error)


async def _http(probe: Probe, ctx: Context, seconds: float, _output: Callable[[bytes], None]) -> str | None:
    headers = await ctx.pool.run("", revealed, probe.headers)
    reply = await web.ask(web.Request(probe.http or "", "GET", headers, timeout=seconds, ca=probe.ca), ctx.pool)
    wanted = (probe.status,) if isinstance(probe.status, int) else probe.status
    if reply.status not in wanted if wanted else not 200 <= reply.status < 300:
        said = reply.without(secrets_of(probe.headers, headers)).text
        return f"answered {reply.status}" + (f": {said}" if said else "")
    if probe.contains is not None and probe.contains.encode() not in reply.body:
        return f"the answer doesn't contain {probe.contains!r}"
    return None


async def _tcp(probe: Probe, ctx: Context, seconds: float, _output: Callable[[bytes], None]) -> str | None:
    host, _, port = (probe.tcp or "").rpartition(":")
    try:
        async with asyncio.timeout(seconds):
            _, writer = await web.connect(host.strip("[]"), int(port), ctx.pool)
    except TimeoutError:
        return f"no connection within {seconds:.3g} s"
    except OSError as error:
        return web.reason(error)
    with contextlib.suppress(OSError):
        writer.close()
        await writer.wait_closed()
    return None


async def _unit(probe: Probe, ctx: Context, seconds: float, _output: Callable[[bytes], None]) -> str | None:
    state = await ctx.services.state(probe.unit or "", seconds, probe.manager)
    if state.load == "not-found":
        return "there is no such unit"
    if state.active == (probe.state or "active"):
        return None
    return f"it is {state.active} ({state.sub})" + (f", result {state.result}" if state.result else "")


async def _command(probe: Probe, ctx: Context, seconds: float, output: Callable[[bytes], None]) -> str | None:
    await telling.run(probe, ctx, output, seconds)
    return None


_LOOKS = {"http": _http, "tcp": _tcp, "unit": _unit, "command": _command}
