"""Polling: every directory is looked at again and again. For filesystems that others write to, or that tell nothing.

What there is: network filesystems, FUSE and /proc tell of no change that somebody else makes; a hung one doesn't come
back from a stat. So each filesystem has a task here and a lane of its own in the pool. A *pass* looks at all of its
directories in slices: the loop says which paths, a thread looks (`snapshot`), and the loop takes over what was seen.
What a pass found is told at its end (`findings`).

What it costs: a look at a file is some 5 us of processor time, and half a second for 100,000. So passes are rare and
slow (`pacing`): at least one second apart while things change, up to ten while they don't; within a pass the thread
rests so that it keeps to a fifth of a processor, and between passes so that it keeps to a twentieth. Whoever waits for
a `barrier` gets his pass without rests, and with every directory listed.

A directory's snapshot is taken when it is armed, before it is listed, so nothing falls between. A directory that is
gone is forgotten at once with all beneath it; if it was renamed, the walk over its new place arms everything anew.

What it can't see stands in `PollBackend.limits`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from filewatchd.clock import Clock
from filewatchd.model import FileIdentity
from filewatchd.watch.backends.anchors import Anchors, look_at_names
from filewatchd.watch.backends.base import AnchorMoved, Armed, Event, Keeper, NewDirectory, TopGone
from filewatchd.watch.backends.believed import Believed
from filewatchd.watch.backends.findings import Findings
from filewatchd.watch.backends.known import Known
from filewatchd.watch.backends.pacing import Device
from filewatchd.watch.backends.snapshot import Gone, Looked, Seen, Snapshot, Wanted, look_at
from filewatchd.watch.table import WatchTable
from filewatchd.work.pool import Pool
from filewatchd.work.pulse import Pulse

_SLICE = 128  # directories, or
_SLICE_ENTRIES = 2000  # entries at a time: some 6 ms
_GLANCE = 0.5  # seconds between a barrier's looks whether a lane hangs


class PollBackend:
    """The own polling backend; see the module's theory of operation."""

    name = "poll"
    limits: Sequence[str] = (
        "changes are seen at the next look: 1 to 10 seconds late, later in trees of more than 100,000 files",
        "several changes between two looks are one, and what was created and deleted between them leaves nothing",
        "a directory that is moved away and back between two looks isn't noticed: a job then may not find its files",
        "files are never told to be closed: they count as complete when nobody has them open, or when they rest",
        "a rewrite with equal size within the granularity of the filesystem's stamps may not be seen",
        "on network filesystems nothing is seen before the attribute cache lets it through (mount option actimeo)",
    )

    def __init__(self, pool: Pool, clock: Clock) -> None:
        """``clock`` is also asked in threads."""
        self._pool = pool
        self._monotonic = clock.monotonic
        self.table = WatchTable()
        self._snapshots: dict[int, Snapshot] = {}
        self._believed = Believed()
        self._known = Known(clock)
        self._anchors = Anchors()
        self._devices: dict[int, Device] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._events: list[Event] = []
        self._wake: Callable[[], None] = lambda: None
        self._pulse = Pulse()  # beats when a pass is over
        self._stopped = False
        self._passes = 0

    # ---- life

    def start(self, wake: Callable[[], None]) -> None:
        """Begin on the running loop."""
        self._wake = wake
        self._loop = asyncio.get_running_loop()

    def stop(self) -> None:
        """Look at nothing more."""
        self._stopped = True
        for task in self._tasks:
            task.cancel()

    def _device(self, number: int) -> Device:
        """A filesystem's device, which is polled from now on."""
        device = self._devices.get(number)
        if device is None:
            device = self._devices[number] = Device(number, self._monotonic)
            if not self._stopped:
                task = self._loop.create_task(self._serve(device))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
        return device

    # ---- what is watched (arm and arm_anchor run in scan threads)

    def arm(self, fd: int) -> int:
        """Take a snapshot of an open directory, unless it is known; returns its token."""
        return self._known.arm(fd)

    def proves(self, fd: int, token: int) -> bool:
        """A directory that is known has the same token again."""
        return self.arm(fd) == token

    def arm_anchor(self, fd: int, *, contents: bool = False) -> int:
        """Get to know an open directory for single names in it."""
        return self._known.arm_anchor(fd, contents=contents)

    def adopt(self, armed: list[Armed]) -> None:
        """Poll what a scan thread armed."""
        for token, parent, name in armed:
            new = self._known.adopt(token)
            if new is not None:
                self._snapshots[token] = new
                self._device(new.dev).hasten()
            if token not in self._snapshots:
                self._look_again(parent, name)
            elif parent or token not in self.table:  # a root inside another's tree stays a child there
                self.table.put(token, parent, name)

    def _look_again(self, parent: int, name: bytes) -> None:
        """A directory was forgotten between arming and adopting: whatever stands there now is to be armed."""
        text = os.fsdecode(name)
        if not parent:
            self._tell([TopGone(text)])
        elif (above := self.table.path(parent)) is not None:
            self._tell([NewDirectory(parent, above, text)])

    def anchor(self, token: int, directory: str, name: str) -> None:
        """Tell of this name in an anchored directory."""
        arm = self._known.anchored(token)
        if arm is None:  # it was forgotten between arming and now
            self._tell([AnchorMoved(directory, name, True)])
        elif self._anchors.put(arm, directory, name):
            self._device(arm.dev).hasten()

    def unanchor(self, directory: str) -> None:
        """Tell no more of names in this directory."""
        self._anchors.drop(directory)

    def release(self, unwanted: Callable[[str], bool]) -> None:
        """Forget every directory that ``unwanted`` says yes to."""
        paths = {token: self.table.path(token) for token in self.table}
        doomed = {token for token, path in paths.items() if path is None or unwanted(path)}
        for token in self.table.orphans(doomed):
            self.table.put(token, 0, os.fsencode(paths[token] or ""))
        self._forget(doomed)

    def _forget(self, tokens: set[int]) -> None:
        for token in tokens:
            self.table.drop(token)
            snapshot = self._snapshots.pop(token, None)
            if snapshot is not None:
                self._known.drop(token, snapshot)

    def suspects(self) -> Mapping[int, str]:
        """None: what moved away is forgotten when that is noticed."""
        return {}

    def still_there(self, token: int, path: str) -> bool:
        """True if this directory is what stands at the path. Called in scan threads."""
        try:
            info = os.lstat(path)
        except OSError:
            return False
        return self._known.find(info.st_dev, info.st_ino) == token

    def cleared(self, gone: set[int], there: set[int]) -> None:
        """Nothing is suspected."""

    # ---- passes

    async def _serve(self, device: Device) -> None:
        """A filesystem's life: rest, look at everything, tell, as long as there is something to look at."""
        try:
            while self._has_work(device):
                await device.rest()
                device.begin()
                found = await self._pass(device)
                device.end(found)
                self._passes += 1
                self._known.tidy(self._anchors.tokens())
                self._pulse.beat()
        finally:
            del self._devices[device.number]
            self._pulse.beat()

    def _has_work(self, device: Device) -> bool:
        number = device.number
        return any(s.dev == number for s in self._snapshots.values()) or number in self._anchors.devices()

    async def _pass(self, device: Device) -> bool:
        """Look at everything on a filesystem once; returns whether something was found."""
        moved = await self._look_at_names(device)
        findings = Findings(self.table, self._known.find)
        trusting = device.trusting and not device.urgent  # whoever waits for a pass shall have the whole truth
        for wanted in self._slices([t for t, s in self._snapshots.items() if s.dev == device.number]):
            looked = await self._pool.run(device.lane, look_at, wanted, trusting, self._monotonic)
            self._take_in(device, wanted, looked, findings)
            await device.breathe(looked.cpu)
        events = findings.events()
        self._forget(findings.doomed)
        self._tell(events)
        return moved or findings.any

    async def _look_at_names(self, device: Device) -> bool:
        """Look at the anchored names on a filesystem, and tell at once; returns whether one moved."""
        wanted = list(self._anchors.wanted(device.number))
        if not wanted:
            return False
        marks = await self._pool.run(device.lane, look_at_names, wanted)
        moved = [event for each, found in zip(wanted, marks, strict=True) for event in self._anchors.seen(each, found)]
        for number in self._anchors.devices():
            self._device(number)
        self._tell(moved)
        return bool(moved)

    def _slices(self, tokens: Sequence[int]) -> Iterator[list[Wanted]]:
        """What to look at, piece by piece, by the paths of the moment when a piece begins."""
        wanted: list[Wanted] = []
        entries = 0
        for token in tokens:
            snapshot, path = self._snapshots.get(token), self.table.path(token)
            if snapshot is None or path is None:
                continue
            wanted.append(Wanted(token, path, snapshot))
            entries += snapshot.size
            if len(wanted) >= _SLICE or entries >= _SLICE_ENTRIES:
                yield wanted
                wanted, entries = [], 0
        if wanted:
            yield wanted

    def _take_in(self, device: Device, wanted: list[Wanted], looked: Looked, findings: Findings) -> None:
        for each, result in zip(wanted, looked.results, strict=True):
            if self._snapshots.get(each.token) is not each.old:
                continue  # forgotten meanwhile
            if isinstance(result, Seen):
                self._snapshots[each.token] = result.new
                device.trusting &= not result.unstamped
                others = self._believed.differing(each.path, result.new)
                differences = result.differences._replace(files={**others, **result.differences.files})
                if differences:
                    findings.differ(each.token, each.path, differences)
            elif isinstance(result, Gone):
                findings.gone(each, result)

    # ---- what was found

    def looked(self, path: str, identity: FileIdentity | None) -> None:
        """A job saw this at a path; the next pass tells if that isn't what it sees there."""
        self._believed.looked(path, identity)

    def _tell(self, events: Sequence[Event]) -> None:
        if events:
            self._events += events
            self._wake()

    def drain(self) -> list[Event]:
        """Everything found since the last call."""
        events, self._events = self._events, []
        return events

    async def barrier(self) -> None:
        """Return after a whole pass over each filesystem that began after the call. Hung ones aren't waited for."""
        passes = {device: device.ask() for device in self._devices.values()}

        def done() -> bool:
            return not any(self._owes(device, number) for device, number in passes.items())

        while not done():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_GLANCE):
                    await self._pulse.until(done)

    def _owes(self, device: Device, number: int) -> bool:
        there = self._devices.get(device.number) is device
        return there and device.ended < number and not self._pool.hanging(device.lane)

    def statistics(self) -> Mapping[str, Any]:
        """What is polled, and the filesystem that is the slowest at it. Times are seconds."""
        devices = self._devices.values()
        return {
            "passes": self._passes,
            "directories": len(self._snapshots),
            "files": sum(snapshot.files.size for snapshot in self._snapshots.values()),
            "anchors": len(self._anchors),
            "interval": max((device.pause for device in devices), default=0.0),
            "last_pass": max((device.seconds for device in devices), default=0.0),
        }


def build(pool: Pool, clock: Clock, keeper: Keeper) -> PollBackend:
    """The backend, looking in this pool's threads."""
    return PollBackend(pool, clock)
