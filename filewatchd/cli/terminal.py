"""Pages on a terminal, by rich: apart, because rich takes longer to load than a command to answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TextIO

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text as RichText

from filewatchd.cli.page import FAINT, STRONG, Block, Fields, Lines, Table, Text, line_of, style_of, text_of

_LEAST = 12  # columns that a text has, however narrow the terminal is


def draw(blocks: Sequence[Block], stream: TextIO) -> None:
    """Print blocks as wide as the terminal is; NO_COLOR is honoured by rich."""
    console = Console(file=stream, highlight=False, markup=False, emoji=False)
    for position, block in enumerate(blocks):
        if position:
            console.print()
        if block.title:
            console.print(RichText(line_of(block.title), style=STRONG))
        for renderable in _drawn(block):
            console.print(Padding(renderable, (0, 0, 0, 2), expand=False) if block.title else renderable)


def _drawn(block: Block) -> Sequence[RenderableType]:
    if isinstance(block, Lines):
        return [RichText(line_of(line), style=style_of(line), overflow="fold") for line in block.rows]
    if isinstance(block, Fields):
        return [_fields(block)]
    return [_table(block)]


def _fields(block: Fields) -> RichTable:
    grid = RichTable.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True, style=FAINT)
    grid.add_column(overflow="fold")
    for name, text in block.rows:
        grid.add_row(RichText(name), _text(text))
    return grid


def _table(block: Table) -> RichTable:
    table = RichTable(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style=FAINT)
    cells = list(zip(*block.rows, strict=True))
    kept = [i for i, column in enumerate(block.columns) if not column.spare or any(text_of(c) != "0" for c in cells[i])]
    for i in kept:
        column = block.columns[i]
        widest = max(len(column.name), *(len(text_of(cell)) for cell in cells[i]))
        table.add_column(
            RichText(column.name),
            justify="right" if column.right else "left",
            min_width=widest if column.whole else min(widest, _LEAST),
            overflow="fold",
        )
    for row in block.rows:
        table.add_row(*(_text(row[i]) for i in kept))
    return table


def _text(text: Text) -> RichText:
    return RichText(text_of(text), style=style_of(text), overflow="fold")
