"""Generations: one loaded configuration each, numbered; and what a new one changes."""

from __future__ import annotations

from typing import NamedTuple

from filewatchd.config.configuration import Configuration
from filewatchd.config.schema import Daemon

_AT_START = ("state_dir", "runtime_dir", "durability")  # keys of `daemon`: what is open stays open


class Generation(NamedTuple):
    """A configuration in force. Numbers grow by one with each reload that succeeds."""

    number: int
    configuration: Configuration


class Differences(NamedTuple):
    """Names of rules, in the order of the configuration they stand in (removed ones: the old)."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    unchanged: tuple[str, ...]


def differences(old: Configuration, new: Configuration) -> Differences:
    """What a reload does to the rules. An unchanged rule keeps its windows and its running jobs."""
    before, after = old.digests, new.digests
    return Differences(
        added=tuple(name for name in after if name not in before),
        removed=tuple(name for name in before if name not in after),
        changed=tuple(name for name in after if name in before and before[name] != after[name]),
        unchanged=tuple(name for name in after if before.get(name) == after[name]),
    )


def until_restart(started: Daemon, new: Daemon) -> list[str]:
    """Keys of ``daemon`` that aren't any more what the daemon was started with, and that a reload can't change."""
    return [key for key in _AT_START if getattr(started, key) != getattr(new, key)]
