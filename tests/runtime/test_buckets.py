"""The token bucket, with a clock of its own."""

from __future__ import annotations

import pytest

from services.runtime.rpc.buckets import Bucket


def taken(bucket: Bucket, *, now: float, leave: float = 0.0) -> int:
    """Return how many can be taken at once."""
    count = 0
    while bucket.take(now=now, leave=leave) == 0:
        count += 1
    return count


def test_a_full_bucket_gives_its_burst_and_then_its_rate() -> None:
    bucket = Bucket(rate=10, burst=5, now=100.0)
    assert taken(bucket, now=100.0) == 5
    assert bucket.take(now=100.0) == pytest.approx(0.1)
    assert taken(bucket, now=100.35) == 3
    assert taken(bucket, now=1_000.0) == 5


def test_what_is_to_be_left_is_left_for_others() -> None:
    bucket = Bucket(rate=1, burst=8, now=0.0)
    assert taken(bucket, now=0.0, leave=4) == 4
    assert bucket.wait(now=0.0, leave=4) == pytest.approx(1.0)
    assert taken(bucket, now=0.0, leave=2) == 2
    assert taken(bucket, now=0.0) == 2


def test_who_has_to_leave_as_much_as_there_can_be_gets_one_out_of_a_full_bucket() -> None:
    bucket = Bucket(rate=1, burst=2, now=0.0)
    assert taken(bucket, now=0.0, leave=5) == 1


def test_a_clock_that_goes_back_gives_nothing() -> None:
    bucket = Bucket(rate=1, burst=1, now=10.0)
    assert taken(bucket, now=10.0) == 1
    assert taken(bucket, now=5.0) == 0
    assert not bucket.is_full(now=10.5)
    assert bucket.is_full(now=11.0)


@pytest.mark.parametrize(("rate", "burst"), [(0, 1), (-1, 1), (1, 0.5)])
def test_a_bucket_that_gives_nothing_is_a_mistake(rate: float, burst: float) -> None:
    with pytest.raises(ValueError, match="mistake"):
        Bucket(rate=rate, burst=burst, now=0.0)
