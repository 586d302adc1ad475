"""The ECS agent of the task that this process runs in."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import aiohttp

from mail.errors import Unavailable

_TIMEOUT_SECONDS: Final = 2.0
_OK: Final = 200
_PATH: Final = "/task-protection/v1/state"


class TaskProtection:
    """Asks ECS not to end this task, neither to scale in nor to deploy, or to be free to do so again.

    The task's role needs `ecs:UpdateTaskProtection` on its own tasks.

    Args:
        http: what requests go through.
        agent: address of the agent, as ECS gives it in `ECS_AGENT_URI`.
    """

    def __init__(self, http: aiohttp.ClientSession, agent: str) -> None:
        self._http = http
        self._url = agent.rstrip("/") + _PATH

    @classmethod
    @asynccontextmanager
    async def opened(cls, agent: str) -> AsyncIterator["TaskProtection"]:
        """Keep a connection to the agent while the block runs."""
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS)) as http:
            yield cls(http, agent)

    async def protect(self, minutes: int) -> None:
        """Be protected for so long from now. Raises `Unavailable`; then nothing is known to have changed."""
        await self._put({"ProtectionEnabled": True, "ExpiresInMinutes": minutes})

    async def release(self) -> None:
        """Be protected no more. Raises `Unavailable`; then nothing is known to have changed."""
        await self._put({"ProtectionEnabled": False})

    async def _put(self, state: dict[str, bool | int]) -> None:
        try:
            async with self._http.put(self._url, json=state, allow_redirects=False) as answer:
                body = await answer.json(content_type=None) if answer.status == _OK else None
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as fault:
            raise Unavailable(f"ECS agent: {type(fault).__name__}") from fault
        protection = body.get("protection") if isinstance(body, dict) else None
        # The agent answers 200 to what ECS then refuses, and says so in the body.
        if not isinstance(protection, dict) or protection.get("ProtectionEnabled") != state["ProtectionEnabled"]:
            raise Unavailable(f"ECS agent: status {status}, {_reason(body)}")


def _reason(body: object) -> str:
    failure = body.get("failure") if isinstance(body, dict) else None
    return str(failure.get("Reason")) if isinstance(failure, dict) else "not as asked"
