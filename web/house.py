"""What both doors work with, opened in order."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

from prometheus_client import CollectorRegistry

from backing.admin.desk import Desk
from backing.admin.office import Office, Tools
from backing.aws import Aws
from backing.cache import Cache
from backing.certificates.secrets import Secret
from backing.metrics import EventMetrics, PoolMetrics, WebMetrics
from backing.notices import publish
from backing.postgres.audit import Deed
from backing.postgres.keys import Keys
from backing.postgres.pool import Database
from backing.quotas import Quotas
from backing.s3 import Bodies
from backing.secrets import Vault, credential_key
from backing.sqs import Queue
from mail.errors import Unavailable
from web.doorkeeper import Doorkeeper
from web.edge import Condition
from web.rates import Rates
from web.reads import Reads
from web.settings import WebSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What both doors work with.

    Attributes:
        dead: the dead-letter queue, where there is one.
        certificates: secrets that the relay serves from.
    """

    settings: WebSettings
    metrics: WebMetrics
    events: EventMetrics
    condition: Condition
    database: Database
    reads: Reads
    cache: Cache
    queue: Queue
    dead: Queue | None
    bodies: Bodies
    certificates: tuple[Secret, ...]
    tools: Tools
    doorkeeper: Doorkeeper
    rates: Rates
    quotas: Quotas

    @asynccontextmanager
    async def office(self, deed: Deed | None = None) -> AsyncIterator[Office]:
        """Lend all that can be changed; a change is noted as a deed, and told to those who keep copies."""
        desk = Desk(self.database, deed)
        yield Office.at(desk, self.tools)
        await self._tell(desk)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Office]:
        """Lend the same for questions that may be answered some moments late, which a replica does."""
        yield Office.at(Desk(self.reads), self.tools)

    @asynccontextmanager
    async def change(self, deed: Deed) -> AsyncIterator[Office]:
        """Lend the same for a block that is one transaction: what is read in it is so when it writes."""
        desk = Desk(self.database, deed)
        async with desk.together():
            yield Office.at(desk, self.tools)
        await self._tell(desk)

    async def _tell(self, desk: Desk) -> None:
        # A notice makes things faster and is never needed.
        with suppress(Unavailable):
            for notice in desk.notices:
                await publish(self.cache, notice)


async def furnish(stack: AsyncExitStack, settings: WebSettings, registry: CollectorRegistry) -> House:
    """Open it all.

    Raises:
        BadSecret: there is no key for credentials.
        Unavailable: Secrets Manager did not answer. The database and the cache may be away.
    """
    enter, aws, metrics = stack.enter_async_context, Aws(settings.aws_region), WebMetrics(registry)
    secrets = await enter(aws.secrets())
    key = await credential_key(secrets, settings.credential_key_secret)
    database = await enter(Database(settings, aws).opened())
    database.timed = PoolMetrics(registry, database.pool.get_stats).transaction_seconds.observe
    cache = await enter(Cache(settings, aws, metrics.cache_up).opened())
    sqs = await enter(aws.sqs())
    vault = Vault(await enter(aws.kms()), settings.provider_key)
    return House(
        settings=settings,
        metrics=metrics,
        events=EventMetrics(registry),
        condition=Condition(),
        database=database,
        reads=Reads(database, await _replica(stack, settings, aws)),
        cache=cache,
        queue=Queue(sqs, settings.queue_url, await enter(aws.direct_sqs(sqs))),
        dead=Queue(sqs, settings.dead_letter_queue_url) if settings.dead_letter_queue_url else None,
        bodies=Bodies(await enter(aws.s3()), settings.body_bucket),
        certificates=tuple(Secret(secrets, each) for each in settings.relay_certificate_secrets),
        tools=Tools(vault, key, settings.webhook_allowed_networks),
        doorkeeper=Doorkeeper(Keys(database), settings.web_key_cache_seconds),
        rates=Rates(cache, settings.web_rate_per_minute),
        quotas=await enter(Quotas(cache, metrics.quota_refusals).running()),
    )


async def _replica(stack: AsyncExitStack, settings: WebSettings, aws: Aws) -> Database | None:
    if not settings.database_replica_url:
        return None
    there = settings.model_copy(update={"database_url": settings.database_replica_url})
    return await stack.enter_async_context(Database(there, aws).opened())
