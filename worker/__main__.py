"""The worker: takes accepted mail from the queue to its provider, and writes down what became of it.

The only place where its parts are put together.
"""

import asyncio
import os
import signal
import socket
import sys
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

import structlog
import uvloop
from prometheus_client import CollectorRegistry

from backing import health, log
from backing.aftermath import Aftermath
from backing.aws import Aws
from backing.cache import Cache
from backing.emf import Emf, standard_output
from backing.ids import now
from backing.metrics import EventMetrics, OutboxMetrics, PoolMetrics, WorkerControlMetrics, WorkerMetrics
from backing.notices import Listener
from backing.postgres.deliveries import Deliveries
from backing.postgres.events import Events
from backing.postgres.inquiries import Inquiries
from backing.postgres.outbox import Outbox
from backing.postgres.pool import Database
from backing.postgres.retention import Records
from backing.postgres.routing import Routings
from backing.reload import Reload
from backing.s3 import Bodies
from backing.secrets import Vault
from backing.settings import ConfigurationError, read
from backing.sqs import Queue
from backing.stop import Stop
from mail.delivery import RetryPolicy
from worker.attempts import Means, Terms
from worker.beside import beside
from worker.bodies import Baggage
from worker.consumer import Consumer, Pace
from worker.control.control import Control, Rules
from worker.courier import Courier
from worker.dispatch import Dispatcher, Rhythm
from worker.events import EventConsumer, EventKeeper
from worker.gate import Gate, SesQuotas, guarded_quota
from worker.inbox import Inbox
from worker.inquiries.clerk import Clerk, Tools
from worker.ledger import Ledger
from worker.outbox import LEASE_SECONDS, Secrets, Teller
from worker.posting import poster
from worker.providers.means import Means as ProviderMeans
from worker.providers.registry import Providers, kinds
from worker.providers.web import http_session
from worker.reports import Desk
from worker.retention import Retention
from worker.retention import Terms as Ages
from worker.routes import Routes
from worker.settings import MAX_LEASE_SHARE, WorkerSettings
from worker.ways import Router

EX_CONFIG = 78
# A long poll that is answered at its very end must not look like silence.
_POLL_GRACE_SECONDS = 10


@dataclass(frozen=True, slots=True)
class Ground:
    """What the worker leans on."""

    settings: WorkerSettings
    registry: CollectorRegistry
    metrics: WorkerMetrics
    aws: Aws
    database: Database
    cache: Cache
    queue: Queue
    aside: Queue | None
    events: Queue | None
    bodies: Bodies
    archive: Bodies
    vault: Vault


async def _ground(stack: AsyncExitStack, settings: WorkerSettings) -> Ground:
    registry, aws = CollectorRegistry(), Aws(settings.aws_region)
    metrics = WorkerMetrics(registry)
    emf = Emf(registry, settings.metrics_namespace, "worker", standard_output)
    await stack.enter_async_context(emf.running(settings.metrics_emf_seconds))
    poll_seconds = settings.worker_poll_seconds + _POLL_GRACE_SECONDS
    sqs = await stack.enter_async_context(aws.sqs(poll_seconds))
    direct = await stack.enter_async_context(aws.direct_sqs(sqs, poll_seconds))
    database = await stack.enter_async_context(Database(settings, aws).opened())
    database.timed = PoolMetrics(registry, database.pool.get_stats).transaction_seconds.observe
    s3 = await stack.enter_async_context(aws.s3())
    return Ground(
        settings=settings,
        registry=registry,
        metrics=metrics,
        aws=aws,
        database=database,
        cache=await stack.enter_async_context(Cache(settings, aws, metrics.cache_up).opened()),
        queue=Queue(sqs, settings.queue_url, direct),
        aside=Queue(sqs, settings.dead_letter_queue_url) if settings.dead_letter_queue_url else None,
        events=Queue(sqs, settings.events_queue_url) if settings.events_queue_url else None,
        bodies=Bodies(s3, settings.body_bucket),
        archive=Bodies(s3, settings.archive_bucket or settings.body_bucket),
        vault=Vault(await stack.enter_async_context(aws.kms()), settings.provider_key),
    )


async def _consumer(
    stack: AsyncExitStack, ground: Ground, deliveries: Deliveries, clerk: Clerk
) -> tuple[Consumer, Courier]:
    """Put together what delivers."""
    settings, metrics = ground.settings, ground.metrics
    allowed = settings.provider_allowed_networks
    http = await stack.enter_async_context(http_session(allowed))
    own = await stack.enter_async_context(http_session(None))
    known = kinds(ProviderMeans(ground.aws, http, own, allowed))
    routes = Routes(Routings(ground.database).load, settings.worker_routing_seconds)
    await stack.enter_async_context(routes.running())
    hearers = [routes.forget, clerk.hear]
    await stack.enter_async_context(Listener(ground.cache, hearers, missed=routes.forget_all).running())
    quotas = SesQuotas(partial(guarded_quota, ground.aws, allowed))
    control = Control(
        ground.cache, WorkerControlMetrics(ground.registry), quotas.quota, Rules(share=settings.worker_share)
    )
    await stack.enter_async_context(control.running())
    ledger = await stack.enter_async_context(Ledger(deliveries).running())
    means = Means(
        providers=await stack.enter_async_context(Providers(ground.vault, known)),
        router=Router(routes),
        gate=Gate(control, quotas),
        ledger=ledger,
        baggage=Baggage(ground.bodies, settings.worker_max_body_bytes),
        metrics=metrics,
        clock=now,
    )
    inbox = Inbox(ground.queue, settings.worker_poll_seconds, settings.worker_lease_seconds, ground.aside)
    pace = Pace(settings.worker_concurrency, settings.worker_lease_seconds, settings.worker_drain_seconds)
    await stack.enter_async_context(inbox.running())
    courier = Courier(means, _terms(settings))
    return Consumer(inbox, ledger, courier, metrics, pace), courier


def _terms(settings: WorkerSettings) -> Terms:
    return Terms(
        lease_seconds=settings.worker_lease_seconds,
        attempt_seconds=min(settings.worker_attempt_seconds, settings.worker_lease_seconds * MAX_LEASE_SHARE),
        patience_seconds=settings.worker_patience_seconds,
        retries=RetryPolicy(waits=settings.worker_retry_seconds, unknown=settings.worker_unknown_seconds),
        desk=Desk(settings.worker_hostname or socket.gethostname(), settings.worker_report_sender),
    )


async def _helpers(stack: AsyncExitStack, ground: Ground, deliveries: Deliveries, stop: Stop) -> Retention:
    """Start what works beside the deliveries; give what forgets."""
    settings = ground.settings
    rhythm = Rhythm.of(settings.worker_dispatch_seconds, settings.worker_lease_seconds)
    await stack.enter_async_context(beside(Dispatcher(deliveries, ground.queue, rhythm).run()))
    events, aftermath = Events(ground.database), Aftermath(EventMetrics(ground.registry), ground.cache)
    keeper = EventKeeper(events, aftermath, settings.events_rematch_seconds, settings.events_retention_seconds)
    await stack.enter_async_context(beside(keeper.run()))
    if ground.events:
        told = EventConsumer(ground.events, events, aftermath, settings.worker_poll_seconds)
        await stack.enter_async_context(told.running(stop.soon))
    metrics = OutboxMetrics(ground.registry)
    posts = await stack.enter_async_context(poster(settings.webhook_allowed_networks))
    teller = Teller(Outbox(ground.database, LEASE_SECONDS), Secrets(ground.vault), posts, metrics)
    await stack.enter_async_context(beside(teller.run()))
    retention = Retention(Records(ground.database), ground.bodies, ground.archive, metrics, _ages(settings), now)
    await stack.enter_async_context(beside(retention.run()))
    return retention


def _ages(settings: WorkerSettings) -> Ages:
    return Ages(
        settings.worker_retention_days,
        settings.worker_outbox_days,
        settings.worker_audit_days,
        bool(settings.archive_bucket),
    )


async def serve(settings: WorkerSettings, stop: Stop) -> None:
    """Work until asked to stop."""
    async with AsyncExitStack() as stack:
        ground = await _ground(stack, settings)
        owner = f"{socket.gethostname()}:{os.getpid()}"
        deliveries = Deliveries(ground.database, owner, settings.worker_lease_seconds, settings.worker_expiry_seconds)
        clerk = Clerk(Inquiries(ground.database), Tools(ground.vault, ground.aws, settings.provider_allowed_networks))
        consumer, courier = await _consumer(stack, ground, deliveries, clerk)
        await stack.enter_async_context(clerk.running(stop))
        retention = await _helpers(stack, ground, deliveries, stop)

        def take(new: WorkerSettings) -> None:
            courier.take(_terms(new))
            consumer.resize(new.worker_concurrency)
            retention.terms = _ages(new)
            log.set_level(new.log_level)

        reload = Reload(partial(read, WorkerSettings), settings, take, ground.metrics.reloads)
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload)
        ready = health.serving(
            settings.health_host,
            settings.health_port,
            lambda: not stop.soon.is_set(),
            ground.registry,
            lambda: {"pool": ground.database.numbers()},
        )
        address = await stack.enter_async_context(ready)
        structlog.get_logger().info("working", health=f"{address[0]}:{address[1]}")
        await consumer.run(stop)


async def main(settings: WorkerSettings) -> None:
    """Work until a signal says to stop."""
    with Stop().on_signals() as stop:
        await serve(settings, stop)


def run() -> int:
    """Read the settings and work; gives the exit status."""
    try:
        settings = read(WorkerSettings)
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return EX_CONFIG
    log.configure("worker", settings.log_level)
    # A reload asked for before there is anything to reload must not end the process.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    uvloop.run(main(settings))
    return 0


if __name__ == "__main__":
    sys.exit(run())
