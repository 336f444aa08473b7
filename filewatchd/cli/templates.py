"""What `filewatchd init` writes: the annotated configuration, and an example rule for each purpose.

The texts are data of this package; filewatchd.yaml is made of config/filewatchd.yaml by `python -m tools.pages`. They
are right as they are for the system's own daemon. Elsewhere a few values are replaced: where state is kept, and what
an example watches, since only root may use the system's places.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from functools import partial
from importlib import resources
from typing import TYPE_CHECKING, NamedTuple

from filewatchd.cli.creating import NewFile
from filewatchd.cli.examples import EXAMPLES, Example

if TYPE_CHECKING:
    from filewatchd.actions.base import ActionPackage

SYSTEM = "/etc/filewatchd"
MAIN = "filewatchd.yaml"
RULES = "rules.d"


_BY_NAME = {example.name: example for example in EXAMPLES}


class Place(NamedTuple):
    """Where a configuration is written, and what is different there.

    ``home``: what stands before the name of a directory that an example watches, as its rule file says it; None: it
    stays as it is. ``above``: the same as an absolute path. ``daemon``: values of `daemon`, as YAML. ``mode``: of
    directories that are made.
    """

    directory: str
    home: str | None = None
    above: str = ""
    daemon: Mapping[str, str] = {}
    mode: int = 0o755

    @property
    def is_system(self) -> bool:
        """Whether the system's daemon reads it."""
        return self.directory == SYSTEM


def place(directory: str | None, environ: Mapping[str, str], *, root: bool) -> Place:
    """The place for a configuration: the directory that was said, or the usual one."""
    own = os.path.join(_base("XDG_CONFIG_HOME", ".config", environ), "filewatchd")
    chosen = os.path.abspath(os.path.expanduser(directory)) if directory else SYSTEM if root else own
    if chosen == SYSTEM:
        return Place(SYSTEM)
    if chosen == own and not root:
        return Place(own, "~", os.path.expanduser("~"), _users(environ), 0o700)
    return Place(chosen, "..", chosen, {"state_dir": "var/state", "runtime_dir": "var/run"})


def is_users(at: Place) -> bool:
    """Whether a user's own daemon reads it."""
    return at.home == "~"


def _users(environ: Mapping[str, str]) -> Mapping[str, str]:
    """A user's own state, where the units of systemd's user manager have it, too."""
    state = os.path.join(_base("XDG_STATE_HOME", ".local/state", environ), "filewatchd")
    runtime = environ.get("XDG_RUNTIME_DIR", "")
    run = os.path.join(runtime, "filewatchd") if os.path.isabs(runtime) else os.path.join(state, "run")
    return {"state_dir": json.dumps(state), "runtime_dir": json.dumps(run)}


def _base(variable: str, usual: str, environ: Mapping[str, str]) -> str:
    """A directory of the XDG Base Directory Specification, by which relative values are ignored."""
    said = environ.get(variable, "")
    return said if os.path.isabs(said) else os.path.join(os.path.expanduser("~"), usual)


# ---- the files


def main_file(at: Place, *, root: bool) -> NewFile:
    """The annotated configuration. Rules by ``user:`` are root's alone."""
    text = _data(MAIN)
    for key, value in at.daemon.items():
        text = re.sub(rf"^  # {key}: \S+ *", partial(_in_place, key, value), text, flags=re.MULTILINE)
    if not root:
        text = re.sub(r"^    (user: \S+)  ", r"    # \1", text, flags=re.MULTILINE)
    return NewFile(MAIN, text)


def _in_place(key: str, value: str, found: re.Match[str]) -> str:
    """The key with this value instead of the default; the comment behind it stays in its column if there is room."""
    return f"  {key}: {value} ".ljust(len(found[0]))


def rule_file(example: Example, at: Place, registry: Mapping[str, ActionPackage]) -> NewFile:
    """An example's rule file."""
    text = _data(f"{RULES}/{example.name}.yaml") if example in EXAMPLES else _brought(example.name, registry)
    if example.watched and at.home:
        there = f"{at.home}/{os.path.basename(example.watched)}"
        text = text.replace(f"[{example.watched}]", f"[{there}]".ljust(len(example.watched) + 2))
    return NewFile(f"{RULES}/{example.name}.yaml", text)


def watched(example: Example, at: Place) -> str:
    """The directory that an example watches there, or ""."""
    if not example.watched or at.home is None:
        return example.watched
    return os.path.join(at.above, os.path.basename(example.watched))


def example_for(name: str, registry: Mapping[str, ActionPackage]) -> Example | None:
    """The example of this name: one of ours, or the one that an action package of this name brings."""
    if name in _BY_NAME:
        return _BY_NAME[name]
    return Example(name, f"the action {name}") if name in registry and _brought(name, registry) else None


def names(registry: Mapping[str, ActionPackage]) -> Iterator[str]:
    """Every example there is, which loads every action package."""
    yield from _BY_NAME
    yield from (name for name in registry if name not in _BY_NAME and _brought(name, registry))


def _brought(name: str, registry: Mapping[str, ActionPackage]) -> str:
    return str(getattr(registry[name], "example", ""))


def _data(name: str) -> str:
    return resources.files("filewatchd.cli").joinpath("data", name).read_text("utf-8")
