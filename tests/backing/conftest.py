"""The operator's command in process, with a real database and AWS APIs."""

import secrets
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import boto3
import pytest
import structlog

from backing.__main__ import main

REGION = "eu-central-1"
KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class Said:
    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Said]


@pytest.fixture(scope="module")
def aws_parts(moto_url: str) -> dict[str, str]:
    """A credential key and a provider key."""
    manager = boto3.client("secretsmanager", endpoint_url=moto_url, region_name=REGION)
    kms = boto3.client("kms", endpoint_url=moto_url, region_name=REGION)
    name, text = f"key-{uuid.uuid1()}", secrets.token_urlsafe(KEY_BYTES)
    manager.create_secret(Name=name, SecretString=text)
    return {"secret": name, "text": text, "kms": kms.create_key()["KeyMetadata"]["KeyId"]}


@pytest.fixture
def run(
    database_url: str,
    moto_url: str,
    aws_parts: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Iterator[Run]:
    environment = {
        "AWS_ENDPOINT_URL": moto_url,
        "AWS_REGION": REGION,
        "DATABASE_URL": database_url,
        "CREDENTIAL_KEY_SECRET": aws_parts["secret"],
        "PROVIDER_ALLOWED_NETWORKS": "127.0.0.0/8",
        "PROVIDER_KEY": aws_parts["kms"],
    }

    def command(*arguments: str, **changes: str) -> Said:
        for name, value in (environment | changes).items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        code = main(list(arguments))
        said = capsys.readouterr()
        return Said(code, said.out, said.err)

    # As the command does in a process of its own.
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    yield command
    structlog.reset_defaults()
