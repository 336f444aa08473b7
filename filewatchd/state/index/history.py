"""What was told of files and done with them: changes, the versions a path had, runs, and packages as accepted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from filewatchd.state.index.connecting import Connection
from filewatchd.state.index.rows import (
    WAITS,
    Change,
    Record,
    Run,
    State,
    Verdict,
    decode,
    encode,
    unpack_record,
)

CHANGE = (
    "id, root, path, old_path, verdict, state, found_ns, last_ns, count, message, before, after, label, decided_ns,"
    " uid, comment"
)
_RUN = "id, rule, kind, mode, scope, state, began_ns, ended_ns, root, cursor, files, bytes, total, findings, uid"


class History(Connection):
    """The part of a reader that knows changes and runs."""

    def versions(self, root: int, path: str) -> list[tuple[int, Record]]:
        """What a path held before its row, newest first, and until when (ns)."""
        found = self._ask(
            "SELECT until_ns, record FROM versions WHERE root = ? AND path = ? ORDER BY until_ns DESC",
            (root, encode(path)),
        )
        return [(until, record) for until, packed in found if (record := unpack_record(packed)) is not None]

    def changes(
        self,
        *,
        root: int | None = None,
        rule: str | None = None,
        states: Sequence[str] = WAITS,
        verdicts: Sequence[str] = (),
        packages: bool = False,
        since_ns: int = 0,
        after: int = 0,
        limit: int = -1,
    ) -> list[Change]:
        """Changes in these states and of these verdicts (none: any), found or renewed since then.

        ``packages``: only those that agree with one. ``after``: only those with higher numbers.
        """
        in_states = f"AND state IN ({', '.join('?' * len(states))})" if states else ""
        in_states += f" AND verdict IN ({', '.join('?' * len(verdicts))})" if verdicts else ""
        in_states += " AND (label GLOB 'dpkg *' OR label GLOB 'rpm *')" if packages else ""
        return [
            change_of(columns)
            for columns in self._ask(
                f"SELECT {CHANGE} FROM changes WHERE id > ? AND last_ns >= ? {in_states}"
                " AND (? IS NULL OR root = ?) AND (? IS NULL OR root IN (SELECT id FROM roots WHERE rule = ?))"
                " ORDER BY id LIMIT ?",
                (after, since_ns, *states, *verdicts, root, root, rule, rule, limit),
            )
        ]

    def rowless(self, root: int, after: str, limit: int) -> list[str]:
        """Paths that wait as new or as moved there, in their order, behind one."""
        found = self._ask(
            "SELECT DISTINCT path FROM changes WHERE root = ? AND path > ? AND state IN ('open', 'pending', 'rejected')"
            " AND verdict IN ('new', 'moved') ORDER BY path LIMIT ?",
            (root, encode(after), limit),
        )
        return [decode(path) for (path,) in found]

    def waits(self, root: int) -> list[tuple[str, int, str]]:
        """(verdict or ``rejected``, how many, one's path) of what waits of a root; not packages' changes."""
        found = self._ask(
            "SELECT CASE state WHEN 'rejected' THEN state ELSE verdict END, count(*), min(path) FROM changes"
            " WHERE root = ? AND state IN ('open', 'pending', 'rejected')"
            " AND NOT (state = 'pending' AND (label GLOB 'dpkg *' OR label GLOB 'rpm *') IS TRUE) GROUP BY 1",
            (root,),
        )
        return [(verdict, number, decode(path)) for verdict, number, path in found]

    def waiting_by_state(self, root: int) -> dict[str, int]:
        """How many changes of a root wait: state -> changes."""
        return dict(
            self._ask(
                "SELECT state, count(*) FROM changes WHERE root = ?"
                " AND state IN ('open', 'pending', 'rejected') GROUP BY 1",
                (root,),
            )
        )

    def waiting(self, root: int, path: str) -> list[Change]:
        """The open, pending and rejected changes of one path."""
        found = self._ask(
            f"SELECT {CHANGE} FROM changes WHERE root = ? AND path = ? AND state IN ('open', 'pending', 'rejected')",
            (root, encode(path)),
        )
        return [change_of(columns) for columns in found]

    def history(self, root: int, path: str, limit: int = 100) -> list[Change]:
        """All that is kept of one path, newest first. Reads all changes."""
        found = self._ask(
            f"SELECT {CHANGE} FROM changes WHERE root = ?1 AND (path = ?2 OR old_path = ?2) ORDER BY id DESC LIMIT ?3",
            (root, encode(path), limit),
        )
        return [change_of(columns) for columns in found]

    def runs(self, rule: str | None = None, kind: str | None = None, limit: int = 20) -> list[Run]:
        """Builds, verifies and scrubs, newest first."""
        found = self._ask(
            f"SELECT {_RUN} FROM runs WHERE (?1 IS NULL OR rule = ?1) AND (?2 IS NULL OR kind = ?2)"
            " ORDER BY id DESC LIMIT ?3",
            (rule, kind, limit),
        )
        return [run_of(columns) for columns in found]

    def packages(self) -> dict[str, str]:
        """Versions of packages as they were last accepted, by ``dpkg NAME`` or ``rpm NAME``."""
        return dict(self._ask("SELECT name, version FROM packages"))


def change_of(columns: Sequence[Any]) -> Change:
    """The change of these columns."""
    number, root, path, old, verdict, state, *rest = columns
    found_ns, last_ns, count, message, before, after, *decided = rest
    return Change(
        number,
        root,
        decode(path),
        None if old is None else decode(old),
        Verdict(verdict),
        State(state),
        found_ns,
        last_ns,
        count,
        message,
        unpack_record(before),
        unpack_record(after),
        *decided,
    )


def run_of(columns: Sequence[Any]) -> Run:
    """The run of these columns."""
    number, rule, kind, mode, scope, state, began, ended, root, *rest = columns
    return Run(number, rule, kind, mode, decode(scope), state, began, ended, decode(root), *rest)
