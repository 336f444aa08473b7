"""The schema of the YAML: every key with its type, its default and a sentence about it.

These structs, and those of `rule`, are the only place where a key is declared. The conversion, the JSON Schema for
editors (`editors.py`), ``check --show`` and the reference in ``docs/`` all read them here.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from msgspec import Meta, Struct

from filewatchd.config.rule import NAME_PATTERN, Positive, Rule, RuleDefaults, SomeTime, about
from filewatchd.notation import MalformedError, parse_listen, parse_principal, quoted
from filewatchd.values import Duration, PathTo, Reader, Size, annotation


class History(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much is kept of finished jobs, and of changes; what exceeds a bound is forgotten, oldest first."""

    jobs: Annotated[Positive, about("Finished jobs to keep.")] = 10_000
    age: Annotated[SomeTime, about("How long to keep them.")] = 30 * 86400.0
    changes: Annotated[
        Positive, about("Changes to keep for `filewatchctl changes --since`, oldest forgotten first.")
    ] = 200_000


def _parse_instance(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(NAME_PATTERN, value, re.ASCII):
        raise MalformedError(f"{quoted(value)} is not a name", "use 1 to 64 letters, digits, '_', '.' and '-'")
    return value


Instance = Annotated[str, annotation(Reader("instance", _parse_instance), type="string", pattern=f"^{NAME_PATTERN}$")]
Principal = Annotated[str, annotation(Reader("principal", parse_principal), type="string", examples=["nagios", "@adm"])]
Listen = Annotated[str, annotation(Reader("listen", parse_listen), type="string", examples=["127.0.0.1:9817"])]


class Daemon(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The daemon itself. A reload changes all but `state_dir`, `runtime_dir` and `durability`, which need a restart."""

    state_dir: Annotated[PathTo, about("Directory of the job journal, the manifest and other state (0700).")] = (
        "/var/lib/filewatchd"
    )
    runtime_dir: Annotated[PathTo, about("Directory of the control socket.")] = "/run/filewatchd"
    shutdown_timeout: Annotated[Duration, about("How long running jobs may take to finish when the daemon stops.")] = (
        30.0
    )
    durability: Annotated[
        Literal["normal", "full"],
        about(
            "`normal`: finished jobs survive kill -9; a power cut may repeat the last ones. `full`: fsync each outcome."
        ),
    ] = "normal"
    max_running: Annotated[Positive, about("Jobs that may run at once, over all rules.")] = 8
    history: Annotated[History, about("How much of finished jobs and of changes is kept.")] = History()
    instance: Annotated[Instance, about("Its name among several daemons of one host, in every JSON document.")] = "main"
    reload_on_change: Annotated[
        bool, about("Reload by itself when a file of the configuration has changed and is in order.")
    ] = False


class Control(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who may ask and steer the daemon over its socket, besides root and its own user; and where metrics are put."""

    read: Annotated[tuple[Principal, ...], about("Users, and groups as `@group`, who may ask.")] = ()
    act: Annotated[tuple[Principal, ...], about("Users, and groups as `@group`, who may ask and act.")] = ()
    listen: Annotated[
        Listen | None, about("A loopback address and port for `/metrics` and `/healthz` alone. Off unless set.")
    ] = None
    textfile: Annotated[
        PathTo | None, about("A file for node_exporter's textfile collector (`*.prom`). Off unless set.")
    ] = None
    textfile_every: Annotated[SomeTime, about("How often it is written.")] = 15.0


class KeepLogs(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many old log files stay."""

    count: Annotated[int, Meta(ge=0), about("Old log files to keep.")] = 5


class Rotation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a log file of ours is set aside."""

    size: Annotated[Size, Meta(ge=1024), about("Set the file aside when it is this large.")] = 10_000_000
    keep: Annotated[KeepLogs, about("How many old files stay.")] = KeepLogs()


class LogFiles(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Log files, for hosts without a journal."""

    path: Annotated[PathTo, about("The log file.")]
    rotate: Annotated[Rotation, about("When the files are set aside.")] = Rotation()
    errors: Annotated[PathTo | None, about("A second file, for warnings and errors alone.")] = None


class Logging(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the daemon says, and where."""

    console: Annotated[
        Literal["auto", "text", "json", "journal", "off"],
        about("Standard error: `auto` chooses by what it is connected to. `journal`: systemd's, with fields."),
    ] = "auto"
    format: Annotated[Literal["text", "json"], about("How the log files are written.")] = "text"
    level: Annotated[Literal["debug", "info", "warning", "error"], about("The least that is logged.")] = "info"
    files: Annotated[LogFiles | None, about("Log files; none unless set.")] = None


class File(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A configuration file. A rule file may hold `rules` (and `version`) alone."""

    version: Annotated[Literal[1], about("The format of this file: 1.")]
    daemon: Annotated[Daemon | None, about("The daemon itself.")] = None
    logging: Annotated[Logging | None, about("What the daemon says, and where.")] = None
    control: Annotated[Control | None, about("Who may ask and steer it, and where metrics are put.")] = None
    defaults: Annotated[RuleDefaults | None, about("Values for all rules, below what a rule says itself.")] = None
    rule_files: Annotated[tuple[PathTo, ...] | None, about("More files with rules; globs are allowed.")] = None
    rules: Annotated[tuple[Rule, ...] | None, about("The rules.")] = None
