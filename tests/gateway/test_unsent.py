"""Calls that are not sent, because there is no turn for them or Stripe is away: what is concluded from that."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator

import pytest

from services.gateway.errors import StripeRateLimited, StripeUnavailable
from services.gateway.stripe_api.breaker import FAILURES_MAX
from services.gateway.stripe_api.client import Provider
from services.gateway.stripe_api.limits import NotSent, Rates, Share, StripeLimits, endpoint_of
from services.gateway.stripe_api.outcomes import Unanswered

NOWHERE = "http://127.0.0.1:9"
CUSTOMERS = endpoint_of("post", "/v1/customers")
FEW = Rates(account=0.1, endpoint=0.1)
"""The next turn is far away once there was one for each that may go at once."""


@pytest.fixture
def limits() -> StripeLimits:
    """Whose time stands still: what is away stays so."""
    return StripeLimits(FEW, clock=lambda: 0.0, failures_max=1)


@pytest.fixture
async def provider(limits: StripeLimits) -> AsyncIterator[Provider]:
    provider = Provider("sk_test_nowhere", api_base=NOWHERE, limits=limits)
    yield provider
    await provider.close()


async def use_up(limits: StripeLimits) -> None:
    with contextlib.suppress(NotSent):
        while True:
            async with limits.sending(CUSTOMERS, wait_max_s=0.0) as sending:
                sending.is_answered = True


async def open_the_breaker(limits: StripeLimits) -> None:
    async with limits.sending(CUSTOMERS, wait_max_s=0.0) as sending:
        sending.is_answered = False
    assert limits.is_away_for("intent.confirm")
    assert not limits.is_away_for("refund.create")


async def test_without_a_turn_nothing_happened_and_the_limit_is_told(provider: Provider, limits: StripeLimits) -> None:
    await use_up(limits)
    with pytest.raises(StripeRateLimited):
        await provider.customers.create({}, key="customer.create:1")


async def test_while_stripe_is_away_nothing_is_sent_and_nothing_happened(
    provider: Provider, limits: StripeLimits
) -> None:
    await open_the_breaker(limits)
    with pytest.raises(StripeUnavailable):
        await provider.customers.create({}, key="customer.create:1")
    with pytest.raises(StripeUnavailable):
        await provider.intents.create({}, key="intent.create:1")


async def test_what_may_have_been_sent_before_stays_unknown(provider: Provider, limits: StripeLimits) -> None:
    await open_the_breaker(limits)
    with pytest.raises(Unanswered):
        await provider.intents.create({}, key="intent.create:1", is_repeat=True)


async def test_a_stripe_that_cannot_be_reached_opens_the_breaker() -> None:
    limits = StripeLimits(None, clock=time.monotonic)
    provider = Provider("sk_test_nowhere", api_base=NOWHERE, limits=limits)
    calls = 0
    while not limits.is_away(Share.PAY):
        with pytest.raises(StripeUnavailable):
            await provider.customers.create({}, key="customer.create:1")
        calls += 1
    assert calls <= FAILURES_MAX
    await provider.close()
