"""The relay's process: start, serve, drain, stop. The only place where its parts are put together."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import asdict
from functools import partial
from typing import Final

import structlog
import uvloop
from prometheus_client import CollectorRegistry

from backing import health, log
from backing.aws import Aws
from backing.metrics import RelayMetrics
from backing.postgres.accounts import find_credential
from backing.postgres.pool import Database
from backing.s3 import Bodies
from backing.secrets import BadSecret, credential_key
from backing.settings import ConfigurationError, read
from backing.sqs import Queue
from mail.accounts import MIN_KEY_BYTES
from mail.errors import Unavailable
from relay.accept import Intake
from relay.auth import Doorkeeper
from relay.server import RelayServer
from relay.settings import RelaySettings
from relay.tls import Certificates
from relay.visit import House

# Seconds between attempts to fetch the credential key; after the last one the relay gives up.
_KEY_WAITS: Final = (0.5, 1.0, 2.0, 4.0)
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


def main() -> int:
    """Run the relay until it is told to stop; give its exit code."""
    code = os.EX_OK
    try:
        settings = read(RelaySettings)
        certificates = Certificates.from_files(settings.relay_certificate_file, settings.relay_private_key_file)
        log.configure("relay", settings.log_level)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(run(settings, certificates))
    except* (ConfigurationError, BadSecret) as faults:
        code = fail(faults, os.EX_CONFIG)
    except* (Unavailable, OSError) as faults:
        code = fail(faults, os.EX_UNAVAILABLE)
    return code


def fail(faults: BaseExceptionGroup[Exception], code: int) -> int:
    """Say what kept the relay from running; give the exit code."""
    for fault in faults.exceptions:
        if isinstance(fault, BaseExceptionGroup):
            fail(fault, code)
        else:
            sys.stderr.write(f"{fault}\n")
    return code


async def run(settings: RelaySettings, certificates: Certificates) -> None:
    """Start, serve until told to stop, drain, stop."""
    async with AsyncExitStack() as stack:
        registry = CollectorRegistry()
        server = await start(stack, settings, certificates, registry)
        ready = health.serving(settings.health_host, settings.health_port, lambda: server.ready, registry)
        await stack.enter_async_context(ready)
        stack.enter_context(told_by_signals(server.stop))
        await server.stopping.wait()
        structlog.get_logger().info("stopping")
        await server.drain()
    structlog.get_logger().info("stopped", **asdict(server.tally))


async def start(
    stack: AsyncExitStack, settings: RelaySettings, certificates: Certificates, registry: CollectorRegistry
) -> RelayServer:
    """Open what the relay leans on, in order, then its doors. PostgreSQL may be down: what is known needs no asking."""
    aws = Aws(settings.aws_region)
    key = await fetch_key(aws, settings.credential_key_secret)
    database = await stack.enter_async_context(Database(settings, aws).opened())
    queue = Queue(await stack.enter_async_context(aws.sqs()), settings.queue_url)
    bodies = Bodies(await stack.enter_async_context(aws.s3()), settings.body_bucket)
    intake = Intake(queue, bodies, settings.relay_accept_timeout_seconds)
    doorkeeper = Doorkeeper(partial(find_credential, database), key, settings.relay_credential_cache_seconds)
    await stack.enter_async_context(intake.running())
    house = House(settings, certificates, doorkeeper, intake, RelayMetrics(registry))
    return await stack.enter_async_context(RelayServer(house).listening())


async def fetch_key(aws: Aws, secret_id: str) -> bytes:
    """Fetch the key that credentials are checked with.

    Raises:
        BadSecret: there is no key, or not one that is fit for use.
        Unavailable: Secrets Manager did not answer, however often it was asked.
    """
    async with aws.secrets() as client:
        for wait in _KEY_WAITS:
            try:
                key = await credential_key(client, secret_id)
                break
            except Unavailable as fault:
                structlog.get_logger().warning("no credential key yet", reason=str(fault), again_in_seconds=wait)
                await asyncio.sleep(wait)
        else:
            key = await credential_key(client, secret_id)
    if len(key) < MIN_KEY_BYTES:
        raise BadSecret(f"secret {secret_id} has {len(key)} octets; a key has {MIN_KEY_BYTES} or more")
    return key


@contextmanager
def told_by_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` for every SIGTERM and SIGINT while the block runs."""
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


if __name__ == "__main__":
    sys.exit(main())
