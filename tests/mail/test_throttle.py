"""The rules of throttling, apart from where counts are kept."""

from ipaddress import IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail.errors import Reply
from mail.throttle import (
    Attempt,
    Failures,
    Window,
    address_holds,
    source,
    too_many_connections,
    too_many_failures,
    username_holds,
)

moments = st.floats(min_value=0, max_value=4e9)
lengths = st.sampled_from([60, 600])
counts = st.builds(Failures, *[st.integers(0, 200)] * 3)


@given(moments, lengths)
def test_a_moment_is_in_its_window_which_ends_after_it(now: float, seconds: int) -> None:
    window = Window.at(now, seconds)
    assert window.start <= now < window.start + seconds
    assert window.start % seconds == 0
    assert 1 <= window.wait(now) <= seconds
    assert Window.at(now + window.wait(now), seconds) == Window(window.start + seconds, seconds)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_counts_for_itself_in_any_clothes(address: object) -> None:
    assert source(str(address)) == source(f"::ffff:{address}") == str(address)


@given(st.ip_addresses(v=6), st.ip_addresses(v=6))
def test_ipv6_addresses_count_as_their_64(one: IPv6Address, other: IPv6Address) -> None:
    if one.ipv4_mapped or other.ipv4_mapped:
        return
    network = IPv6Network(source(str(one)))
    assert (network.prefixlen, one in network) == (64, True)
    assert (source(str(one)) == source(str(other))) == (other in network)


def test_a_peer_without_an_address_counts_as_what_it_is_called() -> None:
    assert source("unknown") == "unknown"


@given(st.text(), st.text())
def test_usernames_are_counted_without_being_told(one: str, other: str) -> None:
    first, second = Attempt.of("192.0.2.1", one), Attempt.of("192.0.2.2", other)
    assert (first.username == second.username) == (one.casefold() == other.casefold())
    assert (len(first.username), first.pair) == (24, f"192.0.2.1 {first.username}")
    assert first.pair != second.pair
    assert len({first.key("address"), first.key("pair"), first.key("username")}) == 3


@pytest.mark.parametrize(
    ("failures", "good", "exempt", "held"),
    [
        (Failures(), False, False, False),
        (Failures(address=29, pair=9, username=10_000), False, False, False),
        (Failures(address=30), False, False, True),
        (Failures(pair=10), False, False, True),
        (Failures(address=30, pair=9), True, False, False),
        (Failures(address=30, pair=9), False, True, False),
        (Failures(pair=10), True, True, True),
    ],
)
def test_what_holds_an_address_back(failures: Failures, good: bool, exempt: bool, held: bool) -> None:  # noqa: FBT001 - a table
    assert address_holds(failures, pair_good=good, address_exempt=exempt) == held


@given(counts)
def test_a_stranger_elsewhere_never_holds_back_who_is_known_here(failures: Failures) -> None:
    assert not username_holds(failures, pair_good=True)
    assert username_holds(failures, pair_good=False) == (failures.username >= 100)
    from_here_only = Failures(pair=failures.pair)
    assert address_holds(failures, pair_good=True, address_exempt=False) == address_holds(
        from_here_only, pair_good=False, address_exempt=False
    )


def test_the_replies_say_when_to_come_again() -> None:
    assert too_many_failures(17) == Reply(454, "4.7.0", "Too many failed sign-ins, try again in 17 s")
    assert too_many_connections(5) == Reply(421, "4.7.0", "Too many connections, try again in 5 s")
