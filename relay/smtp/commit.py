"""What happens to a message between its end and our answer: policy, queue, count, log line."""

import asyncio
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, Protocol

from mail.errors import Refused, Reply, Unavailable
from mail.ids import sampled
from mail.senders import check_from_header
from relay import replies
from relay.intake.arrival import Arrival
from relay.smtp.visit import ERROR, House, Visit

if TYPE_CHECKING:
    from relay.intake.parcel import Parcel


class Submitter(Protocol):
    """Whose message it is: the session."""

    house: House
    session: Visit

    @property
    def log(self) -> Any:
        """Writes what happens, with what is known of the session."""

    def answered(self, line: bytes) -> None:
        """Take the answer; the session may be over by then."""


class Commit:
    """One message on its way to the queue. Only its own failure ends it, never that of its client.

    Args:
        submitter: is told the answer, once, if `begin` does not raise.
        arrival: the message.
    """

    __slots__ = ("_arrival", "_began", "_counted", "_parcel", "_submitter")

    def __init__(self, submitter: Submitter, arrival: Arrival) -> None:
        self._submitter = submitter
        self._arrival = arrival
        self._began = time.monotonic()
        # Whether it counts against a quota of its account.
        self._counted = False
        self._parcel: Parcel | None = None

    def begin(self) -> Coroutine[Any, Any, None] | None:
        """Send the message on its way; where it may need the bucket, give what waits for that and sends it.

        Raises:
            Refused: it will not be queued.
        """
        intake = self._submitter.house.intake
        try:
            self._admit()
            if not intake.fits(self._arrival):
                return self._accept()
            self._parcel = intake.offer(self._arrival, self._settled)
        except (Refused, Unavailable) as fault:
            raise replies.refusal(self._failed(fault)) from fault
        except BaseException:
            self._let_go()
            raise
        return None

    def abandon(self) -> None:
        """Take it back, unless it is under way already."""
        if self._parcel:
            self._parcel.wanted = False

    def _admit(self) -> None:
        """End the content; refuse what its account may not send, or count it."""
        arrival = self._arrival
        account = arrival.submission.credential.account
        arrival.content.end()
        if account.check_from:
            check_from_header(account, arrival.content.headers)
        if account.quotas:
            replies.refuse(self._submitter.house.quotas.take(account, len(arrival.submission.recipients)))
            self._counted = True

    async def _accept(self) -> None:
        """Wait for the bucket, and for the queue."""
        fault: Exception | None = None
        try:
            await self._submitter.house.intake.accept(self._arrival)
        except asyncio.CancelledError:
            self._let_go()
            raise
        except Exception as error:  # noqa: BLE001 - told to the client, and to the log where it is ours
            fault = error
        self._settled(fault)

    def _settled(self, fault: Exception | None) -> None:
        """Take the queue's answer."""
        if fault:
            self._fail(fault)
            return
        submitter, arrival = self._submitter, self._arrival
        visit, house, size = submitter.session, submitter.house, arrival.content.size
        arrival.content.discard()
        visit.accepted += 1
        visit.errors = 0
        house.metrics.messages.octets += size
        milliseconds = self._count("accepted")
        if sampled(arrival.id, house.settings.relay_log_sample):
            submitter.log.info(
                "message",
                result="accepted",
                ms=milliseconds,
                id=arrival.name,
                size=size,
                recipients=len(arrival.submission.recipients),
            )
        submitter.answered(replies.queued(arrival.name))

    def _fail(self, fault: Exception) -> None:
        visit = self._submitter.session
        if isinstance(fault, (Refused, Unavailable)):
            reply = self._failed(fault)
        else:
            self._let_go()
            self._submitter.log.error("command broke", exc_info=fault)
            reply = replies.INTERNAL_ERROR
        if reply.code >= ERROR:
            visit.errors += 1
        self._submitter.answered(replies.line_of(reply, visit.id))

    def _failed(self, fault: Refused | Unavailable) -> Reply:
        """Count and log that the message is not queued, or that nobody knows; give what the client is told."""
        self._let_go()
        visit, log = self._submitter.session, self._submitter.log
        if isinstance(fault, Refused):
            visit.refused += 1
            log.info("message", result="refused", reason=fault.reply.text, ms=self._count("refused"))
            return fault.reply
        visit.deferred += 1
        log.info("message", result="deferred", reason=str(fault), ms=self._count("deferred"))
        return replies.TRY_LATER

    def _let_go(self) -> None:
        """Hold nothing of the message any more, and forgive its account."""
        submission = self._arrival.submission
        self._arrival.content.discard()
        if self._counted:
            self._counted = False
            self._submitter.house.quotas.give_back(submission.credential.account, len(submission.recipients))

    def _count(self, result: str) -> float:
        """Count an end; give how long it took, in milliseconds."""
        seconds = time.monotonic() - self._began
        self._submitter.house.metrics.messages.count(result, seconds)
        return round(seconds * 1000, 1)
