"""How deep JSON is nested."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail.nesting import cut, deeper_than


@pytest.mark.parametrize(
    ("text", "depth"),
    [
        ("1", 0),
        ('"[[["', 0),
        ("[]", 1),
        ("{}", 1),
        ("[[],[],[{}]]", 3),
        ('{"a": {"b": [1, "]"]}}', 3),
        (r'["\"[", "\\", [], "\\\"[["]', 2),
        ("[" * 99 + "]" * 99, 99),
        ("[" * 40, 40),
    ],
)
def test_levels_are_counted(text: str, depth: int) -> None:
    assert [deeper_than(most, text.encode()) for most in (depth - 1, depth)][depth == 0 :] == [True, False][
        depth == 0 :
    ]


def depth_of(value: Any) -> int:
    if not isinstance(value, dict | list):
        return 0
    inner = value.values() if isinstance(value, dict) else value
    return 1 + max(map(depth_of, inner), default=0)


anything = st.recursive(
    st.none() | st.text('ab[]{}"\\'), lambda inner: st.lists(inner) | st.dictionaries(st.text('[]{}"\\'), inner)
)


@given(anything, st.integers(0, 4))
def test_any_document_is_as_deep_as_it_is(value: Any, most: int) -> None:
    assert deeper_than(most, json.dumps(value).encode()) == (depth_of(value) > most)
    assert depth_of(cut(value, most)) <= most
    assert cut(value, depth_of(value)) == value
