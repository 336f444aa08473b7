"""Many looks as one value: what is asked of a process that looks at files, and what it answers.

A thousand named tuples as JSON cost more than the looks themselves. So both ways go as MessagePack, in which a name is
bytes, an identity is as the index stores it (`rows.stamp`), and attributes, which most files share, are numbered. The
process may be another user's and is not trusted: what doesn't fit the types below is an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Annotated, NamedTuple

import msgspec

from filewatchd.actions.checksum.looking import look
from filewatchd.actions.checksum.seeing import Presence, Seen, Tracking, Wanted
from filewatchd.errors import ActionError
from filewatchd.state.index.rows import Attributes, decode, encode, identity, joined, stamp

_PRESENCES = tuple(Presence)
_NUMBERS = {presence: number for number, presence in enumerate(_PRESENCES)}
_HERE = _NUMBERS[Presence.HERE]
_Stored = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]  # SQLite's integers


class Group(NamedTuple):
    """Files of one directory, to be looked at alike. ``prefixes``: as `Wanted` has them; empty if there are none."""

    directory: bytes
    algorithms: tuple[str, ...]
    names: list[bytes]
    prefixes: list[int]


class Found(NamedTuple):
    """One `Seen`, without its name. ``attributes``: their number."""

    presence: int
    ino: _Stored
    size: _Stored
    mtime: _Stored
    later: _Stored
    attributes: int
    digests: list[bytes]
    prefix: bytes | None
    racy: bool
    read: int
    reason: str


class Answer(NamedTuple):
    """What was found of each group, in their order."""

    attributes: list[Attributes]
    groups: list[list[Found]]


class Sheet(NamedTuple):
    """Files of one directory that are there, as they are to be taken into the index. ``attributes``: by number."""

    directory: str
    algorithms: tuple[str, ...]
    files: list[tuple[bytes, Found]]
    attributes: list[Attributes]

    def without(self, paths: set[str]) -> Sheet:
        """All but these."""
        left = [each for each in self.files if joined(self.directory, decode(each[0])) not in paths]
        return self._replace(files=left)


_groups = msgspec.msgpack.Decoder(list[Group])
_answer = msgspec.msgpack.Decoder(Answer)
_encode = msgspec.msgpack.Encoder().encode
NOTHING = _encode(Answer([], []))  # the answer to nothing


# ---- there


def look_many(root: str, asked: bytes, tracking: Tracking) -> bytes:
    """As `look`, of packed groups."""
    numbers: dict[Attributes, int] = {}
    found = [
        [_found(seen, numbers) for seen in look(root, list(_wanted(group)), tracking)]
        for group in _groups.decode(asked)
    ]
    return _encode(Answer(list(numbers), found))


def _wanted(group: Group) -> Iterator[Wanted]:
    directory, algorithms = decode(group.directory), group.algorithms
    if not group.prefixes:
        return (Wanted(directory, decode(name), algorithms) for name in group.names)
    both = zip(group.names, group.prefixes, strict=True)
    return (Wanted(directory, decode(name), algorithms, prefix) for name, prefix in both)


def _found(seen: Seen, numbers: dict[Attributes, int]) -> Found:
    number = numbers.setdefault(seen.attributes, len(numbers))
    digests = list(seen.digests)
    return Found(
        _NUMBERS[seen.presence], *stamp(*seen.identity), number, digests, seen.prefix, seen.racy, seen.read, seen.reason
    )


# ---- here


def packed(wanted: Sequence[Wanted]) -> bytes:
    """What `look_many` is asked."""
    return _encode([_group(*key, list(some)) for key, some in groupby(wanted, _kind)])


def _kind(wanted: Wanted) -> tuple[str, tuple[str, ...]]:
    return wanted.directory, wanted.algorithms


def _group(directory: str, algorithms: tuple[str, ...], wanted: list[Wanted]) -> Group:
    prefixes = [each.prefix for each in wanted]
    names = [encode(each.name) for each in wanted]
    return Group(encode(directory), algorithms, names, prefixes if max(prefixes) >= 0 else [])


def unpacked(answer: bytes, wanted: Sequence[Wanted]) -> list[Seen]:
    """What `look_many` has seen.

    Raises:
        ActionError: it answers something else.
    """
    attributes, groups = _opened(answer, wanted)
    files = (found for group in groups for found in group)
    return [_seen(each, found, attributes) for each, found in zip(wanted, files, strict=True)]


def sheets(answer: bytes, wanted: Sequence[Wanted]) -> tuple[list[Sheet], list[Wanted], list[Seen]]:
    """The same, for files of which nothing is known: those that are there, and the others with what was seen of them.

    Raises:
        ActionError: it answers something else.
    """
    attributes, groups = _opened(answer, wanted)
    made: list[Sheet] = []
    others: list[Wanted] = []
    seen: list[Seen] = []
    for ((directory, algorithms), some), group in zip(groupby(wanted, _kind), groups, strict=True):
        files = []
        for each, found in zip(some, group, strict=True):
            if found[0] == _HERE:
                files.append((encode(each.name), found))
            else:
                others.append(each)
                seen.append(_seen(each, found, attributes))
        made.append(Sheet(directory, algorithms, files, attributes))
    return made, others, seen


def _opened(answer: bytes, wanted: Sequence[Wanted]) -> Answer:
    try:
        opened = _answer.decode(answer)
    except msgspec.DecodeError as error:
        raise _nonsense(str(error)) from error
    groups = [(algorithms, sum(1 for _ in some)) for (_, algorithms), some in groupby(wanted, _kind)]
    if [len(group) for group in opened.groups] != [count for _, count in groups]:
        raise _nonsense("it was asked for other files")
    known = len(opened.attributes)
    for (algorithms, _), group in zip(groups, opened.groups, strict=True):
        if not all(_fits(found, len(algorithms), known) for found in group):
            raise _nonsense("it doesn't fit what was asked")
    return opened


def _fits(found: Found, algorithms: int, attributes: int) -> bool:
    """Whether what was found is whole."""
    presence = found[0]
    right = len(found[6]) == algorithms if presence == _HERE else 0 <= presence < len(_PRESENCES)
    return right and 0 <= found[5] < attributes


def _nonsense(why: str) -> ActionError:
    return ActionError(f"a process that looks at files doesn't answer as it should: {why}")


def _seen(wanted: Wanted, found: Found, attributes: list[Attributes]) -> Seen:
    presence, ino, size, mtime, later, number, digests, prefix, racy, read, reason = found
    return Seen(
        wanted.directory, wanted.name, _PRESENCES[presence], identity(ino, size, mtime, later), attributes[number],
        tuple(digests), prefix, racy, reason, read,
    )  # fmt: skip
