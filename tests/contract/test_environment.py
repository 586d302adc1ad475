"""What the stack tells each process is what that process reads, and what it starts is there."""

import importlib.util
import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

from backing.__main__ import parse
from backing.postgres import roles
from backing.settings import read
from infra import graph
from infra.project import ROOT
from tests.contract.tasks import OLD_MODULES, SERVICES, SETTINGS, built, containers
from worker.certificates.__main__ import parser

pytestmark = OLD_MODULES

# What has no default worth having, and is left so. Everything else that is empty by default has to be told.
LEFT: Final[Mapping[str, str]] = {
    "SETTINGS_FILE": "a container has no file of ours",
    "ECS_AGENT_URI": "ECS sets it",
    "RELAY_POSTMASTER": "postmaster at the host name is right",
    "RELAY_CERTIFICATE_FILE": "the certificate is in a secret",
    "RELAY_PRIVATE_KEY_FILE": "the certificate is in a secret",
    "RELAY_CERTIFICATE_FOLDER": "the certificate is in a secret",
    "RELAY_CLIENT_CA_FILE": "clients sign in with credentials",
    "RELAY_CLIENT_CA_SECRET": "clients sign in with credentials",
    "RELAY_PROXY_NETWORKS": "the balancer keeps the client's address",
    "RELAY_EXEMPT_NETWORKS": "nobody is exempt until the owner says so",
    "WORKER_REPORT_SENDER": "reports come from the sender's own domain",
    "WEBHOOK_ALLOWED_NETWORKS": "webhooks go to the public internet",
    "PROVIDER_ALLOWED_NETWORKS": "providers are there, too, until the owner says so",
    "CERTIFICATE_FOLDER": "the certificate is in a secret",
    "CERTIFICATE_RECORD_FILES": "what is known of the certificate is in a table",
    "DNS_SERVERS": "the system's are right",
}
# The same, of one process only.
LEFT_BY: Final[Mapping[str, Mapping[str, str]]] = {
    "renewer": dict.fromkeys(("CACHE_URL", "CACHE_IAM_USER", "CACHE_NAME"), "names are proved by DNS"),
    "api": {
        "DATABASE_REPLICA_URL": "there is no read replica",
    },
    "console": {
        "DATABASE_REPLICA_URL": "there is no read replica",
        "CERTIFICATE_TABLE": "the API tells of certificates",
        "CERTIFICATE_HOSTS": "the API tells of certificates",
    },
    "prepare": {"DATABASE_INSTANCE": "without a read replica RDS manages the password"},
}


def test_every_task_is_looked_at(stack: str) -> None:
    assert containers(stack).keys() == SETTINGS.keys()


@pytest.mark.requirement("CORE-OPS-002")
@pytest.mark.usefixtures("nothing_told")
@pytest.mark.parametrize("role", SETTINGS)
def test_a_process_understands_what_it_is_told(stack: str, role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    told = containers(stack)[role].told
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    known = {name for settings in SETTINGS[role] for name in settings.model_fields}
    assert {name for name in told if name.lower() not in known} == set()
    for settings in SETTINGS[role]:
        values = read(settings).model_dump()
        assert values["aws_region"] == "us-east-1"


@pytest.mark.parametrize("role", SETTINGS)
def test_a_process_is_told_all_that_it_cannot_guess(stack: str, role: str) -> None:
    told = containers(stack)[role].told
    empty = {
        name.upper()
        for settings in SETTINGS[role]
        for name, field in settings.model_fields.items()
        if field.is_required() or field.default in ("", (), "localhost")
    }
    assert len(empty) > 3
    assert sorted(empty - told.keys() - LEFT.keys() - LEFT_BY.get(role, {}).keys()) == []


def test_nothing_is_left_untold_without_need() -> None:
    fields = {name.upper() for found in SETTINGS.values() for settings in found for name in settings.model_fields}
    left = LEFT.keys() | {name for found in LEFT_BY.values() for name in found}
    assert sorted(left - fields) == []


@pytest.mark.requirement("ECS-010")
@pytest.mark.parametrize("role", SETTINGS)
def test_no_secret_is_told(stack: str, role: str) -> None:
    container = containers(stack)[role]
    assert "secrets" not in container.definition
    delicate = {
        name: value for name, value in container.told.items() if re.search(r"SECRET|KEY|PASSWORD|TOKEN|ACCOUNT", name)
    }
    # The last is no value but where values are put: below it, the operator's command makes secrets.
    name = rf"arn:aws:(secretsmanager|kms):us-east-1:123456789012:\S+|smtp-proxy/{stack}/issued/"
    assert delicate
    assert {key: value for key, value in delicate.items() if not re.fullmatch(name, value)} == {}
    assert [value for value in container.told.values() if re.search(r"://[^/@]*:[^/@]*@", value)] == []
    assert [value for value in container.told.values() if graph.HIDDEN in value] == []


@pytest.mark.parametrize("role", SETTINGS)
def test_what_is_started_is_in_the_image(stack: str, role: str) -> None:
    container = containers(stack)[role]
    found = importlib.util.find_spec(f"{container.module}.__main__")
    assert found
    assert found.origin
    assert '\nif __name__ == "__main__":\n' in Path(found.origin).read_text("utf-8")
    image = re.fullmatch(rf"\$\{{smtp-proxy-{stack}-(\w+)\.ref\}}", container.definition["image"])
    assert image
    # What the Dockerfile copies: the shared rooms and the image's own.
    assert container.module.partition(".")[0] in {"mail", "backing", image[1]}
    assert image[1] in tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]


def test_tasks_are_started_with_words_that_are_understood(stack: str) -> None:
    found = {role: container.definition["command"][3:] for role, container in containers(stack).items()}
    assert parse(found["prepare"]).noun == "prepare"
    assert parser().parse_args(found["renewer"]).command == "renew"
    with pytest.raises(SystemExit) as ended:
        parse(found["operator"])
    assert ended.value.code == 0
    assert [found[role] for role in sorted(SERVICES)] == [[]] * len(SERVICES)


def test_users_of_the_database_are_those_that_are_made(stack: str) -> None:
    found = {
        role: re.sub(r"postgresql://(\w+)@.*", r"\1", container.told["DATABASE_URL"])
        for role, container in containers(stack).items()
        if container.told.get("DATABASE_IAM_AUTH") == "true"
    }
    assert found.keys() == containers(stack).keys() - {"prepare", "renewer"}
    assert set(found.values()) <= set(roles.GRANTS)


@pytest.mark.requirement("CORE-OPS-003")
def test_alarms_look_where_metrics_are_written(stack: str) -> None:
    found = {container.told.get("METRICS_NAMESPACE") for container in containers(stack).values()} - {None}
    assert found == {f"SmtpProxy/{stack}"}
    page = json.loads(built(stack).of_type("aws:cloudwatch/dashboard:Dashboard")[0].inputs["dashboardBody"])
    alarms = json.dumps([node.inputs for node in built(stack).of_type("aws:cloudwatch/metricAlarm:MetricAlarm")])
    for text in (json.dumps(page), alarms):
        assert set(re.findall(r"SmtpProxy[^\"\\ ,]*", text)) == found
