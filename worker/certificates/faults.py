"""What can go wrong with an order; what only has to be tried again is `mail.errors.Unavailable`."""


class Rejected(Exception):  # noqa: N818 - a fact about an order
    """The ACME server, or who should prove a name to it, says no; says why."""


class Conflict(Rejected):
    """The ACME server has done it already."""


class Later(Exception):  # noqa: N818 - a fact about an order
    """The ACME server wants to be left alone for some time (`rateLimited`, or any refusal with Retry-After).

    Args:
        reason: what it says.
        seconds: how long.
    """

    def __init__(self, reason: str, seconds: float) -> None:
        super().__init__(reason)
        self.seconds = seconds
