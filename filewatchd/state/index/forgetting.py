"""Forgetting what is known of a rule's roots: rows, versions, changes and runs, little by little, for good.

The roots get a name that no rule can have before anything goes: so a rule that comes back meanwhile begins anew, and
what a kill leaves is told under that name, and forgotten under it. That it was forgotten, and by whom, is an entry of
the chain, so that an audit doesn't take it for damage.
"""

from __future__ import annotations

from typing import NamedTuple

from filewatchd.state.index.writing import Index

_SOME = 200  # directories in a transaction


class Forgotten(NamedTuple):
    """What went."""

    roots: int
    files: int


def forget(index: Index, rule: str, uid: int | None = None) -> Forgotten:
    """Forget a rule that nobody uses. Blocks; its space in the file is used again. ``uid``: who asks for it.

    Raises:
        StateError: it can't be written; what is left can be forgotten again.
    """
    with index.edit(durable=True) as edit:
        roots = edit.connection.execute("SELECT id, root FROM roots WHERE rule = ?", (rule,)).fetchall()
        edit.connection.execute("DELETE FROM runs WHERE rule = ?", (rule,))
        for number, path in roots:
            if rule.endswith(f" (forgotten {number})"):
                continue  # a kill came between
            name = f"{rule} (forgotten {number})"
            edit.connection.execute("UPDATE roots SET rule = ?, built_ns = NULL WHERE id = ?", (name, number))
            index.chain.forgot(number, rule, path, uid)
    return Forgotten(len(roots), sum(_root(index, number) for number, _ in roots))


def _root(index: Index, root: int) -> int:
    files = 0
    while True:
        with index.edit() as edit:
            some = edit.connection.execute(
                "SELECT id FROM directories WHERE root = ? LIMIT ?", (root, _SOME)
            ).fetchall()
            if not some:
                for table in ("versions", "changes", "lists", "shipped", "surveys"):
                    edit.connection.execute(f"DELETE FROM {table} WHERE root = ?", (root,))
                edit.connection.execute("DELETE FROM roots WHERE id = ?", (root,))
                edit.forgot_root(root)
                return files
            for (number,) in some:
                files += edit.connection.execute("DELETE FROM files WHERE dir = ?", (number,)).rowcount
                edit.connection.execute("DELETE FROM directories WHERE id = ?", (number,))
