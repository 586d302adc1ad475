"""What the relay does when it hears that something has changed in PostgreSQL."""

from uuid import UUID

from backing.notices import Notice
from relay.policy.auth import Doorkeeper
from relay.policy.suppression import SuppressionLists
from relay.transcript import Transcripts


class Changes:
    """Hands change notices on to whoever keeps a copy of what has changed.

    Args:
        doorkeeper: keeps credentials with their accounts.
        suppressions: keeps suppression lists.
        transcripts: knows what an operator wants to overhear.
    """

    def __init__(self, doorkeeper: Doorkeeper, suppressions: SuppressionLists, transcripts: Transcripts) -> None:
        self._doorkeeper = doorkeeper
        self._suppressions = suppressions
        self._transcripts = transcripts

    def hear(self, notice: Notice) -> None:
        """Forget what a notice says has changed.

        Raises:
            ValueError: the subject is not the id of an account, or not a demand for a transcript.
        """
        match notice.kind:
            case "credential":
                self._doorkeeper.forget(notice.subject)
            case "account":
                self._doorkeeper.forget_account(UUID(notice.subject))
            case "suppression":
                self._suppressions.refresh(UUID(notice.subject))
            case "transcript":
                self._transcripts.watch(notice.subject)

    def missed(self) -> None:
        """Trust no copy: notices may have been lost."""
        self._doorkeeper.forget_all()
        self._suppressions.refresh_all()
