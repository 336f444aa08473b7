"""roff for man pages, and as much of Markdown as our reference has, put into it. roff is simple: see groff_man(7)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

# What is typed must come out as it is typed, to be copied: groff makes other characters of these (groff_char(7)).
_CHARACTERS = str.maketrans(
    {"\\": "\\e", "-": "\\-", '"': "\\(dq", "'": "\\(aq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti"}
)
_LINK = re.compile(r"\[([^\]]+)\]\([^)]+\)")
_CODE = re.compile(r"(`[^`]+`|\*\*[^*]+\*\*)")
_COMMENT = re.compile(r"<!--.*?-->\n*", re.DOTALL)
_LINES = re.MULTILINE
_ITEM = re.compile(r"(-|\d+\.) (.*)", re.DOTALL)


class Tag(NamedTuple):
    """A name, and what it is: ``--rule RULE``, or a key."""

    names: str
    text: str


def text(plain: str) -> str:
    """Text that roff takes as it is: no escapes, no requests."""
    safe = plain.translate(_CHARACTERS)
    return f"\\&{safe}" if safe.startswith(".") else safe


def paragraphs(plain: str) -> Iterator[str]:
    """Paragraphs, between which free lines stand."""
    for position, paragraph in enumerate(re.split(r"\n\s*\n", plain.strip())):
        if position:
            yield ".PP"
        yield text(" ".join(paragraph.split()))


def tagged(tags: Sequence[Tag]) -> Iterator[str]:
    """Names, each with what it is below it."""
    for tag in tags:
        yield from (".TP", f".B {text(tag.names)}", text(" ".join(tag.text.split())))


def literal(plain: str) -> Iterator[str]:
    """Lines that stay as they are, such as what is typed."""
    yield from (".PP", ".RS 4", ".nf")
    yield from (text(line) or "\\&" for line in plain.splitlines())
    yield from (".fi", ".RE")


# ---- Markdown


def markdown(page: str, headings: Mapping[str, str]) -> Iterator[str]:
    """A page of headings, paragraphs, lists, tables and fenced blocks.

    Args:
        page: as it is written.
        headings: the request for each heading by its text, such as ``.SH VALUES``; others become ``.SS``.
    """
    for block in _blocks(_COMMENT.sub("", page)):
        if block.startswith("```"):
            yield from literal("\n".join(block.splitlines()[1:-1]))
        elif block.startswith("#"):
            title = block.lstrip("# ")
            yield headings.get(title, f".SS {text(title)}")
        elif block.startswith("|"):
            yield from _table([[cell.strip() for cell in row.split("|")[1:-1]] for row in block.splitlines()])
        else:
            yield from _prose(block)


def _blocks(page: str) -> Iterator[str]:
    """What free lines, list items and headings part; a fenced block is one, with the free lines in it."""
    for part in re.split(r"^(```.*?^```)$", page, flags=_LINES | re.DOTALL):
        if part.startswith("```"):
            yield part
        else:
            apart = re.sub(r"^(#.*)$", r"\n\1\n", re.sub(r"^(- |\d+\. )", r"\n\1", part, flags=_LINES), flags=_LINES)
            yield from filter(None, (block.strip() for block in re.split(r"\n\s*\n", apart)))


def _prose(block: str) -> Iterator[str]:
    joined = " ".join(block.split())
    item = _ITEM.fullmatch(joined)
    if item is None:
        yield from (".PP", _inline(joined))
    else:
        yield from (".IP \\(bu 3" if item[1] == "-" else f".IP {item[1]} 4", _inline(item[2]))


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The first column names what the last one tells; what is between them stands behind the name."""
    for row in rows[2:]:
        name, *between, told = row
        about = [f"default {cell}" if heading == "default" and cell != "required" else cell
                 for heading, cell in zip(rows[0][1:], between, strict=False)]  # fmt: skip
        known = ", ".join(part for part in about if part and part != "default ")
        yield from (".TP", _inline(name) + (f" ({_inline(known)})" if known else ""), _inline(told) or "\\&")


def _inline(words: str) -> str:
    """A line with code and strong words in bold, and links as their text."""
    parts = _CODE.split(_LINK.sub(r"\1", words))
    line = "".join(_bold(part) if i % 2 else part.translate(_CHARACTERS) for i, part in enumerate(parts))
    return f"\\&{line}" if line.startswith((".", "'")) else line


def _bold(marked: str) -> str:
    """What stands between backticks or pairs of stars."""
    return f"\\fB{text(marked[1:-1] if marked[0] == '`' else marked[2:-2])}\\fP"
