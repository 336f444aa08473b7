"""What a command shows to people, as blocks of text, and how they are put plainly; on a terminal: `terminal`.

Plain text has columns with blanks between them, no colour, and no line is ever wrapped, so that it can be cut and
grepped. Cells hold whatever text documents have; it is made safe for a terminal here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from filewatchd.notation import one_line

GOOD, BAD, WARNING, FAINT, STRONG = "green", "red", "yellow", "dim", "bold"


class Cell(NamedTuple):
    """Text with a meaning that a terminal shows as a colour."""

    text: str
    style: str = ""


Text = str | Cell


class Column(NamedTuple):
    """A column's heading; ``right``: numbers. ``whole``: never wrapped. ``spare``: not on a terminal if all are 0."""

    name: str
    right: bool = False
    whole: bool = False
    spare: bool = False


def numbers(*names: str, spare: bool = False) -> tuple[Column, ...]:
    """Columns of numbers."""
    return tuple(Column(name, right=True, whole=True, spare=spare) for name in names)


class Table(NamedTuple):
    """Rows below headings. ``title``: what they are, where a page has more than one table."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Text]]
    title: str = ""


class Fields(NamedTuple):
    """Names, each with what it is."""

    rows: Sequence[tuple[str, Text]]
    title: str = ""


class Lines(NamedTuple):
    """Lines by themselves."""

    rows: Sequence[Text]
    title: str = ""


Block = Table | Fields | Lines


def filled(blocks: Iterable[Block]) -> Iterator[Block]:
    """Those that hold anything."""
    return (block for block in blocks if block.rows)


def plain(blocks: Iterable[Block]) -> Iterator[str]:
    """Blocks as lines of plain text."""
    for position, block in enumerate(filled(blocks)):
        if position:
            yield ""
        if block.title:
            yield one_line(block.title)
        indent = "  " if block.title else ""
        yield from (f"{indent}{line}".rstrip() for line in _lines(block))


def _lines(block: Block) -> Iterator[str]:
    if isinstance(block, Lines):
        yield from map(line_of, block.rows)
    elif isinstance(block, Fields):
        rows = [(f"{name}:" if name else "", text_of(text)) for name, text in block.rows]
        yield from _aligned(rows, (False, False))
    else:
        head = tuple(column.name for column in block.columns)
        yield from _aligned([head, *(tuple(map(text_of, row)) for row in block.rows)], [c.right for c in block.columns])


def _aligned(rows: Sequence[Sequence[str]], right: Sequence[bool]) -> Iterator[str]:
    """Columns as wide as what is in them."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = zip(row, widths, right, strict=True)
        yield "  ".join(f"{cell:>{width}}" if at_right else f"{cell:<{width}}" for cell, width, at_right in cells)


def line_of(text: Text) -> str:
    """A line's text, safe for a terminal."""
    return one_line(text.text if isinstance(text, Cell) else text)


def text_of(text: Text) -> str:
    """A cell's text, likewise; blank cells are a dash, so that columns can be counted."""
    return line_of(text) or "-"


def style_of(text: Text) -> str:
    """A cell's style."""
    return text.style if isinstance(text, Cell) else ""
