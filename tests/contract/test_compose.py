"""`compose.yaml` starts the product as `make up` does: the same parts, in the same order, with settings that parse."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from botocore.session import Session
from pydantic_settings import BaseSettings

from backing.commands.deadletters import DeadLetterSettings
from backing.commands.office import AdminSettings
from backing.settings import Settings, read
from local import names
from relay.settings import RelaySettings
from web.settings import WebSettings
from worker.settings import WorkerSettings

ROOT = Path(__file__).parents[2]
FILE = ROOT / "compose.yaml"
COMPOSE = yaml.safe_load(FILE.read_text())
SERVICES: Mapping[str, Mapping[str, Any]] = COMPOSE["services"]
STEPS = {"migrations", "provisioning", "certificates"}
BACKING = {"postgres", "valkey", "aws"}
DOORS = {"relay", "worker", "api", "console"}


def environment(service: str, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    found: Mapping[str, str] = SERVICES[service]["environment"]
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    return found


@pytest.mark.requirement("LOCAL-001")
def test_every_part_of_the_local_stack_is_there() -> None:
    assert SERVICES.keys() == BACKING | STEPS | DOORS | {"admin"}


@pytest.mark.usefixtures("nothing_told")
@pytest.mark.parametrize(
    ("service", "settings"),
    [
        ("relay", RelaySettings),
        ("worker", WorkerSettings),
        ("api", WebSettings),
        ("console", WebSettings),
        ("migrations", Settings),
        ("admin", AdminSettings),
        ("admin", DeadLetterSettings),
    ],
)
def test_a_process_understands_its_environment(
    service: str, settings: type[BaseSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = environment(service, monkeypatch)
    parsed = read(settings)
    sdk = {name for name in given if name.startswith("AWS_")}
    shared = set(COMPOSE["x-product"])
    unknown = {name for name in given if name.lower() not in settings.model_fields} - sdk
    assert unknown - shared == set()
    assert parsed.model_dump()["database_url"] == "postgresql://smtp_proxy@postgres:5432/smtp_proxy"


def test_what_the_product_is_told_exists() -> None:
    product = COMPOSE["x-product"]
    queue = f"{product['AWS_ENDPOINT_URL']}/{names.ACCOUNT}"
    assert product["QUEUE_URL"] == f"{queue}/{names.QUEUE}"
    assert product["DEAD_LETTER_QUEUE_URL"] == f"{queue}/{names.DEAD_LETTERS}"
    assert product["BODY_BUCKET"] == names.BUCKET
    assert product["CREDENTIAL_KEY_SECRET"] == names.CREDENTIAL_KEY
    assert product["PROVIDER_KEY"] == names.PROVIDER_KEY
    assert {product["AWS_REGION"], SERVICES["aws"]["environment"]["MINISTACK_REGION"]} == {names.REGION}
    database = SERVICES["postgres"]["environment"]
    assert product["DATABASE_URL"].endswith(f"{database['POSTGRES_USER']}@postgres:5432/{database['POSTGRES_DB']}")


@pytest.mark.requirement("LOCAL-003")
def test_every_service_that_stays_has_a_health_check_and_comes_back() -> None:
    staying = SERVICES.keys() - STEPS - {"admin"}
    assert [name for name in staying if "healthcheck" not in SERVICES[name]] == []
    assert {SERVICES[name]["restart"] for name in staying} == {"unless-stopped"}
    ports = {"relay": 8081, "worker": 8081, "api": 8080, "console": 8080}
    for name in DOORS:
        check = ["CMD", "python", "-m", "backing.probe", f"http://127.0.0.1:{ports[name]}/readyz"]
        assert SERVICES[name]["healthcheck"]["test"] == check


def test_api_and_console_are_one_image_with_two_commands() -> None:
    assert SERVICES["api"]["image"] == SERVICES["console"]["image"] == "smtp-proxy-web"
    assert "command" not in SERVICES["api"]
    assert SERVICES["console"]["command"] == ["python", "-m", "web.console"]
    assert SERVICES["console"]["environment"]["CONSOLE_SECURE_COOKIES"] == "false"


def test_a_service_may_take_its_time_to_stop() -> None:
    drains = {name: f"{name.upper()}_DRAIN_SECONDS" for name in ("relay", "worker")}
    for name in DOORS:
        told = SERVICES[name]["environment"]
        assert int(told[drains.get(name, "WEB_DRAIN_SECONDS")]) < int(SERVICES[name]["stop_grace_period"].rstrip("s"))


@pytest.mark.requirement("LOCAL-004")
def test_a_service_starts_after_what_it_needs() -> None:
    for name in DOORS:
        assert SERVICES[name]["depends_on"] == {
            "migrations": {"condition": "service_completed_successfully"},
            "provisioning": {"condition": "service_completed_successfully"},
            "certificates": {"condition": "service_completed_successfully"},
            "valkey": {"condition": "service_healthy"},
        }
    assert SERVICES["migrations"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    assert SERVICES["provisioning"]["depends_on"] == {"aws": {"condition": "service_healthy"}}


@pytest.mark.requirement("LOCAL-009")
def test_ports_are_published_on_loopback_and_only_those_of_the_doors() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {
        "relay": ["127.0.0.1:2587:2587", "127.0.0.1:2465:2465", "127.0.0.1:8081:8081"],
        "worker": ["127.0.0.1:8082:8081"],
        "api": ["127.0.0.1:8080:8080", "127.0.0.1:8083:8081"],
        "console": ["127.0.0.1:8090:8080", "127.0.0.1:8084:8081"],
    }


@pytest.mark.requirement("LOCAL-010")
def test_no_container_is_roots() -> None:
    ours = {name for name, service in SERVICES.items() if "build" in service}
    inline = SERVICES["aws"]["build"]["dockerfile_inline"]
    assert [line for line in inline.splitlines() if line.startswith("USER")] == ["USER 10001:10001"]
    assert {name: SERVICES[name].get("user") for name in SERVICES.keys() - ours} == {
        "postgres": "postgres",
        "valkey": "valkey",
    }
    built = {SERVICES[name]["build"].get("args", {}).get("ROOM") for name in ours - {"aws"}}
    assert built == {"relay", "worker", "web"}


def test_the_emulator_stands_on_the_same_images_as_the_product() -> None:
    pinned = set(re.findall(r"\S+@sha256:[0-9a-f]{64}", (ROOT / "Dockerfile").read_text()))
    inline = SERVICES["aws"]["build"]["dockerfile_inline"]
    bases = {line.split()[1] for line in inline.splitlines() if line.startswith("FROM")}
    assert bases == {pin.partition("=")[2] or pin for pin in pinned}


@pytest.mark.usefixtures("nothing_told")
def test_buckets_are_reached_without_names_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment("relay", monkeypatch)
    assert SERVICES["relay"]["configs"] == [{"source": "aws-config", "target": "/etc/aws-config"}]
    assert SERVICES["relay"]["environment"]["AWS_CONFIG_FILE"] == "/etc/aws-config"
    (tmp_path / "config").write_text(COMPOSE["configs"]["aws-config"]["content"])
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    s3: Any = Session().create_client("s3", region_name=names.REGION)
    url = s3.generate_presigned_url("get_object", Params={"Bucket": names.BUCKET, "Key": "bodies/1"})
    assert url.startswith(f"http://aws:4566/{names.BUCKET}/bodies/1?")
