"""The loaded configuration: frozen values, every layer merged, every value checked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from filewatchd.config.origins import Origins
from filewatchd.config.schema import Control, Daemon, Logging
from filewatchd.errors import Mistake
from filewatchd.model import RuleSettings


class Row(NamedTuple):
    """One value as ``check --show`` shows it: its key path, what it is, and where it comes from."""

    key: tuple[str | int, ...]
    value: object
    origin: str


class Configuration(NamedTuple):
    """One whole configuration.

    ``files`` are those it was read from, the main one first; ``globs`` those by which rule files were sought.
    ``digests`` has one for each rule, by name: it is equal where the rule means the same; ``origins`` say where it
    stands. ``rows`` is empty unless they were asked for.
    """

    daemon: Daemon
    logging: Logging
    control: Control
    rules: tuple[RuleSettings, ...]
    digests: Mapping[str, str]
    files: tuple[str, ...]
    warnings: tuple[Mistake, ...] = ()
    rows: tuple[Row, ...] = ()
    origins: Mapping[str, Origins] = {}
    globs: tuple[str, ...] = ()

    def means(self, other: Configuration) -> bool:
        """Whether the other one says the same, in the same order; wherever it stands."""
        mine, theirs = (list(each.digests.items()) for each in (self, other))
        return self[:3] == other[:3] and mine == theirs


def digest(value: object) -> str:
    """A digest of settings: equal values have equal ones, over restarts too."""
    try:
        data = msgspec.json.encode(value, order="sorted")
    except UnicodeEncodeError:  # a path that isn't UTF-8
        data = json.dumps(msgspec.to_builtins(value, order="sorted")).encode()
    return hashlib.sha256(data).hexdigest()[:32]
