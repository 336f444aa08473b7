"""What changes amount to; see the table in `tests.scripts.folding`."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.scripts.folding import Told, fold, unpaired


def told(text: str) -> list[Told]:
    """``+a`` created, ``~a`` modified, ``-a`` deleted, ``.a`` metadata, ``a>b`` moved."""
    kinds = {"+": "created", "~": "modified", "-": "deleted", ".": "metadata"}
    words = [word.partition(">") for word in text.split()]
    return [Told("moved", new, old) if arrow else Told(kinds[old[0]], old[1:]) for old, arrow, new in words]


@pytest.mark.parametrize(
    ("changes", "amount"),
    [
        ("+a ~a", "+a"),
        ("~a ~a", "~a"),
        ("+a -a", ""),
        ("-a +a", "~a"),
        ("-a +a -a", "-a"),
        ("+a -a +a", "+a"),
        ("~a -a", "-a"),
        (".a .a", ".a"),
        (".a ~a", "~a"),
        ("~a .a", "~a"),
        ("+a .a", "+a"),
        (".a -a", "-a"),
        ("a>b", "a>b"),
        ("a>b b>c", "a>c"),
        ("a>b b>a", ""),
        ("a>b .b", "a>b"),
        (".a a>b", "a>b"),
        ("a>b .b b>a", ".a"),
        ("a>b ~b", "-a +b"),
        ("~a a>b", "-a +b"),
        ("+a a>b", "+b"),
        ("a>b -b", "-a"),
        ("a>b +a", "~a +b"),
        ("-b a>b", "~b -a"),
        ("b>c a>b", "+c ~b -a"),
        ("a>t b>a t>b", "~a ~b"),
        ("a>b c>d", "a>b c>d"),
        ("+a +a", "+a"),  # told again after kill -9
        ("-a -a", "-a"),
    ],
)
def test_changes_amount_to(changes: str, amount: str) -> None:
    assert fold(told(changes)) == set(told(amount))


PLAIN = st.builds(Told, st.sampled_from(["created", "modified", "deleted", "metadata"]), st.sampled_from("abc"))
MOVES = st.tuples(st.sampled_from("abc"), st.sampled_from("abc")).filter(lambda pair: pair[0] != pair[1])


@given(st.lists(PLAIN | MOVES.map(lambda pair: Told("moved", *pair))))
def test_an_amount_amounts_to_itself_and_names_each_path_once(changes: list[Told]) -> None:
    amount = fold(changes)
    names = [name for change in amount for name in (change.path, change.old) if name is not None]
    assert len(names) == len(set(names))
    assert fold(sorted(amount, key=str)) == amount


def test_without_pairs() -> None:
    assert unpaired(told("a>b ~c")) == set(told("-a +b ~c"))
