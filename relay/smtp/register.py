"""What a session needs of whoever keeps count of all of them."""

from typing import TYPE_CHECKING, Protocol

from relay.policy.load import Load, Shed

if TYPE_CHECKING:
    from relay.smtp.dialogue import Dialogue


class Register(Protocol):
    """Who keeps count of the sessions: the server.

    Attributes:
        load: what there is against more mail, if anything.
        draining: whether sessions are to leave at their next command.
        dismissing: whether they are to leave unasked as soon as nothing is under way.
    """

    load: Load
    draining: bool
    dismissing: bool

    def approach(self, session: "Dialogue") -> None:
        """Note a connection, of which the peer may not be known yet."""

    def arrive(self, session: "Dialogue") -> None:
        """Begin a session's conversation."""

    def welcome(self, session: "Dialogue") -> Shed | None:
        """Give what there is against a new session, of which the peer is known by now."""

    def sign_in(self, session: "Dialogue") -> Shed | None:
        """Give what there is against a session of the account that it has just signed in to."""

    def leave(self, session: "Dialogue") -> None:
        """Note that a session's conversation has ended."""

    def lost(self, session: "Dialogue") -> None:
        """Note that a session's connection is closed."""
