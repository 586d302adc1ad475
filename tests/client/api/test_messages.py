"""Messages from a command line: searched, told, printed and submitted."""

import asyncio
import json
from typing import Any
from uuid import UUID

import boto3
import pytest

from backing.ids import new_id
from tests.backing.mailbook import Mailbook
from tests.client.api.terminal import Terminal, hidden
from tests.conftest import REGION
from tests.web.house import Door

pytestmark = pytest.mark.anyio
NOTHING = UUID(int=7)


async def test_the_story_of_a_message(tenant: Terminal, book: Mailbook) -> None:
    message = str(book.mail(book.provider(), "deferred", "b@far.example", "c@far.example", delivery="deferred"))
    # What a server said must not reach the terminal as a command to it.
    book.run("UPDATE recipient SET reply = E'4.2.1 full\\x1b[2J' WHERE n = 1")
    assert (await tenant("messages", "show", message)).told == (
        0,
        (
            "UUID: pending\n"
            "\n"
            "account      shop\n"
            "session      s\n"
            "mail from    a@shop.example\n"
            "size         1\n"
            "accepted at  TIME\n"
            "expires at   TIME\n"
            "stored       no\n"
            "\n"
            "recipients\n"
            "  N  ADDRESS        STATE     PROVIDER  TRIES  REPLY\n"
            "  0  b@far.example  deferred  ses-1     0      -\n"
            "  1  c@far.example  deferred  ses-1     0      4.2.1 full\\x1b[2J\n"
            "\n"
            "timeline\n"
            "  TIME  accepted\n"
            "  TIME  queued\n"
            "  TIME  claimed\n"
            "  TIME  decided   to 1; deferred; 4.2.1 full\\x1b[2J\n"
            "  TIME  attempt   number 1; by ses-1; under way\n"
        ),
        "",
    )
    cancelled = await tenant("messages", "cancel", message, "--recipient", "1")
    assert cancelled.told == (0, "UUID goes no more to recipients 1\n", "")
    refused = await tenant("messages", "release", message)
    assert refused.code == 1
    why = "every recipient of message UUID is cancelled, deferred; release is for what is held"
    assert hidden(refused.err) == f"smtp-proxy: Conflict (409): {why} [request UUID]\n"


async def test_what_waits_is_held_and_goes_another_way(tenant: Terminal, book: Mailbook) -> None:
    provider, other = book.provider(), book.provider()
    message, second = (
        str(book.mail(provider, "deferred", "b@far.example", "c@far.example", delivery="deferred")) for _ in range(2)
    )
    assert (await tenant("messages", "hold", message)).told == (0, "UUID is held for recipients 0, 1\n", "")
    assert book.states(UUID(message)) == ["held", "held"]
    rerouted = await tenant("messages", "reroute", message, "ses-2", "--recipient", "1")
    assert rerouted.told == (0, "UUID goes another way to recipients 1\n", "")
    ways = "SELECT state, by_order FROM recipient WHERE message_id = %s ORDER BY n"
    assert book.run(ways, message) == [("held", None), ("queued", other)]
    for wrong in ((), ("ses-2", "--rules")):
        refused = await tenant("messages", "reroute", message, *wrong)
        assert (refused.code, refused.err) == (2, "smtp-proxy: name a provider, or give --rules\n")
    assert (await tenant("messages", "reroute", message, "--rules")).told == (
        0,
        "UUID goes another way to recipients 0, 1\n",
        "",
    )
    assert book.run(ways, message) == [("queued", None), ("queued", None)]
    noted = "no worker has UUID yet; the order is noted, and obeyed before it is sent\n"
    assert (await tenant("messages", "hold", str(new_id()))).told == (0, noted, "")
    order = ("messages", "order", "hold", "--state", "deferred", "--since", "1h", "--limit", "2")
    asked = json.loads((await tenant(*order, "--json")).out)
    assert (asked["dry_run"], asked["ids"], book.states(UUID(second))) == (True, [second], ["deferred", "deferred"])
    assert (await tenant(*order, "--do")).lines == [
        "dry_run  no",
        "count  1",
        "ids  UUID",
        "recipients  2",
        "refused  -",
        "next  -",
    ]
    assert book.states(UUID(second)) == ["held", "held"]


async def test_mail_is_told_in_numbers(tenant: Terminal, book: Mailbook) -> None:
    provider = book.provider()
    message = book.mail(provider, "delivered", "a@far.example", "b@near.example")
    book.run(
        "UPDATE attempt SET started_at = m.accepted_at, finished_at = m.accepted_at + interval '2 seconds',"
        " outcome = 'accepted' FROM message m WHERE m.id = %s AND delivery_id = m.id",
        message,
    )
    book.mail(provider, "failed", "c@far.example")
    assert (await tenant("statistics", "show", "--since", "2h")).lines == [
        "since  TIME",
        "until  TIME",
        "messages  2",
        "complete  yes",
        "states.delivered  2",
        "states.failed  1",
        "latency.count  1",
        "latency.p50  2.0",
        "latency.p95  2.0",
        "latency.p99  2.0",
        "",
        "providers",
        "  NAME  STATES  COUNT  P50  P95  P99",
        "  ses-1  delivered=2, failed=1  1  2.0  2.0  2.0",
        "",
        "domains",
        "  NAME  STATES",
        "  far.example  delivered=1, failed=1",
        "  near.example  delivered=1",
    ]


async def test_messages_are_searched_in_pages(tenant: Terminal, book: Mailbook) -> None:
    provider = book.provider()
    sent = [str(book.mail(provider, "accepted", f"{n}@far.example")) for n in range(3)]
    page = await tenant("messages", "search", "--limit", "2")
    assert page.lines == [
        "ACCEPTED AT  ID  STATE  MAIL FROM  RECIPIENT  STATES  SIZE",
        "TIME  UUID  accepted  a@shop.example  2@far.example  accepted=1  1",
        "TIME  UUID  accepted  a@shop.example  1@far.example  accepted=1  1",
    ]
    cursor = page.err.removeprefix("there are more: --cursor ").removesuffix(", or --all\n")
    rest = await tenant("messages", "search", "--limit", "2", "--cursor", cursor, "--json")
    assert [each["id"] for each in json.loads(rest.out)["items"]] == sent[:1]
    everything = await tenant("messages", "search", "--limit", "1", "--all", "--json")
    pages = [json.loads(line) for line in everything.out.splitlines()]
    assert [each["id"] for page in pages for each in page["items"]] == sent[::-1]
    one = await tenant("messages", "search", "--recipient", "1@far.example", "--since", "1h", "--state", "accepted")
    assert [line.split("  ")[4] for line in one.lines] == ["RECIPIENT", "1@far.example"]
    assert (await tenant("messages", "search", "--state", "held")).told == (0, "", "there are none\n")


async def test_json_is_the_apis_own(tenant: Terminal, door: Door, book: Mailbook) -> None:
    message = book.mail(book.provider(), "deferred", delivery="deferred")
    answer = await door.get(f"/api/v1/messages/{message}", await door.key("shop"))
    shown = await tenant("--json", "messages", "show", str(message))
    assert (shown.code, shown.out.encode(), shown.err) == (0, answer.body + b"\n", "")
    refused = await tenant("messages", "show", str(NOTHING), "--json")
    assert json.loads(refused.out)["title"] == "Not Found"
    assert refused.err.startswith("smtp-proxy: Not Found (404): ")


async def test_a_message_is_printed_as_it_is(
    tenant: Terminal, book: Mailbook, post: dict[str, str], moto_url: str
) -> None:
    message, content = str(book.mail(book.provider(), "deferred", delivery="deferred")), b"Subject: Hi\r\n\r\n\xe4\r\n"
    s3: Any = boto3.client("s3", endpoint_url=moto_url, region_name=REGION)
    s3.put_object(Bucket=post["bucket"], Key="a-body", Body=content)
    place = "UPDATE message SET body_bucket = %s, body_key = 'a-body'"
    assert (await tenant("messages", "raw", message)).code == 1
    book.run(place, post["bucket"])
    words = (*tenant.command, "messages", "raw", message, "--json")
    process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE, env=tenant.environment)
    out, _ = await process.communicate()
    assert (process.returncode, out) == (0, content)


async def test_a_file_is_submitted(tenant: Terminal, book: Mailbook) -> None:
    book.run("UPDATE account SET allowed_domains = '{shop.example}' WHERE name = 'shop'")
    mail, letter = tenant.home / "mail.eml", tenant.home / "letter.json"
    mail.write_bytes(b"From: a@shop.example\r\nSubject: Hello\r\n\r\nIt works.\r\n")
    letter.write_text(
        json.dumps({"from": {"address": "a@shop.example"}, "to": [{"address": "b@c.example"}], "text": "Hello."})
    )
    envelope = ("--from", "a@shop.example", "--to", "b@c.example", "--to", "d@c.example")
    first = await tenant("messages", "submit", str(mail), *envelope, "--idempotency-key", "order-17")
    again = await tenant(
        "messages", "submit", "-", *envelope, "--idempotency-key", "order-17", stdin=mail.read_bytes().decode()
    )
    assert first.told == (0, "id        UUID\nreplayed  no\n", "")
    assert again.out == first.out.replace("replayed  no", "replayed  yes")
    sent = first.out.split()[1]
    assert (await tenant("messages", "hold", sent)).code == 0
    assert (await tenant("messages", "show", sent)).told == (
        0,
        (
            "UUID: queued, and no worker has it yet\n"
            "\n"
            "account      shop\n"
            "accepted at  TIME\n"
            "\n"
            "ordered\n"
            "  WHAT  N  PROVIDER\n"
            "  hold  -  -\n"
        ),
        "",
    )
    assert (await tenant("messages", "submit", str(letter), "--letter")).told[0] == 0
    assert (await tenant("messages", "submit", str(mail))).told == (
        2,
        "",
        "smtp-proxy: name the envelope of the message: --from ADDRESS --to ADDRESS\n",
    )
    both = await tenant("messages", "submit", str(letter), "--letter", *envelope)
    assert (both.code, both.out) == (2, "")
