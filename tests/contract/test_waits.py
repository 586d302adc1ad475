"""What stands around a process waits as long as the process needs, and asks it where it answers."""

import re
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from types import SimpleNamespace
from typing import Any, Final

import aiohttp
import pytest
from prometheus_client import CollectorRegistry
from starlette.types import ASGIApp, Message, Scope

from backing import health
from infra import checks
from infra.graph import Node
from tests.contract.tasks import OLD_MODULES, SERVICES, SETTINGS, built, containers, settings_of
from web.api.application import documented
from web.application import application
from web.edge import Condition

pytestmark = OLD_MODULES

MOST_STOP_SECONDS: Final = 120
LISTENS: Final[Mapping[str, tuple[str, ...]]] = {
    "relay": ("relay_starttls_port", "relay_tls_port", "health_port"),
    "worker": ("health_port",),
    "api": ("web_port", "health_port"),
    "console": ("web_port", "health_port"),
}


@pytest.mark.usefixtures("nothing_told")
@pytest.mark.parametrize("role", [*SETTINGS])
def test_ports_are_those_that_the_process_listens_on(stack: str, role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(stack, role, monkeypatch)
    container = containers(stack)[role]
    assert container.ports == {getattr(settings, name) for name in LISTENS.get(role, ())}
    for port in targets(stack, role):
        assert port in container.ports


def service(stack: str, role: str) -> Node:
    return built(stack).one("aws:ecs/service:Service", f"smtp-proxy-{stack}-{role}")


def targets(stack: str, role: str) -> list[int]:
    """Ports to which a balancer sends, and on which it asks for health."""
    if role not in SERVICES:
        return []
    found = [each["containerPort"] for each in service(stack, role).inputs.get("loadBalancers", [])]
    ports = {int(each["port"]): each for each in groups(stack)}
    asked = [ports[int(port)]["healthCheck"]["port"] for port in found]
    return [int(port) for port in found] + [int(port) for port in asked if port != "traffic-port"]


def groups(stack: str) -> list[Mapping[str, Any]]:
    return [node.inputs for node in built(stack).of_type("aws:lb/targetGroup:TargetGroup")]


def asked_paths(stack: str, role: str) -> Iterator[tuple[int, str]]:
    """Port and path of every question after a service's health."""
    *probe, url = containers(stack)[role].definition["healthCheck"]["command"]
    assert probe == ["CMD", "python", "-m", "backing.probe"]
    address = re.fullmatch(r"http://127\.0\.0\.1:(\d+)(/\w+)", url)
    assert address
    yield int(address[1]), address[2]
    ports = {int(each["containerPort"]) for each in service(stack, role).inputs.get("loadBalancers", [])}
    for group in groups(stack):
        if int(group["port"]) in ports:
            check = group["healthCheck"]
            port = group["port"] if check["port"] == "traffic-port" else check["port"]
            yield int(port), check["path"]


@pytest.mark.anyio
@pytest.mark.requirement("ECS-012")
@pytest.mark.usefixtures("nothing_told")
@pytest.mark.parametrize("role", ["relay", "worker"])
async def test_health_is_asked_for_where_it_is_told(stack: str, role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(stack, role, monkeypatch)
    asked = set(asked_paths(stack, role))
    assert {port for port, _ in asked} == {settings.health_port}
    assert {path for _, path in asked} == ({"/livez", "/readyz"} if role == "relay" else {"/livez"})
    async with (
        health.serving("127.0.0.1", 0, lambda: True, CollectorRegistry()) as (host, port),
        aiohttp.ClientSession() as session,
    ):
        for _, path in asked:
            async with session.get(f"http://{host}:{port}{path}") as answer:
                assert answer.status == 200


@pytest.mark.anyio
@pytest.mark.requirement("ECS-012")
@pytest.mark.usefixtures("nothing_told")
@pytest.mark.parametrize("role", ["api", "console"])
async def test_health_of_web_is_asked_for_where_it_is_told(
    stack: str, role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(stack, role, monkeypatch)
    assert set(asked_paths(stack, role)) == {(settings.health_port, "/livez"), (settings.web_port, "/readyz")}
    condition = Condition(listening=True, migrated=True)
    probes = application(role, condition)
    assert [await status(probes, path) for path in ("/livez", "/readyz")] == [200, 200]
    condition.draining = True
    assert [await status(probes, path) for path in ("/livez", "/readyz")] == [200, 503]


async def status(app: ASGIApp, path: str) -> int:
    """The status of an application's answer, without a socket."""
    found: list[int] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            found.append(message["status"])

    scope: Scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [],
        "http_version": "1.1",
        "scheme": "http",
        "server": ("127.0.0.1", 8080),
        "client": ("127.0.0.1", 1),
        "root_path": "",
    }
    await app(scope, receive, send)
    (only,) = found
    return only


def test_paths_of_the_api_are_sent_to_the_api(stack: str) -> None:
    rules = built(stack).of_type("aws:lb/listenerRule:ListenerRule")
    found = {path for rule in rules for each in rule.inputs["conditions"] for path in each["pathPattern"]["values"]}
    house: Any = SimpleNamespace(
        condition=Condition(), database=None, cache=None, events=None, tools=SimpleNamespace(vault=None)
    )
    app = documented(house)
    # Those that both doors answer alike.
    both = {"/livez", "/readyz", "/version"}
    routes = {str(getattr(route, "path", "")) for route in app.routes} - both
    assert len(routes) > 20
    assert {path for path in routes if not any(fnmatch(path, pattern) for pattern in found)} == set()
    pages = {"/", "/sign-in", "/messages", "/static/console.css"}
    assert {path for path in pages if any(fnmatch(path, pattern) for pattern in found)} == set()


@pytest.mark.requirement("SC-10.2")
@pytest.mark.usefixtures("nothing_told")
@pytest.mark.parametrize("role", ["api", "console"])
def test_the_balancer_and_web_wait_for_each_other(stack: str, role: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(stack, role, monkeypatch)
    web = [group for group in groups(stack) if int(group["port"]) == settings.web_port]
    assert len(web) == 4
    assert min(group["deregistrationDelay"] for group in web) >= settings.web_request_seconds
    (idle,) = [
        node.inputs["idleTimeout"]
        for node in built(stack).of_type("aws:lb/loadBalancer:LoadBalancer")
        if node.inputs.get("loadBalancerType") == "application"
    ]
    assert settings.web_request_seconds < idle < settings.web_keep_alive_seconds
    # Whoever the balancer speaks for is told apart from the balancer.
    assert [str(network) for network in settings.web_proxy_networks] == [
        built(stack).of_type("aws:ec2/vpc:Vpc")[0].inputs["cidrBlock"]
    ]


@pytest.mark.requirement("SC-8.3")
@pytest.mark.usefixtures("nothing_told")
def test_a_process_has_the_time_that_it_takes_to_stop(stack: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stops = {role: container.definition["stopTimeout"] for role, container in containers(stack).items()}
    relay, worker = settings_of(stack, "relay", monkeypatch), settings_of(stack, "worker", monkeypatch)
    assert max(stops.values()) <= MOST_STOP_SECONDS
    assert relay.relay_grace_seconds + relay.relay_drain_seconds < stops["relay"]
    assert worker.worker_drain_seconds < stops["worker"]
    for role in ("api", "console"):
        web = settings_of(stack, role, monkeypatch)
        assert web.web_grace_seconds + web.web_drain_seconds < stops[role]


@pytest.mark.requirement("SC-8.3")
@pytest.mark.usefixtures("nothing_told")
def test_the_balancer_is_more_patient_than_the_relay(stack: str, monkeypatch: pytest.MonkeyPatch) -> None:
    relay = settings_of(stack, "relay", monkeypatch)
    smtp = {relay.relay_starttls_port, relay.relay_tls_port}
    found = [group for group in groups(stack) if int(group["port"]) in smtp]
    assert len(found) == 4
    for group in found:
        # A session that says nothing has ended by itself before ECS tells the relay to stop.
        assert group["deregistrationDelay"] >= relay.relay_idle_timeout_seconds
        check = group["healthCheck"]
        # The listeners stay open until the balancer has noticed.
        assert relay.relay_grace_seconds >= check["interval"] * check["unhealthyThreshold"] + check["timeout"]
    waits = [
        node.inputs["tcpIdleTimeoutSeconds"]
        for node in built(stack).of_type("aws:lb/listener:Listener")
        if node.inputs["protocol"] == "TCP"
    ]
    assert len(waits) == 2
    assert min(waits) > relay.relay_idle_timeout_seconds


@pytest.mark.usefixtures("nothing_told")
def test_a_lease_ends_before_the_queue_gives_the_job_to_another(stack: str, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = settings_of(stack, "worker", monkeypatch)
    assert worker.worker_lease_seconds == checks.WORKER_LEASE_SECONDS
    queue = built(stack).one("aws:sqs/queue:Queue", f"smtp-proxy-{stack}-delivery")
    assert queue.inputs["visibilityTimeoutSeconds"] >= worker.worker_lease_seconds
