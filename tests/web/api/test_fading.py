"""What is deprecated says so, in the contract and in each answer."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from starlette.types import ASGIApp

from mail.keys import Scope
from tests.web.conftest import Chosen
from tests.web.house import serving
from web.api.application import documented, guarded
from web.api.caller import Calling
from web.api.fading import Fading
from web.api.models import Body
from web.api.operations import ROOT, Operation, add
from web.house import House

pytestmark = pytest.mark.anyio
SINCE = datetime(2026, 7, 1, tzinfo=UTC)
FADING = Fading(since=SINCE, sunset=datetime(2027, 3, 31, 12, tzinfo=UTC), instead="use `GET /messages`.")
TOLD = {"deprecation": "@1782864000", "sunset": "Wed, 31 Mar 2027 12:00:00 GMT"}


class Word(Body):
    word: str


async def say(caller: Calling, body: Word) -> dict[str, str]:  # noqa: ARG001 - as all operations have it
    """Say a word."""
    return {"said": body.word}


async def say_it(caller: Calling, body: Word) -> dict[str, str]:
    """Say a word."""
    return await say(caller, body)


OLD = Operation(
    method="POST", path="/old", scope=Scope.MESSAGES_READ, does=say, summary="Say", status=200, fading=FADING
)


def with_old(house: House) -> ASGIApp:
    app = documented(house)
    add(app, "old", (OLD, replace(OLD, path="/fresh", does=say_it, fading=None)))
    return guarded(app, house)


@pytest.mark.usefixtures("accounts")
async def test_what_is_deprecated_says_so(chosen: Chosen) -> None:
    async with serving(chosen(), with_old) as door:
        key, stranger = await door.key("shop"), await door.key("shop", "rules:read")
        answers = [
            await door.post(f"{ROOT}/old", key, json={"word": "x"}),
            await door.post(f"{ROOT}/old", key, json={"wort": "x"}),
            await door.post(f"{ROOT}/old", key, data=b"x"),
            await door.post(f"{ROOT}/old", stranger, json={"word": "x"}),
        ]
        assert [answer.status for answer in answers] == [200, 422, 415, 403]
        for answer in answers:
            assert {name: answer.headers.get(name) for name in TOLD} == TOLD
        fresh = await door.post(f"{ROOT}/fresh", key, json={"word": "x"})
        assert (fresh.status, TOLD.keys() & fresh.headers.keys()) == (200, set())
        paths = (await door.get("/openapi.json")).json["paths"]
    told = paths[f"{ROOT}/old"]["post"]
    assert told["deprecated"] is True
    assert "Deprecated since 2026-07-01, gone on 2027-03-31: use `GET /messages`." in told["description"]
    assert told["responses"]["200"]["headers"].keys() >= {"Deprecation", "Sunset"}
    assert {path for path, methods in paths.items() for each in methods.values() if "deprecated" in each} == {
        f"{ROOT}/old"
    }


def test_no_notice_is_shorter_than_is_promised() -> None:
    with pytest.raises(ValueError, match="stays for 180 days"):
        Fading(since=SINCE, sunset=SINCE + timedelta(days=179), instead="nothing")
