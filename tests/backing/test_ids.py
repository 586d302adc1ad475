"""Identifiers by the thousand."""

import time

from backing.ids import Ids


def test_no_two_of_a_process_are_the_same_and_they_sort_by_time() -> None:
    source, began = Ids(), time.time_ns() // 1_000_000
    made = [source.new() for _ in range(2000)]
    ended = time.time_ns() // 1_000_000
    assert len(set(made)) == 2000
    assert {(identifier.version, identifier.variant) for identifier in made} == {(7, made[0].variant)}
    moments = [identifier.int >> 80 for identifier in made]
    assert moments == sorted(moments)
    assert began <= moments[0] <= moments[-1] <= ended
    # All that is left to chance is different: no octet is used twice.
    assert len({identifier.int & ((1 << 62) - 1) for identifier in made}) == 2000
