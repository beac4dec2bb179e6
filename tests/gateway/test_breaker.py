"""The circuit breaker, with a clock of its own."""

from __future__ import annotations

import pytest

from services.gateway.stripe_api.breaker import FAILURES_MAX, ORDINARY, REST_FIRST_S, REST_MAX_S, Breaker, State


def opened(now: float = 0.0) -> Breaker:
    breaker = Breaker()
    for _ in range(FAILURES_MAX):
        breaker.failed(ORDINARY, now=now)
    return breaker


def probe(breaker: Breaker, *, now: float) -> int:
    ticket = breaker.admit(now=now)
    assert ticket is not None
    assert ticket != ORDINARY
    return ticket


def test_it_opens_after_so_many_failures_in_a_row() -> None:
    breaker = Breaker()
    for _ in range(FAILURES_MAX - 1):
        breaker.failed(ORDINARY, now=0.0)
    assert breaker.admit(now=0.0) == ORDINARY
    breaker.failed(ORDINARY, now=0.0)
    assert breaker.state is State.OPEN
    assert breaker.admit(now=0.0) is None


def test_an_answer_in_between_begins_the_row_anew() -> None:
    breaker = Breaker()
    for _ in range(3 * FAILURES_MAX):
        breaker.failed(ORDINARY, now=0.0)
        breaker.answered()
    assert breaker.state is State.CLOSED


def test_after_a_rest_one_alone_asks() -> None:
    breaker = opened()
    assert breaker.admit(now=REST_FIRST_S / 2) is None
    assert breaker.would_admit(now=REST_FIRST_S)
    probe(breaker, now=REST_FIRST_S)
    assert breaker.admit(now=REST_FIRST_S) is None


def test_an_answer_to_the_probe_closes_it() -> None:
    breaker = opened()
    probe(breaker, now=REST_FIRST_S)
    breaker.answered()
    assert breaker.admit(now=REST_FIRST_S) == ORDINARY


def test_it_rests_longer_after_each_probe_and_never_too_long() -> None:
    breaker, now, rests = opened(), 0.0, []
    for _ in range(8):
        began = now
        while not breaker.would_admit(now=now):
            now += 0.25
        rests.append(now - began)
        breaker.failed(probe(breaker, now=now), now=now)
    assert rests[:3] == [REST_FIRST_S, 2 * REST_FIRST_S, 4 * REST_FIRST_S]
    assert rests[-1] == REST_MAX_S


def test_after_an_answer_the_rests_begin_anew() -> None:
    breaker = opened()
    breaker.failed(probe(breaker, now=REST_FIRST_S), now=REST_FIRST_S)
    probe(breaker, now=10.0)
    breaker.answered()
    for _ in range(FAILURES_MAX):
        breaker.failed(ORDINARY, now=20.0)
    assert breaker.would_admit(now=20.0 + REST_FIRST_S)


def test_a_probe_that_is_given_up_leaves_its_place_to_another() -> None:
    breaker = opened()
    breaker.abandoned(probe(breaker, now=REST_FIRST_S), now=REST_FIRST_S)
    probe(breaker, now=REST_FIRST_S)


@pytest.mark.parametrize("end", ["failed", "abandoned"])
def test_who_asked_before_it_opened_does_not_end_the_probe(end: str) -> None:
    breaker = opened()
    probe(breaker, now=REST_FIRST_S)
    getattr(breaker, end)(ORDINARY, now=REST_FIRST_S)
    assert breaker.state is State.PROBING


def test_an_answer_to_who_asked_before_it_opened_closes_it() -> None:
    breaker = opened()
    breaker.answered()
    assert breaker.admit(now=0.0) == ORDINARY
