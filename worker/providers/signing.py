"""DKIM signatures of an account's own, put before its messages where they leave for a provider."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from backing import ids
from backing.provider_configs import BadConfig, DkimConfig
from mail.alignment import wants_signature
from mail.delivery import RecipientResult
from mail.dkim import BadKey, DkimKey, sign
from mail.splice import with_fields_before
from worker.providers.base import Envelope, Provider, Setup
from worker.providers.secret import read_secret
from worker.providers.trail import Trail

# Gives a message as it is to be sent, octet for octet, with a signature before it if it gets one.
Sign = Callable[[bytes], Awaitable[bytes]]

# Above this a message is signed in a thread.
_AT_ONCE: Final = 262_144


async def unsigned(message: bytes) -> bytes:
    """Leave a message as it is."""
    return message


async def signing(config: DkimConfig | None, setup: Setup, rewritten: frozenset[str] = frozenset()) -> Sign:
    """Say how the messages of a provider are signed.

    Args:
        config: what its row says, or None for not at all.
        setup: has the secret with the key.
        rewritten: small letters; fields that this kind of provider writes anew.

    Raises:
        BadConfig: the key is not there or cannot be used; shows nothing of it.
    """
    if config is None:
        return unsigned
    pem = read_secret(setup).signing_keys.get(config.key)
    if pem is None:
        raise BadConfig(
            f'dkim: the secret has no "{config.key}"; store a JSON object with "{config.key}", the private key in PEM, '
            'beside "password" or "api_key" where there is one'
        )
    try:
        # It takes many milliseconds to see whether an RSA key is sound.
        key = await asyncio.to_thread(DkimKey, config.domain, config.selector, pem)
    except BadKey as error:
        raise BadConfig(f"dkim: {error}") from None
    return partial(_signed, key, config.leave_out | rewritten)


class Signing:
    """A provider that gets its messages signed.

    Args:
        provider: sends them as they are.
        sign: signs them.
    """

    def __init__(self, provider: Provider, sign: Sign) -> None:
        self._provider = provider
        self._sign = sign
        self.capabilities: Final = provider.capabilities

    async def send(self, envelope: Envelope, body: bytes, deadline: float) -> list[RecipientResult]:
        """Send to every recipient and answer for each; remote faults are answers, never exceptions."""
        return await self._provider.send(envelope, await self._sign(body), deadline)

    async def check(self, trail: Trail) -> None:
        """Have the inner provider checked."""
        await self._provider.check(trail)

    async def close(self) -> None:
        """Close what the provider keeps open."""
        await self._provider.close()


async def _signed(key: DkimKey, leave_out: frozenset[str], message: bytes) -> bytes:
    def signed() -> bytes:
        if not wants_signature(message, key.domain):
            return message
        return with_fields_before(message, sign(message, key, int(ids.now().timestamp()), leave_out))

    return signed() if len(message) <= _AT_ONCE else await asyncio.to_thread(signed)
