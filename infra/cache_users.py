"""What each service may do in the cache: exactly the commands that its code sends (a test derives them from it)."""

from collections.abc import Mapping
from typing import Final

# Where every key and channel of the product begins; the services know it as `backing.cache.PREFIX`.
PREFIX: Final = "smtp-proxy:"

# What the client library asks any cluster for. Signing in needs no permission.
_CONNECT: Final = ("cluster|slots", "command")
_HEAR: Final = ("publish", "subscribe")

COMMANDS: Final[Mapping[str, tuple[str, ...]]] = {
    # Failed sign-ins, quotas, transcripts; what scripts call is asked for like what is called from outside.
    "relay": ("eval", "expire", "expireat", "get", "hget", "hincrby", "hset", "incrby", "set", "ttl", *_HEAR),
    # Rate budgets, circuit breakers, claims.
    "worker": ("del", "eval", "expire", "expireat", "get", "hget", "hgetall", "hmget", "hset", "set", *_HEAR),
    # Request rates, wrong keys, quotas, health of providers, change notices; transcripts of the operator's command.
    "web": ("eval", "expire", "expireat", "get", "hget", "hgetall", "hincrby", "hset", "incrby", "ttl", *_HEAR),
}


def access_strings() -> Mapping[str, str]:
    """Returns the access string of each user by service. Source: AWS, "Role-Based Access Control (RBAC)"."""
    return {service: access_string(commands) for service, commands in COMMANDS.items()}


def access_string(commands: tuple[str, ...]) -> str:
    """Returns what lets a user call these commands, for keys and channels of the product."""
    allowed = " ".join(f"+{command}" for command in sorted({*commands, *_CONNECT}))
    return f"on ~{PREFIX}* &{PREFIX}* -@all {allowed}"
