"""Keys of the HTTP API as texts."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from mail.keys import OF_TENANTS, ApiKey, Scope, key_digest, parse_token, scopes_of, token_text

SECRET = "s" * 43
NOW = datetime(2026, 11, 24, tzinfo=UTC)


def key(**changes: datetime) -> ApiKey:
    return ApiKey(UUID(int=1), "a" * 12, "ci", key_digest(SECRET), None, None, frozenset(), **changes)  # type: ignore[arg-type]  # only times are changed


def test_a_token_is_read_as_it_is_written() -> None:
    token = parse_token(token_text("abcdefg23456", SECRET))
    assert token
    assert (token.prefix, token.secret) == ("abcdefg23456", SECRET)
    assert SECRET not in repr(token)


@pytest.mark.parametrize(
    "text", ["", "sp_", "sp_ABCDEFG23456_" + SECRET, f"sp_abcdefg23456_{SECRET}x", f" sp_abcdefg23456_{SECRET}"]
)
def test_what_is_no_token_is_none(text: str) -> None:
    assert parse_token(text) is None


def test_a_key_admits_its_secret_until_it_expires() -> None:
    assert key().admits(SECRET, NOW)
    assert not key().admits("t" * 43, NOW)
    assert key(expires_at=NOW + timedelta(seconds=1)).admits(SECRET, NOW)
    assert not key(expires_at=NOW).admits(SECRET, NOW)
    assert "digest" not in repr(key())


def test_scopes_are_those_there_are() -> None:
    assert scopes_of([], of_operator=True) == sorted(Scope)
    assert scopes_of([], of_operator=False) == sorted(OF_TENANTS)
    assert scopes_of(["rules:read", "rules:read"], of_operator=False) == ["rules:read"]
    with pytest.raises(ValueError, match="'providers:write' is for operators only"):
        scopes_of(["providers:write"], of_operator=False)
    with pytest.raises(ValueError, match="'x' is no scope"):
        scopes_of(["x"], of_operator=True)
