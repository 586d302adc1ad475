"""The sandbox: names that decide, chances that repeat, keys that are remembered."""

from typing import Any

import pytest

from backing.provider_configs import FATES, BadConfig
from mail.delivery import Outcome, RecipientResult, Scope
from mail.job import Recipient
from tests.worker.providers.kinds import built
from tests.worker.providers.letters import attempt, envelope, outcomes
from worker.providers.base import Capabilities

pytestmark = pytest.mark.anyio


async def test_names_decide() -> None:
    expected: dict[str, tuple[Any, ...]] = {
        "bounce": (Outcome.PERMANENT, 550, "5.1.1", "sandbox: no such recipient"),
        "defer": (Outcome.TEMPORARY, 451, "4.2.0", "sandbox: come again"),
        "reject": (Outcome.MESSAGE_PERMANENT, 554, "5.6.0", "sandbox: not this content"),
        "throttle": (Outcome.THROTTLED, 454, "4.7.0", "sandbox: too fast", 30.0, Scope.RATE),
        "quota": (Outcome.THROTTLED, 454, "4.7.0", "sandbox: no more today", None, Scope.DAY),
        "down": (Outcome.PROVIDER_DOWN, None, None, "sandbox: not there"),
        "config": (Outcome.MISCONFIGURED, 535, "5.7.8", "sandbox: who are you"),
        "Unknown+tag": (Outcome.UNKNOWN, None, None, "sandbox: no answer"),
    }
    assert {name.lower().partition("+")[0] for name in expected} | {"hang"} == set(FATES)
    what = envelope(*(Recipient(f"{name}@far.example") for name in [*expected, "b"]))
    async with built("sandbox", {}, None) as provider:
        *magic, usual = await attempt(provider, what, b"")
    assert magic == [RecipientResult(n, *fields) for n, fields in enumerate(expected.values())]
    named = f"sandbox-{what.key}-8"
    assert usual == RecipientResult(8, Outcome.ACCEPTED, 250, "2.0.0", "sandbox: taken", provider_message_id=named)


async def test_a_deadline_ends_what_hangs_and_what_takes_too_long() -> None:
    async with built("sandbox", {}, None) as provider:
        assert outcomes(await attempt(provider, envelope(Recipient("hang@far.example")), b"", seconds=0.01)) == [
            Outcome.UNKNOWN
        ]
    async with built("sandbox", {"delay": 100}, None) as provider:
        assert outcomes(await attempt(provider, envelope(), b"", seconds=0.01)) == [Outcome.UNKNOWN]
    async with built("sandbox", {"delay": 0.01}, None) as provider:
        assert outcomes(await attempt(provider, envelope(), b"")) == [Outcome.ACCEPTED]


async def test_chances_repeat_under_a_seed() -> None:
    async def played(seed: int) -> list[Outcome]:
        config = {"chances": {"bounce": 0.3, "down": 0.3}, "seed": seed}
        what = envelope(*(Recipient(f"r{n}@far.example") for n in range(100)))
        async with built("sandbox", config, None) as provider:
            return outcomes(await attempt(provider, what, b""))

    first = await played(1)
    assert set(first) == {Outcome.ACCEPTED, Outcome.PERMANENT, Outcome.PROVIDER_DOWN}
    assert first == await played(1) != await played(2)


async def test_a_repeated_key_is_taken_once_while_it_is_remembered() -> None:
    what, other = envelope(Recipient("unknown@far.example")), envelope()
    async with built("sandbox", {"remember": 1}, None) as provider:
        assert provider.capabilities == Capabilities(verified_tls=True, requiretls=True, smtputf8=True, idempotent=True)
        again = [await attempt(provider, each, b"") for each in (what, what, other, what)]
        assert [outcomes(each)[0] for each in again] == [
            Outcome.UNKNOWN,
            Outcome.ACCEPTED,
            Outcome.ACCEPTED,
            Outcome.UNKNOWN,
        ]
    async with built("sandbox", {}, None) as provider:
        assert not provider.capabilities.idempotent
        assert [outcomes(await attempt(provider, what, b"")) for _ in range(2)] == [[Outcome.UNKNOWN]] * 2


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        ({"chances": {"vanish": 0.1}}, "chances: vanish is none of bounce, "),
        ({"chances": {"bounce": 0.6, "defer": 0.6}}, "chances: together they are more than 1"),
        ({"chances": {"bounce": 2}}, "chances.bounce: Input should be less"),
        ({"delay": -1}, "delay: Input should be greater"),
    ],
)
async def test_a_wrong_configuration_is_named(config: dict[str, Any], fault: str) -> None:
    with pytest.raises(BadConfig) as raised:
        async with built("sandbox", config, None):
            pass
    assert fault in str(raised.value)
