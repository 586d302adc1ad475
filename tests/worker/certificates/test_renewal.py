"""When a certificate is renewed, and what keeps it from being."""

import datetime as dt
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from backing.certificates.bundle import Bundle, encode
from backing.certificates.material import Material
from backing.certificates.record import Record
from tests.conftest import free_port
from tests.worker.certificates.ari import ari_server
from tests.worker.certificates.between import Answer, Between, problem
from tests.worker.certificates.conftest import MakeDesk
from tests.worker.certificates.desk import Desk, Said
from tests.worker.certificates.pebble import Pebble
from worker.certificates.keys import pem
from worker.certificates.wire import certificate_id

NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)
JSON = {"Content-Type": "application/json"}


def bundle(left: dt.timedelta, *names: str, lifetime: dt.timedelta = 90 * DAY, source: str = "import") -> Bundle:
    """A certificate of which so much time is left."""
    pair = trustme.CA().issue_cert(*names, not_before=NOW + left - lifetime, not_after=NOW + left)
    chain = b"".join(blob.bytes() for blob in pair.cert_chain_pems)
    return Bundle(Material(chain, pair.private_key_pem.bytes()), names, source)


def keep(desk: Desk, text: str) -> None:
    secret = desk.environment["CERTIFICATE_SECRET"]
    desk.client("secretsmanager").put_secret_value(SecretId=secret, SecretString=text)


def serial(what: Bundle) -> int:
    return x509.load_pem_x509_certificate(what.material.chain).serial_number


@pytest.mark.requirement("TLS-010")
def test_with_a_third_of_the_lifetime_left_it_is_renewed(make_desk: MakeDesk, front: Between) -> None:
    desk = make_desk(front.acme, "third.example.com")
    keep(desk, encode(good := bundle(31 * DAY, "third.example.com")))
    said = desk.run("renew")
    assert (said.code, said.result[0], desk.kept()) == (0, "kept", good)
    assert said.result[1].endswith("by its lifetime")
    assert front.asked == []
    keep(desk, encode(due := bundle(30 * DAY, "third.example.com")))
    assert desk.run("status").code == 69
    said = desk.run("renew")
    assert said.result == ("renewed", "renewed")
    assert desk.kept() != due == desk.kept("AWSPREVIOUS")
    assert said.counted("certificate_heartbeats_total") == [1]
    assert desk.run("renew").result[0] == "kept"
    assert front.orders() == 1


def test_what_relays_do_not_serve_is_told_with_the_reason(make_desk: MakeDesk, acme: Pebble) -> None:
    desk = make_desk(acme, "unfit.example.com")
    gone = {"ACME_DIRECTORY_URL": "https://127.0.0.1:1/dir"}

    def told(text: str) -> Record:
        keep(desk, text)
        assert desk.run("renew", **gone).result[0] == "failed"
        return desk.record()

    late = bundle(-DAY, "unfit.example.com")
    found = told(encode(late))
    assert found.fault
    assert found.fault.startswith("expired on ")
    assert (found.names, found.not_after, found.source) == (
        ("unfit.example.com",),
        x509.load_pem_x509_certificate(late.material.chain).not_valid_after_utc,
        "import",
    )
    assert (found.result, found.failures, found.due_because) == ("failed", 1, "there is no usable certificate")
    assert found.failure
    assert found.failure.startswith("ACME server: ConnectionError")
    other = replace(bundle(80 * DAY, "other.example.com"), names=("unfit.example.com",))
    assert told(encode(other)).fault == "lacks names: unfit.example.com"
    garbage = replace(other, material=Material(b"garbage", other.material.key))
    found = told(encode(garbage))
    assert (found.fault, found.names, found.source) == ("is not a PEM certificate", (), "import")
    found = told("hunter2")
    assert found.fault == "is no JSON object with PEM texts `certificate` and `key`"
    assert (found.names, found.version, found.failures) == ((), desk.version(), 4)
    assert "hunter2" not in str(found)


@pytest.mark.parametrize(
    ("kept", "why"),
    [
        ("{}", "there is no usable certificate"),
        (encode(bundle(-DAY, "broken.example.com")), "there is no usable certificate"),
        (encode(bundle(80 * DAY, "other.example.com")), "the certificate lacks names: broken.example.com"),
    ],
    ids=["none", "expired", "other names"],
)
def test_what_cannot_be_served_is_replaced(make_desk: MakeDesk, acme: Pebble, kept: str, why: str) -> None:
    desk = make_desk(acme, "broken.example.com")
    keep(desk, kept)
    said = desk.run("renew")
    assert said.result == ("renewed", "renewed")
    assert said.logged("certificate is due")[0]["why"] == why


def with_ari(front: Between, start: dt.datetime, end: dt.datetime) -> None:
    """Pebble of this release knows no ARI (RFC 9773); here it seems to."""

    def amend(asked: str, body: Any) -> Any:
        if asked == "GET /dir":
            body["renewalInfo"] = front.acme.directory.removesuffix("dir") + "ari"
        return body

    def answer(asked: str) -> Answer | None:
        window = {"start": start.isoformat(), "end": end.isoformat()}
        return Answer(200, {"suggestedWindow": window}, JSON) if asked.startswith("GET /ari/") else None

    front.amend, front.answer = amend, answer


@pytest.mark.requirement("TLS-010")
def test_the_server_may_wish_it_earlier(make_desk: MakeDesk, front: Between) -> None:
    desk = make_desk(front.acme, "early.example.com")
    assert desk.run("renew").result == ("renewed", "renewed")
    with_ari(front, NOW + 2 * DAY, NOW + 3 * DAY)
    said = desk.run("renew")
    assert said.result[0] == "kept"
    assert said.result[1].endswith("as the ACME server wishes")
    assert "(ARI)" in desk.run("status").out
    wished = desk.record()
    assert (wished.result, wished.due_because) == ("kept", "as the ACME server wishes")
    assert wished.due_at
    assert NOW + 2 * DAY <= wished.due_at <= NOW + 3 * DAY
    first = desk.chain()[0]
    with_ari(front, NOW - 2 * DAY, NOW - DAY)
    front.bodies.clear()
    assert desk.run("renew").result == ("renewed", "renewed")
    assert f"GET /ari/{certificate_id(first)}" in front.asked
    assert [one["replaces"] for one in front.payloads() if "replaces" in one] == [certificate_id(first)]


def test_an_order_that_was_replaced_already_is_placed_as_any_other(make_desk: MakeDesk, front: Between) -> None:
    desk = make_desk(front.acme, "again.example.com")
    assert desk.run("renew").result == ("renewed", "renewed")
    with_ari(front, NOW - 2 * DAY, NOW - DAY)
    window = front.answer
    refused = [problem(409, "alreadyReplaced", "another order has")]

    def answer(asked: str) -> Answer | None:
        return refused.pop() if "order-plz" in asked and refused else window(asked)

    front.answer = answer
    assert desk.run("renew").result == ("renewed", "renewed")
    assert front.orders() == 3


@pytest.mark.parametrize(
    "answer", [problem(500, "serverInternal", "sorry"), Answer(200, {"suggestedWindow": {}}, JSON)]
)
def test_without_renewal_information_the_lifetime_decides(make_desk: MakeDesk, front: Between, answer: Answer) -> None:
    desk = make_desk(front.acme, "noari.example.com")
    keep(desk, encode(bundle(20 * DAY, "noari.example.com", source=front.acme.directory)))
    with_ari(front, NOW + 2 * DAY, NOW + 3 * DAY)
    front.answer = lambda asked: answer if asked.startswith("GET /ari/") else None
    said = desk.run("renew")
    assert said.result == ("renewed", "renewed")
    assert said.logged("no renewal information")


def test_a_certificate_from_elsewhere_is_put_in_its_place(make_desk: MakeDesk, acme: Pebble, tmp_path: Path) -> None:
    desk = make_desk(acme, "bought.example.com")
    good, other = bundle(80 * DAY, "bought.example.com", "www.example.com"), bundle(80 * DAY, "other.example.com")

    def bring(chain: bytes, key: bytes) -> Said:
        (tmp_path / "c").write_bytes(chain)
        (tmp_path / "k").write_bytes(key)
        return desk.run("import", "--certificate", str(tmp_path / "c"), "--key", str(tmp_path / "k"))

    refused = bring(other.material.chain, other.material.key)
    assert (refused.code, refused.err) == (78, "lacks names: bought.example.com\n")
    refused = bring(good.material.chain, other.material.key)
    assert (refused.code, refused.err) == (78, "is not the key of the certificate\n")
    said = desk.run("import", "--certificate", "/none", "--key", "/none")
    assert (said.code, said.err) == (78, "/none cannot be read: No such file or directory\n")
    assert desk.run("status").code == 69
    assert bring(good.material.chain, good.material.key).code == 0
    assert desk.kept() == Bundle(good.material, ("bought.example.com",), "import")
    assert len(desk.copies()) == 1
    told = desk.record()
    assert (told.names, told.source, told.version, told.result, told.fault) == (
        ("bought.example.com", "www.example.com"),
        "import",
        desk.version(),
        "imported",
        None,
    )
    assert desk.run("renew").result[0] == "kept"
    assert desk.record().result == "kept"


def test_a_certificate_whose_key_is_known_is_replaced_and_revoked(make_desk: MakeDesk, acme: Pebble) -> None:
    desk = make_desk(acme, "known.example.com")
    said = desk.run("issue", "--revoke-old")
    assert said.result == ("renewed", "renewed; there was none to revoke")
    (old, *_) = desk.chain()
    assert acme.state(old) == "Valid"
    said = desk.run("issue", "--revoke-old")
    assert said.result == ("renewed", "renewed, and the old certificate revoked")
    assert (acme.state(old), acme.state(desk.chain()[0])) == ("Revoked", "Valid")
    keep(desk, encode(bundle(80 * DAY, "known.example.com")))
    assert desk.run("issue", "--revoke-old").result[1].startswith("renewed, but the old certificate is not revoked: ")


def test_the_key_of_the_account_is_changed(make_desk: MakeDesk, acme: Pebble) -> None:
    desk = make_desk(acme, "roll.example.com")
    assert desk.run("renew").code == 0
    before = desk.account()
    assert desk.run("roll-account-key").out.endswith("the account has a new key\n")
    after = desk.account()
    assert (after["uri"], after["next_key"]) == (before["uri"], "")
    assert after["key"] != before["key"]
    assert desk.run("issue").result == ("renewed", "renewed")
    # As if the process had ended between the server's word and ours.
    desk.write_account({**before, "next_key": after["key"]})
    assert desk.run("issue").result == ("renewed", "renewed")
    assert desk.account() == after
    # And as if it had ended before the server heard of it.
    desk.write_account({**after, "next_key": before["key"]})
    assert desk.run("issue").result == ("renewed", "renewed")
    assert desk.account() == after


def test_an_account_that_the_server_has_forgotten_is_made_again(make_desk: MakeDesk, acme: Pebble) -> None:
    desk = make_desk(acme, "forgotten.example.com")
    key = ec.generate_private_key(ec.SECP256R1())
    desk.write_account({"key": pem(key).decode(), "uri": "https://127.0.0.1:1/gone"})
    assert desk.run("renew").result == ("renewed", "renewed")
    assert desk.account()["uri"].startswith(acme.directory.removesuffix("dir"))
    assert desk.account()["key"] == pem(key).decode()


@pytest.mark.requirement("TLS-010")
@pytest.mark.requirement("TLS-004")
def test_a_server_with_renewal_information_of_its_own(make_desk: MakeDesk, tmp_path: Path) -> None:
    port = free_port()
    with ari_server(tmp_path, port, 60, "renewalthreshold_pctg: 50\nrenewal_window_duration: 86400") as acme:
        desk = make_desk(acme, "ari.example.com")
        said = desk.run("renew")
        assert said.result == ("renewed", "renewed"), (said.out, (tmp_path / "log").read_text())
        (first, *_) = desk.chain()
        said = desk.run("renew")
        assert said.result[0] == "kept"
        assert said.result[1].endswith("as the ACME server wishes")
    with ari_server(tmp_path, port, 60, "renewal_force: True"):
        assert desk.run("renew").result == ("renewed", "renewed")
    assert desk.chain()[0].serial_number != first.serial_number
