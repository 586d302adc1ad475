"""The shared cache (Valkey): never authoritative, never waited for long, and free of charge while it is away."""

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import structlog
from prometheus_client import Gauge
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.connection import Connection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.credentials import CredentialProvider
from redis.exceptions import ClusterError, ReadOnlyError, RedisClusterException, ResponseError
from redis.exceptions import ConnectionError as Disconnected
from typing_extensions import override

from backing.aws import Aws
from backing.settings import CacheAddress
from mail.errors import Unavailable

# Every key and channel of ours begins with it, so that a cache's user can be kept to them.
PREFIX: Final = "smtp-proxy:"

SOCKET_SECONDS: Final = 0.25
CALL_SECONDS: Final = 0.25
# A cluster is asked for its nodes and commands first, and a role for its credentials.
CONNECT_SECONDS: Final = 2.0
# Calls at a time; each takes well below a millisecond, so the others wait less than for a connection of their own.
_CALLS: Final = 16

# Refusals after which the primary has to be looked for; after others the server is as good as before.
_LOST: Final = (ReadOnlyError, ClusterError, RedisClusterException)

# One command each, of one key each: thus a pipeline may hold any of them, and a cluster needs no hash tags.
_ADD: Final = """
local count = redis.call('INCRBY', KEYS[1], ARGV[1])
if redis.call('TTL', KEYS[1]) < 0 then redis.call('EXPIRE', KEYS[1], ARGV[2]) end
return count"""
_TALLY: Final = """
local before = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0')
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
local total = redis.call('HINCRBY', KEYS[1], 'total', ARGV[2] - before)
redis.call('EXPIREAT', KEYS[1], ARGV[3])
return total"""

Command = tuple[str | bytes | int, ...]
_Client = Redis | RedisCluster


def get(key: str) -> Command:
    """Read a value; answered with bytes or None."""
    return ("GET", PREFIX + key)


def put(key: str, value: bytes, seconds: int) -> Command:
    """Keep a value for some time."""
    return ("SET", PREFIX + key, value, "EX", seconds)


def add(key: str, count: int, seconds: int) -> Command:
    """Add to a counter that ends `seconds` after its first use; answered with its value."""
    return ("EVAL", _ADD, 1, PREFIX + key, count, seconds)


def tally(key: str, source: str, count: int, until: int) -> Command:
    """Say what one source has counted in all; answered with the total of all sources.

    It may be repeated, after an answer that was lost as after a cache that forgot: the total is the same.

    Args:
        key: what is counted.
        source: who counted; one that begins at 0 again takes another name.
        count: all it has counted so far.
        until: the Unix time when it is forgotten.
    """
    return ("EVAL", _TALLY, 1, PREFIX + key, "of:" + source, count, until)


def publish(channel: str, data: bytes) -> Command:
    """Tell all who listen now."""
    return ("PUBLISH", PREFIX + channel, data)


@dataclass(frozen=True, slots=True)
class Pace:
    """How a cache that is away is looked for, in seconds.

    Attributes:
        first: the wait before the first attempt; each further one is twice as long.
        longest: the longest wait.
        pulse: how often one that is there is asked whether it still is.
    """

    first: float = 1.0
    longest: float = 30.0
    pulse: float = 5.0


class Cache:
    """Asks the cache, in bounded time; while it is away every call fails at once, and one task looks for it.

    Args:
        settings: where it is; without an address it is always away.
        aws: signs in with IAM, where the settings say so.
        up: shows whether it answers.
        pace: how it is looked for.
    """

    def __init__(self, settings: CacheAddress, aws: Aws, up: Gauge | None = None, pace: Pace | None = None) -> None:
        self._settings = settings
        self._up = up
        self._pace = pace or Pace()
        self._sign_in = _IamSignIn(settings, aws) if settings.cache_iam_user else None
        self._client: _Client | None = None
        self._lost: list[_Client] = []
        self._away = asyncio.Event()
        self._free = asyncio.Semaphore(_CALLS)
        self._said: bool | None = None

    @property
    def configured(self) -> bool:
        """Whether there is one at all."""
        return bool(self._settings.cache_url)

    @property
    def up(self) -> bool:
        """Whether it answered when it was last asked."""
        return self._client is not None

    @asynccontextmanager
    async def opened(self) -> AsyncIterator["Cache"]:
        """Keep a connection, as far as there is something to connect to, until the block ends."""
        if not self.configured:
            yield self
            return
        await self._connect()
        try:
            async with asyncio.TaskGroup() as tasks:
                keeper = tasks.create_task(self._keep())
                try:
                    yield self
                finally:
                    keeper.cancel()
        finally:
            if self._client:
                self._lost.append(self._client)
                self._client = None
            await self._close_lost()

    async def ask(self, commands: Sequence[Command], seconds: float = CALL_SECONDS) -> list[Any]:
        """Send commands in one go and give their answers; each is for itself, none undoes another.

        Raises:
            Unavailable: the cache is away, did not answer in `seconds`, or refused; what was sent may have been done.
        """
        client = self._client
        if client is None:
            raise Unavailable("cache: away")
        try:
            async with asyncio.timeout(seconds), self._free:
                return await _send(client, commands)
        except Exception as fault:  # the edge to a client library, which fails in more ways than it says
            if not isinstance(fault, ResponseError) or isinstance(fault, _LOST):
                self._lose(client, fault)
            raise Unavailable(f"cache: {_words(fault)}") from fault
        finally:
            if client is not self._client:
                # It was lost and closed meanwhile, and this call may have connected it again.
                self._lost.append(client)

    @asynccontextmanager
    async def subscription(self, channel: str) -> AsyncIterator["Subscription"]:
        """Listen to a channel, over a connection of its own; any node of a cluster hears all channels.

        Raises:
            Unavailable: the cache is away.
        """
        if not self.configured:
            raise Unavailable("cache: away")
        connection = self._connection()
        try:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    await connection.connect()  # type: ignore[no-untyped-call]  # redis has no types here
                    await connection.send_command("SUBSCRIBE", PREFIX + channel)
                    await connection.read_response()
            except Exception as fault:
                raise Unavailable(f"cache: {_words(fault)}") from fault
            yield Subscription(connection)
        finally:
            await connection.disconnect(nowait=True)

    async def _keep(self) -> None:
        """Look whether the cache is still there, or there again."""
        wait = self._pace.first
        while True:
            await self._close_lost()
            if self._client:
                wait = self._pace.first
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._pace.pulse):
                        await self._away.wait()
                with suppress(Unavailable):
                    await self.ask([get("pulse")])
            else:
                await asyncio.sleep(wait)
                wait = min(2 * wait, self._pace.longest)
                await self._connect()

    async def _connect(self) -> None:
        client = self._make()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                if isinstance(client, RedisCluster):
                    await client.initialize()
                await _send(client, [get("pulse")])
        except Exception as fault:  # noqa: BLE001 - as in ask: whatever it is, the cache is away and looked for again
            self._lost.append(client)
            self._say(up=False, reason=_words(fault))
        except asyncio.CancelledError:
            self._lost.append(client)
            raise
        else:
            self._client = client
            self._away.clear()
            self._say(up=True)

    def _lose(self, client: _Client, fault: BaseException) -> None:
        if client is self._client:
            self._client = None
            self._lost.append(client)
            self._away.set()
            self._say(up=False, reason=_words(fault))

    def _say(self, *, up: bool, reason: str = "") -> None:
        """Show how it is; a log line only where that has changed."""
        if self._up:
            self._up.set(up)
        if up is self._said:
            return
        self._said = up
        if up:
            structlog.get_logger().info("cache answers")
        else:
            structlog.get_logger().warning("cache away", reason=reason)

    async def _close_lost(self) -> None:
        while self._lost:
            client = self._lost[0]
            with suppress(Exception):  # it is gone either way
                async with asyncio.timeout(SOCKET_SECONDS):
                    await client.aclose()
            # Not before: whoever is cancelled meanwhile leaves it to the next one.
            self._lost.remove(client)

    def _options(self) -> dict[str, Any]:
        # The time is up once, not once for each retry of each layer: a caller of ours has better things to do.
        return {
            # Every call of ours has a bound. The library's own is made with `asyncio.wait_for`, which on Python 3.11
            # loses a cancellation that comes with its result, and whoever was cancelled would go on for ever.
            "socket_timeout": None,
            # The handshake of TLS and signing in take several round trips, and happen out of the way of callers.
            "socket_connect_timeout": CONNECT_SECONDS,
            "retry": Retry(NoBackoff(), 0),
            "credential_provider": self._sign_in,
            "protocol": 2,
            "driver_info": None,
        }

    def _make(self) -> _Client:
        url, options = self._settings.cache_url, self._options()
        if self._settings.cache_cluster:
            # The address of a cluster's configuration stays; those of its nodes change.
            return RedisCluster.from_url(url, dynamic_startup_nodes=False, require_full_coverage=False, **options)
        return Redis.from_url(url, **options)

    def _connection(self) -> Connection:
        chosen: dict[str, Any] = {**parse_url(self._settings.cache_url)}
        kind: type[Connection] = chosen.pop("connection_class", Connection)
        return kind(**self._options() | chosen)


class Subscription:
    """What comes in on a channel.

    A peer that vanished is found out by TCP keep-alive, within a minute.

    Args:
        connection: one that has subscribed.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def next(self) -> bytes:
        """Wait for the next message.

        Raises:
            Unavailable: the connection is lost, and with it perhaps messages.
        """
        while True:
            try:
                reply = await self._connection.read_response(timeout=math.inf)
            except Exception as fault:
                raise Unavailable(f"cache: {_words(fault)}") from fault
            if reply[0] == b"message":
                return bytes(reply[2])


class _IamSignIn(CredentialProvider):
    """Gives each new connection a token of its own."""

    def __init__(self, settings: CacheAddress, aws: Aws) -> None:
        self._settings = settings
        self._aws = aws

    @override
    async def get_credentials_async(self) -> tuple[str, str]:
        user, name = self._settings.cache_iam_user, self._settings.cache_name
        serverless = ".serverless." in self._settings.cache_url
        try:
            return user, await self._aws.cache_token(user, name, serverless=serverless)
        except Unavailable as fault:
            raise Disconnected(str(fault)) from fault


async def _send(client: _Client, commands: Sequence[Command]) -> list[Any]:
    async with client.pipeline(transaction=False) as pipeline:
        for command in commands:
            pipeline.execute_command(*command)
        return list(await pipeline.execute())


def _words(fault: BaseException) -> str:
    return f"{type(fault).__name__}: {fault}".rstrip(": ")
