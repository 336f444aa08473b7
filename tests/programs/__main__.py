"""Try every writer and reader with every method, and put the tables into docs/explanation/rotation.md.

Needs root, nginx-light, rsyslog and logrotate, and takes some minutes. ``--only WRITERS|READERS`` tries one of them.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from tests.programs.programs import READERS, SECONDS, WRITERS, Nginx, Reader, Writer
from tests.programs.trying import METHODS, PEERS, Count, Tried, attempt, attempt_peer

P = TypeVar("P", Writer, Reader)
PAGE = Path(__file__).parents[2] / "docs/explanation/rotation.md"


def main() -> None:
    """Try, and write the page."""
    parser = argparse.ArgumentParser(prog="python -m tests.programs", description=__doc__)
    parser.add_argument("--only", choices=("writers", "readers"))
    parser.add_argument("--seconds", type=float, default=SECONDS)
    said = parser.parse_args()
    if said.only != "readers":
        put(
            "writers",
            table("writer", WRITERS, lambda method, each: tried(method, each, None, said.seconds), of_archive),
        )
    if said.only != "writers":
        put(
            "readers",
            table("reader", READERS, lambda method, each: tried(method, Nginx, each, said.seconds), of_reader),
        )


def tried(method: str, writer: type[Writer], reader: type[Reader] | None, seconds: float) -> Tried:
    """One try, in a directory of its own."""
    with tempfile.TemporaryDirectory(prefix="filewatchd-rotation-") as where:
        work = attempt_peer if method in PEERS else attempt
        return work(Path(where), method, writer, reader, seconds)


def table(
    what: str, programs: Sequence[type[P]], work: Callable[[str, type[P]], Tried], shown: Callable[[Tried], str]
) -> list[str]:
    """Programs down, methods across."""
    methods = [*METHODS, *PEERS]
    lines = [f"| {what} | " + " | ".join(f"`{method}`" for method in methods) + " |", "|---" * (len(methods) + 1) + "|"]
    for program in programs:
        cells = []
        for method in methods:
            result = work(method, program)
            cells.append(shown(result))
            print(program.name, method, result[:5], flush=True)
        lines.append(f"| {program.name} | " + " | ".join(cells) + " |")
    return lines


def of_archive(result: Tried) -> str:
    """What the archives and the live file have, and by which method where `auto` or the log's state chose."""
    if not result.rotations:
        return "refused"
    return f"{counted(result.archive, result.written)}{' (' + result.methods + ')' if result.methods else ''}"


def of_reader(result: Tried) -> str:
    """What the reader saw."""
    assert result.reader is not None
    return counted(result.reader, result.written)


def counted(found: Count, written: int) -> str:
    """In words, as shares."""
    parts = [
        f"{share(number, written)} {word}"
        for number, word in ((found.lost, "lost"), (found.repeated, "repeated"))
        if number
    ]
    if found.torn:
        parts.append(f"{found.torn} torn")
    if not found.ordered:
        parts.append("out of order")
    return ", ".join(parts) or "all"


def share(number: int, of: int) -> str:
    """A share in per cent."""
    return f"{number / of:.1%}" if number * 1000 >= of else "<0.1%"


def put(name: str, lines: Sequence[str]) -> None:
    """Replace a table of the page."""
    begin, end = f"<!-- generated: {name} -->", f"<!-- end of {name} -->"
    before, _, rest = PAGE.read_text().partition(begin)
    after = rest.partition(end)[2]
    PAGE.write_text(before + "\n".join([begin, *lines, end]) + after)


if __name__ == "__main__":
    main()
