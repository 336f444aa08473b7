"""Where each rule, and each of those of its keys that decide about a path, stands: for `explain`."""

from __future__ import annotations

from typing import NamedTuple

from filewatchd.config.nodes import Node

_DECIDING = (
    "enabled", "roots", "recursive", "follow_symlinks", "include", "exclude", "presets", "changes", "ready", "user",
)  # fmt: skip


class Origins(NamedTuple):
    """Of one rule, all as ``FILE:LINE``, or what else a value may come from (`Node.origin`).

    ``keys``: by a key's name, where it stands and where each of its entries does; without those that nobody wrote.
    """

    rule: str
    keys: dict[str, tuple[str, ...]]

    def of(self, key: str, entry: int | None = None) -> str | None:
        """Where a key stands, or one of its entries, counted from 0; None for a built-in default."""
        places = self.keys.get(key)
        if places is None:
            return None
        return places[0] if entry is None or entry + 1 >= len(places) else places[entry + 1]


UNKNOWN = Origins("", {})


def origins(node: Node, whole: Node) -> Origins:
    """``node``: the rule as it stands in the files; ``whole``: with what `defaults` and its actions bring."""
    found = {key: there for key in _DECIDING if (there := whole.get(key)) is not None and there.value is not None}
    return Origins(node.origin, {key: _places(there) for key, there in found.items()})


def _places(node: Node) -> tuple[str, ...]:
    """The key's place, not that of its value, which of a list is its first entry's."""
    entries = node.value if isinstance(node.value, list) else ()
    own = f"{node.source.name}:{node.key[0]}" if node.line and node.key else node.origin
    return own, *(entry.origin for entry in entries)
