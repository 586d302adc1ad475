"""Accounts, credentials and suppression lists, as text for people."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from backing.admin.credentials import IssuedCredential
from backing.commands.tables import table
from mail.accounts import Suppression


def issued(credential: IssuedCredential, *, as_json: bool) -> str:
    """A credential that was just made."""
    if as_json:
        return json.dumps(asdict(credential))
    lines = [f"Account   {credential.account}", f"Username  {credential.username}"]
    if credential.secret is not None:
        lines += [f"Password  {credential.secret}", "The password is shown only now; it is not stored."]
    return "\n".join(lines)


def accounts(rows: Iterable[Mapping[str, Any]]) -> str:
    """All accounts, one a line."""
    lines = [f"{'ACCOUNT':<20} {'PROVIDER':<16} {'CREDENTIALS':<11} {'STATE':<9} DOMAINS"]
    for row in rows:
        names = ", ".join(row["allowed_domains"])
        provider = row["provider"] or "-"
        lines.append(f"{row['name']:<20} {provider:<16} {row['credentials']:<11} {_state(row):<9} {names}")
    return "\n".join(lines)


def account(row: Mapping[str, Any]) -> str:
    """One account, a fact a line."""
    quotas = [f"{window}:{unit}:{limit}" for window, units in row["quotas"].items() for unit, limit in units.items()]
    facts = {
        "Account": row["name"],
        "State": _state(row),
        "Domains": ", ".join(row["allowed_domains"]),
        "Provider": row["provider"] or "-",
        "On unknown": row["on_unknown"],
        "Check From": _yes(row["check_from"]),
        "Repair line ends": _yes(row["repair_line_ends"]),
        "Max sessions": row["max_sessions"] or "the relay's own limit",
        "Quotas": ", ".join(quotas) or "none",
        "Retry after": f"{', '.join(map(str, row['retry_seconds']))} s" if row["retry_seconds"] else _WORKERS,
        "Expires after": f"{row['expiry_seconds']} s" if row["expiry_seconds"] else _WORKERS,
        "Sends DSN": _yes(row["send_dsn"]),
        "Delay notice": f"after {row['delay_notice_seconds']} s" if row["delay_notice_seconds"] else "never",
        "Retention": f"{row['retention_days']} days" if row["retention_days"] else _WORKERS,
        "Archive": _yes(row["archive"]),
        "Rules": row["rules"],
        "Credentials": row["credentials"],
        "Suppressed": row["suppressed"],
    }
    return "\n".join(f"{name:<17} {value}" for name, value in facts.items())


def credentials(rows: Iterable[Mapping[str, Any]]) -> str:
    """The credentials of an account, one a line."""
    head = (
        "USERNAME",
        "PASSWORD",
        "STATE",
        "CREATED",
        "EXPIRES",
        "LAST USED",
        "OLD ONE UNTIL",
        "CERTIFICATE",
        "NETWORKS",
    )
    return table(
        head,
        [
            (
                row["username"],
                row["password"],
                "revoked" if row["revoked"] else "expired" if row["expired"] else "valid",
                row["created"],
                row["expires_at"] or "-",
                row["last_used_at"] or "-",
                row["rotating_until"] or "-",
                row["certificate_name"] or "-",
                ", ".join(row["networks"]) or "anywhere",
            )
            for row in rows
        ],
    )


def suppressions(several: Sequence[Suppression]) -> str:
    """A suppression list, an address a line."""
    lines = [f"{'SINCE':<10} {'UNTIL':<10} {'REASON':<11} {'SOURCE':<16} {'STREAM':<12} ADDRESS"]
    lines += [" ".join(f"{text:<{width}}" for text, width in zip(_facts(one), _WIDTHS, strict=True)) for one in several]
    return "\n".join(lines)


def suppression(one: Suppression) -> dict[str, str | None]:
    """An entry of a suppression list, for JSON."""
    return {
        "address": one.address,
        "stream": one.stream,
        "reason": one.reason,
        "source": one.source,
        "since": one.since.isoformat(),
        "until": one.until.isoformat() if one.until else None,
    }


_WORKERS = "the worker's own"
_WIDTHS = (10, 10, 11, 16, 12, 0)


def _facts(one: Suppression) -> tuple[str, ...]:
    until = one.until.date().isoformat() if one.until else "-"
    return one.since.date().isoformat(), until, one.reason, one.source, one.stream or "every", one.address


def _state(row: Mapping[str, Any]) -> str:
    return "disabled" if row["disabled"] else "enabled"


def _yes(value: object) -> str:
    return "yes" if value else "no"
