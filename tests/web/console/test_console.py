"""The console as a browser sees it."""

import re
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from tests.backing.mailbook import BAKERY, Mailbook
from tests.web.conftest import Chosen
from tests.web.house import Answer, Door, serving
from web.console.application import console

pytestmark = pytest.mark.anyio


@pytest.fixture
def book(database_url: str) -> Mailbook:
    return Mailbook(database_url)


@pytest.fixture
async def door(chosen: Chosen, book: Mailbook) -> AsyncIterator[Door]:  # noqa: ARG001 - its accounts
    async with serving(chosen(console_secure_cookies=False), console) as serves:
        yield serves


async def sign_in(door: Door, key: str, **options: Any) -> Answer:
    return await door.post("/sign-in", data={"key": key}, **options)


def text(answer: Answer) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.body.decode()))


def token(answer: Answer) -> str:
    found = re.search(r'name="token" value="([^"]+)"', answer.body.decode())
    assert found
    return found[1]


async def test_nothing_is_shown_before_the_sign_in(door: Door) -> None:
    for path in ("/", "/messages", f"/messages/{UUID(int=7)}"):
        answer = await door.get(path, allow_redirects=False)
        assert (answer.status, answer.headers["location"]) == (303, "/sign-in")
    wrong = await sign_in(door, "sp_aaaaaaaaaaaa_" + "a" * 43)
    assert (wrong.status, "The key is unknown, revoked or expired." in text(wrong)) == (401, True)


async def test_one_signs_in_looks_and_signs_out(door: Door) -> None:
    key = await door.key("shop")
    first = await sign_in(door, key, allow_redirects=False)
    cookie = first.headers["set-cookie"]
    assert first.status == 303
    assert re.fullmatch(r"session=[^;]+; HttpOnly; Max-Age=28800; Path=/; SameSite=strict", cookie)
    assert key not in cookie
    page = await door.get("/")
    assert "Recipients of the last 24 hours: shop" in text(page)
    assert page.headers["content-security-policy"].startswith("default-src 'none'; style-src 'self';")
    assert (await door.get("/static/console.css")).headers["content-type"].startswith("text/css")
    assert (await door.post("/sign-out", data={"token": "x"})).status == 403
    out = await door.post("/sign-out", data={"token": token(page)}, allow_redirects=False)
    assert out.headers["location"] == "/sign-in"
    assert (await door.get("/", allow_redirects=False)).status == 303


async def test_a_tenant_sees_its_own_mail_only(door: Door, book: Mailbook) -> None:
    mine = book.mail(book.provider(), "deferred", "<b>@far.example", "c@far.example", delivery="deferred")
    foreign = book.mail(book.provider(BAKERY), account_id=BAKERY)
    await sign_in(door, await door.key("shop"))
    overview, found = await door.get("/"), await door.get("/messages")
    assert "deferred 2" in text(overview)
    assert "Queue" not in text(overview)
    assert (str(mine) in text(found), str(foreign) in text(found)) == (True, False)
    assert b"&lt;b&gt;@far.example and 1 more" in found.body
    story = await door.get(f"/messages/{mine}")
    assert "What happened" in text(story)
    assert [(await door.get(f"/messages/{each}")).status for each in (foreign, UUID(int=7))] == [404, 404]
    assert (await door.get("/messages?account=bakery")).status == 404
    assert "Nothing was found." in text(await door.get("/messages?state=bounced"))


async def test_an_operator_chooses_the_account(door: Door, book: Mailbook) -> None:
    foreign = book.mail(book.provider(BAKERY), account_id=BAKERY)
    await sign_in(door, await door.key())
    assert "Messages that wait delivery 0" in text(await door.get("/"))
    assert str(foreign) in text(await door.get("/messages?account=bakery"))
    assert (await door.get(f"/messages/{foreign}")).status == 200


async def test_orders_need_a_form_of_the_session(door: Door, book: Mailbook) -> None:
    message = book.mail(book.provider(), "deferred", delivery="deferred")
    await sign_in(door, await door.key("shop"))
    page = await door.get(f"/messages/{message}")
    path, good = f"/messages/{message}/cancel", {"token": token(page)}
    assert (await door.post(path, data={})).status == 403
    elsewhere = await door.post(path, data=good, headers={"Origin": "https://evil.example"})
    assert elsewhere.status == 403
    assert book.states(message) == ["deferred"]
    done = await door.post(path, data=good, headers={"Origin": door.url})
    assert (done.status, "cancelled by an operator" in text(done)) == (200, True)
    assert book.states(message) == ["cancelled"]
    assert [row[0] for row in book.run("SELECT action FROM audit_log")] == ["message.cancel"]
    again = await door.post(path, data=good)
    assert (again.status, "Conflict" in text(again)) == (409, True)


async def test_a_cookie_is_good_as_long_as_its_key_and_only_as_it_was_made(door: Door) -> None:
    key = await door.key("shop", "messages:read")
    first = await sign_in(door, key, allow_redirects=False)
    cookie = first.headers["set-cookie"].partition(";")[0].partition("=")[2]
    assert (await door.get("/")).status == 200
    async with door.house.office() as office:
        await office.keys.revoke("shop", key.split("_")[1])
    assert (await door.get("/", allow_redirects=False)).status == 303
    door.http.cookie_jar.clear()
    for forged in ("x", cookie[:-1] + ("0" if cookie[-1] != "0" else "1"), "." + cookie, "é." + cookie):
        answer = await door.get("/", headers={"Cookie": f"session={forged}"}, allow_redirects=False)
        assert answer.status == 303


async def test_cookies_are_for_https_where_there_is_tls(chosen: Chosen, book: Mailbook) -> None:  # noqa: ARG001 - as above
    async with serving(chosen(), console) as door:
        answer = await sign_in(door, await door.key("shop"), allow_redirects=False)
    assert answer.headers["set-cookie"].startswith("__Host-session=")
    assert "; Secure" in answer.headers["set-cookie"]
