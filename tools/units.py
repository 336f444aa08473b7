"""The unit for further instances, made from the one for the first: `python -m tools.units` writes it.

A template can't include another unit, and two copies of a sandbox would drift apart; a test says when they have.
"""

from __future__ import annotations

from pathlib import Path

UNITS = Path(__file__).parent.parent / "systemd"
HEAD = """\
# A further instance: `filewatchd@NAME` reads /etc/filewatchd/NAME.yaml, keeps its state in /var/lib/filewatchd-NAME and
# is asked with `filewatchctl --socket /run/filewatchd-NAME/control.sock`. Give it `daemon: {instance: NAME}`, so that
# what it tells says which one it is.
# Made from filewatchd.service by `python -m tools.units`.
"""
RUN = "/usr/bin/filewatchd run"
FLAGS = " --config /etc/filewatchd/%i.yaml --state-dir ${STATE_DIRECTORY} --runtime-dir ${RUNTIME_DIRECTORY}"
OWN = ("StateDirectory", "RuntimeDirectory", "LogsDirectory")


def instance_unit() -> str:
    """The template's text."""
    lines = (UNITS / "filewatchd.service").read_text().splitlines()
    body = [_of_instance(line) for line in lines[lines.index("[Unit]") :]]
    return HEAD + "\n" + "\n".join(body) + "\n"


def _of_instance(line: str) -> str:
    key, _, value = line.partition("=")
    if key == "Description":
        return f"{line} (%i)"
    if value == RUN:
        return line + FLAGS
    return f"{line}-%i" if key in OWN else line


def main() -> None:
    """Write it."""
    (UNITS / "filewatchd@.service").write_text(instance_unit())


if __name__ == "__main__":
    main()
