"""What both doors work with, opened in order."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry

from backing.admin.desk import Desk
from backing.admin.office import Office, Tools
from backing.aws import Aws
from backing.cache import Cache
from backing.certificates.files import TextFile
from backing.certificates.record import TableText
from backing.certificates.store import Texts
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


@dataclass(slots=True, kw_only=True)
class House:
    """What both doors work with. Its settings are replaced by a reload, so they are read where they are used.

    Attributes:
        dead: the dead-letter queue, where there is one.
        certificates: what is known of each of the relays' certificates, by the host that it is for or its file.
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
    certificates: Mapping[str, Texts]
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
    async def change(self, deed: Deed, *, steady: bool = True) -> AsyncIterator[Office]:
        """Lend the same for a block that is one transaction; a steady one writes what is as it was read."""
        desk = Desk(self.database, deed)
        async with desk.together(steady=steady):
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
        certificates=await _certificates(stack, settings, aws),
        tools=Tools(vault, key, settings.webhook_allowed_networks, settings.provider_allowed_networks),
        doorkeeper=Doorkeeper(Keys(database), settings.web_key_cache_seconds),
        rates=Rates(cache, settings.web_rate_per_minute),
        quotas=await enter(Quotas(cache, metrics.quota_refusals).running()),
    )


async def _certificates(stack: AsyncExitStack, settings: WebSettings, aws: Aws) -> dict[str, Texts]:
    found: dict[str, Texts] = {each: TextFile(Path(each)) for each in settings.certificate_record_files}
    if settings.certificate_hosts:
        client = await stack.enter_async_context(aws.dynamodb())
        found |= {host: TableText(client, settings.certificate_table, host) for host in settings.certificate_hosts}
    return found


async def _replica(stack: AsyncExitStack, settings: WebSettings, aws: Aws) -> Database | None:
    if not settings.database_replica_url:
        return None
    there = settings.model_copy(update={"database_url": settings.database_replica_url})
    return await stack.enter_async_context(Database(there, aws).opened())
