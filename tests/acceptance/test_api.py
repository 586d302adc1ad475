"""The HTTP API and the console of the whole product (scenario 4.1)."""

import json
import urllib.error
import urllib.request
from typing import Any

import pytest

from local import evidence, tenant
from local.state import Stack
from tests.waiting import wait_until

LETTER = {
    "from": {"address": "app@local.example"},
    "to": [{"address": "someone@example.net"}],
    "subject": "Hello",
    "text": "Over HTTP.",
}


def call(stack: Stack, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
    key = tenant.key_file(stack.state_dir, "account").read_text().strip()
    sent = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", **headers}
    address = f"http://127.0.0.1:{stack.ports['API_PORT']}/api/v1{path}"
    request = urllib.request.Request(address, json.dumps(body).encode() if body else None, sent)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - loopback
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.load(refused)


@pytest.mark.requirement("SC-4.1")
@pytest.mark.requirement("CORE-API-007")
def test_what_is_submitted_over_http_arrives_and_its_status_is_told(stack: Stack) -> None:
    marked = {"Idempotency-Key": "order-1", "X-Request-Id": "acceptance-1"}
    status, accepted = call(stack, "/messages", LETTER, **marked)
    assert (status, accepted["replayed"]) == (202, False)
    assert call(stack, "/messages", LETTER, **marked) == (202, {**accepted, "replayed": True})
    told: dict[str, Any] = {}

    def delivered() -> bool:
        told.update(call(stack, f"/messages/{accepted['id']}")[1])
        return told.get("state") == "accepted"

    wait_until(delivered, 30, f"it was not delivered: {told}")
    assert [each["kind"] for each in told["timeline"]] == ["accepted", "queued", "claimed", "attempt"]
    assert told["session"] == "acceptance-1"
    (mail,) = evidence.arrived(stack)[accepted["id"]]
    whole = mail.file.read_bytes()
    assert b"(session acceptance-1)" in whole
    assert whole.endswith(b"Over HTTP.\r\n")
    lines = [json.loads(line) for line in (stack.log / "api.log").read_text().splitlines() if "acceptance-1" in line]
    assert {(line["method"], line["path"], line["account"]) for line in lines} == {
        ("POST", "/api/v1/messages", "local")
    }
    found = call(stack, "/messages?recipient=someone@example.net&limit=200")[1]["items"]
    assert accepted["id"] in {each["id"] for each in found}
