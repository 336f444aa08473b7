"""Of rules that have an action and select a file, the first in the configuration has it. See `Needs.sole`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from filewatchd.jobs.binding import Binding
    from filewatchd.jobs.engine import Engine
    from filewatchd.jobs.pipeline import Pipeline


def preceding(engine: Engine, pipeline: Pipeline, action: str, path: str) -> str | None:
    """The rule whose action of this name comes before the ``action`` of a rule for a path; None if this is the first.

    ``action``: its place in the rule and its name.
    """
    place, _, name = action.partition(".")
    paths = {path, *_real_paths(engine, pipeline, path)}
    for rule in engine.generations.before(pipeline.settings.name):
        other = engine.pipelines.get(rule)
        if other is not None and any(spec.name == name for spec in other.settings.actions):
            roots = dict.fromkeys(_roots(engine, other))
            if any(other.selects(root, each) for root in roots for each in paths):
                return rule
    if any(spec.name == name for spec in pipeline.settings.actions[: int(place)]):
        return pipeline.settings.name
    return None


def _real_paths(engine: Engine, pipeline: Pipeline, path: str) -> Iterator[str]:
    """A rule's path, where its roots really are."""
    for binding in pipeline.bindings.values():
        real = _real(engine, binding)
        if real and (relative := binding.relative(path)) is not None:
            yield f"{real.rstrip('/')}/{relative}" if relative else real


def _roots(engine: Engine, pipeline: Pipeline) -> Iterator[str]:
    """A rule's roots, as they are named and where they really are; also those that aren't watched yet."""
    yield from pipeline.settings.roots
    for binding in pipeline.bindings.values():
        yield binding.root
        if real := _real(engine, binding):
            yield real


def _real(engine: Engine, binding: Binding) -> str:
    """Where a root really is; of a rule that was taken out, and works on for a while, where it was."""
    binding.real = engine.facts(binding.root).real or binding.real
    return binding.real
