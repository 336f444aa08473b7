from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from filewatchd.config.complaints import SyntaxMistake
from filewatchd.config.nodes import Node, Source
from filewatchd.config.yaml import MAX_BYTES, decode, parse
from filewatchd.errors import Mistake

HERE = Source("f", "/etc")


def read(text: str) -> tuple[Node, list[Mistake]]:
    mistakes: list[Mistake] = []
    return parse(text, HERE, mistakes), mistakes


def refused_or_none(text: str | bytes) -> Mistake | None:
    try:
        read(text if isinstance(text, str) else decode(text, HERE))
    except SyntaxMistake as refused:
        return refused.mistake
    return None


def refusal(text: str | bytes) -> str:
    with pytest.raises(SyntaxMistake) as caught:
        parse(text if isinstance(text, str) else decode(text, HERE), HERE, [])
    assert caught.value.mistake.hint
    return str(caught.value.mistake)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"), ("on", "on"), ("no", "no"), ("22:15", "22:15"), ("2024-01-01", "2024-01-01"),
        ("1_000", "1_000"),
        ("true", True), ("False", False), ("null", None), ("~", None), ("", None), ("'true'", "true"), ('"5"', "5"),
        ("10", 10), ("-3", -3), ("010", 10), ("0o17", 15), ("0x1F", 31), ("0b1", "0b1"), ("1.5", 1.5), ("1e3", 1000.0),
        (".5", 0.5), (".inf", float("inf")), ("-.INF", float("-inf")), ("+", "+"), (".", "."), ("5m", "5m"),
        ("|-\n  a", "a"),
    ],
)  # fmt: skip
def test_core_types(text: str, value: object) -> None:
    node, mistakes = read(f"k: {text}\n")
    found = node.get("k")
    assert found is not None
    assert found.value == value
    assert type(found.value) is type(value)
    assert not mistakes


def test_keys_are_text() -> None:
    node, mistakes = read("on: 1\n22:15: 2\n")
    assert [key for key, _ in node.items()] == ["on", "22:15"]
    assert not mistakes
    _, mistakes = read("1: a\ntrue: b\n")
    assert [(one.line, one.column) for one in mistakes] == [(1, 1), (2, 1)]


def test_every_value_knows_its_place() -> None:
    node, _ = read("a:\n  - x\n  - b: [1, two]\n")
    two = node.find(["a", 1, "b", 1])
    assert (two.value, two.line, two.column) == ("two", 3, 12)
    assert node.find(["a", 1, "b"]).key == (3, 5)
    assert node.find(["a", 7, "b"]) is node.get("a")


def test_an_alias_stands_for_its_anchor() -> None:
    node, _ = read("a: &x [1, 2]\nb: *x\nc: {d: *x}\n")
    assert node.plain() == {"a": [1, 2], "b": [1, 2], "c": {"d": [1, 2]}}


def test_duplicate_keys() -> None:
    node, mistakes = read("a: 1\nb: 2\na: 3\n'b': 4\n")
    assert node.plain() == {"a": 1, "b": 2}
    assert [str(one) for one in mistakes] == [
        "f:3:1: duplicate key 'a'; the first is in line 1; keep one of them",
        "f:4:1: duplicate key 'b'; the first is in line 2; keep one of them",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a:\n\t- b\n", "f:2:1: a tab can't indent YAML; use spaces"),
        ("a:\n  b: 1\n\tc: 2\n", "f:3:1: a tab can't indent YAML; use spaces"),
        ("<<: {a: 1}\n", "f:1:1: merge keys (<<) are not read"),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", "f:3:3: merge keys"),
        ("a: 1\n---\nb: 2\n", "f:2:1: a second document begins here"),
        ("# nothing\n", "f:1:1: the file holds nothing but comments"),
        ("a: *.csv\n", 'f:1:5: text that begins with * is an alias to YAML; put text that begins with * in quotes'),
        ("a: *x\n", "f:1:4: nothing is anchored as &x"),
        ("a: &x [*x]\n", "f:1:8: *x stands inside its own anchor"),
        ("a: @x\n", "f:1:4: text can't begin with '@'; put the text in quotes"),
        ("a: 'x\n", "f:1:4: a quote that begins here is never closed"),
        ("a: [1\nb: 2\n", "f:1:4: the bracket that opens here is never closed"),
        ("a: b: c\n", "f:1:5: a ': ' YAML can't place"),
        ("- a\nb: c\n", "f:2:1: this doesn't line up with line 1"),
        ("a: !!python/object:os.system x\n", "tags such as tag:yaml.org,2002:python/object:os.system are not read"),
        ("a: !x y\n", "f:1:4: tags such as !x are not read"),
        ("{a: 1}: b\n", "f:1:1: a mapping or list can't be a key"),
        ("a: &x b\n*x : c\n", "f:2:1: a key can't be an alias"),
        ('a: "\\q"\n', "f:1:6: a backslash here begins no escape"),
        ("a: b\nc\n", "a key without its ':'"),
        ("a: b\x01\n", "f:1:5: character U+0001 is not allowed in YAML"),
        ('a: "\\ud800"\n', "f:1:4: half of a surrogate pair is no character"),
        ("a: " + "9" * 5000, "a number of 5000 digits"),
        ("a: [" * 70, "nested deeper than 64 levels"),
        ("[" * 50_000, "nested deeper than 64 levels"),
        ("{a: " * 50_000, "nested deeper than 64 levels"),
        ("- " * 50_000, "nested deeper than 64 levels"),
        ("- a\n" * 100_001, "more than 100,000 values"),
    ],
)  # fmt: skip
def test_what_is_refused(text: str, told: str) -> None:
    assert told in refusal(text)


def test_a_bomb_of_aliases_is_counted_for_what_it_stands_for() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
    for number in range(1, 12):
        bomb += f"a{number}: &a{number} [{', '.join([f'*a{number - 1}'] * 9)}]\n"
    assert "more than 100,000 values, aliases counted" in refusal(bomb)


def test_a_tower_of_aliases_is_as_high_as_what_it_stands_for() -> None:
    tower = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 80))
    assert "nested deeper than 64 levels" in refusal(tower)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "f:1:1: the file is empty"),
        (b"\xef\xbb\xbf \n", "f:1:1: the file is empty"),
        (b"a: 1\nb: \xe9t\xe9\n", "f:2:4: byte 0xe9 is not UTF-8; save the file as UTF-8"),
        ("a: ü1".encode() + b"\xff", "f:1:6: byte 0xff is not UTF-8"),
        ("a: 1\n".encode("utf-16"), "is not UTF-8"),
        (b"#" * (MAX_BYTES + 1), "the file is larger than 1 MiB; split it over rule_files"),
    ],
)
def test_bytes_that_are_refused(data: bytes, told: str) -> None:
    assert told in refusal(data)


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    node, _ = read(decode(b"\xef\xbb\xbfversion: 1\r\nb: x\r\n", HERE))
    assert node.plain() == {"version": 1, "b": "x"}


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=30,
)


@given(JSON)
def test_json_is_yaml(value: object) -> None:
    node, mistakes = read(json.dumps(value))
    assert node.plain() == value
    assert not mistakes


@given(st.text(alphabet="ab:-[]{}&*!|>'\"#%@`,?~ \t\n0.", max_size=60))
def test_any_text_is_read_or_refused_with_a_remedy(text: str) -> None:
    refused = refused_or_none(text)
    assert refused is None or (refused.line >= 1 and refused.hint)


@given(st.binary(max_size=80))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    refused = refused_or_none(data)
    assert refused is None or (refused.line >= 1 and refused.hint)
