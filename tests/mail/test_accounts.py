"""Accounts and credentials as values."""

from dataclasses import replace
from ipaddress import ip_network
from typing import Any
from uuid import UUID

import pytest

from mail.accounts import Account, Credential, Quota, address_hash, address_key, quotas_of

CREDENTIAL = Credential(UUID(int=2), "till", None, Account(UUID(int=1), "shop", frozenset()))
BOUND = replace(CREDENTIAL, networks=(ip_network("192.0.2.0/24"), ip_network("2001:db8::/32")))


@pytest.mark.parametrize(
    ("peer", "bound"),
    [
        ("192.0.2.255", True),
        ("192.0.3.0", False),
        ("::ffff:192.0.2.1", True),
        ("::ffff:192.0.3.1", False),
        ("2001:db8:1::", True),
        ("2001:db9::", False),
        ("unknown", False),
        ("", False),
    ],
)
def test_a_credential_may_be_bound_to_networks(peer: str, *, bound: bool) -> None:
    assert BOUND.from_here(peer) is bound
    assert CREDENTIAL.from_here(peer)


def test_quotas_are_read_in_their_order() -> None:
    assert quotas_of({}) == ()
    assert quotas_of({"month": {"recipients": 3}, "hour": {"recipients": 2, "messages": 1}}) == (
        Quota("hour", "messages", 1),
        Quota("hour", "recipients", 2),
        Quota("month", "recipients", 3),
    )


@pytest.mark.parametrize(
    "limits",
    [
        {"week": {"messages": 1}},
        {"day": {"octets": 1}},
        {"day": {"messages": 0}},
        {"day": {"messages": 1.5}},
        {"day": {"messages": True}},
        {"day": {"messages": "5"}},
    ],
)
def test_what_is_no_quota_is_refused(limits: Any) -> None:
    with pytest.raises(ValueError, match="quota"):
        quotas_of(limits)


def test_a_suppressed_address_is_kept_by_a_number_of_64_bits() -> None:
    assert address_key("JÖRG@B.Example") == "jÖrg@b.example"
    # The first 16 digits of `printf a@b.example | sha256sum`, read as a signed number.
    assert address_hash("a@b.example") == -1463236658228801164
    assert all(-(2**63) <= address_hash(f"{n}@b.example") < 2**63 for n in range(100))
