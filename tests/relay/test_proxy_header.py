"""Reading PROXY headers: what is one, what is not yet one, what never will be."""

import struct
from ipaddress import IPv4Address, IPv6Address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.wire.proxy import MAX_LINE, MAX_REST, Endpoint, Header, Malformed, TrustedNetworks, crc32c, parse

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
PORTS = st.integers(0, 65_535)
PAIRS = st.one_of(
    st.tuples(st.ip_addresses(v=4), st.ip_addresses(v=4)),
    st.tuples(st.ip_addresses(v=6), st.ip_addresses(v=6)),
)
TLVS = st.lists(st.tuples(st.integers(4, 255), st.binary(max_size=40)), max_size=5)


def plain(address: IPv4Address | IPv6Address) -> str:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return str(mapped or address)


def version_1(pair: tuple[IPv4Address | IPv6Address, ...], ports: tuple[int, int]) -> bytes:
    return f"PROXY TCP{pair[0].version} {pair[0]} {pair[1]} {ports[0]} {ports[1]}\r\n".encode()


def tlv(kind: int, value: bytes) -> bytes:
    return struct.pack("!BH", kind, len(value)) + value


def version_2(rest: bytes, *, what: int = 0x21, kind: int = 0x11) -> bytes:
    return SIGNATURE + struct.pack("!BBH", what, kind, len(rest)) + rest


def from_to(pair: tuple[IPv4Address | IPv6Address, ...], ports: tuple[int, int]) -> tuple[int, bytes]:
    kind = 0x11 if pair[0].version == 4 else 0x21
    return kind, pair[0].packed + pair[1].packed + struct.pack("!HH", *ports)


@given(PAIRS, st.tuples(PORTS, PORTS), st.binary(max_size=30))
def test_a_line(pair: tuple[IPv4Address, IPv4Address], ports: tuple[int, int], rest: bytes) -> None:
    line = version_1(pair, ports)
    whole = Header("PROXY", Endpoint(plain(pair[0]), ports[0]), Endpoint(plain(pair[1]), ports[1]), (), len(line))
    assert parse(line + rest) == whole
    assert [parse(line[:n]) for n in range(len(line))] == [None] * len(line)


@given(PAIRS, st.tuples(PORTS, PORTS), TLVS, st.booleans(), st.binary(max_size=30))
def test_a_binary_header(
    pair: tuple[IPv4Address, IPv4Address],
    ports: tuple[int, int],
    tlvs: list[tuple[int, bytes]],
    checked: bool,  # noqa: FBT001
    rest: bytes,
) -> None:
    kind, block = from_to(pair, ports)
    block += b"".join(tlv(*one) for one in tlvs)
    header = version_2(block, kind=kind)
    if checked:
        header = version_2(block + tlv(3, bytes(4)), kind=kind)
        checksum = crc32c(header).to_bytes(4, "big")
        header = header[:-4] + checksum
        tlvs = [*tlvs, (3, checksum)]
    source, destination = (Endpoint(plain(address), port) for address, port in zip(pair, ports, strict=True))
    assert parse(header + rest) == Header("PROXY", source, destination, tuple(tlvs), len(header))
    assert [parse(header[:n]) for n in range(len(header))] == [None] * len(header)


@pytest.mark.parametrize(
    ("octets", "command"),
    [
        (b"PROXY UNKNOWN\r\n", "PROXY"),
        (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", "PROXY"),
        (version_2(b"", what=0x20, kind=0), "LOCAL"),
        (version_2(b"\1\2\3\4\5\6\7\x08\0\x19\0\x19", what=0x20), "LOCAL"),
        (version_2(b"", kind=0), "PROXY"),
        (version_2(b"x" * 216, kind=0x31), "PROXY"),
        (version_2(b"x" * 12, kind=0x12), "PROXY"),
        (version_2(b"x" * MAX_REST, kind=0x55), "PROXY"),
    ],
)
def test_a_header_may_have_no_address(octets: bytes, command: str) -> None:
    header = parse(octets + b"EHLO")
    assert header
    assert (header.command, header.source, header.size) == (command, None, len(octets))


ADDRESSES = bytes([192, 0, 2, 1, 192, 0, 2, 2, 0, 25, 0, 26])


@pytest.mark.parametrize(
    "octets",
    [
        b"EHLO client.example\r\n",
        b"\x16\x03\x01",
        b"PROXZ",
        b"PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY \r\n",
        b"PROXY TCP4\r\n",
        b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n",
        b"PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n",
        b"PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n",
        b"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
        b"PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n",
        b"PROXY TCP6 fe80::1%eth0 fe80::2%eth0 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n",
        b"PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n",
        "PROXY TCP4 192.0.2.1 192.0.2.2 \u0661 2\r\n".encode(),
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n" + b"x" * MAX_LINE,
        b"PROXY UNKNOWN " + b"x" * MAX_LINE,
        version_2(ADDRESSES, what=0x11),
        version_2(ADDRESSES, what=0x22),
        version_2(ADDRESSES[:-1]),
        version_2(ADDRESSES, kind=0x21),
        version_2(b"x" * (MAX_REST + 1))[:16],
        version_2(ADDRESSES + b"\4\0"),
        version_2(ADDRESSES + b"\4\0\2x"),
        version_2(ADDRESSES + tlv(3, b"abcd")),
        version_2(ADDRESSES + tlv(3, b"abc")),
    ],
)
def test_what_is_no_header(octets: bytes) -> None:
    with pytest.raises(Malformed):
        parse(octets)


@given(st.binary(max_size=200), st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11"]))
def test_any_octets_are_a_header_or_need_more_or_are_malformed(octets: bytes, start: bytes) -> None:
    whole = start + octets
    try:
        header = parse(whole)
    except Malformed:
        return
    assert len(whole) < 16 + MAX_REST if header is None else 0 < header.size <= len(whole)


def test_a_checksum_is_that_of_the_standard() -> None:
    # The check value of CRC-32C that every catalogue of checksums gives.
    assert crc32c(b"123456789") == 0xE3069283


def test_networks() -> None:
    networks = TrustedNetworks([ip_network("10.0.0.0/8"), ip_network("2001:db8::/32")])
    inside = ["10.1.2.3", "::ffff:10.1.2.3", "2001:db8::1"]
    outside = ["11.0.0.1", "::1", "2001:db9::1", "unknown", "", None]
    assert [address in networks for address in inside] == [True] * 3
    assert [address in networks for address in outside] == [False] * 6
    assert "10.1.2.3" not in TrustedNetworks([])
