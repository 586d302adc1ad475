"""Identifiers, and the share of them that is logged."""

import secrets
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail.ids import made_at, sampled, uuid7

identifiers = st.builds(uuid7, st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10))


@pytest.mark.requirement("CORE-OPS-001")
@given(identifiers, st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_has_all_of_a_smaller_one(identifier: UUID, one: float, other: float) -> None:
    small, large = sorted((one, other))
    assert not sampled(identifier, 0)
    assert sampled(identifier, 1)
    assert sampled(identifier, large) or not sampled(identifier, small)


def test_a_share_is_about_as_large_as_it_says() -> None:
    chosen = sum(sampled(uuid7(1_700_000_000_000, secrets.token_bytes(10)), 0.25) for _ in range(4000))
    # Ten standard deviations.
    assert abs(chosen - 1000) < 275


@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10))
def test_an_identifier_says_when_it_was_made(milliseconds: int, entropy: bytes) -> None:
    assert made_at(uuid7(milliseconds, entropy)) == milliseconds
    assert made_at(UUID("01990000-0000-4000-8000-000000000001")) is None
    assert made_at(UUID(int=7)) is None
