"""Health: a probe's timing, and each way to ask."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from filewatchd.actions.base import UnitState
from filewatchd.actions.probes import Probe, describe, listed, needs, problems
from filewatchd.actions.probing import STAGES, Sign, Stage, Watching, look, probe_all, probe_one
from filewatchd.errors import ActionError
from filewatchd.model import RuleSettings
from filewatchd.notation import MalformedError
from filewatchd.testing import DONE, FakeContext, FakeSpawn, Scripted
from tests.unit.loopback import answer, serving

RULE = RuleSettings(name="rule", roots=("/",), actions=())
FAILED = UnitState("loaded", "failed", "failed", "exit-code")
ACTIVE = UnitState("loaded", "active", "running")


# ---- time


def course(probe: Probe, answers: Callable[[float], bool]) -> tuple[Stage, float, int]:
    """How a probe of a service that is well at these times ends, when, and after how many looks; looks take no time."""
    watching, now, looks = Watching(probe, 0.0), 0.0, 0
    while not watching.over:
        watching.saw(answers(now), now, now)
        looks += 1
        if not watching.over:
            now += watching.pause(now)
    return watching.stage, round(now, 6), looks


@pytest.mark.parametrize(
    ("stay", "well", "end"),
    [
        (0, lambda at: True, (Stage.HEALTHY, 0.0)),
        (0, lambda at: at >= 4, (Stage.HEALTHY, 4.55)),
        (0, lambda at: False, (Stage.UNHEALTHY, 10.0)),
        (0, lambda at: at >= 10, (Stage.HEALTHY, 10.0)),
        (5, lambda at: True, (Stage.HEALTHY, 5.0)),
        (5, lambda at: at >= 9.9, (Stage.HEALTHY, 15.0)),
        (5, lambda at: at < 2, (Stage.UNHEALTHY, 10.0)),
        (5, lambda at: at != 3, (Stage.HEALTHY, 8.05)),
        (5, lambda at: 8 < at < 12, (Stage.UNHEALTHY, 12.55)),
        (2.5, lambda at: True, (Stage.HEALTHY, 2.5)),
    ],
)
def test_a_probes_course(stay: float, well: Callable[[float], bool], end: tuple[Stage, float]) -> None:
    assert course(Probe(tcp="x:1", within=10.0, stay=stay), well)[:2] == end


def test_it_looks_soon_and_then_more_seldom() -> None:
    assert course(Probe(tcp="x:1", within=60.0), lambda at: False)[2] < 67
    assert course(Probe(tcp="x:1", within=0.0), lambda at: False) == (Stage.UNHEALTHY, 0.0, 1)
    assert course(Probe(tcp="x:1", within=1.0), lambda at: at > 0)[1] == 0.05


def test_every_sign_leads_somewhere() -> None:
    assert set(STAGES) == {(stage, sign) for stage in (Stage.WAITING, Stage.STAYING) for sign in Sign}


def test_a_probe_in_time() -> None:
    async def run() -> None:
        ctx = FakeContext()
        ctx.services.states["x.service"] = [FAILED] * 3 + [ACTIVE]
        probing = asyncio.ensure_future(probe_one(Probe(unit="x.service", stay=2.0), ctx))
        await ctx.clock.run_for(2.0)
        assert not probing.done()
        await ctx.clock.run_for(1.0)
        assert await probing == (True, "x.service is active: healthy after 0.35 s")

    asyncio.run(run())


def test_an_unhealthy_service_is_told_with_the_last_reason() -> None:
    async def run() -> None:
        ctx = FakeContext()
        ctx.services.states["x.service"] = [FAILED]
        probing = asyncio.ensure_future(probe_one(Probe(unit="x.service", within=3.0), ctx))
        await ctx.clock.run_for(3.0)
        assert await probing == (
            False, "x.service is active: it is failed (failed), result exit-code (not healthy within 3 s)"
        )  # fmt: skip

    asyncio.run(run())


def test_a_look_that_the_deadline_cuts_short_says_less_than_the_one_before() -> None:
    async def run() -> None:
        ctx = FakeContext()

        async def state(unit: str, seconds: float, manager: str | None) -> UnitState:
            if seconds < 5.0:
                await ctx.clock.sleep(seconds)
                raise ActionError(f"no answer within {seconds:.3g} s")
            return FAILED

        ctx.services.state = state  # type: ignore[method-assign, assignment]
        probing = asyncio.ensure_future(probe_one(Probe(unit="x.service", within=7.0), ctx))
        await ctx.clock.run_for(8.0)
        assert (await probing).message == (
            "x.service is active: it is failed (failed), result exit-code (not healthy within 7 s)"
        )

    asyncio.run(run())


def test_the_first_that_is_unhealthy_ends_them_all_and_so_does_a_cancellation() -> None:
    async def run() -> None:
        ctx = FakeContext()
        ctx.services.states["x.service"] = [FAILED]
        bad, long = Probe(unit="x.service", within=1.0), Probe(unit="y.service", stay=600.0)
        probing = asyncio.ensure_future(probe_all([long, bad], ctx))
        await ctx.clock.run_for(1.0)
        assert not (await probing).healthy
        assert len(asyncio.all_tasks()) == 1
        probing = asyncio.ensure_future(probe_all([long, long], ctx))
        await ctx.clock.run_for(1.0)
        probing.cancel()
        await asyncio.wait([probing])
        assert probing.cancelled()
        assert len(asyncio.all_tasks()) == 1
        assert (await probe_all([], ctx)).healthy

    asyncio.run(run())


# ---- ways to ask


def looked(probe: Probe, ctx: FakeContext | None = None) -> str | None:
    return asyncio.run(look(probe, ctx or FakeContext(), 0.2))


async def against(given: bytes | None, **keys: Any) -> str | None:
    async with serving(given) as server:
        return await look(Probe(http=server.url, **keys), FakeContext(), 0.2)


@pytest.mark.parametrize(
    ("given", "keys", "why"),
    [
        (answer(204), {}, None),
        (answer(500, b"no backend\n"), {}, "answered 500: no backend"),
        (answer(401), {"status": 401}, None),
        (answer(200), {"status": 401}, "answered 200"),
        (answer(200), {"status": (200, 204)}, None),
        (answer(302, Location="/"), {}, "answered 302"),
        (answer(200, b"status: up"), {"contains": "up"}, None),
        (answer(200, b"status: down"), {"contains": "up"}, "the answer doesn't contain 'up'"),
    ],
)
def test_by_http(given: bytes, keys: dict[str, Any], why: str | None) -> None:
    assert asyncio.run(against(given, **keys)) == why


def test_by_http_in_vain() -> None:
    assert "no answer within 0.2 s" in str(asyncio.run(against(None)))


def test_by_connecting() -> None:
    async def run() -> None:
        async with serving() as server:
            probe = Probe(tcp=f"127.0.0.1:{server.port}")
            assert await look(probe, FakeContext(), 5.0) is None
        assert "refused" in str(await look(probe, FakeContext(), 5.0)).lower()

    asyncio.run(run())


def test_by_systemd() -> None:
    ctx = FakeContext()
    ctx.services.states["x.service"] = [FAILED]
    ctx.services.states["no.service"] = [UnitState("not-found", "inactive", "dead")]
    assert looked(Probe(unit="y.service"), ctx) is None
    assert looked(Probe(unit="x.service"), ctx) == "it is failed (failed), result exit-code"
    assert looked(Probe(unit="no.service", state="inactive"), ctx) == "there is no such unit"


def test_by_a_command() -> None:
    bad = Scripted(DONE._replace(code=1), b"lag is 12 s\n")
    ctx = FakeContext(spawn=FakeSpawn(Scripted(), bad))
    assert looked(Probe(command=("check-lag",)), ctx) is None
    assert looked(Probe(command=("check-lag",)), ctx) == "check-lag: exit status 1: lag is 12 s"


# ---- options


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({}, "nothing says how"),
        ({"tcp": "a:1", "unit": "a.service"}, "both tcp and unit"),
        ({"tcp": "a:1", "status": 200}, "status says nothing about tcp"),
        ({"tcp": "a:1", "interval": 0.0}, "interval is too short"),
    ],
)
def test_what_does_not_go_together_is_refused(keys: dict[str, Any], why: str) -> None:
    with pytest.raises(MalformedError, match=why):
        Probe(**keys)


def test_what_probes_need_and_how_they_are_shown() -> None:
    unit, tcp = Probe(unit="x.service"), Probe(tcp="[::1]:80")
    assert needs([unit, tcp]).extras == ("systemd",)
    assert needs([tcp]).extras == ()
    assert listed(None) == ()
    assert listed(tcp) == listed([tcp]) == (tcp,)
    assert [describe(unit), describe(tcp)] == ["x.service is active", "connect to [::1]:80"]
    found = list(problems([tcp, Probe(command=("no-such-program",))], RULE, ("healthy",)))
    assert [problem.where for problem in found] == [("healthy", 1, "command", 0)]
