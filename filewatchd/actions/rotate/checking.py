"""What can be known of a rotation's options without rotating."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

from filewatchd.actions import keeping, telling
from filewatchd.actions.base import Problem
from filewatchd.actions.rotate.commands import AFTER, BEFORE
from filewatchd.actions.rotate.examining import keeper_of
from filewatchd.actions.rotate.naming import zone_of
from filewatchd.actions.rotate.options import Options, When
from filewatchd.actions.template import TemplateError, parse
from filewatchd.codecs import codec
from filewatchd.errors import ActionError
from filewatchd.model import RuleSettings
from filewatchd.security import others_may_write
from filewatchd.work.attributes import uid_of


def problems(options: Options, rule: RuleSettings) -> Iterator[Problem]:
    """Every mistake."""
    yield from _when(options.when)
    yield from _method(options)
    yield from _compress(options)
    yield from telling.problems(options.reopen, rule, ("reopen",))
    if options.keep is not None:
        yield from keeping.problems(options.keep, 1)
    yield from _into(options, rule)
    yield from _owners(options, rule)
    for key, command in options.commands():
        for number, word in enumerate(command.command):
            try:
                parse(word, BEFORE if key == "before" else AFTER)
            except TemplateError as error:
                yield Problem(str(error), error.hint, (key, number))
        as_told = telling.Telling(command=command.command, user=command.user, env=command.env, cwd=command.cwd)
        yield from telling.problems(as_told, rule, (key,))
    for root in rule.roots:
        keeper = keeper_of(os.path.join(root, "x.log"), ()) or keeper_of(root, ())
        if keeper:
            yield Problem(f"{root}: {keeper}", "take the root out of this rule", ())


def _into(options: Options, rule: RuleSettings) -> Iterator[Problem]:
    """Run by root, archives don't go where others could put a link in their place. A relative one is below the root."""
    into = options.into
    if into is None or not os.path.isabs(into.dir) or os.geteuid() != 0 or rule.user is not None:
        return
    if os.path.isdir(into.dir) and (why := others_may_write(into.dir)):
        yield Problem(f"archives would go where others may write: {why}", "set the rule's user", ("into", "dir"))


def _owners(options: Options, rule: RuleSettings) -> Iterator[Problem]:
    """Only root gives files away. A group may be the directory's, by its setgid bit: that shows when it is tried."""
    if rule.user is None:
        return
    for key, said in (("create", options.create.owner), ("into", options.into.owner if options.into else None)):
        with suppress(ActionError):  # there is no such user: that is told elsewhere
            if said is not None and uid_of(rule.user) not in (0, uid_of(said)):
                message = f"{rule.user}, who does the rule's work, can't give files to {said}"
                yield Problem(message, "leave owner out, or set the rule's user to root", (key, "owner"))


def _when(when: When) -> Iterator[Problem]:
    if when.size is None and when.age is None and when.every is None:
        yield Problem("no log would ever be due", "name one of size, age and every", ("when",))
    if when.size == 0:
        yield Problem("every log would be due all the time", "make size larger", ("when", "size"))
    for key in ("at", "weekday", "timezone"):
        if getattr(when, key) is not None and when.every is None and key != "timezone":
            yield Problem(f"{key} says when of a schedule that isn't there", "add every: day or such", ("when", key))
    if when.size is not None and when.min_size > when.size:
        yield Problem("min_size holds back beyond size", "make min_size smaller", ("when", "min_size"))
    if when.weekday is not None and when.every not in ("week", "month", 604800.0):
        yield Problem("a weekday needs every: week or every: month", "", ("when", "weekday"))
    if when.at is not None and when.every not in ("hour", "day", "week", "month", 3600.0, 86400.0, 604800.0, None):
        yield Problem("at needs every: hour, day, week or month", "", ("when", "at"))
    try:
        zone_of(when.timezone)
    except (KeyError, ValueError, OSError):
        hint = "use a name like Europe/Berlin, or install tzdata"
        yield Problem(f"time zone {when.timezone!r} is unknown here", hint, ("when", "timezone"))


def _method(options: Options) -> Iterator[Problem]:
    if options.reopen is not None and options.method not in ("auto", "exchange"):
        yield Problem(
            f"with method {options.method} the log stays the same file, so reopen does nothing",
            "take one of the two out",
            ("reopen",),
        )


def _compress(options: Options) -> Iterator[Problem]:
    found = codec(options.compress.codec)
    level = options.compress.level
    if level is not None and level not in found.levels:
        levels = f"{found.levels.start} to {found.levels.stop - 1}" if found.levels else "none"
        yield Problem(f"{found.name} has no level {level}", f"its levels: {levels}", ("compress", "level"))
