"""An inotify descriptor that an earlier process left: its watches and its queue are still there.

What the kernel does: a watch belongs to the descriptor, not to the process that asked for it. While a service manager
holds the descriptor, the queue goes on filling; and whoever adds a watch for the same directory again gets the same
number. So no table of watches has to be saved. What the queue holds is parked by watch number, as events always are
whose directory the loop doesn't know yet, and the scan that every start makes arms each directory anew, adopts it and
so replays them. The scan runs whatever the queue held: what the earlier process had read and not yet done is in no
queue, and directories made meanwhile have no watch.

/proc/self/fdinfo/FD lists the watches, a line each (proc(5)): ``inotify wd:HEX ino:HEX sdev:HEX mask:HEX ...``. Those
that nobody has asked for once every root was looked at belong to directories that no rule is for any more; they are
given back.
"""

from __future__ import annotations


def watches_of(fd: int) -> set[int]:
    """The watch numbers of an inotify descriptor of this process."""
    found = set()
    with open(f"/proc/self/fdinfo/{fd}", "rb") as lines:
        for line in lines:
            if line.startswith(b"inotify wd:"):
                found.add(int(line[11:].split(b" ", 1)[0], 16))
    return found
