"""A hold that is captured in parts, each with a transfer, a fee and a balance transaction of its own: what sellers have
then is what one capture would have left them, in whatever currency the platform settles."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from batzen.gateway.v1 import intents_pb2, split_pb2
from batzen.type.v1 import money_pb2
from sandbox.control import SandboxControl
from services.gateway.ledger.domain import Account
from services.gateway.mirror.payment import MirroredPayment
from services.gateway.settlement.domain import Movement, MovementKind, Settled, SettledPart, Wait, WaitReason
from services.gateway.settlement.positions import captured_of_lines
from services.gateway.settlement.seen import MovedFacts
from services.gateway.stripe_api.money_objects import settled
from services.shared import codec
from services.shared.codec import Json
from services.shared.split import Split
from tests.eventually import eventually
from tests.gateway.samples import refused
from tests.gateway.settling import TENANT, emptied, part
from tests.gateway.test_dispute_settlement import AT_WITHDRAWAL
from tests.gateway.test_positions import line
from tests.gateway.test_refund_rules import NOW, paid
from tests.gateway.test_refund_ways import Refunding, lines, refunding

__all__ = ["refunding"]

pytestmark = pytest.mark.usefixtures("exchanging")

FIRST_TIME, SECOND_TIME = NOW, NOW + timedelta(days=2)


async def held_and_captured(
    refunding: Refunding, currency: str, second_rate: str = "0.95", *, is_seen_between: bool = True, **fields: Any
) -> str:
    """Return a payment of 100.00 with a fee of 15.00, captured as 60.00 by 0.95 and 40.00 by another rate, and seen."""
    account = await refunding.replica.parts.provider.own_account_id()
    await refunding.stripe.settle_in(account, "chf", rates={"eur": "0.95"})
    await refunding.stripe.top_up(account, 1_000_000, currency="chf")

    def money(minor: int) -> money_pb2.Money:
        return money_pb2.Money(amount_minor=minor, currency_code=currency)

    async def capture(minor: int, fee_minor: int, *, is_final: bool) -> None:
        request = refunding.payments.capture_request(
            payment_id, amount=money(minor), application_fee=money(fee_minor), final_capture=is_final
        )
        await refunding.payments.gateway.CaptureIntent(request)
        if is_final or is_seen_between:
            await refunding.stripe.settle()
            await refunding.payments.synced(payment_id)

    payment_id = await refunding.payments.held(amount=money(10_000), application_fee=money(1_500), **fields)
    await capture(6_000, 900, is_final=False)
    await refunding.stripe.advance(1)  # Stripe counts whole seconds
    await refunding.stripe.settle_in(account, "chf", rates={"eur": second_rate})
    await capture(4_000, 600, is_final=True)
    return payment_id


async def beside(refunding: Refunding, payment_id: str) -> int:
    """Return what was sent to the seller by transfers of ours."""
    return sum(one["amount"] for one in await refunding.transfers(payment_id))


@pytest.mark.parametrize("is_seen_between", [True, False])
@pytest.mark.parametrize(("second_rate", "whole"), [("0.95", (9_500, 1_425)), ("0.96", (9_540, 1_431))])
async def test_of_a_hold_captured_in_parts_in_another_currency_nothing_is_taken_back_before_something_is_refunded(
    refunding: Refunding, second_rate: str, whole: tuple[int, int], is_seen_between: bool
) -> None:
    """60.00 and 40.00 EUR, settled in CHF, each by the rate of its day; then all of it goes back to the payer."""
    payment_id = await held_and_captured(refunding, "EUR", second_rate, is_seen_between=is_seen_between)

    assert await refunding.destination_in_parts(payment_id) == (0, 0)
    known = await refunding.replica.parts.store.require(TENANT, payment_id)
    assert sorted((one.kind, one.charge_minor) for one in known.movements.values()) == [
        ("FEE", 600),
        ("FEE", 900),
        ("TRANSFER", 4_000),
        ("TRANSFER", 6_000),
    ]
    euro = money_pb2.Money(amount_minor=10_000, currency_code="EUR")
    await refunding.refund(payment_id, 10_000, amount=euro, expected_refundable=euro)
    assert await refunding.destination_in_parts(payment_id) == whole
    assert await beside(refunding, payment_id) == 0


@pytest.mark.parametrize(("currency", "taken", "given"), [("CHF", (7_000, 1_050), 5_950), ("EUR", (6_650, 997), 5_653)])
async def test_what_a_dispute_took_of_a_hold_captured_in_parts_is_given_again_in_full_once_it_is_won(
    refunding: Refunding, stripe: SandboxControl, currency: str, taken: tuple[int, int], given: int
) -> None:
    """100.00, of which a dispute takes 70.00 at once: 59.50 of that are the seller's, which it has again in the end."""
    terms = split_pb2.SettlementTerms(dispute_recovery=AT_WITHDRAWAL)
    payment_id = await held_and_captured(refunding, currency, settlement_terms=terms)
    dispute = await stripe.dispute(await refunding.payments.intent_id(payment_id), amount=7_000)
    await refunding.payments.synced(payment_id)
    assert await refunding.destination_in_parts(payment_id) == taken

    await stripe.move_dispute(str(dispute["id"]), "won")
    await refunding.payments.synced(payment_id)

    async def is_given() -> bool:
        return await refunding.is_at_rest(payment_id) and await beside(refunding, payment_id) == given

    await eventually(is_given, what=f"{payment_id} has all of it again")
    assert await refunding.destination_in_parts(payment_id) == taken
    account = await refunding.replica.parts.provider.own_account_id()
    await emptied(stripe, account)


async def test_captures_that_name_lines_and_captures_that_do_not_follow_one_another_and_nothing_is_of_no_line(
    refunding: Refunding,
) -> None:
    """70.00 and 30.00: 60.00 of both are 42.00 and 18.00, then 20.00 of the first, then what is left of both."""
    seller_id = await refunding.seller()
    named = [*part(seller_id, 7_000, line_id="a").lines, *part(seller_id, 3_000, line_id="b").lines]
    payment_id = await refunding.payments.held(
        seller_id=seller_id, seller_parts=[split_pb2.SellerPart(seller_id=seller_id, lines=named)]
    )

    def asked(minor: int, *, is_final: bool = False, **of_lines: int) -> intents_pb2.CaptureIntentRequest:
        return refunding.payments.capture_request(
            payment_id, minor, final_capture=is_final, line_amounts=lines(**of_lines)
        )

    async def captured_by(request: intents_pb2.CaptureIntentRequest) -> tuple[int, ...]:
        await capture(request)
        known = await refunding.replica.parts.store.require(TENANT, payment_id)
        return tuple(captured_of_lines(known.intents[1]).values())

    capture = refunding.payments.gateway.CaptureIntent
    assert await captured_by(asked(6_000)) == (4_200, 1_800)
    for field, of_lines, metadata in (
        ("line_amounts[0]", {"a": 4_000}, {"capturable_minor": "2800"}),
        ("line_amounts[1].line_id", {"b": 1_000, "c": 3_000}, {}),
    ):
        code, _, refused_field, said = await refused(capture(asked(4_000, **of_lines)))
        assert (refused_field, said) == (field, metadata), code
    assert await captured_by(asked(2_000, a=2_000)) == (6_200, 1_800)
    assert await captured_by(asked(2_000, is_final=True)) == (7_000, 3_000)
    await refunding.stripe.settle()
    await refunding.payments.synced(payment_id)

    assert await refunding.destination_in_parts(payment_id) == (0, 0)
    known = await refunding.replica.parts.store.require(TENANT, payment_id)
    [position] = known.positions(1)
    assert (position.owed_minor, position.moved_minor) == (8_500, 8_500)
    assert Account.PAYER_SURPLUS not in {one.place.account for one in known.books.sums if one.amount_minor}


def booking(amount_minor: int, rate: str | None, *, create_time: datetime = FIRST_TIME, **fields: object) -> Json:
    """Return a balance transaction as Stripe shows it."""
    created = int(create_time.timestamp())
    shown = {"id": f"txn_{amount_minor}", "type": "charge", "amount": amount_minor, "fee": 0, "net": amount_minor}
    shown |= {"currency": "chf", "exchange_rate": rate, "source": "ch_a", "created": created, "available_on": created}
    return {**shown, **fields}


def charge_of(captured_minor: int, named: Json, *, currency: str = "eur") -> Json:
    return {
        "id": "ch_a",
        "object": "charge",
        "currency": currency,
        "amount_captured": captured_minor,
        "balance_transaction": named,
    }


def test_a_charge_comes_to_what_all_of_its_captures_came_to_each_by_its_own_rate() -> None:
    first, second = booking(5_700, "0.95"), booking(3_840, "0.96", create_time=SECOND_TIME)
    back = booking(-1_900, "0.95", type="refund")
    charge = charge_of(10_000, second)

    alone = settled(charge)
    assert alone == Settled(charge_minor=4_000, amount_minor=3_840, currency_code="CHF")
    together = settled(charge, [back, second, first])
    assert together == Settled(
        charge_minor=10_000,
        amount_minor=9_540,
        currency_code="CHF",
        parts=(
            SettledPart(charge_minor=4_000, amount_minor=3_840, create_time=SECOND_TIME),
            SettledPart(charge_minor=6_000, amount_minor=5_700, create_time=FIRST_TIME),
        ),
    )
    assert settled(charge_of(12_000, second), [second, first]) == together  # 20.00 more are not booked yet


def test_what_the_digits_of_a_rate_lack_is_of_the_whole_all_the_same() -> None:
    """12345.67 and 7654.33 EUR at 0.953217 are 11768.10 and 7296.24 CHF, from which neither is had exactly."""
    rows = [booking(1_176_810, "0.95322"), booking(729_624, "0.95322")]
    found = settled(charge_of(2_000_000, rows[0]), rows)
    assert found is not None
    assert (found.charge_minor, found.amount_minor) == (2_000_000, 1_906_434)
    assert sum(one.charge_minor for one in found.parts) == 2_000_000


def test_in_the_same_currency_a_charge_comes_to_what_was_captured_whichever_capture_it_names() -> None:
    assert settled(charge_of(10_000, booking(4_000, None), currency="chf")) == Settled(
        charge_minor=10_000, amount_minor=10_000, currency_code="CHF"
    )
    assert settled(charge_of(10_000, {})) is None


def test_a_rate_that_was_kept_before_each_capture_had_its_own_is_read_as_before() -> None:
    kept = {"charge_minor": 10_000, "amount_minor": 9_500, "currency_code": "CHF"}
    assert codec.from_json(Settled, kept).at(NOW) == Settled(**kept)  # type: ignore[arg-type]


def captured(rate: Settled, **changes: object) -> MirroredPayment:
    """Return a payment in won of 1000.00 of one seller with a fee of 150.00, captured in two parts."""
    payment = paid(Split(lines=(line("s1", 100_000),)), settled=rate, seller_id="s1", application_fee_minor=15_000)
    intent = payment.intents[1]
    payment.intents[1] = replace(intent, charge_id="ch_a", captured_fee_minor=15_000, **changes)  # type: ignore[arg-type]
    return payment


def moved(kind: MovementKind, amount_minor: int, create_time: datetime) -> MovedFacts:
    return MovedFacts(
        kind=kind,
        stripe_id=f"{kind}_{create_time.day}",
        charge_id="ch_a",
        amount_minor=amount_minor,
        currency_code="USD",
        create_time=create_time,
    )


IN_PARTS = Settled(
    charge_minor=100_000,
    amount_minor=76,
    currency_code="USD",
    parts=(
        SettledPart(charge_minor=60_000, amount_minor=45, create_time=FIRST_TIME),
        SettledPart(charge_minor=40_000, amount_minor=31, create_time=SECOND_TIME),
    ),
)
"""By 0.00075 and 0.000775: one cent is more than a thousand won."""


@pytest.mark.parametrize("is_first_first", [True, False])
def test_what_came_with_several_captures_adds_up_to_what_was_asked_though_a_unit_is_many_of_the_payments(
    is_first_first: bool,
) -> None:
    payment = captured(IN_PARTS)
    seen = [
        moved(MovementKind.TRANSFER, 45, FIRST_TIME),
        moved(MovementKind.TRANSFER, 31, SECOND_TIME),
        moved(MovementKind.FEE, 7, FIRST_TIME),
        moved(MovementKind.FEE, 5, SECOND_TIME),
    ]
    for one in seen if is_first_first else reversed(seen):
        payment.apply_moved(1, "s1", one)

    sums = {
        kind: sum(one.charge_minor for one in payment.movements.values() if one.kind is kind)
        for kind in (MovementKind.TRANSFER, MovementKind.FEE)
    }
    assert sums == {MovementKind.TRANSFER: 100_000, MovementKind.FEE: 15_000}
    assert payment.steps(None) == ()


def test_by_a_rate_that_makes_more_of_a_charge_than_was_captured_nothing_is_taken_back() -> None:
    """As when one capture's amount stood for all: nobody has more of a charge than there is, and the rate is asked."""
    wrong = Settled(charge_minor=100_000, amount_minor=31, currency_code="USD")
    payment = captured(wrong)
    for one in (moved(MovementKind.TRANSFER, 45, FIRST_TIME), moved(MovementKind.TRANSFER, 31, SECOND_TIME)):
        payment.apply_moved(1, "s1", one)
    payment.apply_moved(1, "s1", moved(MovementKind.FEE, 7, FIRST_TIME))

    assert max(one.charge_minor for one in payment.movements.values()) <= 100_000
    [step] = payment.steps(None)
    assert not isinstance(step, Movement)
    assert step == Wait(attempt=1, seller_id="s1", reason=WaitReason.CHARGE)
