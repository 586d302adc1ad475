"""How the tests talk to a running product: the client's words, and questions to its database."""

import json
from typing import TYPE_CHECKING, Any

import psycopg

from local import tenant
from local.letters import TLS
from local.state import Stack

if TYPE_CHECKING:
    import subprocess

MESSAGE = ("--from", "app@local.example", "--to", "someone@example.net", "--subject", "Hello", "--text", "Hello.")
STATE = """
SELECT r.state, d.attempts FROM recipient r JOIN delivery d ON d.id = r.delivery_id WHERE r.message_id::text = %s
"""
OUTCOMES = """
SELECT a.outcome FROM attempt a JOIN delivery d ON d.id = a.delivery_id WHERE d.message_id::text = %s ORDER BY a.n
"""


def server(stack: Stack, tls: str = "starttls") -> tuple[str, ...]:
    return ("--host", "localhost", "--port", str(stack.ports[TLS[tls]]), "--tls", tls)


def login(stack: Stack) -> tuple[str, ...]:
    return ("--user", tenant.NAME, "--password-file", str(tenant.password_file(stack.state_dir)))


def trusting(stack: Stack, tls: str = "starttls") -> tuple[str, ...]:
    return (*server(stack, tls), "--ca", str(stack.ca_file), *login(stack))


def ask(stack: Stack, query: str, *values: object) -> list[tuple[Any, ...]]:
    address, passfile = stack.environment["DATABASE_URL"], stack.environment["PGPASSFILE"]
    with psycopg.connect(address, passfile=passfile) as connection:
        return connection.execute(query.encode(), values).fetchall()


def sent(run: "subprocess.CompletedProcess[str]") -> list[dict[str, Any]]:
    """The messages of a run with --json, all of which the relay must have accepted."""
    assert run.returncode == 0, run.stdout + run.stderr
    messages: list[dict[str, Any]] = json.loads(run.stdout)["messages"]
    return messages
