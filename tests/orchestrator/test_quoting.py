"""A start is priced beside the writing of its row: what if the row is refused, or never written."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from batzen.orchestrator.v1.orchestrator_pb2 import StartPaymentRequest
from batzen.orchestrator.v1.orchestrator_pb2_grpc import OrchestratorServiceStub
from batzen.pricing.v1 import pricing_pb2
from batzen.pricing.v1.pricing_pb2_grpc import PricingServiceStub
from batzen.status.v1 import status_pb2
from services.errors import DependencyUnavailable
from services.orchestrator.domain.policies import ABANDONED_AFTER
from services.orchestrator.wire.requests import derived_payment_id, new_payment
from services.runtime.database.connections import plain_dsn
from services.shared.refusals import Refusal
from tests.orchestrator.conftest import Journeys, Orchestrator, World
from tests.orchestrator.crash_injection import ask, mortal_orchestrator, parts_of, shop_key
from tests.orchestrator.lives import Life
from tests.orchestrator.samples import OPENED, TOTAL_MINOR, refused, start


class Unwritten:
    """A store whose database is away when a start is to be written down."""

    def __init__(self, real: Any) -> None:
        self._real = real

    async def start(self, *_: Any, **__: Any) -> None:
        raise DependencyUnavailable(dependency="database")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def unwritten(replica: Orchestrator) -> Any:
    store: Any = Unwritten(replica.parts.store)
    return parts_of(replica, store=store)


def quote_request(asked: StartPaymentRequest) -> pricing_pb2.CreateQuoteRequest:
    """Return how the lines of a start are priced."""
    payment = new_payment(asked, derived_payment_id(shop_key(asked)), abandoned_after=ABANDONED_AFTER)
    return pricing_pb2.CreateQuoteRequest.FromString(payment.quote_request)


def with_other_lines(asked: StartPaymentRequest) -> StartPaymentRequest:
    """Return a start under the same id that costs more."""
    other = StartPaymentRequest()
    other.CopyFrom(asked)
    other.lines[0].unit_amount.amount_minor += 1
    return other


async def test_an_id_that_is_used_for_another_start_prices_nothing_anew(
    world: World, orchestrator: OrchestratorServiceStub
) -> None:
    asked = start()
    first = (await orchestrator.StartPayment(asked)).session
    async with world.orchestrator() as second, second.connect() as stub:
        refusal = await refused(stub.StartPayment(with_other_lines(asked)))
    assert refusal.reason == "REQUEST_ID_REUSED"
    again = (await orchestrator.StartPayment(asked)).session
    assert again.quote == first.quote
    assert again.quote.total.amount_minor == TOTAL_MINOR
    async with world.channel(world.ports["pricing"], "orchestrator") as channel:
        kept = (await PricingServiceStub(channel).CreateQuote(quote_request(asked))).quote
    assert kept == first.quote


async def test_two_starts_under_one_id_of_which_the_refused_one_is_priced_first_are_both_refused(
    world: World, replica: Orchestrator, journeys: Journeys
) -> None:
    """They come at once, to two replicas: the row is of one, the quote of the other. Nothing was made for either."""
    asked = start()
    async with world.channel(world.ports["pricing"], "orchestrator") as channel:
        await PricingServiceStub(channel).CreateQuote(quote_request(with_other_lines(asked)))
    with pytest.raises(Refusal) as caught:
        await ask(replica.parts, asked)
    assert (caught.value.reason, caught.value.field) == ("REQUEST_ID_REUSED", "request_id")
    payment_id = derived_payment_id(shop_key(asked))
    assert await journeys.intents(payment_id) == []
    call = journeys.status.GetPayment(status_pb2.GetPaymentRequest(payment_id=payment_id))
    assert (await refused(call)).reason == "PAYMENT_NOT_FOUND"


async def test_a_start_that_was_priced_and_not_written_gets_the_same_quote_when_it_is_repeated(
    world: World, replica: Orchestrator, orchestrator: OrchestratorServiceStub, journeys: Journeys
) -> None:
    asked = start()
    async with world.channel(world.ports["pricing"], "orchestrator") as channel:
        with pytest.raises(DependencyUnavailable):
            await ask(unwritten(replica), asked)
        quote = (await PricingServiceStub(channel).CreateQuote(quote_request(asked))).quote
    session = (await orchestrator.StartPayment(asked)).session
    assert session.quote == quote
    assert await journeys.states(session.payment.payment_id) == OPENED


async def test_a_start_with_a_coupon_is_priced_once_its_row_is_there(replica: Orchestrator) -> None:
    """What its quote holds would be held until its time is over, if nobody repeats the start."""
    asked = start(coupon_codes=["NOBODY-HAS-THIS"])
    with pytest.raises(DependencyUnavailable):
        await ask(unwritten(replica), asked)
    life = Life(ends_at=0)
    async with mortal_orchestrator(replica, life) as (parts, _):
        with pytest.raises(Refusal):
            await ask(parts, asked)
    assert [name for name, _ in life.asked][:2] == ["start", "create_quote"]


async def test_a_start_whose_quote_was_lost_after_its_payment_was_opened_fails_where_everybody_sees_it(
    world: World, replica: Orchestrator, journeys: Journeys
) -> None:
    """The process dies before the answer is saved, and pricing fails over: it makes another quote."""
    asked = start()
    async with mortal_orchestrator(replica, Life(ends_at="after open_payment")) as (parts, _):
        await ask(parts, asked)
    payment_id = derived_payment_id(shop_key(asked))
    connection = await asyncpg.connect(plain_dsn(world.pricing_database.owner_url))
    try:
        await connection.execute(
            "DELETE FROM quotes WHERE quote_id = $1",
            (await journeys.payment(payment_id)).quote_id,
        )
    finally:
        await connection.close()
    await replica.sweep()
    assert await journeys.states(payment_id) == [*OPENED, "FAILED"]
