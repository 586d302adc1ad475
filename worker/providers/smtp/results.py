"""How far an attempt has come, and what became of each recipient."""

from collections.abc import Iterable, Sequence

from mail.delivery import RecipientResult
from mail.job import Recipient
from worker.providers.base import Answer
from worker.providers.smtp import outcomes
from worker.providers.smtp.outcomes import Step


class Results:
    """The answers to one attempt.

    Attributes:
        step: what was asked last.
        taken: recipients that the peer takes in the transaction that is under way.
    """

    def __init__(self, recipients: Sequence[tuple[int, Recipient]]) -> None:
        self._recipients = recipients
        self._settled: dict[int, RecipientResult] = {}
        self.step = Step.CONNECT
        self.taken: list[int] = []

    @property
    def open(self) -> list[tuple[int, Recipient]]:
        """The recipients without an answer."""
        return [(n, recipient) for n, recipient in self._recipients if n not in self._settled]

    @property
    def in_order(self) -> list[RecipientResult]:
        """What became of each recipient, when all are settled."""
        return [self._settled[n] for n, _ in self._recipients]

    def settle(self, numbers: Iterable[int], answer: Answer) -> None:
        """Settle recipients."""
        self._settled |= {result.n: result for result in answer.to(list(numbers))}

    def settle_rest(self, answer: Answer) -> None:
        """Settle the recipients that have no answer yet."""
        self.settle([n for n, _ in self.open], answer)

    def break_off(self, error: BaseException) -> None:
        """Settle what is open after a fault: only what the peer may have taken is unknown."""
        if self.step is Step.SENT:
            self.settle(self.taken, outcomes.fault(Step.SENT, error))
            self.step = Step.MAIL
        self.settle_rest(outcomes.fault(self.step, error))

    def sent(self) -> None:
        """The final dot is out."""
        self.step = Step.SENT
