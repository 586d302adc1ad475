"""What is done once however often it is asked for, since its answer is kept with it."""

from backing.admin.desk import Desk
from backing.postgres import requests
from backing.postgres.requests import Answered, Asked


class Repeats:
    """Requests with an Idempotency-Key; they are carried out within `Desk.together`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def begin(self, asked: Asked) -> Answered | None:
        """Begin to carry out a request, or give the answer that it had in the last day.

        Raises:
            RequestRunning: it is being carried out at this moment.
        """
        async with self._desk.transaction() as connection:
            return await requests.begin(connection, asked)

    async def keep(self, asked: Asked, answered: Answered) -> None:
        """Keep its answer."""
        async with self._desk.transaction() as connection:
            await requests.keep(connection, asked, answered)
