"""Connections to hosts that accounts name: to public addresses only, checked where the connection is made."""

import asyncio
import socket
from collections.abc import Sequence
from typing import Any, Final

from aiohttp.abc import AbstractResolver, ResolveResult

from mail.endpoints import Network, may_connect

# What the operator names the networks by that accounts may reach beside the public internet.
PROVIDERS: Final = "PROVIDER_ALLOWED_NETWORKS"
WEBHOOKS: Final = "WEBHOOK_ALLOWED_NETWORKS"


class Forbidden(OSError):  # noqa: N818 - a fact about an address
    """A name or an address leads to where accounts may not send us."""


class Guard(AbstractResolver):
    """Resolves names to addresses that may be connected to.

    The connection is made to the addresses that were looked at here, so a name that says something else later gains
    nothing. A name with a forbidden address among its addresses is refused whole.

    Args:
        resolver: asks the DNS.
        allowed: networks that are allowed beside the public internet.
        setting: the one that names them.
    """

    def __init__(self, resolver: AbstractResolver, allowed: Sequence[Network], setting: str) -> None:
        self._resolver = resolver
        self._allowed = allowed
        self._setting = setting

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Give the addresses of a name; raises `Forbidden`."""
        found = await self._resolver.resolve(host, port, family)
        for each in found:
            check(each["host"], self._allowed, self._setting)
        return found

    async def close(self) -> None:
        """Close what asks the DNS."""
        await self._resolver.close()

    def socket(self, info: tuple[Any, ...]) -> socket.socket:
        """Make the socket of a connection; an address in a URL comes here without having been resolved."""
        family, kind, protocol, _, address = info
        check(address[0], self._allowed, self._setting)
        return socket.socket(family, kind, protocol)


async def addresses(host: str, port: int, allowed: Sequence[Network], setting: str) -> list[str]:
    """Give the addresses of a host, in the order in which they are to be tried.

    Args:
        host: name or address.
        port: TCP port.
        allowed: networks that are allowed beside the public internet.
        setting: the one that names them.

    Raises:
        Forbidden: one of them is not allowed.
        OSError: the DNS knows none.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    several = list(dict.fromkeys(str(address[0]) for _, _, _, _, address in found))
    for each in several:
        check(each, allowed, setting)
    return several


def check(address: str, allowed: Sequence[Network], setting: str) -> None:
    """Refuse an address; raises `Forbidden`."""
    if not may_connect(address, allowed):
        raise Forbidden(f"{address} is not an address on the public internet, nor within {setting}")


def forbidden(fault: BaseException | None) -> Forbidden | None:
    """Find the address that is not allowed in a fault, whatever libraries wrapped it into."""
    while fault is not None:
        if isinstance(fault, Forbidden):
            return fault
        fault = getattr(fault, "os_error", None) or fault.__cause__ or fault.__context__
    return None
