"""The PROXY protocol, versions 1 and 2: a load balancer says who the client is. Pure: octets in, a header out.

Source of the formats: HAProxy, doc/proxy-protocol.txt.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final, Literal, NamedTuple

_V1: Final = b"PROXY "
_V2: Final = b"\r\n\r\n\0\r\nQUIT\n"
# The longest line of version 1, its CRLF included.
MAX_LINE: Final = 107
# Most octets after the fixed part of version 2; load balancers send well below 1 KiB.
MAX_REST: Final = 4096
_MAX_PORT: Final = 65_535
_WORDS: Final = 6
_KINDS: Final[Mapping[str, type[IPv4Address] | type[IPv6Address]]] = {"TCP4": IPv4Address, "TCP6": IPv6Address}

_FIXED: Final = struct.Struct("!12sBBH")
_VERSION: Final = 2
_LOCAL, _PROXY = 0, 1
# Address family and transport in one octet: the layout of the addresses. Others carry none that we could use.
_LAYOUTS: Final = {0x11: struct.Struct("!4s4sHH"), 0x21: struct.Struct("!16s16sHH")}
_TLV: Final = struct.Struct("!BH")
_CHECKSUM: Final = 0x03
_CHECKSUM_SIZE: Final = 4


class Malformed(Exception):  # noqa: N818 - a fact about octets
    """The octets are no PROXY header; says why."""


class Endpoint(NamedTuple):
    """One end of a TCP connection."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Header:
    """What a load balancer says of a connection.

    Attributes:
        command: LOCAL where the balancer itself is the client: a health check.
        source: the client, None where it is not said.
        destination: where the client connected to.
        tlvs: type and value of what was said besides.
        size: octets of the header.
    """

    command: Literal["PROXY", "LOCAL"]
    source: Endpoint | None
    destination: Endpoint | None
    tlvs: tuple[tuple[int, bytes], ...]
    size: int


def parse(octets: bytes) -> Header | None:
    """Read the header that a connection begins with; None while more of it is to come.

    Raises:
        Malformed: there is none, or it is broken.
    """
    if octets.startswith(_V1):
        return _line(octets)
    if octets.startswith(_V2):
        return _binary(octets)
    if _V1.startswith(octets) or _V2.startswith(octets):
        return None
    raise Malformed("no PROXY header")


class TrustedNetworks:
    """Where load balancers are: only what comes from there begins with a header.

    Args:
        networks: their addresses; none means that no connection begins with a header.
    """

    def __init__(self, networks: Sequence[IPv4Network | IPv6Network]) -> None:
        self._networks = tuple(networks)

    def __contains__(self, address: object) -> bool:
        if not self._networks or not isinstance(address, str):
            return False
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        plain = _unmapped(parsed)
        return any(plain in network for network in self._networks)


def _unmapped(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    return getattr(address, "ipv4_mapped", None) or address


def _line(octets: bytes) -> Header | None:
    end = octets.find(b"\r\n", 0, MAX_LINE)
    if end < 0:
        if len(octets) >= MAX_LINE:
            raise Malformed("version 1 without an end")
        return None
    words = octets[:end].decode("ascii", "replace").split(" ")
    if words[1] == "UNKNOWN":
        return Header("PROXY", None, None, (), end + 2)
    kind = _KINDS.get(words[1])
    if kind is None or len(words) != _WORDS:
        raise Malformed("version 1 with other words than it has")
    try:
        addresses = [str(_unmapped(kind(word))) for word in words[2:4] if "%" not in word]
        source, destination = map(Endpoint, addresses, [_port(word) for word in words[4:]])
    except ValueError:
        raise Malformed("version 1 with a bad address or port") from None
    return Header("PROXY", source, destination, (), end + 2)


def _port(word: str) -> int:
    if not word.isdecimal() or not word.isascii() or str(port := int(word[:6])) != word or port > _MAX_PORT:
        raise ValueError(word)
    return port


def _binary(octets: bytes) -> Header | None:
    if len(octets) < _FIXED.size:
        return None
    _, what, kind, length = _FIXED.unpack_from(octets)
    version, command = divmod(what, 16)
    if version != _VERSION or command not in (_LOCAL, _PROXY):
        raise Malformed("version 2 with another version or command")
    if length > MAX_REST:
        raise Malformed("version 2 that is too long")
    size = _FIXED.size + length
    if len(octets) < size:
        return None
    layout = _LAYOUTS.get(kind)
    if command == _LOCAL or layout is None:
        return Header("LOCAL" if command == _LOCAL else "PROXY", None, None, (), size)
    if length < layout.size:
        raise Malformed("version 2 without its addresses")
    source, destination, source_port, destination_port = layout.unpack_from(octets, _FIXED.size)
    return Header(
        "PROXY",
        Endpoint(_address(source), source_port),
        Endpoint(_address(destination), destination_port),
        _tlvs(octets[:size], _FIXED.size + layout.size),
        size,
    )


def _address(packed: bytes) -> str:
    return str(_unmapped(ip_address(packed)))


def _tlvs(header: bytes, start: int) -> tuple[tuple[int, bytes], ...]:
    found: list[tuple[int, bytes]] = []
    while start < len(header):
        if len(header) - start < _TLV.size:
            raise Malformed("version 2 with a broken TLV")
        kind, length = _TLV.unpack_from(header, start)
        start += _TLV.size
        if len(header) - start < length:
            raise Malformed("version 2 with a broken TLV")
        value = header[start : start + length]
        if kind == _CHECKSUM:
            _check(header, start, value)
        found.append((kind, value))
        start += length
    return tuple(found)


def _check(header: bytes, start: int, checksum: bytes) -> None:
    """Compare the checksum with that of the header in which it is zero."""
    blank = header[:start] + bytes(len(checksum)) + header[start + len(checksum) :]
    if len(checksum) != _CHECKSUM_SIZE or crc32c(blank) != int.from_bytes(checksum, "big"):
        raise Malformed("version 2 with a wrong checksum")


def _crc_of(octet: int) -> int:
    for _ in range(8):
        octet = (octet >> 1) ^ (0x82F63B78 if octet & 1 else 0)
    return octet


_CRC_TABLE: Final = tuple(_crc_of(octet) for octet in range(256))


def crc32c(octets: bytes) -> int:
    """CRC-32C of some octets (RFC 9260, appendix A: the Castagnoli polynomial)."""
    crc = 0xFFFFFFFF
    for octet in octets:
        crc = (crc >> 8) ^ _CRC_TABLE[(crc ^ octet) & 0xFF]
    return crc ^ 0xFFFFFFFF
