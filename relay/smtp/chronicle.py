"""What is told of a session, to the log and to the metrics: who it was, why it was turned away, and how it ended."""

import asyncio
from typing import Any, Final

import structlog
from typing_extensions import override

from relay.policy.load import Shed
from relay.smtp.visit import House, Visit
from relay.wire.entrance import Entrance
from relay.wire.waits import Goodbye

# How connections were met, by why they ended; every other one was served.
_MET: Final = {"no TLS": "tls_failed", "TLS timeout": "tls_failed", "turned away": "refused"}


class Chronicle(Entrance):
    """A session that is known, counted and logged.

    Args:
        house: what it leans on.
    """

    session: Visit

    def __init__(self, house: House) -> None:
        terms = house.terms
        super().__init__(asyncio.get_running_loop(), terms.timers, house.outbox, terms.balancers)
        self.house = house
        self._known: dict[str, str] = {}
        self._log: Any = None

    @property
    def log(self) -> Any:
        """Writes what happens, with what is known of the session; made when there is something to write."""
        if self._log is None:
            self._log = self.house.log.bind(**self._known)
        return self._log

    def know(self, **facts: str) -> None:
        """Have all further log lines tell this, too."""
        self._known.update(facts)
        self._log = None

    @override
    def turned_away(self, result: str, reason: str) -> None:
        self.house.metrics.connections.labels(result).inc()
        if result != "probe":
            structlog.get_logger().warning("no client", proxy=self._balancer, reason=reason)

    def heed(self, objection: Shed | None, why: str | None = None) -> None:
        """End the session where there is something against it; `why` is for the log."""
        if objection:
            raise self.shed(objection, why or objection.reason)

    def shed(self, objection: Shed, why: str) -> Goodbye:
        """Count that there is something against the session; give what ends it."""
        self.house.metrics.shed.labels(objection.reason).inc()
        self.know(shed=objection.reason)
        return Goodbye(why, objection.reply)

    def report(self, why: str, seconds: float) -> None:
        """Count the session and log it, unless it was a load balancer that looked whether we are there."""
        probe = not self.octets_in and _MET.get(why) != "refused"
        self.house.metrics.connections.labels("probe" if probe else _MET.get(why, "served")).inc()
        if probe:
            return
        visit = self.session
        if self.house.transcripts.active:
            self.house.transcripts.note(visit, f"session ended: {why}")
        tls = visit.ssl or {}
        self.log.info(
            "session ended",
            why=why,
            seconds=round(seconds, 3),
            accepted=visit.accepted,
            refused=visit.refused,
            deferred=visit.deferred,
            errors=visit.errors,
            tls=tls.get("version") or self.tls_fault,
            **{name: tls[name] for name in ("cipher", "sni") if tls.get(name)},
        )
