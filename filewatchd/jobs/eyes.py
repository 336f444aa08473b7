"""Looks at a rule's paths, each in the lane of its filesystem; what they mean is decided in `looking`.

A look at a few just touched files of a local filesystem never waits, and happens on the loop.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING

from filewatchd.errors import StalledError
from filewatchd.jobs.runner import Key
from filewatchd.model import Look, Ready
from filewatchd.rules.debounce import Pending
from filewatchd.rules.ready import sure_hint
from filewatchd.work.files import look_many

if TYPE_CHECKING:
    from filewatchd.jobs.pipeline import Pipeline

_FEW = 4  # paths that are looked at on the loop, where a look can't wait
_PATIENCE = 15.0  # seconds for a look

Taken = list[tuple[Key, Pending[Key]]]


class Eyes:
    """The looks of one rule."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._sure = sure_hint(pipeline.settings.ready)

    async def look(self, taken: Taken) -> list[Look]:
        """Look at taken paths, asking who writes where readiness hangs on it. Raises as `look_at`."""
        keys = [key for key, _ in taken]
        if self._pipeline.settings.ready is Ready.IMMEDIATE:
            return await self.look_at(keys, None)
        sure = self._sure
        writers = [not entry.hint & sure for _, entry in taken]
        return await self.look_at(keys, writers if any(writers) else None)

    async def look_at(self, keys: list[Key], writers: list[bool] | None) -> list[Look]:
        """Look at paths, each in the lane of its filesystem.

        Raises:
            StalledError: a filesystem doesn't answer.
        """
        lanes = {number: self._pipeline.engine.facts(b.root).lane for number, b in self._pipeline.bindings.items()}
        if len(set(lanes.values())) <= 1:
            return await self._look_in(next(iter(lanes.values()), ""), keys, writers)
        shares: dict[str, list[int]] = {}
        for index, key in enumerate(keys):
            shares.setdefault(lanes.get(key[0], ""), []).append(index)
        works = [
            self._look_in(lane, [keys[i] for i in share], writers and [writers[i] for i in share])
            for lane, share in shares.items()
        ]
        looks = itertools.chain(*await asyncio.gather(*works))
        return [look for _, look in sorted(zip(itertools.chain(*shares.values()), looks, strict=True))]

    async def _look_in(self, lane: str, keys: list[Key], writers: list[bool] | None) -> list[Look]:
        engine, bindings = self._pipeline.engine, self._pipeline.bindings
        paths = [bindings[key[0]].path(key[1]) if key[0] in bindings else "" for key in keys]
        granularity, follow = engine.granularity(self._pipeline), self._pipeline.settings.follow_symlinks
        # A file root is a path, whose last step may be a link, too (Kubernetes' files lead through `..data`).
        follows = [follow or not key[1] for key in keys]
        tops = [len(bindings[key[0]].root) if key[0] in bindings else 0 for key in keys]
        if len(keys) <= _FEW and writers is None and engine.is_quick(self._pipeline):
            looks = look_many(paths, None, granularity, follows, tops)  # a hop to a thread costs 50 times as much
        else:
            try:
                async with asyncio.timeout(_PATIENCE):
                    looks = await engine.pool.run(lane, look_many, paths, writers, granularity, follows, tops)
            except TimeoutError:
                raise StalledError(f"the filesystem of {paths[0]} doesn't answer") from None
        if polled := self.polled({binding.root for binding in bindings.values()}):
            for key, path, follows_link, look in zip(keys, paths, follows, looks, strict=True):
                if not follows_link and key[0] in bindings and bindings[key[0]].root in polled:
                    engine.looked(path, look.identity)
        return looks

    def polled(self, roots: set[str]) -> set[str]:
        """Those of the roots whose events are a polling backend's."""
        backend, facts = self._pipeline.settings.backend, self._pipeline.engine.facts
        if backend == "auto":
            return {root for root in roots if facts(root).polled}
        return roots if backend == "poll" else set()
