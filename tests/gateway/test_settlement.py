"""Each seller of a cart gets its part: by transfers of our own, once, and what is in the way is waited for."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from batzen.gateway.v1 import refunds_pb2, split_pb2
from batzen.gateway.v1.observation_pb2 import Notice
from batzen.type.v1 import money_pb2
from sandbox.control import SandboxControl
from sandbox.faults import Kind
from services.gateway.call_log.execution import IN_FLIGHT_MAX
from services.gateway.settlement.metrics import SettlementMetrics, look_at_settlements
from services.runtime.observability.metrics import Meter
from services.runtime.rpc import call_context
from tests.clock import Clock
from tests.eventually import eventually
from tests.gateway.conftest import Gateway, Sink
from tests.gateway.samples import Payments
from tests.gateway.settling import Carts, emptied, part
from tests.gateway.stubs import GatewayStubs
from tests.gateway.test_recent import counted
from tests.metrics import Figures

CREATE_TRANSFER = "POST /v1/transfers"
PARTLY = [("SELLER", 0), ("", 4_250)]


@pytest.fixture
def carts(replica: Gateway, payments: Payments, stripe: SandboxControl) -> Carts:
    return Carts(replica, payments, stripe)


async def test_each_seller_of_a_cart_gets_what_the_quote_says(carts: Carts) -> None:
    s1, s2, s3 = await carts.sellers(3)

    payment_id = await carts.paid(part(s1, 10_000), part(s2, 5_000), part(s3, 3_000))

    assert await carts.settled(payment_id) == {s1: 8_500, s2: 4_250, s3: 2_550}
    transfers = await carts.transfers(payment_id)
    [charge] = await carts.payments.charges(payment_id)
    assert [one["source_transaction"] for one in transfers] == [charge["id"]] * 3
    assert all(one["metadata"]["payment_id"] == payment_id for one in transfers)


async def test_what_is_held_back_goes_on_once_stripe_says_that_the_review_is_over_which_nobody_told(
    carts: Carts,
) -> None:
    (seller,) = await carts.sellers(1)
    payment_id = await carts.paid(part(seller, 10_000))
    intent_id = await carts.payments.intent_id(payment_id)
    review = await carts.stripe.open_review(intent_id)
    reader = carts.replica.parts.reader
    with call_context.acting_for("main"):
        await reader.notice("main", payment_id, review, "review.opened", is_over=False, origin="test")
    await carts.book(payment_id)
    await carts.run(payment_id)
    assert await carts.got(payment_id) == {}
    await carts.stripe.close_review(review["id"])

    await carts.run(payment_id)

    assert await carts.settled(payment_id) == {seller: 8_500}
    assert not (await carts.payments.seen(payment_id)).is_held_back


async def test_the_platforms_own_goods_and_a_share_of_zero_make_no_transfer(carts: Carts) -> None:
    s1, s2 = await carts.sellers(2)
    own = split_pb2.SellerPart(
        seller_id="main",
        is_platform=True,
        lines=[split_pb2.LinePart(line_id="own", gross_minor=2_000, seller_minor=2_000)],
    )

    payment_id = await carts.paid(part(s1, 10_000), own, part(s2, 1_000, fee_minor=1_000))

    assert await carts.settled(payment_id) == {s1: 8_500}
    sellers = (await carts.payments.seen(payment_id)).sellers
    assert [(one.seller_id, one.owed_minor, one.transferred_minor) for one in sellers] == [
        (s1, 8_500, 8_500),
        (s2, 0, 0),
    ]


async def test_one_seller_of_a_destination_charge_costs_nothing_more(
    carts: Carts, monkeypatch: pytest.MonkeyPatch
) -> None:
    with counted(carts.replica, monkeypatch) as made:
        payment_id = await carts.payments.paid()
    assert not [point for point in made if point is not None and "settlement" in point]
    before = await carts.payments.seen(payment_id)
    assert [(one.owed_minor, one.transferred_minor, one.waits_for) for one in before.sellers] == [(8_500, 8_500, "")]

    await carts.book(payment_id)

    assert await carts.is_at_rest(payment_id)
    assert await carts.payments.seen(payment_id) == before  # what Stripe moved with the charge is no news


async def test_what_the_charge_does_not_cover_waits_for_the_platforms_balance(
    carts: Carts, clock: Clock, delivered: Sink
) -> None:
    account = await carts.replica.parts.provider.own_account_id()
    await emptied(carts.stripe, account)  # of what other tests left
    seller_id = await carts.seller()
    funded = part(seller_id, 8_000, seller_minor=8_425, platform_fee_minor=1_500, discounts_funded_minor=1_925)
    payment_id = await carts.paid(funded)
    await carts.book(payment_id)
    await delivered.hears(payment_id, lambda said: [one.waits_for for one in said.sellers] == ["BALANCE"])
    assert await carts.got(payment_id) == {seller_id: 8_000}
    meter = Meter()
    parts = carts.replica.parts
    await look_at_settlements(parts.connections, SettlementMetrics(meter), tenant_id="main", now=clock.now)
    assert Figures.read(await meter.text()).of("batzen_settlements_waiting", reason="BALANCE") >= 1

    clock.advance(timedelta(days=1, minutes=1))
    said = await delivered.hears(payment_id, lambda said: said.attention.reason == "SETTLEMENT_WAITS")
    assert "4.25 CHF" in said.observation.attention.detail

    await carts.stripe.top_up(account, 1_000_000, currency="chf")  # others' disputes may have left it below 0
    clock.advance(timedelta(hours=1, minutes=1))

    assert await carts.settled(payment_id) == {seller_id: 8_425}
    await emptied(carts.stripe, account)  # what is left is no other test's
    excess = (await carts.transfers(payment_id))[1]
    assert (excess["amount"], excess["source_transaction"]) == (425, None)
    assert not (await carts.payments.seen(payment_id)).HasField("attention")


async def test_a_seller_who_cannot_receive_is_paid_once_the_account_is_good_again(
    carts: Carts, delivered: Sink
) -> None:
    s1, s2 = await carts.sellers(2)
    payment_id = await carts.payments.created(**carts.asked(part(s1, 10_000), part(s2, 5_000)))
    await carts.stripe.enable_account(carts.accounts[s1], enabled=False)
    await carts.payments.gateway.ConfirmIntent(carts.payments.confirm_request(payment_id))
    await carts.book(payment_id)
    await delivered.hears(
        payment_id, lambda said: [(one.waits_for, one.transferred_minor) for one in said.sellers] == PARTLY
    )
    assert await carts.got(payment_id) == {s2: 4_250}

    await carts.stripe.enable_account(carts.accounts[s1], enabled=True)
    with call_context.acting_for("main"):
        assert await carts.replica.parts.sellers.read_again("main", carts.accounts[s1])

    assert await carts.settled(payment_id) == {s1: 8_500, s2: 4_250}


async def test_that_a_transfer_is_refused_is_told_once_however_often_it_is_asked_for(
    carts: Carts, delivered: Sink
) -> None:
    s1 = await carts.seller()
    await carts.stripe.fault(Kind.INVALID, route=CREATE_TRANSFER, times=None)
    payment_id = await carts.paid(part(s1, 10_000), part(await carts.seller(), 5_000))
    await carts.book(payment_id)

    await eventually(lambda: len(delivered.told(payment_id)) == 2)  # each seller's
    told = [one for one in delivered.told(payment_id) if one.seller_ids == [s1]]
    assert [(one.kind, one.values["amount_minor"]) for one in told] == [(Notice.KIND_TRANSFER_FAILED, "8500")]
    assert (told[0].values["reason"], told[0].values["currency_code"]) == ("REFUSED", "CHF")
    await carts.run(payment_id)
    assert len(delivered.told(payment_id)) == 2


async def test_what_stripe_refuses_again_after_the_account_changed_is_asked_for_once(carts: Carts) -> None:
    """Our reading of the account says that it is good, and Stripe does not let it receive all the same."""
    s1, s2 = await carts.sellers(2)
    payment_id = await carts.payments.created(**carts.asked(part(s1, 10_000), part(s2, 5_000)))
    await carts.stripe.enable_account(carts.accounts[s1], enabled=False)
    await carts.payments.gateway.ConfirmIntent(carts.payments.confirm_request(payment_id))
    await carts.book(payment_id)

    async def refusals() -> int:
        payment = await carts.replica.parts.store.require("main", payment_id)
        return sum(one.refusals for one in payment.movements.values())

    async def is_refused() -> bool:
        return await refusals() == 1

    await eventually(is_refused, what="it is refused")
    async with carts.replica.parts.engine.begin() as connection:  # as it was seen a moment later
        await connection.execute(
            sa.text(
                "UPDATE seller_accounts SET observe_time = observe_time + interval '1 day' WHERE seller_id = :seller_id"
            ),
            {"seller_id": s1},
        )
    await carts.run(payment_id)
    assert await refusals() == 2


async def test_a_settlement_that_is_under_way_while_an_account_changes_is_taken_up_again(
    carts: Carts, clock: Clock
) -> None:
    """It may have been refused just before, and would rest for up to a day; told once, it is not told for ever."""
    s1, s2 = await carts.sellers(2)
    payment_id = await carts.payments.created(**carts.asked(part(s1, 10_000), part(s2, 5_000)))
    parts = carts.replica.parts
    place = {"payment_id": payment_id}
    async with parts.engine.begin() as connection:  # as the engine holds it
        await connection.execute(
            sa.text(
                "INSERT INTO settlements (tenant_id, payment_id, missing, seller_ids, due_time, held_until,"
                " create_time) VALUES ('main', :payment_id, 'x', ARRAY[:seller_id], :held_until, :held_until, now())"
            ),
            {**place, "seller_id": s1, "held_until": clock.now() + timedelta(days=9)},
        )
    await parts.store.wake_settlements("main", s1)
    statement = "DELETE FROM settlements WHERE payment_id = :payment_id RETURNING due_time < held_until"
    async with parts.engine.begin() as connection:
        assert (await connection.execute(sa.text(statement), place)).scalar_one()


async def test_a_seller_is_paid_when_its_time_has_come(carts: Carts, clock: Clock) -> None:
    seller_id, other = await carts.sellers(2)
    terms = split_pb2.SettlementTerms()
    terms.pay_time.FromDatetime(clock.now() + timedelta(days=3))
    payment_id = await carts.paid(part(seller_id, 10_000), part(other, 2_000), settlement_terms=terms)
    await carts.book(payment_id)
    seen = await carts.payments.seen(payment_id)
    assert [one.waits_for for one in seen.sellers] == ["PAY_TIME", "PAY_TIME"]
    await carts.refunded_by_hand(payment_id, 6_000)
    assert await carts.got(payment_id) == {}

    clock.advance(timedelta(days=3))

    assert await carts.settled(payment_id) == {seller_id: 4_250, other: 850}


async def test_a_refund_takes_back_what_each_seller_has_of_it(carts: Carts) -> None:
    s1, s2 = await carts.sellers(2)
    payment_id = await carts.paid(part(s1, 10_000), part(s2, 5_000))
    await carts.settled(payment_id)

    await carts.refunded_by_hand(payment_id, 7_500)

    assert await carts.settled(payment_id) == {s1: 4_250, s2: 2_125}


@pytest.mark.parametrize("fault", [Kind.SERVER_ERROR, Kind.TIMEOUT])
async def test_an_answer_that_is_lost_and_the_next_run_make_one_transfer(carts: Carts, fault: Kind) -> None:
    seller_id, other = await carts.sellers(2)
    await carts.stripe.fault(fault, route=CREATE_TRANSFER, times=7, after=True)
    payment_id = await carts.paid(part(seller_id, 10_000), part(other, 2_000))
    await carts.book(payment_id)
    for _ in range(3):  # whoever is woken meanwhile finds a call that is not answered
        await carts.run(payment_id)

    assert await carts.settled(payment_id) == {seller_id: 8_500, other: 1_700}
    assert len(await carts.transfers(payment_id)) == 2


async def lost_then_refused(carts: Carts) -> tuple[str, dict[str, int]]:
    """Return a cart of two, and what each seller is due; a transfer was sent in vain, and is refused since then.

    Stripe refuses it before it looks at the key, as when the seller left the platform meanwhile.
    """
    one, other = await carts.sellers(2)
    payment_id = await carts.paid(part(one, 10_000), part(other, 5_000))
    gone = {"status": 400, "code": "resource_missing", "param": "destination"}
    await carts.stripe.fault(Kind.RESET, route=CREATE_TRANSFER)
    await carts.stripe.fault(Kind.MISSING, route=CREATE_TRANSFER, times=None, **gone)
    await carts.book(payment_id)
    await carts.run(payment_id)
    assert await open_transfers(carts, payment_id) >= 1  # the other one may be under way
    return payment_id, {one: 8_500, other: 4_250}


async def open_transfers(carts: Carts, payment_id: str) -> int:
    """Return how many transfers of a payment have no answer."""
    payment = await carts.replica.parts.store.require("main", payment_id)
    return [name for name, _ in payment.open_calls].count("transfer.create")


async def test_a_payer_does_not_wait_for_a_transfer_without_an_answer(carts: Carts) -> None:
    payment_id, _ = await lost_then_refused(carts)
    asked = carts.payments.refund_request(payment_id, 4_000, expected_minor=15_000)

    answer = await carts.payments.gateway.CreateRefund(asked)

    assert answer.refund.state == refunds_pb2.Refund.STATE_SUCCEEDED
    assert await open_transfers(carts, payment_id) >= 1, "it is still not known"


async def test_a_transfer_that_never_got_there_and_is_refused_since_is_known_not_to_be_made_in_minutes(
    carts: Carts, clock: Clock
) -> None:
    payment_id, due = await lost_then_refused(carts)

    async def is_known() -> bool:
        clock.advance(IN_FLIGHT_MAX)
        await carts.replica.parts.work.once()
        return not await open_transfers(carts, payment_id)

    await eventually(is_known)
    assert await carts.transfers(payment_id) == []
    await carts.stripe.clear_faults()

    async def is_paid() -> bool:
        clock.advance(timedelta(days=1))
        await carts.run(payment_id)
        return await carts.got(payment_id) == due

    await eventually(is_paid)
    assert len(await carts.transfers(payment_id)) == len(due)


async def test_two_processes_that_settle_at_once_make_each_transfer_once(
    carts: Carts, start_gateway: Callable[[], Any]
) -> None:
    sellers = await carts.sellers(3)
    async with start_gateway() as other:
        payment_id = await carts.paid(*(part(one, 1_000) for one in sellers))
        await carts.book(payment_id)
        await asyncio.gather(*(carts.run(payment_id, parts) for parts in (carts.replica.parts, other.parts) * 3))
        assert await carts.settled(payment_id) == dict.fromkeys(sellers, 850)
    assert len(await carts.transfers(payment_id)) == 3


@pytest.mark.usefixtures("exchanging")
async def test_in_another_currency_sellers_are_paid_by_the_exchange_rate_of_the_charge(carts: Carts) -> None:
    """100.00 EUR are 95.00 CHF: 85.00 EUR are 80.75 CHF, and of 40.00 EUR given back 32.30 CHF come back."""
    seller_id, other = await carts.sellers(2)
    account = await carts.replica.parts.provider.own_account_id()
    await carts.stripe.settle_in(account, "chf", rates={"eur": "0.95"})
    euro = {
        "amount": money_pb2.Money(amount_minor=10_000, currency_code="EUR"),
        "application_fee": money_pb2.Money(currency_code="EUR"),
    }
    payment_id = await carts.paid(part(seller_id, 8_000), part(other, 2_000), **euro)

    assert await carts.settled(payment_id) == {seller_id: 6_460, other: 1_615}  # of 68.00 and 17.00 EUR
    assert {one["currency"] for one in await carts.transfers(payment_id)} == {"chf"}
    await carts.refunded_by_hand(payment_id, 4_000)
    assert await carts.settled(payment_id) == {seller_id: 6_460 - 2_584, other: 1_615 - 646}


ROUNDS = [
    pytest.param(range(3), id="quick"),
    pytest.param(range(200), id="long", marks=pytest.mark.soak),
]


@pytest.mark.parametrize("seeds", ROUNDS)
async def test_transfers_against_refunds(carts: Carts, gateway: GatewayStubs, seeds: range) -> None:
    sellers = await carts.sellers(2)
    for seed in seeds:
        chance = random.Random(seed)
        payment_id = await carts.paid(*(part(one, 10_000) for one in sellers))
        await carts.stripe.settle()
        amount_minor = chance.randrange(2, 20_000, 2)

        async def refund(amount_minor: int = amount_minor, payment_id: str = payment_id) -> None:
            request = carts.payments.refund_request(payment_id, amount_minor, expected_minor=20_000)
            await gateway.CreateRefund(request)

        work = [refund(), carts.book(payment_id), carts.run(payment_id), carts.run(payment_id)]
        chance.shuffle(work)
        await asyncio.gather(*work)

        got = await carts.settled(payment_id)
        known = await carts.replica.parts.store.require("main", payment_id)
        assert got == {one.seller_id: one.target_minor for one in known.positions(1) if one.moved_minor}, seed
        assert sum(got.values()) == sum(one.owed_minor for one in known.positions(1)), seed
