"""``filewatchd try``: a rule without any YAML, run in the foreground with state that is thrown away at the end."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import yaml

from filewatchd.notation import one_line
from filewatchd.service.daemon import Daemon

_QUIET = "# The same as a rule; put it into a configuration file and run: filewatchd run --config FILE\n"


def rule_text(arguments: argparse.Namespace) -> str:
    """The configuration, as YAML, that does what the command line says."""
    rule: dict[str, object] = {"name": "try", "roots": [os.path.abspath(arguments.directory)]}
    for key in ("include", "exclude"):
        if getattr(arguments, key):
            rule[key] = getattr(arguments, key)
    if arguments.changes:
        rule["changes"] = [kind.strip() for kind in arguments.changes.split(",")]
    if arguments.ready:
        rule["ready"] = arguments.ready
    rule["settle"] = arguments.settle
    rule["actions"] = [{"exec": {"command": arguments.argv}}]
    if os.geteuid() == 0:
        rule["user"] = "root"
    return yaml.safe_dump({"version": 1, "rules": [rule]}, sort_keys=False, allow_unicode=True, default_flow_style=None)


def run(arguments: argparse.Namespace) -> int:
    """Print the YAML, and run it until Ctrl-C."""
    text = rule_text(arguments)
    try:
        os.makedirs(arguments.directory, exist_ok=True)
    except OSError as error:
        why = "it is no directory" if isinstance(error, FileExistsError) else error.strerror
        print(f"filewatchd: {one_line(arguments.directory)} can't be watched: {why}; name a directory", file=sys.stderr)
        return 1
    print(_QUIET + text, flush=True)
    with tempfile.TemporaryDirectory(prefix="filewatchd-try-") as place:
        flags: dict[str, object] = {"daemon.state_dir": f"{place}/state", "daemon.runtime_dir": f"{place}/run"}
        hint = f"change a file in {arguments.directory}, for example: echo hello > {arguments.directory}/hello.txt"
        path = Path(os.path.abspath(arguments.directory)).parent / "try.yaml"
        return Daemon(path, flags, os.environ, hint=hint, text=text).run()
