"""PyYAML's complaints about a text, as mistakes with their place and what would be right."""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from filewatchd.config.nodes import Source
from filewatchd.errors import Mistake


class SyntaxMistake(Exception):  # noqa: N818 - it carries a mistake and never leaves this package
    """The text can't be read on from here."""

    def __init__(self, mistake: Mistake) -> None:
        super().__init__(str(mistake))
        self.mistake = mistake


ALIAS_HINT = 'put text that begins with * in quotes, such as "*.csv"'


def failure(source: Source, line: int, column: int, message: str, hint: str) -> SyntaxMistake:
    """A mistake at this place of the file."""
    return SyntaxMistake(Mistake(source.name, line, column, message, hint))


def explained(error: yaml.MarkedYAMLError, text: str, source: Source) -> SyntaxMistake:
    """PyYAML's complaint, in words that say what to do."""
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
    opened = error.context_mark.line + 1 if error.context_mark else 0
    context, problem = error.context or "", error.problem or ""
    for tab in _leading_tabs(text, line):
        return failure(source, *tab, "a tab can't indent YAML", "use spaces")
    for words, message, hint in _EXPLANATIONS:
        if words in context or words in problem:
            letter = text[mark.index : mark.index + 1] if mark else ""
            message = message.format(letter=letter, opened=opened)
            if words in _AT_CONTEXT and error.context_mark:
                line, column = opened, error.context_mark.column + 1
            return failure(source, line, column, message, hint)
    return failure(source, line, column, problem or "this is not YAML", "check the indentation and the quotes here")


def _leading_tabs(text: str, line: int) -> Iterator[tuple[int, int]]:
    """Where a tab stands among the spaces that begin the line (the parser may stop one line late)."""
    lines = text.split("\n")
    for number in (line, line - 1):
        row = lines[number - 1] if 0 < number <= len(lines) else ""
        indent = row[: len(row) - len(row.lstrip())]
        if "\t" in indent and row.strip():
            yield number, indent.index("\t") + 1


_QUOTE_HINT = "put the text in quotes"
_AT_CONTEXT = frozenset({"while scanning a quoted scalar", "while parsing a flow"})
_EXPLANATIONS = (
    ("while scanning an alias", "text that begins with * is an alias to YAML", ALIAS_HINT),
    ("while scanning an anchor", "text that begins with & is an anchor to YAML", _QUOTE_HINT),
    ("while scanning a quoted scalar", "a quote that begins here is never closed", "close it"),
    ("while scanning a double-quoted scalar", "a backslash here begins no escape", "double it, or use single quotes"),
    ("while parsing a flow", "the bracket that opens here is never closed", "close it"),
    ("cannot start any token", "text can't begin with {letter!r}", _QUOTE_HINT),
    (
        "mapping values are not allowed",
        "a ': ' YAML can't place",
        "quote text that holds ': ', and align the keys",
    ),
    ("could not find expected ':'", "a key without its ':'", "write `key: value`"),
    ("expected <block end>", "this doesn't line up with line {opened}", "align keys with keys and dashes with dashes"),
    (
        "while scanning a tag",
        "text that begins with ! is a tag to YAML",
        'put a pattern in quotes: "!keep.csv"',
    ),
)
