"""Reaching a provider's machine step by step, as a check does: its addresses, a connection, TLS."""

import asyncio
import ssl
from collections.abc import Sequence
from typing import Any, Final

from cryptography import x509
from yarl import URL

from mail.endpoints import Network
from worker.guard import PROVIDERS, addresses
from worker.providers.trail import Stage, Trail

_SHOWN: Final = 4
_HTTPS: Final = "https"


async def resolved(host: str, port: int, allowed: Sequence[Network], trail: Trail) -> list[str]:
    """Find the addresses of a host.

    Args:
        host: name or address.
        port: TCP port.
        allowed: networks that it may be in beside the public internet.
        trail: where that is noted.

    Raises:
        OSError: it has none, or one that is not allowed.
    """
    with trail.step(Stage.RESOLVE) as said:
        found = await addresses(host, port, allowed, PROVIDERS)
        said.append(f"{host} is {some(found)}")
    return found


async def reached(url: URL, allowed: Sequence[Network], context: ssl.SSLContext | None, trail: Trail) -> None:
    """Connect to where a URL leads, and hang up.

    Args:
        url: of a provider's API.
        allowed: networks that it may be in beside the public internet.
        context: what TLS verifies it with; the system's authorities if None.
        trail: where that is noted.

    Raises:
        OSError: it cannot be reached; an `SSLError` is one.
    """
    host, port = url.host or "", url.port or 443
    found = await resolved(host, port, allowed, trail)
    with trail.step(Stage.CONNECT) as said:
        # One of those that were looked at: the name is not asked for again.
        _, writer = await asyncio.open_connection(found[0], port)
        said.append(f"connected to {place(writer.get_extra_info('peername'))}")
    try:
        if url.scheme == _HTTPS:
            with trail.step(Stage.TLS) as said:
                await writer.start_tls(context or ssl.create_default_context(), server_hostname=host)
                said.extend(tls_words(writer.get_extra_info("ssl_object")))
    finally:
        writer.close()


def place(peer: Any) -> str:
    """Write the address and port of a peer, as the socket names it; that knows none once it has closed."""
    if not peer:
        return "a peer that has gone"
    host, port = peer[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def tls_words(tls: ssl.SSLObject) -> list[str]:
    """Say which TLS is spoken, and whose certificate the peer has shown."""
    der = tls.getpeercert(binary_form=True)
    return [str(tls.version()), *(_certificate_words(der) if der else [])]


def _certificate_words(der: bytes) -> list[str]:
    try:
        certificate = x509.load_der_x509_certificate(der)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        addresses = map(str, names.get_values_for_type(x509.IPAddress))
        shown = some([*names.get_values_for_type(x509.DNSName), *addresses])
        until = certificate.not_valid_after_utc
    except x509.ExtensionNotFound:
        return ["certificate without names"]
    except ValueError:
        return ["certificate that cannot be read"]  # what verifies peers may take more than this library
    return [f"certificate for {shown}", f"valid until {until:%Y-%m-%d}"]


def some(words: list[str]) -> str:
    """Write the first few."""
    more = f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""
    return ", ".join(words[:_SHOWN]) + more
