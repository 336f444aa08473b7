"""A tree is indexed by a real daemon, by sha256sum and by AIDE; then it is edited; then all three are asked again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from filewatchd.control import client
from filewatchd.control.api import socket_in
from filewatchd.control.places import action_place
from filewatchd.state.index.audit import audit
from filewatchd.state.index.reading import Reader
from filewatchd.state.index.rows import WAITS, Change, Record, Verdict
from tests.e2e.running import Daemon, eventually
from tests.e2e.steps import configure, rule
from tests.integrity.comparing import difference, parted, seen
from tests.integrity.edits import Edits
from tests.integrity.peers import Aide, sha256sums

_PATIENCE = 1800.0


class Proof(NamedTuple):
    """What came of it; ``parted`` is empty where all agree."""

    files: int
    edits: Counter[str]
    verdicts: Counter[str]
    parted: list[str]
    log: list[str]  # the edits


class Indexed:
    """A daemon whose one rule indexes its root, and wants approval of everything."""

    def __init__(self, directory: Path) -> None:
        self.daemon = Daemon(directory)
        self.root = self.daemon.root
        configure(self.daemon, rule("files", "checksum: {approval: required}", roots=[str(self.root)]))

    def ask(self, name: str, *, acts: bool = True, **arguments: Any) -> dict[str, Any]:
        socket = socket_in(str(self.daemon.directory / "run"))
        return client.ask(socket, action_place("checksum", name, acts=acts), arguments, timeout=_PATIENCE)

    def built(self) -> None:
        """Start, wait for the build, and approve what is there."""
        self.daemon.start()
        eventually(self._is_built, "the index is built", _PATIENCE)
        if self.waiting():
            self.ask("approve", all=True)
        assert self.waiting() == []

    def _is_built(self) -> bool:
        with self.reader() as reader:
            return any(root.built_ns for root in reader.roots())

    def reader(self) -> Reader:
        return Reader(str(self.daemon.state_dir / "index.db"))

    def rows(self) -> dict[str, Record]:
        with self.reader() as reader:
            (root,) = reader.roots()
            return dict(reader.rows(root.id))

    def waiting(self) -> list[Change]:
        with self.reader() as reader:
            return reader.changes(states=WAITS)

    def settled(self) -> None:
        """All that happened is worked."""
        socket = socket_in(str(self.daemon.directory / "run"))
        assert client.ask(socket, "flush", {"timeout": _PATIENCE}, timeout=_PATIENCE)["done"]

    def verified(self, mode: str = "full") -> None:
        """Hold every file against the index."""
        begun = self.ask("verify", mode=mode)["runs"]

        def over() -> bool:
            runs = self.ask("runs", acts=False)["runs"]
            return all(run["state"] == "done" for run in runs if run["id"] in begun)

        eventually(over, "the verify ends", _PATIENCE)


def proof(
    directory: Path,
    tree: Callable[[Path], int],
    edits: int,
    seed: int,
    say: Callable[[str], object] = lambda text: None,
) -> Proof:
    """Make the tree, index it, edit it (half while no daemon runs), and compare file by file."""
    indexed = Indexed(directory)
    try:
        files = tree(indexed.root)
        say(f"{files} files; building")
        indexed.built()
        aide = Aide(directory, indexed.root)
        rows = indexed.rows()
        found = _digests(indexed, rows, aide, say)
        editor = Edits(str(indexed.root), seed)
        say("editing, half of it while nobody looks")
        indexed.daemon.stop()
        editor.apply(edits // 2)
        indexed.daemon.start()
        editor.apply(edits - edits // 2)
        indexed.settled()
        say("verifying")
        indexed.verified()
        indexed.settled()
        waiting = indexed.waiting()
        ours = difference(rows, seen(rows, waiting), str(indexed.root))
        say("asking AIDE")
        found += parted(ours, aide.check())
        found += _wrong_verdicts(waiting)
        found += [f"the index's rows changed without approval: {path!r}" for path in _changed(rows, indexed.rows())]
        indexed.ask("approve", all=True)
        say("all is approved; comparing with sha256sum again")
        found += _against_sums(indexed, indexed.rows())
        with indexed.reader() as reader:
            found += [f"audit: {fault}" for fault in audit(reader.connection).faults]
        indexed.daemon.stop()
    except BaseException:
        say(indexed.daemon.log()[-5000:])
        raise
    finally:
        indexed.daemon.kill()
    return Proof(files, editor.done, Counter(change.verdict.value for change in waiting), found, editor.log)


def _digests(indexed: Indexed, rows: dict[str, Record], aide: Aide, say: Callable[[str], object]) -> list[str]:
    """Whether the first index agrees with sha256sum and AIDE's database."""
    say("comparing with sha256sum and AIDE")
    ours = {f"{indexed.root}/{path}": record.digest for path, record in rows.items()}
    theirs = aide.init()
    other = [path for path in ours.keys() | theirs.keys() if ours.get(path) != theirs.get(path)]
    return [f"AIDE has another digest of {path!r}" for path in sorted(other)] + _against_sums(indexed, rows)


def _against_sums(indexed: Indexed, rows: dict[str, Record]) -> list[str]:
    ours = {f"{indexed.root}/{path}": record.digest for path, record in rows.items()}
    theirs = sha256sums(indexed.root)
    other = [path for path in ours.keys() | theirs.keys() if ours.get(path) != theirs.get(path)]
    return [f"sha256sum has another digest of {path!r}" for path in sorted(other)]


def _changed(before: dict[str, Record], after: dict[str, Record]) -> list[str]:
    def kept(record: Record | None) -> tuple[object, ...] | None:
        return None if record is None else (record.digest, record.identity.size, record.attributes)

    return [path for path in before.keys() | after.keys() if kept(before.get(path)) != kept(after.get(path))]


def _wrong_verdicts(waiting: list[Change]) -> list[str]:
    """Verdicts that their own records contradict; nothing here is damage."""
    found = []
    for change in waiting:
        before, after = change.before, change.after
        content = before is not None and after is not None and before.digest != after.digest
        wrong = {
            Verdict.NEW: before is not None or after is None,
            Verdict.DELETED: after is not None,
            Verdict.MODIFIED: not content,
            Verdict.OLDER: not content,
            Verdict.METADATA: content or before is None or after is None,
            Verdict.MOVED: change.old_path is None,
        }.get(change.verdict, True)
        if wrong:
            found.append(f"{change.path!r} is called {change.verdict.value}")
    return found
