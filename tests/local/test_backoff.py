from hypothesis import given
from hypothesis import strategies as st

from local.backoff import LONGEST_SECONDS, Backoff


def test_each_failure_doubles_the_wait() -> None:
    waits = []
    backoff = Backoff()
    for _ in range(8):
        backoff = backoff.failed(healthy_seconds=1)
        waits.append(backoff.seconds(chance=1))
    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_a_part_that_was_well_for_long_starts_anew() -> None:
    assert Backoff(7).failed(healthy_seconds=61) == Backoff(1)


@given(st.integers(0, 1000), st.floats(0, 1))
def test_chance_takes_at_most_half(failures: int, chance: float) -> None:
    backoff = Backoff(failures)
    assert backoff.seconds(1) / 2 <= backoff.seconds(chance) <= backoff.seconds(1) <= LONGEST_SECONDS
