"""What processes share through the cache: buckets, allowances, claims and records.

As in `backing.cache`, each command has one key, so that a pipeline may hold any of them, in a cluster too.
"""

from typing import Final
from uuid import UUID

from backing.cache import PREFIX, Command

_LEASE: Final = """
local now, rate, burst = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local bucket = redis.call('HMGET', KEYS[1], 'left', 'at')
local at = tonumber(bucket[2]) or now
local left = math.min(burst, (tonumber(bucket[1]) or burst) + math.max(now - at, 0) * rate)
local given = math.min(tonumber(ARGV[4]), left)
redis.call('HSET', KEYS[1], 'left', math.min(burst, left - given), 'at', math.max(at, now))
redis.call('EXPIRE', KEYS[1], math.min(math.ceil(burst / rate), 86400) + 60)
return string.format('%.6f', given)"""
_DRAW: Final = """
local mine = tonumber(ARGV[2])
local before = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0')
local others = tonumber(redis.call('HGET', KEYS[1], 'total') or '0') - before
local given = math.max(math.min(tonumber(ARGV[3]), tonumber(ARGV[4]) - others - mine), 0)
redis.call('HSET', KEYS[1], ARGV[1], mine + given, 'total', others + mine + given)
redis.call('EXPIREAT', KEYS[1], ARGV[5])
return {given, others + mine + given}"""
_RELEASE: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end
return 0"""
_NOTE: Final = """
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return redis.call('EXPIRE', KEYS[1], ARGV[3])"""


def lease(key: str, rate: float, burst: float, wanted: float, now: float) -> Command:
    """Take tokens out of a bucket that fills by itself; answered with how many, as text.

    Args:
        key: the bucket; one that is not known is full.
        rate: tokens that come in each second.
        burst: most tokens in it.
        wanted: most tokens to take; fewer than none are given back.
        now: Unix time; one before another's counts as that one.
    """
    return ("EVAL", _LEASE, 1, PREFIX + key, repr(now), repr(rate), repr(burst), repr(wanted))


def draw(key: str, source: str, mine: int, wanted: int, cap: int, until: int) -> Command:
    """Draw on a common allowance; answered with how much was given, and what all sources have drawn by now.

    What was drawn before is told as a whole, so that it may be repeated after an answer that was lost, heals a cache
    that forgot, and gives back what is not needed.

    Args:
        key: the allowance.
        source: who draws; one that begins at 0 again takes another name.
        mine: all that it has drawn, and keeps.
        wanted: most to draw now.
        cap: most that all together may have.
        until: the Unix time when it is forgotten.
    """
    return ("EVAL", _DRAW, 1, PREFIX + key, "of:" + source, mine, wanted, cap, until)


def claim(key: str, owner: str, seconds: int) -> Command:
    """Be the only one for some time; answered with None if another one is."""
    return ("SET", PREFIX + key, owner, "NX", "EX", seconds)


def release(key: str, owner: str) -> Command:
    """End a claim, if it is still this owner's."""
    return ("EVAL", _RELEASE, 1, PREFIX + key, owner)


def note(key: str, field: str, value: bytes, seconds: int) -> Command:
    """Write a field of a record that is kept for some time from now."""
    return ("EVAL", _NOTE, 1, PREFIX + key, field, value, seconds)


def notes(key: str) -> Command:
    """Read a record; answered with a dict of bytes, empty if there is none."""
    return ("HGETALL", PREFIX + key)


def provider_record(provider_id: UUID) -> str:
    """The key under which workers leave word about a provider; the words are those of `mail.control_notes`."""
    return f"control:{provider_id}"
