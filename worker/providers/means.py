"""What the providers of one worker share."""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import Final

import aiohttp

from backing.aws import Aws
from mail.endpoints import Network

ANYWHERE: Final = (ip_network("0.0.0.0/0"), ip_network("::/0"))


@dataclass(frozen=True, slots=True)
class Means:
    """What a provider may be built with beside its row.

    Attributes:
        aws: the worker's own credentials.
        http: carries requests to where rows say; closed by its owner, after the providers.
        own: the same for AWS where we say where it is, which may be an endpoint within our own network.
        allowed: networks that providers may be in beside the public internet.
        context: what TLS verifies peers with; the system's authorities if None.
    """

    aws: Aws
    http: aiohttp.ClientSession
    own: aiohttp.ClientSession
    allowed: Sequence[Network] = ()
    context: ssl.SSLContext | None = None

    def at_ours(self) -> "Means":
        """Give the means for what is where we say, and no row."""
        return replace(self, http=self.own, allowed=ANYWHERE)
