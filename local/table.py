"""What people are shown: a table on a terminal, plain columns elsewhere."""

import sys
import time
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table

from local import letters, tenant
from local.ports import LOOPBACK
from local.state import PartStatus, Stack

COLOURS = {"healthy": "green", "done": "green", "failed": "red", "unhealthy": "red", "backoff": "yellow"}


def show(headings: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> None:
    """Print a table."""
    lines = [list(row) for row in rows]
    if sys.stdout.isatty():
        table = Table(*headings, title=title or None, title_justify="left", title_style="bold")
        for row in lines:
            table.add_row(*[f"[{COLOURS[cell]}]{cell}[/]" if cell in COLOURS else cell for cell in row])
        Console().print(table)
        return
    if title:
        print(title)
    for line in _aligned([list(headings), *lines] if any(headings) else lines):
        print(line)


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in rows]
    return ["  ".join(row).rstrip() for row in padded]


def status(stack: Stack, *, is_up: bool) -> None:
    """Show each part."""
    now = time.time()
    title = f"{stack.state_dir}: {stack.phase}" + (f", supervisor {stack.pid}" if is_up else "")
    headings = ("PART", "STATE", "PID", "ADDRESS", "UP", "RESTARTS", "REASON")
    show(headings, [_row(name, part, now) for name, part in stack.parts.items()], title)


def _row(name: str, part: PartStatus, now: float) -> list[str]:
    runs = part.pid is not None and part.started_at is not None
    return [
        name,
        part.state,
        str(part.pid or "-"),
        " ".join(f"{LOOPBACK}:{port}" for port in part.ports) or "-",
        duration(now - (part.started_at or now)) if runs else "-",
        str(part.restarts),
        part.reason,
    ]


def duration(seconds: float) -> str:
    """Say a time span in its two largest units."""
    whole = int(seconds)
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days}d {hours}h"
    if hours:
        return f"{hours}h {minutes}m"
    return f"{minutes}m {whole % 60}s" if minutes else f"{whole}s"


def welcome(stack: Stack) -> None:
    """Tell what one needs to use the stack."""
    show(("", ""), facts(stack), "smtp-proxy runs on this machine")
    if tenant.of(stack.state_dir) and "relay" in stack.parts:
        print(f"\nSend a first mail:\n  {letters.first_mail(stack)}\n")


def facts(stack: Stack) -> list[tuple[str, str]]:
    """Return what one needs to use the stack, as name and value."""
    ports = stack.ports
    doors = [name.removesuffix("-health") for name in ports if name.endswith("-health")]
    running = [door for door in doors if door in stack.parts]
    smtp = [
        ("SMTP, STARTTLS", f"localhost:{ports.get('RELAY_STARTTLS_PORT')}"),
        ("SMTP, implicit TLS", f"localhost:{ports.get('RELAY_TLS_PORT')}"),
        ("CA file", str(stack.ca_file)),
    ]
    account = tenant.of(stack.state_dir)
    login = [("user", account.username), ("password in", str(tenant.password_file(stack.state_dir)))] if account else []
    health = [(f"health of {door}", f"http://{LOOPBACK}:{ports[f'{door}-health']}/readyz") for door in running]
    return [
        *([*smtp, *login] if "relay" in stack.parts else []),
        *_web(stack),
        ("sent mail is seen in", f"{stack.mail}/new"),
        *health,
        ("logs", str(stack.log)),
    ]


def _web(stack: Stack) -> list[tuple[str, str]]:
    shown = (("API", "api", "/api/v1"), ("console", "console", ""))
    found = [
        (name, f"http://{LOOPBACK}:{stack.ports[f'{door.upper()}_PORT']}{path}")
        for name, door, path in shown
        if door in stack.parts
    ]
    keys = [(f"{whose} key in", str(tenant.key_file(stack.state_dir, whose))) for whose in tenant.KEYS]
    return [*found, *keys] if found and tenant.of(stack.state_dir) else found
