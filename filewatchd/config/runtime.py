"""Where a configuration's daemon has its runtime directory, whatever else may be wrong with it: for its clients."""

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
    mistakes: list[Mistake] = []
    layers = Layers(environ, mistakes)
    layers.read(Wanted(os.path.abspath(path)), {})
    section = layers.sections.get("daemon")
    if section is None and not mistakes:
        return Daemon().runtime_dir
    found = INVALID if section is None else Converter(environ, mistakes).field(Daemon, section, "runtime_dir")
    if found is INVALID:
        raise ConfigError(mistakes)
    return str(found)
