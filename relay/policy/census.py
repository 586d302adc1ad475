"""Who is here: how many sessions an address and an account have."""

from collections import Counter
from collections.abc import Hashable
from ipaddress import IPv6Address
from typing import Final
from uuid import UUID

# An IPv6 customer has a /64 or more of his own, and may use another address of it for each connection.
_IPV6_CUSTOMER: Final = slice(0, 8)


class Census:
    """Counts sessions by address and by account; what has no session takes no room."""

    def __init__(self) -> None:
        self._addresses: Counter[Hashable] = Counter()
        self._accounts: Counter[Hashable] = Counter()
        self._met: dict[Hashable, Hashable] = {}
        self._signed_in: dict[Hashable, Hashable] = {}

    @property
    def signed_in(self) -> int:
        """Sessions that have signed in."""
        return len(self._signed_in)

    def meet(self, session: Hashable, address: str) -> int:
        """Note where a session comes from; give how many are from there now."""
        return _add(self._addresses, self._met, session, neighbourhood(address))

    def sign_in(self, session: Hashable, account: UUID) -> int:
        """Note whose a session is; give how many that account has now."""
        return _add(self._accounts, self._signed_in, session, account)

    def leave(self, session: Hashable) -> None:
        """Forget a session, wherever it was counted."""
        _remove(self._addresses, self._met, session)
        _remove(self._accounts, self._signed_in, session)


def neighbourhood(address: str) -> Hashable:
    """Give what counts as one address: an IPv4 address, or the /64 network of an IPv6 address."""
    if ":" not in address:
        return address
    parsed = IPv6Address(address)
    return str(parsed.ipv4_mapped) if parsed.ipv4_mapped else parsed.packed[_IPV6_CUSTOMER]


def _add(counts: Counter[Hashable], keys: dict[Hashable, Hashable], session: Hashable, key: Hashable) -> int:
    _remove(counts, keys, session)
    keys[session] = key
    counts[key] += 1
    return counts[key]


def _remove(counts: Counter[Hashable], keys: dict[Hashable, Hashable], session: Hashable) -> None:
    key = keys.pop(session, None)
    if key is None:
        return
    counts[key] -= 1
    if not counts[key]:
        del counts[key]
