"""The commands around a rotation."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from filewatchd.actions.base import Command, Context
from filewatchd.actions.command import environment
from filewatchd.actions.command.outcome import Tail, outcome_of
from filewatchd.actions.template import parse
from filewatchd.errors import ActionError
from filewatchd.model import OK
from filewatchd.values import CommandOption

BEFORE = ("path", "rule")
AFTER = ("path", "archive", "rule")
_TIMEOUT = 300.0


async def run(
    ctx: Context, key: str, option: CommandOption, values: Mapping[str, str], output: Callable[[bytes], None]
) -> None:
    """Run one of them to its end.

    Raises:
        ActionError: it failed.
    """
    user = option.user or ctx.rule.user
    variables = environment.base(await ctx.pool.run("users", environment.account, user))
    variables |= environment.own(values)
    if option.env:
        variables |= await ctx.pool.run("", environment.reveal, option.env)
    words = tuple(parse(word, AFTER).fill(values) for word in option.command)
    timeout = option.timeout if option.timeout is not None else _TIMEOUT
    command = Command(words, variables, cwd=option.cwd, user=user, timeout=timeout)
    tail = Tail(output)
    outcome = outcome_of(await ctx.spawn.run(command, tail), command.timeout, tail)
    if outcome is not OK:
        raise ActionError(f"{key}: {command.argv[0]}: {outcome.message}")
