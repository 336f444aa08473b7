"""The command ``filewatchd``: init, run, check, doctor, schema, try. Light imports: it may become the daemon."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from filewatchd import __version__
from filewatchd.cli.examples import EXAMPLES
from filewatchd.errors import ConfigError, FatalError, FilewatchdError

_DEFAULT = "/etc/filewatchd/filewatchd.yaml"
_USAGE = 64


class _Parser(argparse.ArgumentParser):
    """Usage errors exit with 64, as all our commands do."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(_USAGE, f"{self.prog}: {message}; see {self.prog} --help\n")


def parser() -> argparse.ArgumentParser:
    """All words and flags."""
    top = _Parser(
        prog="filewatchd",
        description="Watch files and turn what happens to them into finished work.",
        epilog="Exit codes: 0 ok, 1 error, 3 findings, 64 usage, 73 would overwrite, 75 another instance runs, "
        "77 no permission, 78 bad configuration.",
    )
    top.add_argument("--version", action="version", version=f"filewatchd {__version__}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _init(commands.add_parser(
        "init", help="write a first configuration",
        description="Write an annotated configuration, filewatchd.yaml, and with --for an example rule in rules.d: "
        "all of it or nothing, and never over anything.",
        epilog="DIR is /etc/filewatchd unless told; for another user than root, $XDG_CONFIG_HOME/filewatchd, which is "
        "~/.config/filewatchd where that isn't set. Exit codes: 0 written, 64 usage, 73 would overwrite, 77 no "
        "permission. Example: filewatchd init --for exec",
    ))  # fmt: skip
    run = commands.add_parser("run", help="run in the foreground", description="Run the daemon in the foreground.")
    _config(run)
    _directories(run)
    run.add_argument("--hint", default="", metavar="TEXT", help="a line to show once everything is ready")
    check = commands.add_parser(
        "check", help="check a configuration", description="Check a configuration and tell every mistake."
    )
    _config(check)
    _directories(check)
    check.add_argument("--show", action="store_true", help="print every value and where it comes from")
    check.add_argument("--json", action="store_true", help="print JSON")
    check.add_argument("--fragment", type=Path, metavar="FILE", help="check FILE as if it were one of the rule files")
    _doctor(commands.add_parser(
        "doctor", help="find out why something doesn't work",
        description="Examine what the configuration meets here: limits, filesystems, backends, patterns, state. "
        "Each finding says why it matters and what mends it.",
        epilog="Exit codes: 0 nothing worse than a note, 3 warnings or errors, 78 bad configuration. "
        "Run it as the daemon's user.",
    ))  # fmt: skip
    schema = commands.add_parser(
        "schema", help="print the JSON Schema", description="Print the configuration's JSON Schema, for editors."
    )
    schema.add_argument("--markdown", action="store_true", help="print the reference instead")
    _try(commands.add_parser(
        "try", help="try a rule without any YAML",
        description="Watch DIRECTORY, which is made if it is missing, and run COMMAND for each changed file; "
        "prints the YAML that does the same.",
        epilog="Example: filewatchd try ./in -- sha256sum {path}",
    ))  # fmt: skip
    return top


def _init(command: argparse.ArgumentParser) -> None:
    ours = "; ".join(f"{example.name}: {example.about}" for example in EXAMPLES)
    command.add_argument("directory", nargs="?", metavar="DIR", help="where to write it")
    command.add_argument(
        "--for", dest="purpose", metavar="EXAMPLE",
        help=f"write an example rule, too ({ours}; or the name of an action that brings one)",
    )  # fmt: skip
    command.add_argument("--add", action="store_true", help="leave a filewatchd.yaml that is there; add the example")
    command.add_argument("--dry-run", action="store_true", help="print what would be written, and write nothing")
    command.add_argument("--json", action="store_true", help="print JSON")


def _config(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--config", type=Path, default=Path(os.environ.get("FILEWATCHD_CONFIG", _DEFAULT)), metavar="FILE",
        help=f"the configuration (default: {_DEFAULT})",
    )  # fmt: skip


def _directories(command: argparse.ArgumentParser) -> None:
    command.add_argument("--state-dir", metavar="DIR", help="where state is kept; overrides the configuration")
    command.add_argument("--runtime-dir", metavar="DIR", help="where sockets are made; overrides the configuration")


def _doctor(command: argparse.ArgumentParser) -> None:
    _config(command)
    _directories(command)
    command.add_argument("--json", action="store_true", help="print JSON")
    command.add_argument("--quick", action="store_true", help="don't walk trees: no watches counted, no patterns tried")


def _try(command: argparse.ArgumentParser) -> None:
    command.add_argument("directory", metavar="DIRECTORY", help="what to watch")
    command.add_argument("--include", action="append", default=[], metavar="PATTERN", help="only these files")
    command.add_argument("--exclude", action="append", default=[], metavar="PATTERN", help="not these files")
    command.add_argument("--changes", default="", metavar="KINDS", help="created,modified,deleted,moved,metadata")
    command.add_argument("--settle", default="200ms", metavar="DURATION", help="quiet time before it runs")
    command.add_argument("--ready", choices=("closed", "stable", "immediate"), help="when a file counts as complete")
    command.add_argument("argv", nargs="+", metavar="-- COMMAND", help="words may hold {path}, {name}, {dir} ...")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    _stand()
    arguments = parser().parse_args(argv)
    try:
        return _COMMANDS[arguments.command](arguments)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except FatalError as error:
        print(f"filewatchd: {error}", file=sys.stderr)
        return error.exit_code
    except FilewatchdError as error:
        print(f"filewatchd: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        if error.errno not in (errno.EMFILE, errno.ENFILE):
            raise
        print(f"filewatchd: {error.strerror}: raise the limit (LimitNOFILE= of the unit, ulimit -n)", file=sys.stderr)
        return 1


def _stand() -> None:
    """Have the standard descriptors open: else files of ours would get their numbers, and what is said to them."""
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
        if getattr(sys, name) is None:
            setattr(sys, name, open(fd, "r+" if fd == 0 else "w", closefd=False))  # noqa: SIM115 - for good


def _flags(arguments: argparse.Namespace) -> dict[str, object]:
    """Flags are relative to the working directory, unlike the configuration's own paths."""
    given = {"daemon.state_dir": arguments.state_dir, "daemon.runtime_dir": arguments.runtime_dir}
    return {key: os.path.abspath(os.path.expanduser(value)) for key, value in given.items() if value}


def _initialise(arguments: argparse.Namespace) -> int:
    from filewatchd.actions import registry
    from filewatchd.cli import init

    return init.init(
        arguments.directory,
        registry=registry.packages(),
        environ=os.environ,
        purpose=arguments.purpose,
        add=arguments.add,
        dry_run=arguments.dry_run,
        as_json=arguments.json,
    )


def _run(arguments: argparse.Namespace) -> int:
    from filewatchd.service.daemon import Daemon

    return Daemon(arguments.config, _flags(arguments), os.environ, hint=arguments.hint).run()


def _check(arguments: argparse.Namespace) -> int:
    from filewatchd.actions import registry
    from filewatchd.cli import check

    return check.check(
        arguments.config,
        registry=registry.packages(),
        environ=os.environ,
        flags=_flags(arguments),
        show=arguments.show,
        as_json=arguments.json,
        fragment=arguments.fragment,
    )


def _examine(arguments: argparse.Namespace) -> int:
    from filewatchd.actions import registry
    from filewatchd.cli import doctor

    return doctor.doctor(
        arguments.config,
        registry=registry.packages(),
        environ=os.environ,
        flags=_flags(arguments),
        as_json=arguments.json,
        quick=arguments.quick,
    )


def _schema(arguments: argparse.Namespace) -> int:
    from filewatchd.actions import registry
    from filewatchd.cli import check

    return check.schema(registry.packages(), markdown=arguments.markdown)


def _try_rule(arguments: argparse.Namespace) -> int:
    from filewatchd.cli import trial

    return trial.run(arguments)


_COMMANDS = {
    "init": _initialise, "run": _run, "check": _check, "doctor": _examine, "schema": _schema, "try": _try_rule,
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
