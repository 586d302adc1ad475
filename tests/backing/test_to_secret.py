"""`--to-secret`: what a command makes goes to Secrets Manager, and nobody reads it in the task's log."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.request import Request, urlopen

import boto3
import pytest

from mail.keys import key_digest, parse_token
from tests.backing.conftest import REGION, Run, Said


@contextmanager
def refusing(moto_url: str, operation: str, kind: str, words: str) -> Iterator[str]:
    """A Secrets Manager that refuses one operation."""

    class Front(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status, answer = 400, json.dumps({"__type": kind, "message": words}).encode()
            if self.headers["X-Amz-Target"] != f"secretsmanager.{operation}":
                asked = Request(moto_url, body, dict(self.headers))  # noqa: S310 - on loopback
                with urlopen(asked) as passed:  # noqa: S310
                    status, answer = passed.status, passed.read()
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the library
            """Say nothing beside the command."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Front) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def manager(moto_url: str) -> Any:
    boto: Any = boto3  # its types know services by literal names only
    return boto.client("secretsmanager", endpoint_url=moto_url, region_name=REGION)


@pytest.fixture
def prefix() -> str:
    return f"smtp-proxy/{uuid.uuid1()}/issued/"


def value(manager: Any, name: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(manager.get_secret_value(SecretId=name)["SecretString"])
    return found


def account(run: Run, name: str, *more: str, **changes: str) -> Said:
    smtp = ("--domain", f"{name}.example", "--smtp", "127.0.0.1:25", "--smtp-tls", "none")
    return run("account", "create", name, *smtp, *more, **changes)


def test_a_password_is_kept_and_not_shown(run: Run, manager: Any, prefix: str, aws_parts: dict[str, str]) -> None:
    settings = {"ISSUED_SECRET_PREFIX": prefix, "ISSUED_SECRET_KEY": aws_parts["kms"]}
    made = account(run, "shop", "--username", "till", "--to-secret", "shop", **settings)
    assert (made.returncode, made.stderr) == (0, "")
    assert made.stdout == (
        f"Account   shop\nUsername  till\nIts secret is in {prefix}shop of Secrets Manager, and is not shown.\n"
    )
    kept = value(manager, f"{prefix}shop")
    assert kept == {"account": "shop", "username": "till", "secret": kept["secret"]}
    assert len(kept["secret"]) == 43
    assert manager.describe_secret(SecretId=f"{prefix}shop")["KmsKeyId"] == aws_parts["kms"]


def test_another_password_takes_the_place_of_the_first(run: Run, manager: Any, prefix: str) -> None:
    account(run, "shop", "--to-secret", f"{prefix}shop")
    first = value(manager, f"{prefix}shop")
    made = run("credential", "create", "shop", "--username", "till", "--to-secret", f"{prefix}shop", "--json")
    assert json.loads(made.stdout) == {"account": "shop", "username": "till", "kept_in": f"{prefix}shop"}
    second = value(manager, f"{prefix}shop")
    assert second["username"] == "till"
    assert second["secret"] != first["secret"]
    before = manager.get_secret_value(SecretId=f"{prefix}shop", VersionStage="AWSPREVIOUS")["SecretString"]
    assert json.loads(before) == first


def test_an_exchanged_password_is_kept_where_the_first_one_was(run: Run, manager: Any, prefix: str) -> None:
    account(run, "shop", "--username", "till", "--to-secret", f"{prefix}shop")
    first = value(manager, f"{prefix}shop")
    rotated = run("credential", "rotate", "till", "--to-secret", f"{prefix}shop")
    assert rotated.stdout == (
        f"Account   shop\nUsername  till\nIts secret is in {prefix}shop of Secrets Manager, and is not shown.\n"
    )
    second = value(manager, f"{prefix}shop")
    assert second == {"account": "shop", "username": "till", "secret": second["secret"]}
    assert second["secret"] != first["secret"]


def test_keys_are_kept_too(run: Run, manager: Any, prefix: str) -> None:
    made = run("key", "create", "ci", "--to-secret", f"{prefix}ci", "--json")
    shown, kept = json.loads(made.stdout), value(manager, f"{prefix}ci")
    assert shown == {"prefix": kept["prefix"], "kept_in": f"{prefix}ci"}
    token = parse_token(kept["key"])
    assert token
    assert (token.prefix, len(key_digest(token.secret))) == (kept["prefix"], 32)
    rotated = run("key", "rotate", kept["prefix"], "--to-secret", f"{prefix}ci")
    again = value(manager, f"{prefix}ci")
    assert rotated.stdout == (
        f"Prefix    {again['prefix']}\nIts secret is in {prefix}ci of Secrets Manager, and is not shown.\n"
    )
    assert again["prefix"] != kept["prefix"]


def test_nothing_is_made_that_cannot_be_kept(run: Run, moto_url: str) -> None:
    said = "You can't create this secret because a secret with this name is already scheduled for deletion."
    with refusing(moto_url, "CreateSecret", "InvalidRequestException", said) as endpoint:
        made = account(run, "shop", "--to-secret", "gone", AWS_ENDPOINT_URL_SECRETS_MANAGER=endpoint)
    assert (made.returncode, made.stdout) == (1, "")
    assert made.stderr.startswith("error: secret gone cannot be made: ")
    assert made.stderr.endswith(f"{said} Choose another name\n")
    there = run("account", "list", "--json", AWS_ENDPOINT_URL_SECRETS_MANAGER=moto_url)
    assert json.loads(there.stdout) == []


def test_what_was_made_and_then_not_kept_is_named(run: Run, moto_url: str, prefix: str) -> None:
    with refusing(moto_url, "PutSecretValue", "AccessDeniedException", "not you") as endpoint:
        made = account(
            run,
            "shop",
            *("--username", "till", "--to-secret", f"{prefix}shop"),
            AWS_ENDPOINT_URL_SECRETS_MANAGER=endpoint,
        )
    assert (made.returncode, made.stdout) == (69, "")
    assert f"Secrets Manager {prefix}shop: " in made.stderr
    assert made.stderr.endswith("not you; account shop, username till was made, and nobody has its secret: revoke it\n")


def test_an_account_that_is_not_there_gets_no_password(run: Run, prefix: str) -> None:
    made = run("credential", "create", "none", "--to-secret", f"{prefix}none")
    assert (made.returncode, made.stderr) == (
        1,
        "error: there is no account 'none'; `account list` shows those there are\n",
    )


@pytest.mark.parametrize(
    "more", [("--to-secret", "a b"), ("--to-secret", ""), ("--to-secret", "x", "--no-password"), ("--to-secret",)]
)
def test_what_cannot_be_asked_for(run: Run, more: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit, match="2"):
        run("credential", "create", "shop", *more)
