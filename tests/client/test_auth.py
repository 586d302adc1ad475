from pathlib import Path

import pytest

from tests.client.certificates import Authority
from tests.client.postbox import PASSWORD, USER, Postbox, client, inside, postbox, to


@pytest.mark.requirement("SC-3.4")
@pytest.mark.requirement("CLIENT-003")
@pytest.mark.requirement("CLIENT-008")
@pytest.mark.parametrize("mechanism", ["plain", "login"])
def test_good_credentials_send(starttls: Postbox, mechanism: str) -> None:
    words = to(starttls.port, "--insecure", "--user", USER, "--auth", mechanism, "-v")
    done = client("send", *words, password=PASSWORD)
    assert done.code == 0, done.err
    assert starttls.last().user == USER
    assert f"AUTH {mechanism.upper()}" in done.err


@pytest.mark.requirement("SC-3.5")
@pytest.mark.requirement("CLIENT-008")
def test_a_wrong_password_is_told_with_the_reply(starttls: Postbox) -> None:
    done = client("send", *to(starttls.port, "--insecure", "--user", USER, "--json"), password="wrong")
    assert done.code == 5
    assert "SMTP AUTH failed: 535 5.7.8" in done.err
    error = done.document["messages"][0]["error"]
    assert (error["kind"], error["code"], error["enhanced_code"]) == ("auth", 535, "5.7.8")
    assert not starttls.received


@pytest.mark.requirement("CLIENT-003")
def test_the_best_mechanism_offered_is_taken(authority: Authority) -> None:
    with postbox(starttls=authority.context("localhost"), no_auth=("PLAIN",)) as box:
        words = to(box.port, "--insecure", "--user", USER)
        done = inside("send", *words, "-v", "--password", PASSWORD)
        forced = inside("send", *words, "--auth", "plain", "--password", PASSWORD)
    assert done.code == 0, done.err
    assert "AUTH LOGIN" in done.err
    assert forced.code == 5
    assert "SMTP AUTH failed" in forced.err
    assert "does not offer AUTH PLAIN (offered: LOGIN)" in forced.err


@pytest.mark.parametrize("mechanism", ["plain", "login"])
def test_the_dialogue_shows_no_secret(starttls: Postbox, mechanism: str) -> None:
    words = to(starttls.port, "--insecure", "--user", USER, "--auth", mechanism, "-v")
    done = inside("send", *words, "--password", "topsecret")
    sent = [line for line in done.err.splitlines() if line.startswith("C: ")]
    assert f"C: AUTH {mechanism.upper()} ********" in sent
    assert sent[sent.index(f"C: AUTH {mechanism.upper()} ********") + 1] in {"C: ********", "C: QUIT"}
    for secret in ("topsecret", "dG9wc2VjcmV0", "AGFwcAB0b3BzZWNyZXQ="):
        assert secret not in done.err + done.out


def test_a_password_comes_from_file_or_standard_input(starttls: Postbox, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n", "utf-8")
    words = to(starttls.port, "--insecure", "--user", USER)
    assert client("send", *words, "--password-file", str(file)).code == 0
    assert client("send", *words, "--password-stdin", stdin=f"{PASSWORD}\n").code == 0
    missing = client("send", *words)
    assert missing.code == 2
    assert "SMTP_CLIENT_PASSWORD" in missing.err


def test_a_password_never_goes_in_the_clear_unless_asked_for(plain: Postbox) -> None:
    words = to(plain.port, "--tls", "none", "--user", USER)
    refused = inside("send", *words, "--password", PASSWORD)
    assert refused.code == 2
    assert "--allow-plain-auth" in refused.err
    assert not plain.connections
    assert inside("send", *words, "--allow-plain-auth", "--password", PASSWORD).code == 0
    assert plain.last().user == USER
