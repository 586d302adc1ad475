"""A message on its way to the queue."""

from collections.abc import Callable, Iterator, Sequence

from backing.sqs import MAX_BATCH_TEXT, Outgoing
from mail.errors import Unavailable
from mail.ids import text_of
from mail.job import StoredBody, encode
from relay.intake.arrival import Arrival, job_of

Told = Callable[[Exception | None], None]


class Parcel(Outgoing):
    """A message on its way to the queue, as a job that is written when its batch goes.

    What a batch of messages costs after their ends is done for all of them in a row: code that has just run runs twice
    as fast, and a tenth of what it takes to accept a message can be saved so.

    Args:
        arrival: the message.
        body: where it lies, if it is in the bucket already.
        told: is called once, with why the job is not on the queue for certain, or None where it is.
        over: is called before, with this.

    Attributes:
        wanted: whether it is to be sent, if it is not on its way yet.
    """

    __slots__ = ("_over", "_told", "arrival", "body", "wanted")

    def __init__(self, arrival: Arrival, body: StoredBody | None, told: Told, over: "Callable[[Parcel], None]") -> None:
        self.text = ""
        self.group = text_of(arrival.submission.credential.account.id.int)
        self.arrival = arrival
        self.body = body
        self.wanted = True
        self._over = over
        self._told: Told | None = told

    def write(self) -> bool:
        """Write the job, unless nobody wants it any more; whether there is one."""
        if not self.wanted:
            self.settle(Unavailable("nobody waits for it any more"))
            return False
        try:
            self.text = encode(job_of(self.arrival, self.body or self.arrival.content.body))
        except Exception as fault:  # noqa: BLE001 - not swallowed: it is told, and harms no other of the batch
            self.settle(fault)
            return False
        return True

    def settle(self, answer: str | Exception | None) -> None:
        """Tell how it ended, unless that was told before.

        Args:
            answer: None, why SQS refused it, or why it is not sent or nothing is known.
        """
        told, self._told = self._told, None
        if told:
            self._over(self)
            told(Unavailable(f"SQS refused the message: {answer}") if isinstance(answer, str) else answer)


def parts_of(parcels: Sequence[Parcel]) -> Iterator[list[Parcel]]:
    """Divide a batch into what SQS takes at a time; nearly always that is all of it."""
    part: list[Parcel] = []
    octets = 0
    for parcel in parcels:
        if part and octets + len(parcel.text) > MAX_BATCH_TEXT:
            yield part
            part, octets = [], 0
        part.append(parcel)
        octets += len(parcel.text)
    if part:
        yield part
