"""Turns at Stripe: how many, in which order, and what is not sent at all."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter

import pytest

from services.gateway.stripe_api import limits as limits_module
from services.gateway.stripe_api.breaker import FAILURES_MAX, REST_FIRST_S
from services.gateway.stripe_api.limits import WAIT_MAX_S, Endpoint, NotSent, Rates, Share, StripeLimits, endpoint_of
from tests.eventually import WITHIN_S
from tests.logged import said_by

SLOW = Rates(account=10, endpoint=1_000)
"""Eight calls a second, and four at once."""
_names = itertools.count()


class Clock:
    """Stands still, so that no turn is won by a test that is slow. A test moves it on, or lets it go as the loop's."""

    def __init__(self) -> None:
        self.ahead_s = 0.0
        self._gone_since: float | None = None

    def __call__(self) -> float:
        gone_s = 0.0 if self._gone_since is None else asyncio.get_running_loop().time() - self._gone_since
        return self.ahead_s + gone_s

    def go(self) -> None:
        self._gone_since = asyncio.get_running_loop().time()


def limits_of(rates: Rates | None, clock: Clock | None = None) -> StripeLimits:
    return StripeLimits(rates, clock=clock or Clock())


def endpoint(share: Share) -> Endpoint:
    """Return an endpoint of its own, so that the account alone is scarce."""
    return Endpoint(f"endpoint {next(_names)}", share)


async def sent(
    limits: StripeLimits, to: Endpoint | Share, *, wait_max_s: float = WAIT_MAX_S, is_answered: bool | None = True
) -> bool:
    """Send, and return whether it was."""
    try:
        to = endpoint(to) if isinstance(to, Share) else to
        async with limits.sending(to, wait_max_s=wait_max_s) as sending:
            sending.is_answered = is_answered
    except NotSent:
        return False
    return True


async def at_once(limits: StripeLimits, share: Share) -> int:
    """Return how many calls of a class go without waiting."""
    count = 0
    while await sent(limits, share, wait_max_s=0.0):
        count += 1
    return count


@pytest.mark.parametrize(
    ("method", "path", "name", "share"),
    [
        ("post", "/v1/customers", "POST customers", Share.PAY),
        ("post", "/v1/payment_intents", "POST payment_intents", Share.PAY),
        ("post", "/v1/payment_intents/pi_1/confirm", "POST payment_intents one confirm", Share.PAY),
        ("post", "/v1/payment_intents/pi_1/cancel", "POST payment_intents one cancel", Share.RETURN),
        ("post", "/v1/payment_intents/pi_1/capture", "POST payment_intents one capture", Share.RETURN),
        ("post", "/v1/refunds", "POST refunds", Share.RETURN),
        ("post", "/v1/accounts", "POST accounts", Share.RETURN),
        ("get", "/v1/payment_intents/pi_1", "GET payment_intents one", Share.READ),
        ("get", "/v1/payment_intents", "GET payment_intents", Share.READ),
        ("get", "/v1/refunds", "GET refunds", Share.READ),
        ("get", "/v1/events", "GET events", Share.READ),
        ("get", "/v1/balance_transactions", "GET balance_transactions", Share.RECONCILE),
        ("post", "/v1/checkout/sessions", "POST checkout.sessions", Share.PAY),
        ("get", "/v1/checkout/sessions/cs_1", "GET checkout.sessions one", Share.READ),
        ("post", "/v1/checkout/sessions/cs_1/expire", "POST checkout.sessions one expire", Share.RETURN),
    ],
)
def test_what_a_call_counts_as(method: str, path: str, name: str, share: Share) -> None:
    assert endpoint_of(method, path) == Endpoint(name, share)


async def test_each_class_leaves_what_is_reserved_for_those_above_it() -> None:
    limits = limits_of(SLOW)
    for share in (Share.RECONCILE, Share.READ, Share.RETURN, Share.PAY):
        assert await at_once(limits, share) == 1, share


async def test_without_others_a_call_that_takes_money_has_all_of_it() -> None:
    assert await at_once(limits_of(SLOW), Share.PAY) == 4


async def test_a_second_never_has_more_calls_than_the_rate() -> None:
    clock = Clock()
    rates = Rates(account=100, endpoint=25)
    limits, one = limits_of(rates, clock), Endpoint("POST payment_intents", Share.PAY)
    count = 0
    for _ in range(100):  # a second, a hundredth at a time
        while await sent(limits, one, wait_max_s=0.0):
            count += 1
        clock.ahead_s += 0.01
    assert 20 <= count <= 26


async def test_an_endpoint_that_is_busy_does_not_stop_another() -> None:
    limits = limits_of(Rates(account=1_000, endpoint=5))
    busy = Endpoint("POST refunds", Share.RETURN)
    while await sent(limits, busy, wait_max_s=0.0):
        pass
    assert await sent(limits, Share.RETURN, wait_max_s=0.0)


async def test_who_waits_is_served_by_class_and_within_it_in_order() -> None:
    clock = Clock()
    limits = limits_of(Rates(account=50, endpoint=1_000), clock)
    await at_once(limits, Share.PAY)
    order: list[str] = []

    async def one(share: Share, number: int) -> None:
        if await sent(limits, share):
            order.append(f"{share.name} {number}")

    tasks = []
    for share, number in ((Share.READ, 1), (Share.PAY, 1), (Share.RETURN, 1), (Share.PAY, 2), (Share.READ, 2)):
        tasks.append(asyncio.create_task(one(share, number)))
        await asyncio.sleep(0)
    clock.go()
    async with asyncio.timeout(WITHIN_S):
        await asyncio.gather(*tasks)
    assert order == ["PAY 1", "PAY 2", "RETURN 1", "READ 1", "READ 2"]


async def test_a_turn_that_would_come_too_late_is_refused_before_anybody_waits() -> None:
    clock = Clock()
    limits = limits_of(SLOW, clock)
    await at_once(limits, Share.PAY)
    calls = [asyncio.create_task(sent(limits, Share.PAY, wait_max_s=0.5)) for _ in range(100)]
    await asyncio.sleep(0)
    assert sum(call.done() for call in calls) == 96  # eight a second
    clock.ahead_s += 0.5
    assert Counter(await asyncio.gather(*calls)) == {True: 4, False: 96}


async def test_one_who_stops_waiting_leaves_its_turn_to_the_next() -> None:
    clock = Clock()
    limits = limits_of(SLOW, clock)
    await at_once(limits, Share.PAY)
    gone, stays = (asyncio.create_task(sent(limits, Share.PAY)) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    clock.go()
    async with asyncio.timeout(WITHIN_S):
        assert await stays


async def test_without_rates_nothing_waits() -> None:
    limits = limits_of(None)
    for _ in range(1_000):
        assert await sent(limits, Share.RECONCILE, wait_max_s=0.0)


async def test_while_stripe_is_away_one_at_a_time_is_tried_and_the_change_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = Clock()
    limits = limits_of(None, clock)
    for _ in range(2 * FAILURES_MAX):
        await sent(limits, Share.PAY, is_answered=False)
    assert limits.is_away(Share.PAY)
    with pytest.raises(NotSent) as refusal:
        async with limits.sending(endpoint(Share.PAY), wait_max_s=1.0):
            pass
    assert refusal.value.is_away

    clock.ahead_s += REST_FIRST_S
    async with limits.sending(endpoint(Share.PAY), wait_max_s=1.0) as probe:
        assert not await sent(limits, Share.PAY)
        probe.is_answered = True
    assert await sent(limits, Share.PAY)
    assert [record.levelname for record in said_by(limits_module, caplog)] == ["ERROR", "WARNING"]


async def test_one_class_that_is_away_does_not_stop_another() -> None:
    limits = limits_of(None)
    for _ in range(FAILURES_MAX):
        await sent(limits, Share.READ, is_answered=False)
    assert limits.is_away(Share.READ)
    assert await sent(limits, Share.PAY)


async def test_a_probe_that_is_cancelled_leaves_its_place_to_another() -> None:
    clock = Clock()
    limits = limits_of(None, clock)
    for _ in range(FAILURES_MAX):
        await sent(limits, Share.PAY, is_answered=False)
    clock.ahead_s += REST_FIRST_S
    assert await sent(limits, Share.PAY, is_answered=None)
    assert await sent(limits, Share.PAY)
