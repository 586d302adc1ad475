"""A provider that sends nothing, for tests and demonstrations: the recipient's name says what becomes of the mail.

What stands before the `@`, or before a `+` there, is looked up:

| name | outcome |
|---|---|
| `bounce` | the recipient is refused for good |
| `defer` | the recipient is refused for now |
| `reject` | the content is refused |
| `throttle` | the provider wants to be left alone for 30 seconds |
| `quota` | the provider takes no more today |
| `down` | the provider does not answer |
| `config` | the provider does not know us |
| `unknown` | the mail may have been taken |
| `hang` | no answer until the deadline, then as `unknown` |
| anything else | accepted, unless chance decides otherwise |
"""

import asyncio
import math
import random
from collections import OrderedDict
from typing import Final
from uuid import UUID

from backing.provider_configs import SandboxConfig
from mail.delivery import Outcome, RecipientResult, Scope
from worker.providers.base import Answer, Capabilities, Envelope, Setup
from worker.providers.config import read_config
from worker.providers.trail import Stage, Trail

_UNKNOWN: Final = Answer(Outcome.UNKNOWN, None, None, "sandbox: no answer")
_HANG: Final = "hang"
_MAY_BE_TAKEN: Final = frozenset({Outcome.ACCEPTED, Outcome.UNKNOWN})
_MAGIC: Final = {
    "bounce": Answer(Outcome.PERMANENT, 550, "5.1.1", "sandbox: no such recipient"),
    "defer": Answer(Outcome.TEMPORARY, 451, "4.2.0", "sandbox: come again"),
    "reject": Answer(Outcome.MESSAGE_PERMANENT, 554, "5.6.0", "sandbox: not this content"),
    "throttle": Answer(Outcome.THROTTLED, 454, "4.7.0", "sandbox: too fast", 30.0, Scope.RATE),
    "quota": Answer(Outcome.THROTTLED, 454, "4.7.0", "sandbox: no more today", None, Scope.DAY),
    "down": Answer(Outcome.PROVIDER_DOWN, None, None, "sandbox: not there"),
    "config": Answer(Outcome.MISCONFIGURED, 535, "5.7.8", "sandbox: who are you"),
    "unknown": _UNKNOWN,
    _HANG: _UNKNOWN,
}


class SandboxProvider:
    """Answers as the recipients' names say."""

    def __init__(self, config: SandboxConfig) -> None:
        self._config = config
        self._chance = random.Random(config.seed)  # noqa: S311 - plays, keeps no secret
        self._taken: OrderedDict[tuple[UUID, int], None] = OrderedDict()
        # Nothing leaves the process, so nothing can be seen on the way.
        self.capabilities: Final = Capabilities(
            verified_tls=True, requiretls=True, smtputf8=True, idempotent=config.remember > 0
        )

    @classmethod
    async def create(cls, setup: Setup) -> "SandboxProvider":
        """Build the provider that a configuration describes.

        Raises:
            BadConfig: the configuration contradicts itself.
        """
        return cls(read_config(SandboxConfig, setup))

    async def send(self, envelope: Envelope, body: bytes, deadline: float) -> list[RecipientResult]:
        """Answer for each recipient."""
        del body
        fates = [(n, self._fate((envelope.key, n), recipient.address)) for n, recipient in envelope.recipients]
        seconds = math.inf if _HANG in dict(fates).values() else self._config.delay
        left = max(0.0, deadline - asyncio.get_running_loop().time())
        await asyncio.sleep(min(seconds, left))
        if left < seconds:
            fates = [(n, fate or _HANG) for n, fate in fates]
        return [result for n, fate in fates for result in self._answer((envelope.key, n), fate).to([n])]

    async def check(self, trail: Trail) -> None:
        """There is nothing to reach."""
        with trail.step(Stage.CONNECT) as said:
            said.append("a sandbox sends nothing, so there is nothing to reach")

    async def close(self) -> None:
        """Nothing is kept open."""

    def _fate(self, key: tuple[UUID, int], address: str) -> str:
        """Find the magic name that a recipient has or chance gives it; empty for one that is accepted."""
        name = address.partition("@")[0].partition("+")[0].lower()
        if key in self._taken:
            return ""
        if name in _MAGIC:
            return name
        roll = self._chance.random()
        for name, chance in self._config.chances.items():
            roll -= chance
            if roll < 0:
                return name
        return ""

    def _answer(self, key: tuple[UUID, int], fate: str) -> Answer:
        answer = _MAGIC.get(fate) or Answer(
            Outcome.ACCEPTED, 250, "2.0.0", "sandbox: taken", provider_message_id=f"sandbox-{key[0]}-{key[1]}"
        )
        if answer.outcome in _MAY_BE_TAKEN and self._config.remember:
            self._taken[key] = None
            if len(self._taken) > self._config.remember:
                self._taken.popitem(last=False)
        return answer
