"""What providers say of themselves, asked once a minute by one worker for all."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final
from uuid import UUID

import structlog

from backing.shares import claim
from mail.control_notes import Reading, reading_note
from mail.errors import Unavailable
from mail.limits import SendQuota
from worker.control.board import Board
from worker.control.gate import Gate

READ_SECONDS: Final = 60.0
# The claim ends a little before the next reading is due.
_CLAIM_SECONDS: Final = 55
# After which whoever was not the one looks whether it was done.
_AGAIN_SECONDS: Final = 5.0
_ANSWER_SECONDS: Final = 10.0

# Gives a provider's own quota, or None where it tells none; raises Unavailable.
QuotaSource = Callable[[UUID], Awaitable[SendQuota | None]]


class Quotas:
    """Reads quotas.

    Args:
        board: where workers leave word.
        source: asks a provider.
    """

    def __init__(self, board: Board, source: QuotaSource) -> None:
        self._board = board
        self._source = source
        self._due: dict[UUID, float] = {}
        # Providers that tell no quota, by the version that does not.
        self._without: dict[UUID, int] = {}
        self._log = structlog.get_logger()

    async def read(self, gate: Gate, now: float) -> None:
        """Read a provider's quota if it is time and this worker's turn."""
        if self._without.get(gate.id) == gate.version:
            return
        known = gate.budget.reading
        due = max(self._due.get(gate.id, 0.0), known.at + READ_SECONDS if known else 0.0)
        if now < due:
            return
        if not await self._my_turn(gate.id):
            self._due[gate.id] = now + _AGAIN_SECONDS
            return
        self._due[gate.id] = now + READ_SECONDS
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                quota = await self._source(gate.id)
        except (Unavailable, TimeoutError) as fault:
            self._log.warning("provider's quota not read", provider=gate.name, reason=str(fault) or "no answer")
            return
        if quota is None:
            self._without[gate.id] = gate.version
            return
        reading = Reading(quota, now, await gate.used_today())
        gate.read(reading, now)
        self._board.note(gate.id, "quota", reading_note(reading))

    def forget(self, provider_id: UUID) -> None:
        """Know nothing of a provider any more."""
        self._due.pop(provider_id, None)
        self._without.pop(provider_id, None)

    async def _my_turn(self, provider_id: UUID) -> bool:
        try:
            [got] = await self._board.cache.ask([claim(f"quota:{provider_id}", self._board.owner, _CLAIM_SECONDS)])
        except Unavailable:
            return True
        return bool(got)
