"""A rule's versions, read without the daemon. Nothing is written, nor put aside. Blocking."""

from __future__ import annotations

import os

import msgspec

from filewatchd.actions.reload import answers, sight
from filewatchd.actions.reload import record as records
from filewatchd.actions.reload.record import Record
from filewatchd.actions.reload.store import Store
from filewatchd.errors import ActionError


class Reader:
    """The versions of a rule below a state directory."""

    def __init__(self, state_dir: str, rule: str) -> None:
        """Read the rule's record.

        Raises:
            ActionError: there is none, or it can't be read.
        """
        self._rule = rule
        self._store = Store(f"{state_dir}/versions/{os.path.basename(rule)}")
        self._record = self._read()

    def _read(self) -> Record:
        path = records.place(self._store.directory)
        try:
            with open(path, "rb") as file:
                return records.parse(file.read(), path)
        except FileNotFoundError:
            raise ActionError(f"no rule {self._rule} with the action reload has kept versions here ({path})") from None
        except OSError as error:
            raise ActionError(f"{path} can't be read: {error.strerror}") from error
        except msgspec.MsgspecError as error:
            raise ActionError(f"{path} is damaged: {error}") from error

    def history(self) -> answers.History:
        """As the endpoint."""
        return answers.history(self._rule, self._record)

    def show(self, version: str) -> answers.Shown:
        """As the endpoint."""
        return answers.show(self._rule, self._record, self._store, sight.EVERYTHING, self._record.roots, version)

    def diff(self, before: str, after: str) -> answers.Compared:
        """As the endpoint; the disk stands as the daemon saw it last."""
        words = [before, "desired" if after == "disk" else after]
        versions = [answers.chosen(self._record, word) for word in words]
        one, other = [(str(version.number), self._store.load(version.digest)) for version in versions]
        return answers.compare(self._rule, self._store, sight.EVERYTHING, self._record.roots, one, other)
