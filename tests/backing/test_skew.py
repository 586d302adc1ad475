from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

from backing.skew import ServiceClock

CODE = "RequestTimeTooSkewed"


def date(minutes: int) -> str:
    return format_datetime(datetime.now(UTC) + timedelta(minutes=minutes), usegmt=True)


def test_all_that_was_on_the_way_when_the_clock_was_set_may_do_better() -> None:
    clock = ServiceClock()
    assert [clock.set_by(CODE, date(20)) for _ in range(3)] == [True, True, True]
    assert abs(clock.now() - datetime.now(UTC) - timedelta(minutes=20)) < timedelta(minutes=1)


def test_only_what_is_refused_for_its_time_sets_the_clock() -> None:
    clock = ServiceClock()
    assert not clock.set_by("AccessDenied", date(20))
    assert not clock.set_by(CODE, date(0))
    assert not clock.set_by(CODE, "soon")
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(minutes=1)
