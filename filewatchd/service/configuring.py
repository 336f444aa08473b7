"""What the control socket's operators ask of the configuration: to be read anew, and what would come of that."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping

from filewatchd.config.configuration import Configuration, Row
from filewatchd.config.generation import differences
from filewatchd.control import arguments, documents
from filewatchd.control.api import Handler, Peer, RequestError
from filewatchd.errors import ConfigError, FilewatchdError, Mistake, StateError
from filewatchd.service.reloading import Reloading


class Configuring:
    """Handlers of `control.api.ROUTES`: reload and diff."""

    def __init__(self, reloading: Reloading, configured: asyncio.Event) -> None:
        """``configured``: the first generation is in force."""
        self._reloading = reloading
        self._configured = configured

    def handlers(self) -> Mapping[str, Handler]:
        """By the routes' names."""
        return {"reload": self.reload, "diff": self.diff}

    async def reload(self, asked: arguments.Arguments, peer: Peer) -> documents.Reloaded:
        """Wait until the new generation is in force; or say why it isn't."""
        await self._configured.wait()
        try:
            reloaded = await self._reloading.reload()
        except StateError:
            raise  # which has a status of its own
        except FilewatchdError as error:
            raise _refusal(error, f"generation {self._reloading.generation.number} goes on") from None
        number, settings = reloaded.generation
        found = {what: list(names) for what, names in reloaded.differences._asdict().items()}
        return documents.Reloaded(
            generation=number,
            warnings=[str(warning) for warning in settings.warnings],
            until_restart=[f"daemon.{key}" for key in reloaded.until_restart],
            **found,
        )

    async def diff(self, asked: arguments.Diff, peer: Peer) -> documents.Differences:
        """Compare two generations; the one in force with the files, unless others are said."""
        await self._configured.wait()
        number = asked.from_generation or self._reloading.generation.number
        old = self._kept(number)
        new = await self._on_disk() if asked.to_generation is None else self._kept(asked.to_generation)
        found = differences(old, new)
        return documents.Differences(
            from_generation=number,
            to_generation=asked.to_generation,
            added=list(found.added),
            removed=list(found.removed),
            changed=list(found.changed),
            values=list(changed_values(old, new)),
        )

    def _kept(self, number: int) -> Configuration:
        found = self._reloading.kept(number)
        if found is None:
            known = ", ".join(map(str, self._reloading.numbers))
            raise RequestError(404, f"generation {number} isn't remembered; those are: {known}")
        return found

    async def _on_disk(self) -> Configuration:
        try:
            return await self._reloading.read()
        except ConfigError as error:
            raise _refusal(error, "nothing to compare with") from None


def _refusal(error: FilewatchdError, then: str) -> RequestError:
    """With the mistakes as `filewatchd check --json` lists them."""
    mistakes = error.mistakes if isinstance(error, ConfigError) else []
    what = f"the configuration has {len(mistakes)} mistakes" if mistakes else str(error)
    if len(mistakes) == 1:
        what = f"the configuration has a mistake: {mistakes[0]}"
    return RequestError(422, f"{what}; {then}", mistakes=[_fields(mistake) for mistake in mistakes])


def _fields(mistake: Mistake) -> dict[str, object]:
    return {key: getattr(mistake, key) for key in ("file", "line", "column", "message", "hint")}


def changed_values(old: Configuration, new: Configuration) -> Iterator[documents.ValueChanged]:
    """The keys that are shown otherwise, in the new order; those that are gone last. Secrets are masked in both."""
    before, after = ({row.key: row for row in each.rows} for each in (old, new))
    for key in dict.fromkeys([*after, *before]):
        was, now = before.get(key), after.get(key)
        if was is None or now is None or was.value != now.value:
            yield documents.ValueChanged(key=_words(key), old=_value(was), new=_value(now), origin=now and now.origin)


def _words(key: tuple[str | int, ...]) -> str:
    """``rules.NAME.actions[0].exec.command``."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in key)
    return text.removeprefix(".")


def _value(row: Row | None) -> object:
    return None if row is None else row.value
