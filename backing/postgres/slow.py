"""The slow query log: which statement took how long, and never what it was asked with."""

import time
from typing import Any, Self

import structlog
from psycopg import AsyncCursor
from psycopg.abc import Params
from psycopg.rows import TupleRow
from typing_extensions import override

UNNAMED = "unnamed"


class Statement(str):
    """A statement that knows its name, as in `stories.by_time`."""

    __slots__ = ("name",)
    name: str

    @classmethod
    def named(cls, name: str, text: str) -> Self:
        """Make one."""
        made = cls(text)
        made.name = name
        return made


class Watched(AsyncCursor[TupleRow]):
    """A cursor that logs what takes long, on a connection that says how long that is, in seconds (`slow`)."""

    @override
    async def execute(self, query: Any, params: Params | None = None, **options: Any) -> Self:
        began = time.monotonic()
        try:
            return await super().execute(query, params, **options)
        finally:
            seconds = time.monotonic() - began
            if seconds >= getattr(self.connection, "slow", seconds):
                name = query.name if isinstance(query, Statement) else UNNAMED
                structlog.get_logger().warning("slow statement", statement=name, milliseconds=round(seconds * 1000))
