"""Messages and their stories, as text for people and as JSON."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from backing.commands.tables import shown, table
from backing.postgres.stories import Found, Moment, Page, Standing, Story

_RECIPIENTS = ("N", "RECIPIENT", "STATE", "PROVIDER", "TRIES", "NEXT (UTC)", "RULE", "LAST WORDS")
_MOMENTS = ("TIME (UTC)", "WHAT", "FOR", "PROVIDER", "OUTCOME", "TOOK", "WORDS")


def story(told: Story) -> str:
    """The story of a message: what it is, how its recipients stand, what happened."""
    parts = ["\n".join(f"{name:<12} {shown(value)}" for name, value in _facts(told).items())]
    if told.recipients:
        parts.append(table(_RECIPIENTS, [_standing(each) for each in told.recipients]))
    parts.append(table(_MOMENTS, [_moment(each) for each in told.moments]))
    if told.cut:
        parts.append("There is more; only the first of it is shown.")
    return "\n\n".join(parts)


def document(told: Story) -> dict[str, Any]:
    """The same for JSON."""
    return {
        **asdict(told.facts),
        "state": told.state,
        "recipients": [asdict(each) for each in told.recipients],
        # What does not apply to a kind of moment is left out.
        "timeline": [{key: value for key, value in asdict(each).items() if value is not None} for each in told.moments],
        "cut": told.cut,
    }


def page(found: Page) -> str:
    """Messages, one a line."""
    rows = [
        (
            _time(each.accepted_at),
            str(each.id),
            _state(each),
            shown(each.mail_from or "<>"),
            shown(_to(each)),
            shown(each.header_message_id or "-"),
        )
        for each in found.messages
    ]
    text = table(("ACCEPTED (UTC)", "ID", "STATE", "FROM", "TO", "MESSAGE-ID"), rows)
    if found.following:
        text += f"\nThere may be more: --before {found.following[0].astimezone(UTC).isoformat()}"
    return text


def documents(found: Page) -> dict[str, Any]:
    """The same for JSON."""
    return {
        "messages": [asdict(each) | {"state": each.state} for each in found.messages],
        "before": found.following[0] if found.following else None,
    }


def recipients(ns: Sequence[int]) -> str:
    """Name recipients by their numbers."""
    return f"recipient{'s' if len(ns) > 1 else ''} {', '.join(map(str, ns))}"


def _facts(told: Story) -> dict[str, str]:
    facts = told.facts
    size = f"{facts.size} octets, {'stored' if facts.stored else 'not stored'}"
    needs = [name for name, needed in (("SMTPUTF8", facts.smtputf8), ("REQUIRETLS", facts.require_tls)) if needed]
    return {
        "Message": str(facts.id),
        "State": str(told.state) if told.state else f"duplicate of {facts.duplicate_of}; nothing is sent of it",
        "Account": f"{facts.account} ({facts.account_id})" if facts.account else f"{facts.account_id} (deleted)",
        "Credential": facts.credential or "-",
        "Session": facts.session,
        "From": facts.mail_from or "<>",
        "Message-ID": facts.header_message_id or "-",
        "Size": size,
        "Stream": facts.stream or "-",
        "Tags": ", ".join(facts.tags) or "-",
        **({"Needs": ", ".join(needs)} if needs else {}),
        "Expires": _time(facts.expires_at),
    }


def _standing(each: Standing) -> tuple[str, ...]:
    address = f"{each.address} -> {each.redirected_to}" if each.redirected_to else each.address
    told = f"{each.state} (sender told: {each.dsn})" if each.dsn else str(each.state)
    due = _time(each.next_attempt_at) if each.next_attempt_at else "-"
    words = _words(each.code, each.enhanced, each.reply)
    row = (str(each.n), address, told, each.provider or "-", str(each.tries), due, each.rule or "-", words)
    return tuple(map(shown, row))


def _moment(each: Moment) -> tuple[str, ...]:
    numbers = "all" if each.recipients is None else ",".join(map(str, each.recipients))
    took = f"{(each.ended_at - each.at).total_seconds():.3f} s" if each.ended_at else "-"
    what = f"{each.kind} {each.attempt}" if each.attempt else each.kind
    words = _words(each.code, each.enhanced, each.words)
    if each.message:
        words = f"message {each.message} to {words}"
    return tuple(
        map(shown, (_time(each.at), what, numbers, each.provider or "-", each.outcome or "-", took, words or "-"))
    )


def _words(code: int | None, enhanced: str | None, text: str | None) -> str:
    return " ".join(str(word) for word in (code, enhanced, text) if word) or "-"


def _state(each: Found) -> str:
    if each.state is None:
        return "duplicate"
    if len(each.states) == 1:
        return next(iter(each.states))
    counts = Counter(each.states).most_common()
    return f"{each.state}: " + ", ".join(f"{count} {state}" for state, count in counts)


def _to(each: Found) -> str:
    more = sum(each.states.values()) - 1
    return f"{each.recipient or '-'}{f' and {more} more' if more > 0 else ''}"


def _time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03}"
