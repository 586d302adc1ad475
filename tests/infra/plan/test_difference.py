"""What a comparison of two values tells."""

from typing import Any

import pytest

from infra.plan.difference import changes


def told(old: object, new: object) -> list[tuple[str, Any, Any]]:
    return [
        (path, was if isinstance(was, str | int) else None, now if isinstance(now, str | int) else None)
        for path, was, now in changes(old, new)
    ]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (["a", "b", "c"], ["a", "c"], [("[1]", "b", None)]),
        (["a", "c"], ["a", "b", "c"], [("[1]", None, "b")]),
        (["a", "b"], ["a", "x"], [("[1]", "b", "x")]),
        (["a"], [], [("[0]", "a", None)]),
        ([{"k": 1}, {"k": 2}], [{"k": 1}, {"k": 3}], [("[1].k", 2, 3)]),
        ('{"s": ["a", "b"]}', '{"s": ["b"]}', [("s[0]", "a", None)]),
        (["a", "b"], ["a", "b"], []),
    ],
)
def test_an_item_more_or_less_moves_no_other(old: object, new: object, expected: list[tuple[str, Any, Any]]) -> None:
    assert told(old, new) == expected
