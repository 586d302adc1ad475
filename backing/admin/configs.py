"""Whether the configuration of a provider can be kept: checked when it is written, so that no mail finds out."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from backing.admin.desk import AdminError
from backing.provider_configs import BadConfig, check
from mail.endpoints import Network, check_host
from mail.nesting import MAX_DEPTH, deeper_than

MAX_CONFIG: Final = 16_384
_SECRETS: Final = frozenset({"password", "secret", "api_key", "apikey", "token"})
_ALLOWED: Final = "PROVIDER_ALLOWED_NETWORKS"


def checked_config(kind: str, config: Mapping[str, Any], networks: Sequence[Network]) -> dict[str, Any]:
    """Give a configuration as it is kept.

    Args:
        kind: of the provider.
        config: what is to be its configuration.
        networks: that providers may be in beside the public internet.

    Raises:
        AdminError: it cannot be kept; names the key.
    """
    for key in config:
        if key.lower() in _SECRETS:
            raise AdminError(f"config key {key!r}: secrets are kept apart and sealed", "use `provider secret`")
    kept = bounded("config", config)
    try:
        check(kind, kept)
    except BadConfig as fault:
        raise AdminError(f"config: {fault}") from None
    _check_hosts(config, networks)
    return kept


def _check_hosts(config: Mapping[str, Any], networks: Sequence[Network]) -> None:
    """Refuse a host that is inside, as far as that is known without the DNS; workers look at what it says."""
    inner = config.get("smtp")
    hosts = {
        "host": config.get("host"),
        "smtp.host": inner.get("host") if isinstance(inner, Mapping) else None,
        "endpoint": _host_of(config.get("endpoint")),
    }
    for key, host in hosts.items():
        if isinstance(host, str):
            try:
                check_host(host, networks)
            except ValueError as fault:
                raise AdminError(f"config: {key}: {fault}, nor within {_ALLOWED}") from None


def _host_of(endpoint: object) -> str | None:
    try:
        return urlsplit(endpoint).hostname if isinstance(endpoint, str) else None
    except ValueError:
        return None


def bounded(what: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Give values as they are kept; raises `AdminError` where PostgreSQL cannot keep them, or not so many."""
    try:
        text = json.dumps(dict(values), ensure_ascii=False, allow_nan=False)
        size = len(text.encode())
    except RecursionError:
        raise AdminError(_too_deep(what)) from None
    except ValueError:
        raise AdminError(f"the {what} has NaN, Infinity or half a character, which PostgreSQL cannot keep") from None
    if "\\u0000" in text:
        raise AdminError(f"the {what} has U+0000, which PostgreSQL cannot keep")
    if deeper_than(MAX_DEPTH, text.encode()):
        raise AdminError(_too_deep(what))
    if size > MAX_CONFIG:
        raise AdminError(f"the {what} has {size} octets as JSON; {MAX_CONFIG} at most")
    return dict(values)


def _too_deep(what: str) -> str:
    return f"the {what} is nested too deep; {MAX_DEPTH} levels at most"
