"""The action ``exec``: run a command for each path, for many paths at once, or for the batch.

The command itself tells which: a placeholder of one file ({path}, {name}, ...) means one run for each path; the whole
word {paths} means as few runs as the system's limits allow; neither means one run for the batch, which reads its paths
from standard input if ``stdin`` says so. With ``shell: true`` a script that names a variable of one file
($FILEWATCHD_PATH, ...) runs for each path.

No name ever reaches a shell: words are filled, not joined, and a script gets names only as variables. A name that
begins with a dash is no option, because paths are absolute.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta, Struct

from filewatchd.actions.base import Command, Context, Finished, JobContext, Needs, Problem
from filewatchd.actions.command import argv, environment, payload
from filewatchd.actions.command.check import problems
from filewatchd.actions.command.outcome import Tail, outcome_of
from filewatchd.actions.command.unit import UnitLimits, unit_of
from filewatchd.actions.template import change_values, job_values
from filewatchd.model import OK, Change, Outcome, RuleSettings, Verdict
from filewatchd.values import Duration, Group, PathTo, Secret, Signal, User

name = "exec"
_FRESH = 60.0  # seconds a looked-up account is believed


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Run a command; exit status 0 is success, everything else fails and is tried again."""

    short: ClassVar[str] = "command"

    command: Annotated[
        tuple[str, ...],
        Meta(
            min_length=1, description="The program and its arguments, with placeholders; or, for a shell, the script."
        ),
    ]
    shell: Annotated[bool, Meta(description="The command is one script, run by /bin/sh -c.")] = False
    stdin: Annotated[
        Literal["none", "json", "nul"],
        Meta(description="What the command reads: nothing, the changes as JSON, or the paths with a NUL after each."),
    ] = "none"
    cwd: Annotated[PathTo | None, Meta(description="Its working directory.")] = None
    env: Annotated[dict[str, str | Secret], Meta(description="Variables to add to its environment.")] = {}
    timeout: Annotated[
        Duration | None, Meta(description="End a run after this time; all together have the rule's `timeout`.")
    ] = None
    user: Annotated[User | None, Meta(description="Run as this user instead of the rule's.")] = None
    group: Annotated[Group | None, Meta(description="Run with this primary group instead of the user's.")] = None
    unit: Annotated[
        bool | UnitLimits,
        Meta(description="Run it outside the daemon's sandbox, as a transient systemd unit, which may have limits."),
    ] = False
    stop_signal: Annotated[
        Signal, Meta(description="Sent to its process group, or to all of its unit, to stop it.")
    ] = 15
    stop_timeout: Annotated[Duration, Meta(description="What still runs so long after that is killed.")] = 10.0


def check(options: Options, rule: RuleSettings) -> Iterable[Problem]:
    """Everything about the command that can be known without running it."""
    return problems(options, rule)


def rule_defaults(options: Options) -> Mapping[str, Any]:
    """None: the general ones are right."""
    return {}


def needs(options: Options) -> Needs:
    """Outcomes path by path where the command runs path by path; systemd is spoken to over D-Bus."""
    each = argv.mode_of(options.command, options.shell) is argv.Mode.EACH
    return Needs(per_path=each, extras=("systemd",) if options.unit else ())


def open(options: Options, ctx: Context) -> ExecAction:  # noqa: A001 - the protocol's word
    """The action, opened."""
    return ExecAction(options, ctx)


class ExecAction:
    """Runs the command; see `filewatchd.actions.base.Action`."""

    def __init__(self, options: Options, ctx: Context) -> None:
        self._ctx = ctx
        self._runs = 0
        self._failures = 0
        self._known: tuple[str | None, float, Mapping[str, str]] = (None, 0.0, {})
        self.reconfigure(options)

    async def recover(self) -> None:
        """Nothing: what a killed daemon's command left undone is done again by its next attempt."""

    async def run(self, job: JobContext) -> Outcome | Mapping[str, Outcome]:
        """Run the command as often as it takes."""
        deadline = self._ctx.clock.monotonic() + job.timeout
        variables = environment.base(await self._account())
        if self._options.env:
            variables |= await self._ctx.pool.run("", environment.reveal, self._options.env)
        if self._mode is argv.Mode.BATCH or job.notice is not None:
            return await self._spawn(job, list(job.changes), variables, deadline)
        outcomes: dict[str, Outcome] = {}
        for changes in self._shares(job, variables):
            outcome = await self._spawn(job, changes, variables, deadline)
            outcomes |= {change.path: outcome for change in changes}
        return outcomes or Outcome(Verdict.SKIPPED, "no paths")

    def plan(self, job: JobContext) -> Sequence[str]:
        """The command lines, quoted as a shell would need them."""
        how = f" as {self._user}" if self._user else ""
        how += " in a unit of its own" if self._options.unit else ""
        shares = self._shares(job, {}) if self._mode is not argv.Mode.BATCH else [list(job.changes)]
        return [f"run{how}: {argv.quoted(self._words(job, changes))}" for changes in shares]

    def reconfigure(self, options: Options) -> bool:
        """Always possible in place: running commands keep what they were started with."""
        self._options = options
        self._mode = argv.mode_of(options.command, options.shell)
        self._argv = argv.Argv.read(options.command, options.shell)
        return True

    async def stop(self, grace: float) -> None:
        """Nothing of its own runs: a job's commands end with the job."""

    def statistics(self) -> Mapping[str, Any]:
        """How often the command ran and failed."""
        return {"runs": self._runs, "failures": self._failures}

    async def _account(self) -> Mapping[str, str]:
        """Looked up in the pool and believed for a while: a directory service may take its time."""
        now = self._ctx.clock.monotonic()
        user, until, found = self._known
        if user != self._user or now >= until:
            found = await self._ctx.pool.run("users", environment.account, self._user)
            self._known = self._user, now + _FRESH, found
        return found

    @property
    def _user(self) -> str | None:
        return self._options.user or self._ctx.rule.user

    def _shares(self, job: JobContext, variables: Mapping[str, str]) -> Iterator[list[Change]]:
        """The changes of each run: one each, or as many as fit."""
        if job.notice is not None:
            return iter([[]])
        if self._mode is argv.Mode.EACH:
            return ([change] for change in job.changes)
        return argv.split(job.changes, argv.room(self._words(job, []), variables))

    def _words(self, job: JobContext, changes: Sequence[Change]) -> tuple[str, ...]:
        values = job_values(job)
        if self._mode is argv.Mode.EACH:
            values |= change_values(changes[0])
        return self._argv.fill(values, [change.path for change in changes])

    async def _spawn(
        self, job: JobContext, changes: Sequence[Change], variables: Mapping[str, str], deadline: float
    ) -> Outcome:
        """One run of the command."""
        command = self._command(job, changes, variables, deadline)
        tail = Tail(job.output)
        self._runs += 1
        finished = await self._ctx.spawn.run(command, tail)
        self._report(command, finished)
        outcome = outcome_of(finished, command.timeout, tail)
        self._failures += outcome is not OK
        return outcome

    def _command(
        self, job: JobContext, changes: Sequence[Change], variables: Mapping[str, str], deadline: float
    ) -> Command:
        options = self._options
        values = job_values(job) | (change_values(changes[0]) if self._mode is argv.Mode.EACH else {})
        own = environment.own(values | {"trigger": job.trigger.value})
        return Command(
            argv=self._words(job, changes),
            env={**variables, **own},
            cwd=options.cwd,
            user=self._user,
            group=options.group,
            stdin=payload.encode(options.stdin, job, changes),
            timeout=self._left(deadline),
            stop_signal=options.stop_signal,
            stop_timeout=options.stop_timeout,
            unit=unit_of(options.unit, job),
        )

    def _left(self, deadline: float) -> float:
        """Seconds that a run which begins now may take."""
        left = max(0.0, deadline - self._ctx.clock.monotonic())
        return left if self._options.timeout is None else min(left, self._options.timeout)

    def _report(self, command: Command, finished: Finished) -> None:
        if finished.leftover:
            self._ctx.log.warning(
                "%r left %d processes running; they were ended with it", command.argv[0], finished.leftover
            )
