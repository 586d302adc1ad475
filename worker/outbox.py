"""Telling accounts what became of their mail: events go from the outbox to endpoints, signed, until they are taken.

At least once, in no promised order: every event has an id and a time, and a repeated one has the same id.
"""

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import structlog

from backing.batch import Batcher, Limits
from backing.metrics import OutboxMetrics
from backing.postgres.outbox import Endpoint, Errand, Outbox, Post, Told
from backing.secrets import BadSecret, Vault
from mail.account_events import encode
from mail.endpoints import Verdict, next_wait, signature, verdict
from mail.errors import Unavailable
from worker.posting import Poster, Reply

# Posts of one endpoint that are taken together, and how many of them run at a time.
_EACH: Final = 50
_AT_A_TIME: Final = 10
_ENDPOINTS: Final = 32
# Longer than `_EACH` posts can take that all hang, so that only a worker that died repeats one.
LEASE_SECONDS: Final = 120.0
_HINDRANCE_SECONDS: Final = 30.0
_RECORDS: Final = Limits(items=100, size=100, flushes=2)
_SECRETS_KEPT: Final = 1000


@dataclass(frozen=True, slots=True)
class Clock:
    """Where time and chance come in: seconds since 1970, and the jitter of waits."""

    seconds: Callable[[], float] = time.time
    chance: Callable[[float, float], float] = random.uniform


class Secrets:
    """The signing secrets of endpoints, opened once and kept in memory."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._opened: OrderedDict[tuple[UUID, bytes], str] = OrderedDict()

    async def of(self, endpoint: Endpoint) -> list[str]:
        """Give those that sign now.

        Raises:
            BadSecret: one does not open.
            Unavailable: KMS did not answer.
        """
        return [await self._open(endpoint.id, sealed) for sealed in endpoint.secrets]

    async def _open(self, endpoint_id: UUID, sealed: bytes) -> str:
        known = self._opened.get((endpoint_id, sealed))
        if known is None:
            known = self._opened[endpoint_id, sealed] = await self._vault.open(endpoint_id, sealed)
            if len(self._opened) > _SECRETS_KEPT:
                self._opened.popitem(last=False)
        self._opened.move_to_end((endpoint_id, sealed))
        return known


class Teller:
    """Posts what is due; any number of workers may do so at a time.

    Args:
        outbox: where events wait.
        secrets: what posts are signed with.
        poster: carries them.
        metrics: counts them.
        every: seconds between looks at the outbox.
        clock: time and chance.
    """

    def __init__(
        self,
        outbox: Outbox,
        secrets: Secrets,
        poster: Poster,
        metrics: OutboxMetrics,
        every: float = 1.0,
        clock: Clock | None = None,
    ) -> None:
        self._outbox = outbox
        self._secrets = secrets
        self._poster = poster
        self._metrics = metrics
        self._every = every
        self._clock = clock or Clock()
        self._results: Batcher[Told, str | None] = Batcher(outbox.record, _RECORDS)
        self._busy: set[UUID] = set()
        self._more = asyncio.Event()
        self._log = structlog.get_logger()

    async def run(self) -> None:
        """Tell until cancelled; what is on its way then is told again when its lease is over."""
        async with self._results.running(), asyncio.TaskGroup() as tasks:
            while True:
                self._more.clear()
                for errand in await self._take():
                    self._busy.add(errand.endpoint.id)
                    tasks.create_task(self._errand(errand))
                await self._pause()

    async def _take(self) -> Sequence[Errand]:
        free = _ENDPOINTS - len(self._busy)
        if free == 0:
            return []
        try:
            return await self._outbox.take(list(self._busy), free, _EACH)
        except Unavailable as fault:
            self._log.warning("telling put off", reason=str(fault))
        except Exception:  # noqa: BLE001 - the loop's edge: what waits must not wait for a restart
            self._log.exception("telling failed")
        return []

    async def _errand(self, errand: Errand) -> None:
        """Post what one endpoint is to be told; other endpoints do not wait for it."""
        try:
            await self._post_all(errand)
        except Exception:  # noqa: BLE001 - as above; the lease brings it back
            self._log.exception("telling failed", endpoint=str(errand.endpoint.id))
        finally:
            self._busy.discard(errand.endpoint.id)
            if len(errand.posts) == _EACH or len(self._busy) == _ENDPOINTS - 1:
                self._more.set()

    async def _post_all(self, errand: Errand) -> None:
        try:
            secrets = await self._secrets.of(errand.endpoint)
        except (BadSecret, Unavailable) as fault:
            self._log.warning("telling hindered", endpoint=str(errand.endpoint.id), reason=str(fault))
            why = Reply(None, "its secret could not be opened")
            async with asyncio.TaskGroup() as records:
                for post in errand.posts:
                    records.create_task(self._record(_told(post, errand.endpoint, "pending", why, posted=False)))
            return
        slots = asyncio.Semaphore(_AT_A_TIME)
        async with asyncio.TaskGroup() as posts:
            for post in errand.posts:
                posts.create_task(self._post(errand.endpoint, secrets, post, slots))

    async def _post(self, endpoint: Endpoint, secrets: Sequence[str], post: Post, slots: asyncio.Semaphore) -> None:
        async with slots:
            try:
                body = encode(post.event)
            except ValueError as fault:
                self._log.warning("event is no event", event_id=str(post.event.id), reason=str(fault))
                told = _told(post, endpoint, "failed", Reply(None, str(fault)), posted=False)
            else:
                told = self._judged(endpoint, post, await self._send(endpoint, secrets, post, body))
        await self._record(told)

    async def _send(self, endpoint: Endpoint, secrets: Sequence[str], post: Post, body: bytes) -> Reply:
        event_id, timestamp = str(post.event.id), int(self._clock.seconds())
        headers = {
            "webhook-id": event_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signature(secrets, event_id, timestamp, body),
        }
        return await self._poster.post(endpoint.url, body, headers)

    def _judged(self, endpoint: Endpoint, post: Post, reply: Reply) -> Told:
        result = Verdict.AGAIN if reply.status is None else verdict(reply.status)
        self._metrics.posts.labels(result).inc()
        if result is Verdict.DELIVERED:
            return _told(post, endpoint, "delivered", reply)
        if result is Verdict.GONE:
            return _told(post, endpoint, "failed", reply, gone=True)
        wait = next_wait(post.attempt, reply.retry_after, self._clock.chance(-1, 1))
        return _told(post, endpoint, "failed" if wait is None else "pending", reply, wait=wait or 0)

    async def _record(self, told: Told) -> None:
        try:
            reason = await self._results.submit(told)
        except Unavailable as fault:
            self._log.warning("post not written down", event_id=str(told.event_id), reason=str(fault))
            return
        if reason:
            endpoint, account = str(told.endpoint_id), str(told.account_id)
            self._log.warning("endpoint disabled", endpoint=endpoint, account=account, reason=reason)

    async def _pause(self) -> None:
        try:
            async with asyncio.timeout(self._every):
                await self._more.wait()
        except TimeoutError:
            return


def _told(post: Post, endpoint: Endpoint, state: str, reply: Reply, **more: Any) -> Told:
    return Told(
        event_id=post.event.id,
        endpoint_id=endpoint.id,
        account_id=endpoint.account_id,
        attempt=post.attempt,
        state=state,
        status=reply.status,
        text=reply.text,
        **({"wait": _HINDRANCE_SECONDS} | more),
    )
