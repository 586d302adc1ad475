"""The worker: takes accepted mail from the queue to its provider, and writes down what became of it.

The only place where its parts are put together.
"""

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import structlog
import uvloop
from prometheus_client import CollectorRegistry

from backing import health, log
from backing.aws import Aws
from backing.emf import Emf, standard_output
from backing.ids import now
from backing.metrics import PoolMetrics, WorkerMetrics
from backing.postgres.deliveries import Deliveries
from backing.postgres.pool import Database
from backing.s3 import Bodies
from backing.secrets import Vault
from backing.settings import ConfigurationError, read
from backing.sqs import Queue
from mail.delivery import RetryPolicy
from worker.consumer import Consumer, Pace
from worker.deliver import Courier
from worker.dispatch import Dispatcher, Rhythm
from worker.inbox import Inbox
from worker.ledger import Ledger
from worker.providers.registry import Providers
from worker.settings import WorkerSettings
from worker.stop import Stop

EX_CONFIG = 78
# A long poll that is answered at its very end must not look like silence.
_POLL_GRACE_SECONDS = 10


async def serve(settings: WorkerSettings, stop: Stop) -> None:
    """Work until asked to stop."""
    registry = CollectorRegistry()
    metrics = WorkerMetrics(registry)
    async with AsyncExitStack() as stack:
        emf = Emf(registry, "worker", standard_output)
        await stack.enter_async_context(emf.running(settings.metrics_emf_seconds))
        aws = Aws(settings.aws_region)
        sqs = await stack.enter_async_context(aws.sqs(settings.worker_poll_seconds + _POLL_GRACE_SECONDS))
        queue = Queue(sqs, settings.queue_url)
        bodies = Bodies(await stack.enter_async_context(aws.s3()), settings.body_bucket)
        vault = Vault(await stack.enter_async_context(aws.kms()), settings.provider_key)
        database = await stack.enter_async_context(Database(settings, aws).opened())
        database.timed = PoolMetrics(registry, database.pool.get_stats).transaction_seconds.observe
        deliveries = Deliveries(
            database,
            f"{socket.gethostname()}:{os.getpid()}",
            settings.worker_lease_seconds,
            settings.worker_expiry_seconds,
        )
        providers = await stack.enter_async_context(Providers(vault))
        inbox = Inbox(queue, settings.worker_poll_seconds, settings.worker_lease_seconds)
        ledger = Ledger(deliveries)
        consumer = Consumer(
            await stack.enter_async_context(inbox.running()),
            await stack.enter_async_context(ledger.running()),
            Courier(providers, bodies, _retry_policy(settings), metrics, now),
            metrics,
            Pace(settings.worker_concurrency, settings.worker_lease_seconds, settings.worker_drain_seconds),
        )
        rhythm = Rhythm.of(settings.worker_dispatch_seconds, settings.worker_lease_seconds)
        await stack.enter_async_context(_beside(Dispatcher(deliveries, queue, rhythm)))
        ready = health.serving(settings.health_host, settings.health_port, lambda: not stop.soon.is_set(), registry)
        address = await stack.enter_async_context(ready)
        structlog.get_logger().info("working", health=f"{address[0]}:{address[1]}")
        await consumer.run(stop)


@asynccontextmanager
async def _beside(dispatcher: Dispatcher) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(dispatcher.run())
        try:
            yield
        finally:
            task.cancel()


def _retry_policy(settings: WorkerSettings) -> RetryPolicy:
    return RetryPolicy(waits=settings.worker_retry_seconds, unknown=settings.worker_unknown_seconds)


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
    uvloop.run(main(settings))
    return 0


if __name__ == "__main__":
    sys.exit(run())
