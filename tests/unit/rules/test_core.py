"""The promise, on the pure core: in the end the jobs' last view equals the disk.

Whatever happens to the files, however late anyone looks, whichever jobs fail, wherever the process is killed.

A model of a disk makes hints as a backend would; window, resolution and manifest are the real ones. Looks, job
starts and outcomes are separate steps of the schedule, so that anything may happen between them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import example, given
from hypothesis import strategies as st

from filewatchd.model import Change, FileIdentity, Hint, Kind, Look
from filewatchd.rules.debounce import Pending, Window
from filewatchd.rules.resolve import Before, Found, changes_of, resolve

NAMES = ("a", "b", "c", "d/e")
CREATE = Hint.LIVE | Hint.WRITE
CLOSE = Hint.LIVE | Hint.WRITE | Hint.CLOSED
ATTRIB = Hint.LIVE
ALL = frozenset(Kind)

Operation = tuple[str, int, int]
operations = st.lists(
    st.tuples(
        st.sampled_from(
            ["write", "write", "rewrite", "chmod", "delete", "rename", "wait", "look", "look", "start", "finish",
             "fail", "kill", "lose", "rescan"]
        ),
        st.integers(0, len(NAMES) - 1),
        st.integers(0, len(NAMES) - 1),
    ),
    max_size=60,
)  # fmt: skip


@dataclass
class Disk:
    """Files by name. Inodes are given out again at once, as ext4 does; times advance with every operation."""

    files: dict[str, FileIdentity] = field(default_factory=dict)
    content: dict[str, int] = field(default_factory=dict)
    tick: int = 0
    free: list[int] = field(default_factory=list)
    next_inode: int = 1

    def write(self, name: str) -> None:
        self.tick += 1
        old = self.files.get(name)
        inode = old.ino if old else (self.free.pop() if self.free else self._inode())
        self.files[name] = FileIdentity(inode, self.tick % 3, self.tick, self.tick)
        self.content[name] = self.tick

    def _inode(self) -> int:
        self.next_inode += 1
        return self.next_inode

    def rewrite_in_place(self, name: str) -> None:
        """Same size, and the old mtime put back: only ctime tells."""
        self.tick += 1
        old = self.files[name]
        self.files[name] = old._replace(ctime_ns=self.tick)
        self.content[name] = self.tick

    def chmod(self, name: str) -> None:
        self.tick += 1
        self.files[name] = self.files[name]._replace(ctime_ns=self.tick)

    def delete(self, name: str) -> None:
        self.free.append(self.files.pop(name).ino)
        del self.content[name]

    def rename(self, old: str, new: str) -> None:
        self.tick += 1
        if new in self.files:
            self.free.append(self.files[new].ino)
        self.files[new] = self.files.pop(old)._replace(ctime_ns=self.tick)
        self.content[new] = self.content.pop(old)


@dataclass
class Job:
    changes: list[Change]
    identities: dict[str, FileIdentity | None]
    saw: dict[str, int | None]


class Core:
    """The daemon's core around the disk. ``mirror`` is what a job that copies files would have made."""

    def __init__(self) -> None:
        self.disk = Disk()
        self.now = 0.0
        self.window: Window[str] = Window(0.2, 1.0)
        self.manifest: dict[str, FileIdentity] = {}
        self.open: set[str] = set()
        self.mirror: dict[str, int] = {}
        self.looked: list[tuple[list[tuple[str, Pending[str]]], dict[str, Look]]] = []
        self.job: Job | None = None
        self.lost = False

    def mark(self, name: str, hint: int) -> None:
        if not self.lost:
            self.window.mark(name, hint, self.now)

    def step(self, operation: Operation) -> None:
        what, first, second = operation
        getattr(self, "do_" + what)(NAMES[first], NAMES[second])

    def do_write(self, name: str, _: str) -> None:
        self.disk.write(name)
        self.mark(name, CREATE)
        self.mark(name, CLOSE)

    def do_rewrite(self, name: str, _: str) -> None:
        if name in self.disk.files:
            self.disk.rewrite_in_place(name)
            if self.lost:  # content rewritten while nobody looked, with times put back, is beyond the promise
                self.disk.write(name)
            self.mark(name, CLOSE)

    def do_chmod(self, name: str, _: str) -> None:
        if name in self.disk.files:
            self.disk.chmod(name)
            self.mark(name, ATTRIB)

    def do_delete(self, name: str, _: str) -> None:
        if name in self.disk.files:
            self.disk.delete(name)
            self.mark(name, CREATE)

    def do_rename(self, old: str, new: str) -> None:
        if old in self.disk.files and old != new:
            self.disk.rename(old, new)
            self.mark(old, CREATE)
            self.mark(new, CLOSE)
            if not self.lost:
                self.window.pair(old, new)

    def do_wait(self, *_: str) -> None:
        self.now += 0.15

    def do_look(self, *_: str) -> None:
        if self.job is None and not self.looked:
            self.window.release(self.now)
            taken = self.window.take(3, self.now)
            if taken:
                self.looked.append((taken, {name: Look(self.disk.files.get(name)) for name, _ in taken}))
                self.contents = dict(self.disk.content)

    def do_start(self, *_: str) -> None:
        if not self.looked:
            return
        taken, looks = self.looked.pop()
        found = [self.found(name, looks[name], entry.hint) for name, entry in taken]
        changes = [told.change for told in changes_of(found, moves=True)]
        busy = {c.path for c in changes} | {c.old_path for c in changes}
        for f in found:
            if f.path not in busy and f.resolved.record and f.look.identity is not None:
                self.manifest[f.path] = f.look.identity
        if changes:
            self.open |= {c.path for c in changes}
            # The action reads the files after the look, so it sees them as they were then, or later.
            saw = {c.path: self.disk.content.get(c.path) for c in changes}
            self.job = Job(changes, {c.path: c.identity for c in changes}, saw)

    def found(self, name: str, look: Look, hint: int) -> Found:
        before = Before(self.manifest.get(name), open=name in self.open)
        return Found(name, name, "/", before, look, resolve(before, look, hint))

    def do_finish(self, *_: str) -> None:
        job, self.job = self.job, None
        for change in job.changes if job else ():
            assert job is not None
            self.apply(change, job.saw[change.path])
            self.open.discard(change.path)
            if change.old_path:
                self.manifest.pop(change.old_path, None)
            if change.kind is Kind.DELETED or change.identity is None:
                self.manifest.pop(change.path, None)
            else:
                self.manifest[change.path] = change.identity

    def apply(self, change: Change, content: int | None) -> None:
        if change.kind is Kind.DELETED:
            self.mirror.pop(change.path, None)
        elif change.kind is Kind.MOVED:
            assert change.old_path is not None
            self.mirror[change.path] = self.mirror.pop(change.old_path, content or 0)
        elif change.kind is not Kind.METADATA:
            if content is None:
                self.mirror.pop(change.path, None)
            else:
                self.mirror[change.path] = content

    def do_fail(self, *_: str) -> None:
        """The job failed half-way: what it touched is in an unknown state, and open."""
        job, self.job = self.job, None
        for change in job.changes if job else ():
            self.mirror[change.path] = -1
            self.window.mark_after(change.path, Hint.SCAN, self.now, 0.1)

    def do_kill(self, *_: str) -> None:
        """Kill -9 and start again: memory is gone, manifest and open rows are not."""
        self.window = Window(0.2, 1.0)
        self.looked.clear()
        self.job = None
        self.do_rescan()

    def do_lose(self, *_: str) -> None:
        """The kernel's queue overflows, until the next rescan."""
        self.lost = True

    def do_rescan(self, *_: str) -> None:
        self.lost = False
        for name in {*self.disk.files, *self.manifest}:
            row, now = self.manifest.get(name), self.disk.files.get(name)
            if row is None or now is None or row[:3] != now[:3]:
                self.mark(name, Hint.SCAN)
        taken = {name for entries, _ in self.looked for name, _ in entries}  # known, too, and soon in the manifest
        for name in self.open | taken:
            self.mark(name, Hint.SCAN)

    def settle(self) -> None:
        """Flush: no more operations, jobs succeed."""
        self.do_finish()
        self.do_rescan()
        for _ in range(100):
            self.now += 1.0
            self.do_look()
            self.do_start()
            self.do_finish()
            if not self.window and not self.looked and self.job is None:
                return
        raise AssertionError(f"never settles: {list(self.window)}")


@given(operations)
def test_the_jobs_last_view_equals_the_disk(schedule: list[Operation]) -> None:
    core = Core()
    for operation in schedule:
        core.step(operation)
    core.settle()
    assert core.mirror == core.disk.content
    assert set(core.manifest) == set(core.disk.files)
    assert not core.open


@given(operations)
@example([("write", 0, 0), ("wait", 0, 0), ("wait", 0, 0), ("look", 0, 0), ("lose", 0, 0), ("delete", 0, 0)])
def test_a_second_look_finds_nothing(schedule: list[Operation]) -> None:
    core = Core()
    for operation in schedule:
        core.step(operation)
    core.settle()
    for name in NAMES:
        found = core.found(name, Look(core.disk.files.get(name)), Hint.SCAN)
        assert found.resolved.kind is None
