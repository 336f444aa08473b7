"""Running the check: the candidate stands in the live place, seen by the check alone.

Three ways, the best that is to be had. A mount namespace of the command's own needs CAP_SYS_ADMIN, or, for a daemon
that isn't root, user namespaces. In the sandbox of filewatchd's own service neither may be had; there systemd makes the
same mounts for a transient unit. Where there is no systemd either, the check gets the candidate's place as `{staged}`
and sees the live files wherever a configuration names them by absolute paths, which is told.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from filewatchd import capabilities, extras
from filewatchd.actions.base import Bind, Command, Context
from filewatchd.actions.command import environment
from filewatchd.actions.command.outcome import Tail, outcome_of
from filewatchd.actions.reload.masking import MaskedOutput, masked
from filewatchd.errors import ActionError
from filewatchd.model import OK
from filewatchd.values import CommandOption
from filewatchd.work.command import Unit
from filewatchd.work.failures import PlaceError

STAGED = "{staged}"
_MOST_OUTPUT = 64 << 10
_TIMEOUT = 60.0  # seconds for a check that has none of its own
_SYSTEMD = "/run/systemd/system"


class Way(StrEnum):
    """How the candidate is shown."""

    NAMESPACE = "namespace"
    UNIT = "unit"
    STAGED = "staged"


class Verdict(NamedTuple):
    """What came of a check. ``blind``: what it can't have seen; "" where it saw the candidate in its place."""

    passed: bool
    text: str
    blind: str = ""


class Checker:
    """Runs the checks of one rule."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._ways = list(ways())
        self.why_not = ""  # why the better ways can't be had

    @property
    def way(self) -> Way:
        """How the next check will see the candidate."""
        return self._ways[0]

    def foresee(self) -> None:
        """A check is likely to come soon."""
        if self.way is Way.UNIT:
            self._ctx.spawn.foresee()

    async def check(
        self, option: CommandOption, binds: Sequence[Bind], job: int, output: Callable[[bytes], None]
    ) -> Verdict:
        """Check the candidate, which the binds show in its place.

        Raises:
            ActionError: the check couldn't be made, or took too long: nothing is known of the candidate.
        """
        while True:
            try:
                return await self._run(option, binds, job, output)
            except PlaceError as error:
                if self.way is Way.STAGED:
                    raise
                self.why_not = str(error)
                self._ctx.log.info("the way %s isn't to be had: %s", self.way, error)
                del self._ways[0]

    async def _run(
        self, option: CommandOption, binds: Sequence[Bind], job: int, output: Callable[[bytes], None]
    ) -> Verdict:
        said = bytearray()

        def take(data: bytes) -> None:
            said.extend(data[: _MOST_OUTPUT - len(said)])
            output(data)

        shown = MaskedOutput(take)
        tail, way = Tail(shown), self.way
        command = await self._command(option, binds, job)
        finished = await self._ctx.spawn.run(command, tail)
        shown.end()
        outcome = outcome_of(finished, command.timeout, tail)
        why = masked(outcome.message)
        if finished.timed_out:
            raise ActionError(f"the check {why}")
        text = said.decode("utf-8", "replace")
        return Verdict(outcome is OK, text if text.strip() or outcome is OK else why, self._blind(way))

    async def _command(self, option: CommandOption, binds: Sequence[Bind], job: int) -> Command:
        user = option.user or self._ctx.rule.user
        variables = environment.base(await self._ctx.pool.run("users", environment.account, user))
        if option.env:
            variables |= await self._ctx.pool.run("", environment.reveal, option.env)
        staged = {STAGED: binds[0].source if self.way is Way.STAGED else binds[0].target}
        return Command(
            argv=tuple(filled(word, staged) for word in option.command),
            env={**variables, "FILEWATCHD_RULE": self._ctx.rule.name},
            cwd=option.cwd,
            user=user,
            timeout=option.timeout or _TIMEOUT,
            unit=Unit(self._ctx.rule.name, job) if self.way is Way.UNIT else None,
            binds=() if self.way is Way.STAGED else tuple(binds),
        )

    def _blind(self, way: Way) -> str:
        if way is not Way.STAGED:
            return ""
        return (
            "the check saw the live files wherever they are named by absolute paths: this daemon may neither mount"
            f" ({self.why_not or 'no CAP_SYS_ADMIN'}) nor start units; run it by filewatchd.service, or as root"
        )


def ways() -> Sequence[Way]:
    """What may be tried here, the best first."""
    found = []
    if os.geteuid() != 0 or capabilities.held("CAP_SYS_ADMIN"):
        found.append(Way.NAMESPACE)
    if os.path.isdir(_SYSTEMD) and os.geteuid() == 0 and extras.lacks("systemd") is None:
        found.append(Way.UNIT)
    return [*found, Way.STAGED]


def filled(word: str, places: Mapping[str, str]) -> str:
    """A word with the candidate's place in it."""
    for name, place in places.items():
        word = word.replace(name, place)
    return word
