"""The relay's process: start, serve, drain, stop. The only place where its parts are put together."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import structlog
import uvloop
from prometheus_client import CollectorRegistry

from backing import health, log
from backing.aws import Aws
from backing.cache import Cache
from backing.cloudwatch import QueueAge
from backing.ecs import TaskProtection
from backing.emf import Emf, standard_output
from backing.ids import now
from backing.metrics import PoolMetrics, RelayMetrics
from backing.notices import Listener
from backing.postgres.accounts import Accounts
from backing.postgres.pool import Database
from backing.postgres.suppressions import Suppressions
from backing.quotas import Quotas
from backing.reload import Reload
from backing.s3 import Bodies
from backing.secrets import BadSecret, credential_key
from backing.settings import ConfigurationError, read
from backing.sqs import Queue
from mail.accounts import MIN_KEY_BYTES
from mail.errors import Unavailable
from relay.certificates.challenges import answering
from relay.certificates.files import CertificateFiles, read_certificates
from relay.certificates.secrets import CertificateSecrets, SecretWatch, first_certificates
from relay.certificates.tls import Certificates
from relay.certificates.watch import Watch
from relay.intake.accept import Intake
from relay.intake.budget import Budget
from relay.policy.auth import Doorkeeper
from relay.policy.changes import Changes
from relay.policy.guard import Guard, Rules
from relay.policy.load import Load, queue_measures
from relay.policy.suppression import SuppressionLists
from relay.policy.uses import Uses
from relay.protection import Protection, Situation
from relay.server import RelayServer
from relay.settings import RelaySettings
from relay.smtp.visit import House
from relay.transcript import Broadcast, Transcripts
from relay.wire.protocol import LINGER_SECONDS

if TYPE_CHECKING:
    from types_aiobotocore_secretsmanager import SecretsManagerClient

# Seconds between attempts to fetch a secret without which nothing goes; after the last one the relay gives up.
_SECRET_WAITS: Final = (0.5, 1.0, 2.0, 4.0)
# What the way out may take after the last word to the last session: a call to SQS or S3 still under way is given up
# then. Whoever waited for it was not told that the message is accepted.
_WAY_OUT_SECONDS: Final = LINGER_SECONDS + 2.0
_SERVICE: Final = "relay"

Fetched = TypeVar("Fetched")


def main() -> int:
    """Run the relay until it is told to stop; give its exit code."""
    code = os.EX_OK
    try:
        settings = read(RelaySettings)
        certificates = None if settings.relay_certificate_secrets else read_certificates(settings)
        log.configure(_SERVICE, settings.log_level)
        sys.unraisablehook = log.unraisable
        # A reload asked for before there is anything to reload must not end the process.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
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


async def run(settings: RelaySettings, certificates: Certificates | None) -> None:
    """Start, serve until told to stop, drain, stop. Without certificates from files they are fetched."""
    registry = CollectorRegistry()
    async with way_out() as leave, AsyncExitStack() as stack:
        emf = Emf(registry, settings.metrics_namespace, _SERVICE, standard_output)
        await stack.enter_async_context(emf.running(settings.metrics_emf_seconds))
        server, house = await start(stack, settings, certificates, registry)
        ready = health.serving(
            settings.health_host, settings.health_port, lambda: server.ready, registry, partial(remarks, house)
        )
        await stack.enter_async_context(ready)
        await stack.enter_async_context(protection(server, house))
        obey({signal.SIGTERM: server.stop, signal.SIGINT: server.stop, signal.SIGHUP: reload(house)})
        await server.stopping.wait()
        told = time.monotonic()
        structlog.get_logger().info("stopping")
        await server.drain()
        leave()
    structlog.get_logger().info("stopped", **asdict(server.tally), seconds=round(time.monotonic() - told, 1))


@asynccontextmanager
async def way_out() -> AsyncIterator[Callable[[], None]]:
    """Give what is called when only the end of the block is left to do; that end is then bounded in time."""
    loop = asyncio.get_running_loop()
    bound = asyncio.timeout(None)
    try:
        async with bound:
            yield lambda: bound.reschedule(loop.time() + _WAY_OUT_SECONDS)
    except TimeoutError:
        if not bound.expired():
            raise
        structlog.get_logger().warning("left work undone", seconds=_WAY_OUT_SECONDS)


async def start(
    stack: AsyncExitStack, settings: RelaySettings, certificates: Certificates | None, registry: CollectorRegistry
) -> tuple[RelayServer, House]:
    """Open what the relay leans on, in order, then its doors. PostgreSQL may be down: what is known needs no asking."""
    enter, aws, metrics = stack.enter_async_context, Aws(settings.aws_region), RelayMetrics(registry)
    secrets = await enter(aws.secrets())
    key = await fetch_key(secrets, settings.credential_key_secret)
    places = CertificateSecrets.of(secrets, settings)
    fetched = await patiently(lambda: first_certificates(places, settings)) if certificates is None else certificates
    database = await enter(Database(settings, aws).opened())
    database.timed = PoolMetrics(registry, database.pool.get_stats).transaction_seconds.observe
    sqs = await enter(aws.sqs())
    queue = Queue(sqs, settings.queue_url, await enter(aws.direct_sqs(sqs)))
    bodies = Bodies(await enter(aws.s3()), settings.body_bucket)
    budget = Budget(settings.relay_max_bytes_in_flight)
    metrics.bytes_in_flight.set_function(lambda: budget.held)
    intake = await enter(Intake(queue, bodies, budget, settings.relay_accept_timeout_seconds).running())
    house = await furnish(stack, settings, Leanings(database, key, aws, fetched, intake, metrics))
    await watch_certificates(stack, house, places)
    age = QueueAge(await enter(aws.cloudwatch()), settings.queue_url)
    readings = {"depth": queue.depth, "age": age.oldest}
    load = Load(*queue_measures(lambda: house.settings, metrics, readings))
    await enter(load.running())
    return await enter(RelayServer(house, load).listening()), house


async def watch_certificates(stack: AsyncExitStack, house: House, places: CertificateSecrets) -> None:
    """Have new certificates taken up from wherever they come, and show how long the served ones last."""
    settings, served, metrics = house.settings, house.certificates, house.metrics
    if files := CertificateFiles.of(settings):
        await stack.enter_async_context(Watch(files, served, metrics.certificate_reloads).running())
    if places:
        seconds = settings.relay_certificate_poll_seconds
        await stack.enter_async_context(SecretWatch(places, served, metrics.certificate_reloads, seconds).running())
    metrics.certificate_expiry.set_function(lambda: expiry(served))
    metrics.certificate_days_left.set_function(lambda: days_left(served))
    metrics.certificate_bootstrap.set_function(lambda: served.bootstrap)


@dataclass(frozen=True, slots=True)
class Leanings:
    """What the house is made from."""

    database: Database
    key: bytes
    aws: Aws
    certificates: Certificates
    intake: Intake
    metrics: RelayMetrics


async def furnish(stack: AsyncExitStack, settings: RelaySettings, on: Leanings) -> House:
    """Put together who decides what a client may do; the relays share what they know through the cache."""
    enter = stack.enter_async_context
    cache = await enter(Cache(settings, on.aws, on.metrics.cache_up).opened())
    await enter(answering(settings.relay_host, settings.relay_challenge_port, cache))
    guard = await enter(Guard(cache, rules(settings)).running())
    transcripts = Transcripts((await enter(Broadcast(cache).running())).hand_on)
    accounts = Accounts(on.database)
    doorkeeper = Doorkeeper(accounts, on.key, settings.relay_credential_cache_seconds, throttle=guard)
    doorkeeper.used = (await enter(Uses(accounts).running())).note
    house = House(
        settings=settings,
        certificates=on.certificates,
        doorkeeper=doorkeeper,
        guard=guard,
        quotas=await enter(Quotas(cache, on.metrics.quota_refusals).running()),
        suppressions=await enter(SuppressionLists(Suppressions(on.database)).running()),
        intake=on.intake,
        transcripts=transcripts,
        metrics=on.metrics,
    )
    changes = Changes(house.doorkeeper, house.suppressions, transcripts)
    await enter(Listener(cache, [changes.hear], changes.missed).running())
    return house


async def fetch_key(client: "SecretsManagerClient", secret_id: str) -> bytes:
    """Fetch the key that credentials are checked with.

    Raises:
        BadSecret: there is no key, or not one that is fit for use.
        Unavailable: Secrets Manager did not answer, however often it was asked.
    """
    key = await patiently(lambda: credential_key(client, secret_id))
    if len(key) < MIN_KEY_BYTES:
        raise BadSecret(f"secret {secret_id} has {len(key)} octets; a key has {MIN_KEY_BYTES} or more")
    return key


async def patiently(fetch: Callable[[], Awaitable[Fetched]]) -> Fetched:
    """Fetch something, several times if need be.

    Raises:
        Unavailable: it was not to be had, however often it was asked for.
    """
    for wait in _SECRET_WAITS:
        try:
            return await fetch()
        except Unavailable as fault:
            structlog.get_logger().warning("secret not there yet", reason=str(fault), again_in_seconds=wait)
            await asyncio.sleep(wait)
    return await fetch()


@asynccontextmanager
async def protection(server: RelayServer, house: House) -> AsyncIterator[None]:
    """Keep the task from being ended by scale-in while it is busy, where there is an ECS agent to ask."""

    def look() -> Situation:
        longest = 60.0 * house.settings.relay_protect_max_minutes
        return Situation(time.monotonic(), server.busy, server.stopping.is_set(), longest)

    if not house.settings.ecs_agent_uri:
        yield
        return
    async with AsyncExitStack() as stack:
        agent = await stack.enter_async_context(TaskProtection.opened(house.settings.ecs_agent_uri))
        shown = house.metrics.protected.set
        await stack.enter_async_context(Protection(agent, look, server.stopping, shown).running())
        yield


def reload(house: House) -> Reload[RelaySettings]:
    """Make what takes new settings into the house."""

    def take(settings: RelaySettings) -> None:
        house.settings = settings
        house.guard.rules = rules(settings)
        log.set_level(settings.log_level)

    return Reload(partial(read, RelaySettings), house.settings, take, house.metrics.reloads)


def rules(settings: RelaySettings) -> Rules:
    """What the operator has set for connections and sign-ins."""
    return Rules(settings.relay_connections_per_minute, settings.relay_exempt_networks)


def obey(orders: Mapping[signal.Signals, Callable[[], None]]) -> None:
    """Do for every signal what is to be done, until the process ends: on the way out, too, a signal kills nothing."""
    for number, order in orders.items():
        asyncio.get_running_loop().add_signal_handler(number, order)


def expiry(certificates: Certificates) -> float:
    """Unix time at which the first of the certificates served now expires."""
    return certificates.expires_at.timestamp()


def days_left(certificates: Certificates) -> float:
    """Days until the first of the certificates served now expires."""
    return (certificates.expires_at - now()) / timedelta(days=1)


def remarks(house: House) -> dict[str, object]:
    """What /readyz says besides: for want of a certificate the relay is ready, but not as it should be."""
    served = house.certificates
    kind = "bootstrap" if served.bootstrap else "issued"
    return {"certificate": kind, "certificate_days_left": round(days_left(served), 1)}


if __name__ == "__main__":
    sys.exit(main())
