"""Errors named for who must act: the operator's machine, the configuration's author, or the action's file."""

from __future__ import annotations

from dataclasses import dataclass


class FilewatchdError(Exception):
    """Base of every error of ours; its text is fit for an operator. ``exit_code``: docs/reference/command-line.md."""

    exit_code = 1


class FatalError(FilewatchdError):
    """The daemon can't go on: says what happened, to which path, and what to do."""

    def __init__(self, message: str, *, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True, order=True)
class Mistake:
    """One mistake in a configuration file. Lines and columns count from 1; 0 means unknown."""

    file: str
    line: int
    column: int
    message: str
    hint: str = ""

    def __str__(self) -> str:
        """``file:line:column: what is wrong; what would be right``."""
        where = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{where}: {self.message}; {self.hint}" if self.hint else f"{where}: {self.message}"


class ConfigError(FilewatchdError):
    """A configuration with at least one mistake; carries them all. ``file`` and so on tell where the first one is."""

    exit_code = 78

    def __init__(self, mistakes: list[Mistake]) -> None:
        super().__init__("\n".join(map(str, mistakes)))
        self.mistakes = mistakes
        first = mistakes[0]
        self.file, self.line, self.column, self.hint = first.file, first.line, first.column, first.hint


class SecretError(FilewatchdError):
    """A secret can't be had from where it is kept: which file, why, and what to do. Nothing of the secret is in it."""


class ActionError(FilewatchdError):
    """An action failed for every path it was given.

    ``retryable``: trying again may help. ``after``: seconds before which it won't, if somebody has said so.
    """

    def __init__(self, message: str, *, retryable: bool = True, after: float = 0.0) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.after = after


class StalledError(FilewatchdError):
    """A filesystem doesn't answer; what was to be done there is tried again."""


class StateError(FilewatchdError):
    """The daemon's own state can't be read or written: says which file, why, and the remedy.

    ``errno``: the system's number, 0 where there is none. ``corrupt``: the file itself is damaged; the next start
    checks it whole and sets it aside.
    """

    def __init__(self, message: str, *, path: str = "", errno: int = 0, corrupt: bool = False) -> None:
        super().__init__(message)
        self.path = path
        self.errno = errno
        self.corrupt = corrupt
