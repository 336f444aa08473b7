"""Where a configuration's daemon has its directories, whatever else may be wrong with it: for its clients."""

from __future__ import annotations

import os
from collections.abc import Mapping

from filewatchd.config.convert import INVALID, Converter
from filewatchd.config.files import Wanted
from filewatchd.config.layers import Layers
from filewatchd.config.schema import Daemon
from filewatchd.errors import ConfigError, Mistake


def runtime_directory(path: str, environ: Mapping[str, str]) -> str:
    """``daemon.runtime_dir`` of a configuration file and what belongs to it.

    Raises:
        ConfigError: it can't be read as far as that.
    """
    return _directory("runtime_dir", path, environ)


def state_directory(path: str, environ: Mapping[str, str]) -> str:
    """``daemon.state_dir``, likewise."""
    return _directory("state_dir", path, environ)


def _directory(name: str, path: str, environ: Mapping[str, str]) -> str:
    mistakes: list[Mistake] = []
    layers = Layers(environ, mistakes)
    layers.read(Wanted(os.path.abspath(path)), {})
    section = layers.sections.get("daemon")
    if section is None and all(mistake.file in layers.rule_files for mistake in mistakes):  # it can't stand there
        return str(getattr(Daemon(), name))
    found = INVALID if section is None else Converter(environ, mistakes).field(Daemon, section, name)
    if found is INVALID:
        raise ConfigError(mistakes)
    return str(found)
