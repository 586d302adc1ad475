"""`message`: the story of a message, the search for messages, and what is done with those under way."""

import argparse
from typing import Final
from uuid import UUID

import orjson

from backing.admin.office import Office
from backing.commands import message_text
from backing.commands.reading import Verbs, moment, number
from backing.postgres.early import Wish
from backing.postgres.stories import Search
from mail.states import Order, State

MAX_LISTED: Final = 1000
_DONE: Final = {
    Order.RELEASE: "is let go: it is sent by the account's rules, but held by none of them",
    Order.RETRY: "is sent once more",
    Order.CANCEL: "is sent no more",
    Order.HOLD: "is held",
}


def arguments(verb: Verbs) -> None:
    """Say what `message` takes."""
    show = verb("show", help="show all that happened to a message")
    show.add_argument("id", type=UUID, metavar="ID", help="as the reply to its submission named it")
    show.add_argument("--json", action="store_true")
    listed = verb("list", help="search for messages of an account, the newest first")
    listed.add_argument("account")
    listed.add_argument("--recipient", metavar="ADDRESS")
    listed.add_argument("--message-id", metavar="TEXT", help="Message-ID header, with or without its brackets")
    listed.add_argument("--provider-message-id", metavar="TEXT", help="id that a provider gave it when it took it")
    listed.add_argument("--state", type=State, choices=list(State), help="a recipient of it stands so")
    listed.add_argument("--since", type=moment, metavar="TIME", help="accepted then or later; 2h is two hours ago")
    listed.add_argument("--before", type=moment, metavar="TIME", help="accepted before")
    listed.add_argument("--most", type=number(1, MAX_LISTED), default=50, metavar="N", help="default: 50")
    listed.add_argument("--json", action="store_true")
    for order, words in (
        (Order.RELEASE, "let recipients go that are held"),
        (Order.CANCEL, "send to recipients no more that wait or are held"),
        (Order.HOLD, "hold recipients that wait, until they are let go"),
        (Order.RETRY, "send at once to recipients that are deferred, once more to those that failed or expired"),
    ):
        ordered = verb(str(order), help=words)
        ordered.add_argument("id", type=UUID, metavar="ID")
        ordered.add_argument("--recipient", type=number(0, 100_000), metavar="N", help="only this one; default: all")


async def run(office: Office, asked: argparse.Namespace) -> str:
    """Do what `message` was asked to.

    Raises:
        AdminError: it cannot be done, or not now.
    """
    messages = office.messages
    match asked.verb:
        case "show":
            story = await messages.show(asked.id)
            return orjson.dumps(message_text.document(story)).decode() if asked.json else message_text.story(story)
        case "list":
            page = await messages.search(asked.account, _search(asked))
            return orjson.dumps(message_text.documents(page)).decode() if asked.json else message_text.page(page)
        case verb:
            order = Order(verb)
            changed = await messages.direct(Wish(order, asked.id, asked.recipient))
            if changed is None:
                return f"No worker has message {asked.id} yet; the order is noted, and obeyed before it is sent."
            return f"Message {asked.id} {_DONE[order]}, for {message_text.recipients(changed)}."


def _search(asked: argparse.Namespace) -> Search:
    return Search(
        recipient=asked.recipient,
        header_message_id=asked.message_id,
        provider_message_id=asked.provider_message_id,
        state=asked.state,
        since=asked.since,
        before=(asked.before, UUID(int=0)) if asked.before else None,
        most=asked.most,
    )
