"""One short story, in which the daemon dies at a step of its choice and is started again.

Told once for each step, before and after it, the story meets every state that a kill -9 can leave behind.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

from tests.oracle.operations import Operation, Plan, Settings
from tests.oracle.trial import Trial

#: What happens while it runs, and after each part a flush: new files and trees, every kind of change, a reload.
_STORY = (
    [Operation("create", ("f0", "one")), Operation("create", ("d1/f1", "two")), Operation("grow", ("d2", "three"))],
    [
        Operation("write", ("f0", "four")),
        Operation("unlink", ("d1/f1",)),
        Operation("rename_directory", ("d2/x", "d3/x")),
        Operation("link", ("d2/f0", "f2")),
    ],
    [Operation("rename", ("f0", "d1/f3")), Operation("rmtree", ("d3",)), Operation("symlink", ("d2", "d3"))],
)
_KEYS = {
    "include": ["f*"],
    "exclude": ["skip/"],
    "changes": ["created", "modified", "deleted", "moved"],
    "settle": "0s",
    "initial": "process",
    "retry": {"attempts": 20, "backoff": "20ms", "max_backoff": "100ms"},
}
_SEED = 3  # the command's dice: the second job's first attempt fails


class Death(Trial):
    """The story, with a daemon that dies before or after its ``step``-th step, and a successor that doesn't."""

    def __init__(self, side: str, step: int, backend: str, directory: Path) -> None:
        super().__init__(Plan(_SEED, Settings({**_KEYS, "backend": backend}, 0.3, 0.0), {}), directory)
        self._side, self._step = side, step
        self.died = False

    def _work(self) -> None:
        self.subject.start_to_die(self._side, self._step)
        for operations in _STORY:
            for operation in operations:
                self.tree.do(*operation)
            self._meanwhile()
        self.subject.reload()
        self._meanwhile()
        self.subject.terminate()
        self._succeed()

    def _told_again(self) -> Iterator[str]:
        """Left to the trials of seeds: a third start a story would cost a third of the time."""
        yield from ()

    def _meanwhile(self) -> None:
        """All is worked off, or it dies on that and its successor takes over."""
        try:
            self.subject.flush(self.patience)
        except AssertionError:
            self._succeed()

    def _succeed(self) -> None:
        self.died = self.died or self.subject.was_killed
        if not self.subject.alive():
            self.subject.start()


def die_everywhere(side: str, backend: str, directory: Path) -> list[str]:
    """Tell the story once for each step, until one is told in which nobody dies; returns what went wrong."""
    for step in count(1):
        place = directory / str(step)
        place.mkdir()
        story = Death(side, step, backend, place)
        wrong = story.run()
        if wrong:
            return [f"{side} step {step}, see {place}", *wrong]
        if not story.died:
            return [] if step > 20 else [f"the story has only {step} steps"]
    raise AssertionError("unreachable")
