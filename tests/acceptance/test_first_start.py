"""The first start, from an empty folder (scenario 1.1)."""

import json
import socket
import ssl
import urllib.error
import urllib.request

import pytest

from local import tenant
from local.state import Stack
from tests.sockets import listeners

LOOPBACK = "127.0.0.1"


@pytest.mark.requirement("SC-1.1")
@pytest.mark.requirement("LOCAL-003")
def test_all_is_healthy_within_a_minute(stack: Stack) -> None:
    assert {name: part.state for name, part in stack.parts.items() if part.state not in {"healthy", "done"}} == {}
    ready = {name: part.ready_at - stack.started_at for name, part in stack.parts.items() if part.ready_at}
    assert ready.keys() == stack.parts.keys()
    assert max(ready.values()) < 60, ready


@pytest.mark.requirement("SC-1.1")
def test_the_relay_answers_on_its_two_ports(stack: Stack) -> None:
    context = ssl.create_default_context(cafile=str(stack.ca_file))
    with socket.create_connection((LOOPBACK, stack.ports["RELAY_STARTTLS_PORT"]), 5) as plain:
        assert plain.recv(100) == b"220 localhost ESMTP\r\n"
    with (
        socket.create_connection((LOOPBACK, stack.ports["RELAY_TLS_PORT"]), 5) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secure,
    ):
        assert secure.recv(100) == b"220 localhost ESMTP\r\n"


@pytest.mark.requirement("LOCAL-003")
@pytest.mark.requirement("CORE-API-006")
@pytest.mark.parametrize("door", ["relay", "worker", "api", "console"])
def test_each_door_tells_how_it_is_and_what_it_counts(stack: Stack, door: str) -> None:
    address = f"http://{LOOPBACK}:{stack.ports[f'{door}-health']}"

    def get(path: str) -> bytes:
        with urllib.request.urlopen(f"{address}{path}", timeout=5) as answer:  # noqa: S310 - loopback
            body: bytes = answer.read()
        return body

    alive, ready = json.loads(get("/livez")), json.loads(get("/readyz"))
    assert alive.keys() == {"status", "version"}
    assert (ready.pop("status"), ready.pop("version")) == ("ready", alive["version"])
    assert ready.keys() == ({"certificate", "certificate_days_left"} if door == "relay" else {"pool"})
    room = "web" if door in {"api", "console"} else door
    assert f"# HELP {room}_".encode() in get("/metrics")


@pytest.mark.requirement("SC-1.1")
def test_the_api_and_the_console_are_reachable(stack: Stack) -> None:
    def get(door: str, path: str, key: str | None = None) -> tuple[int, bytes]:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        address = f"http://{LOOPBACK}:{stack.ports[door]}{path}"
        try:
            with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=5) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.read()

    key = tenant.key_file(stack.state_dir, "account").read_text().strip()
    assert [get("API_PORT", path)[0] for path in ("/livez", "/readyz", "/openapi.json")] == [200, 200, 200]
    assert get("API_PORT", "/api/v1/messages")[0] == 401
    assert get("API_PORT", "/api/v1/messages", key)[0] == 200
    status, page = get("CONSOLE_PORT", "/")
    assert (status, b"<h1>Sign in</h1>" in page) == (200, True)


@pytest.mark.requirement("LOCAL-009")
def test_the_whole_product_listens_on_loopback_only(stack: Stack) -> None:
    found = {line for part in stack.parts.values() if part.pid for line in listeners(part.pid)}
    assert {port for _, port in found} == set(stack.ports.values())
    assert {address for address, _ in found} == {"0100007F"}
