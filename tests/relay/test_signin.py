"""Signing in through the door: client certificates, chosen passwords, source networks, throttled guesses."""

import base64
import time
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from backing.passwords import password_hash
from mail.accounts import ChosenSecret, Credential
from relay.policy.auth import Doorkeeper
from relay.policy.passwords import Passwords
from tests.relay.doors import Throttle
from tests.relay.house import ACCOUNT, CREDENTIAL, KEY, PLAIN, Files, Peer, Running, relay

pytestmark = pytest.mark.anyio

PASSWORD = "a password of mine"
NAME = "scanner@shop.example"
DEVICE = Credential(UUID(int=4), "device", None, ACCOUNT, certificate_name=NAME)
DESK = Credential(UUID(int=5), "desk", ChosenSecret(password_hash(PASSWORD)), ACCOUNT)
GOOD, BAD = "235 2.7.0 Authentication succeeded", "535 5.7.8 Authentication credentials invalid"


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.fixture(scope="module")
def authority(files: Files, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clients") / "ca.pem"
    files.ca.cert_pem.write_to_path(path)
    return path


async def greeted(running: Running) -> tuple[Peer, str]:
    peer = await running.connect(implicit_tls=True)
    await peer.expect("220")
    return peer, await peer.ask("EHLO a.example", "250")


EXTERNAL = {
    "at once": [("AUTH EXTERNAL =", GOOD)],
    "when asked": [("AUTH external", "334 "), ("", GOOD)],
    "as oneself": [(f"AUTH EXTERNAL {b64('device')}", GOOD)],
    "as another": [(f"AUTH EXTERNAL {b64('app')}", BAD), ("AUTH EXTERNAL =", GOOD)],
    "as nobody of an encoding": [("AUTH EXTERNAL /w==", BAD)],
    "cancelled": [("AUTH EXTERNAL", "334 "), ("*", "501 5.7.0 Authentication cancelled"), ("AUTH EXTERNAL =", GOOD)],
    "with a password all the same": [(f"AUTH PLAIN {PLAIN}", GOOD)],
    "twice": [("AUTH EXTERNAL =", GOOD), ("AUTH EXTERNAL =", "503 5.5.1 Already signed in")],
}


@pytest.mark.requirement("TLS-003")
@pytest.mark.parametrize("name", EXTERNAL)
async def test_a_client_certificate_signs_in(files: Files, authority: Path, name: str) -> None:
    options: dict[str, Any] = {"relay_client_ca_file": str(authority), "relay_tls_client_certificates": "optional"}
    async with relay(files, **options) as running:
        running.accounts.credentials["device"] = DEVICE
        files.ca.issue_cert(NAME).configure_cert(running.trust)
        peer, offered = await greeted(running)
        assert "AUTH PLAIN LOGIN EXTERNAL" in offered
        heard = []
        for line, _ in EXTERNAL[name]:
            peer.send(line.encode() + b"\r\n")
            heard.append((line, await peer.reply()))
        assert heard == EXTERNAL[name]


@pytest.mark.requirement("TLS-003")
async def test_without_a_certificate_external_is_neither_offered_nor_taken(files: Files, authority: Path) -> None:
    options: dict[str, Any] = {"relay_client_ca_file": str(authority), "relay_tls_client_certificates": "optional"}
    async with relay(files, **options) as running:
        running.accounts.credentials["device"] = DEVICE
        peer, offered = await greeted(running)
        assert "EXTERNAL" not in offered
        await peer.ask("AUTH EXTERNAL =", "504 5.5.4 Mechanism not supported; use PLAIN or LOGIN")


async def test_a_certificate_of_nobody_does_not_sign_in(files: Files, authority: Path) -> None:
    options: dict[str, Any] = {"relay_client_ca_file": str(authority), "relay_tls_client_certificates": "optional"}
    async with relay(files, **options) as running:
        files.ca.issue_cert(NAME).configure_cert(running.trust)
        peer, _ = await greeted(running)
        await peer.ask("AUTH EXTERNAL =", BAD)
        running.accounts.down = True
        await peer.ask("AUTH EXTERNAL =", "454 4.7.0 Cannot check the credential now, try again later ref=")
        assert running.counted("relay_auth_attempts_total", result="refused") == 1
        assert running.counted("relay_auth_attempts_total", result="unavailable") == 1


async def test_a_chosen_password_costs_its_hash_once_for_all_sessions(files: Files) -> None:
    passwords = Passwords()
    async with relay(files) as running:
        running.house.doorkeeper = Doorkeeper(running.accounts, KEY, 60, passwords=passwords)
        running.accounts.credentials["desk"] = DESK
        for secret, answer in (("wrong", BAD), (PASSWORD, GOOD), (PASSWORD, GOOD), (PASSWORD, GOOD)):
            peer, _ = await greeted(running)
            response = b64(f"\0desk\0{secret}")
            await peer.ask(f"AUTH PLAIN {response}", answer)
        assert passwords.runs == 2


async def test_a_credential_is_refused_where_it_may_not_be_used(files: Files) -> None:
    async with relay(files) as running:
        running.accounts.credentials["app"] = replace(CREDENTIAL, networks=(ip_network("192.0.2.0/24"),))
        peer, _ = await greeted(running)
        await peer.ask(f"AUTH PLAIN {PLAIN}", "535 5.7.8 This credential may not be used from 127.0.0.1")
        await peer.ask("MAIL FROM:<me@example.com>", "530 5.7.0 ")


async def test_throttled_guesses_are_put_off_and_end_the_session(files: Files) -> None:
    throttle = Throttle(addresses={"127.0.0.1"})
    async with relay(files) as running:
        running.house.doorkeeper = Doorkeeper(running.accounts, KEY, 60, throttle=throttle)
        peer, _ = await greeted(running)
        began = time.monotonic()
        for _ in range(3):
            await peer.ask(f"AUTH PLAIN {PLAIN}", "454 4.7.0 Too many failed sign-ins, try again in 60 s ref=")
        await peer.expect("421 4.7.0 Too many failed sign-ins, closing")
        assert time.monotonic() - began < 5
        assert running.accounts.asked == 0
        assert running.counted("relay_auth_attempts_total", result="throttled") == 3
