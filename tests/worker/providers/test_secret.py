"""What may be stored as a provider's secret: text as it is, or a JSON object."""

import base64

import pytest

from backing.provider_configs import BadConfig
from tests.worker.peer import Peer
from tests.worker.providers.kinds import built
from tests.worker.providers.letters import B, attempt, envelope

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("secret", "password"),
    [
        ("hush", "hush"),
        ("{hush}", "{hush}"),
        ("{1", "{1"),
        ('"hush"', '"hush"'),
        ('{"password": "{\\"hush\\""}', '{"hush"'),
        (' {"api_key": "hush"}\n', "hush"),
        ('{"dkim_key": "unused", "password": "grün"}', "grün"),
    ],
)
async def test_what_the_password_is(secret: str, password: str) -> None:
    async with Peer(extensions=("AUTH PLAIN",)).serving() as peer:
        async with built("smtp", peer.config | {"username": "user"}, secret) as provider:
            await attempt(provider, envelope(B), b"Subject: a\r\n\r\n")
        told = base64.b64encode(f"\0user\0{password}".encode()).decode()
        assert peer.commands[1] == f"AUTH PLAIN {told}"


_ONLY = 'secret: the JSON object may have "password" or "api_key", "event_key", and "dkim_key"; it has another name'


@pytest.mark.parametrize(
    ("secret", "fault"),
    [
        ('{"password": "hush"', "secret: it begins like a JSON object and is none at line 1, column 20"),
        ('{"password": "hush"} x', "secret: it begins like a JSON object and is none at line 1, column 22"),
        ('{"a":' * 100_000, "secret: "),
        ('{"hush": "x"}', _ONLY),
        ('{"password": "x", "dkim-key": "hush"}', _ONLY),
        (
            '{"password": "hush", "api_key": "hush"}',
            'secret: "password" and "api_key" are two names for one thing; the JSON object has both',
        ),
        ('{"password": ["hush"]}', 'secret: "password" must be a text that is not empty'),
        ('{"api_key": ""}', 'secret: "api_key" must be a text that is not empty'),
        ('{"dkim_key": null}', 'secret: "dkim_key" must be a text that is not empty'),
        ("{}", "username: it needs a password, and none is stored"),
        ('{"dkim_key": "hush"}', "username: it needs a password, and none is stored"),
        ('{"password": "hush\\u0000"}', "username: neither it nor the password can have a NUL"),
    ],
)
async def test_a_secret_that_cannot_be_used_is_named_and_not_shown(secret: str, fault: str) -> None:
    with pytest.raises(BadConfig) as raised:
        async with built("smtp", {"host": "127.0.0.1", "username": "user"}, secret):
            pass
    assert str(raised.value).startswith(fault)
    assert "hush" not in str(raised.value)


@pytest.mark.parametrize(
    ("kind", "config"), [("mailgun", {"domain": "mg.example"}), ("sendgrid", {}), ("postmark", {"mode": "api"})]
)
async def test_an_api_key_may_stand_in_the_object_too(kind: str, config: dict[str, str]) -> None:
    for secret in ('{"api_key": "hush"}', '{"password": "hush"}', "hush"):
        async with built(kind, config, secret) as provider:
            assert provider.capabilities.max_octets
    for wrong in ('{"dkim_key": "hush"}', '{"api_key": "hush hush"}'):
        with pytest.raises(BadConfig, match=r"^secret: ") as raised:
            async with built(kind, config, wrong):
                pass
        assert "hush" not in str(raised.value)
