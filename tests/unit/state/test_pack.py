from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filewatchd.model import Change, FileIdentity, Kind
from filewatchd.state.pack import pack, unpack

texts = st.text(st.characters())  # surrogates included
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.binary() | texts
values = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(texts | st.integers(), inner), max_leaves=20
)


@given(values)
def test_every_value_comes_back(value: Any) -> None:
    assert unpack(pack(value)) == value


def test_a_hostile_name_and_timestamp() -> None:
    change = Change(Kind.CREATED, "/in/\udcff", "/in", FileIdentity(2**64 - 1, 1, 253402300800 * 10**9, -1))
    assert unpack(pack([change])) == [
        ["created", "/in/\udcff", "/in", [2**64 - 1, 1, 253402300800 * 10**9, -1], None, None]
    ]


def test_what_has_no_place_is_a_mistake_of_ours() -> None:
    with pytest.raises(TypeError):
        pack(object())


@pytest.mark.parametrize("blob", [b"", b"\xc1", b"\x92\x01", b"\xd4\x63x"])
def test_a_damaged_blob(blob: bytes) -> None:
    with pytest.raises(ValueError, match=r"damaged blob|unknown extension"):
        unpack(blob)
