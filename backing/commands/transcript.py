"""`transcript`: what is said in SMTP sessions from now on."""

import argparse
import sys

from backing.admin.desk import AdminError
from backing.aws import Aws
from backing.cache import Cache
from backing.commands.reading import network
from backing.overhear import Demand, overhear
from backing.settings import CacheSettings, read
from mail.errors import Unavailable


def arguments(parser: argparse.ArgumentParser) -> None:
    """Say what `transcript` takes."""
    parser.add_argument("--account", metavar="NAME", help="sessions of this account")
    parser.add_argument("--network", type=network, metavar="CIDR", help="sessions from this network or address")


async def run(asked: argparse.Namespace) -> str:
    """Write a transcript until the operator has enough.

    Raises:
        ValueError: it names neither account nor network.
        AdminError: there is no cache.
        Unavailable: the cache went away.
    """
    wanted, settings = _demand(asked), read(CacheSettings)
    if not settings.cache_url:
        raise AdminError("CACHE_URL names no cache; a transcript comes through it")

    def write(line: str) -> None:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()

    away: Unavailable | None = None
    async with Cache(settings, Aws(settings.aws_region)).opened() as cache:
        # Raised outside of the block, which has tasks of its own and would raise a group.
        try:
            await overhear(cache, wanted, write)
        except Unavailable as fault:
            away = fault
    if away:
        raise away
    return "stopped"


def _demand(asked: argparse.Namespace) -> Demand:
    if asked.account is None and asked.network is None:
        raise ValueError("transcript: give --account NAME, --network CIDR, or both")
    return Demand(asked.account, str(asked.network) if asked.network else None)
