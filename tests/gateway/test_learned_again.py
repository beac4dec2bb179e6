"""What a call of ours made at Stripe and of which no row is kept, as after a restore: it is learned again as it was."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import asyncpg
import pytest

from batzen.gateway.v1 import transfers_pb2
from services.gateway.refunds.domain import Bearer, Refund, RefundState
from services.gateway.settlement.domain import MovementKind
from services.gateway.stripe_api.metadata import KEYS_MAX, VALUE_CHARACTERS_MAX
from services.gateway.stripe_api.objects import refund_facts
from services.gateway.stripe_api.refund_metadata import LINES, refund_metadata
from services.runtime.database.connections import plain_dsn
from services.runtime.rpc import call_context
from services.shared.split import LineAmount
from tests.conftest import ServiceDatabase
from tests.gateway.samples import refused
from tests.gateway.settling import TENANT, Carts, part
from tests.gateway.stubs import GatewayStubs
from tests.gateway.test_dispute_money import payment_of
from tests.gateway.test_positions import NOW, attempt, line
from tests.gateway.test_settlement import carts
from tests.gateway.test_transfers import create, reverse

__all__ = ["carts"]

ASKED = Refund(
    refund_id="refund_ours",
    attempt=1,
    amount_minor=6_000,
    create_time=NOW,
    actor_id="anna",
    bearer=Bearer.PLATFORM,
    parts=(LineAmount(line_id="of-s1", amount_minor=6_000),),
)


def shown(refund: Refund, **said: str) -> dict[str, Any]:
    """Return a refund as Stripe shows it, with what is said of it beside what it is."""
    kept = {**refund_metadata(refund, payment_id="pay_a"), **said}
    created = int(NOW.timestamp())
    return {
        "id": "re_9",
        "amount": refund.amount_minor,
        "currency": "chf",
        "status": "succeeded",
        "created": created,
        "metadata": kept,
    }


@pytest.mark.parametrize(
    ("bearer", "owed"),
    [(Bearer.PLATFORM, [8_500, 4_250]), (Bearer.SELLER, [2_500, 4_250]), (Bearer.SHARED, [3_400, 4_250])],
)
def test_a_refund_that_is_learned_again_is_at_the_cost_of_whom_it_was_and_of_its_line_alone(
    bearer: Bearer, owed: list[int]
) -> None:
    payment = payment_of(attempt(line("s1", 10_000), line("s2", 5_000)))
    asked = replace(ASKED, bearer=bearer)

    payment.apply_refund(1, refund_facts(shown(asked)))

    learned = replace(asked, stripe_refund_id="re_9", state=RefundState.SUCCEEDED)
    assert payment.refunds == {"refund_ours": learned}
    assert [one.owed_minor for one in payment.positions(1)] == owed


@pytest.mark.parametrize(
    "said",
    [
        {"bearer": "", "lines": ""},
        {"bearer": "NOBODY", "lines": "{"},
        {"bearer": "SHARED", "lines": '[["of-s1",6001]]'},
        {"bearer": "SHARED", "lines": '[["of-nobody",6000]]'},
        {"bearer": "SHARED", "lines": '[["of-s1",-1]]'},
    ],
)
def test_a_refund_that_says_no_more_than_that_it_is_ours_is_shared_over_all_lines(said: dict[str, str]) -> None:
    """As those were that were made before they said more."""
    payment = payment_of(attempt(line("s1", 10_000), line("s2", 5_000)))

    payment.apply_refund(1, refund_facts(shown(ASKED, **said)))

    [learned] = payment.refunds.values()
    assert (learned.bearer, [one.amount_minor for one in learned.parts]) == (Bearer.SHARED, [4_000, 2_000])


def test_what_somebody_else_says_of_a_refund_is_not_believed() -> None:
    payment = payment_of(attempt(line("s1", 10_000), line("s2", 5_000)))

    payment.apply_refund(1, refund_facts(shown(ASKED, refund_id="")))

    [learned] = payment.refunds.values()
    assert (learned.refund_id, learned.bearer, learned.actor_id) == ("refund_9", Bearer.SHARED, "")


@pytest.mark.parametrize(("number", "is_named"), [(1, True), (100, True), (200, False)])
def test_lines_go_on_under_numbered_keys_as_far_as_stripe_keeps_them(number: int, is_named: bool) -> None:
    parts = tuple(LineAmount(line_id=f"{one:x>128}", amount_minor=99_999_999) for one in range(number))
    asked = replace(ASKED, parts=parts, amount_minor=99_999_999 * number)

    kept = refund_metadata(asked, payment_id="pay_a")

    assert len(kept) <= KEYS_MAX
    assert max(map(len, kept.values())) <= VALUE_CHARACTERS_MAX
    assert (LINES in kept) == is_named
    assert refund_facts(shown(asked)).parts == (parts if is_named else ())
    for value in (value for key, value in kept.items() if key.startswith(LINES)):
        assert json.loads(value)


async def forget(database: ServiceDatabase, payment_id: str, kind: MovementKind, operation: str) -> None:
    """Have nothing kept of a payment's movements of a kind that somebody asked for, nor of the calls that made them."""
    owner = await asyncpg.connect(plain_dsn(database.owner_url))
    by_hand = "DELETE FROM movements WHERE payment_id = $1 AND kind = $2 AND mirrored ->> 'actor_id' = 'anna'"
    await owner.execute(by_hand, payment_id, kind)
    await owner.execute("DELETE FROM calls WHERE subject_id = $1 AND operation = $2", payment_id, operation)
    await owner.execute("UPDATE payments SET fence = fence + 1000 WHERE payment_id = $1", payment_id)
    await owner.close()


async def test_what_somebody_took_back_or_sent_is_theirs_still_once_it_is_learned_again_and_is_not_made_twice(
    carts: Carts, gateway: GatewayStubs, database: ServiceDatabase
) -> None:
    """85.00 less 20.00 that were taken back, of which 5.00 were sent again, all by hand."""
    reader, seller_id = carts.replica.parts.reader, await carts.seller()
    payment_id = await carts.paid(part(seller_id, 10_000))
    await carts.settled(payment_id)
    listing = transfers_pb2.ListTransfersRequest(payment_id=payment_id)
    [transfer] = (await gateway.ListTransfers(listing)).transfers
    back, sent = reverse(transfer.transfer_id, 2_000), create(payment_id, seller_id, 500)

    async def learn_again(kind: MovementKind, operation: str) -> None:
        before = (await carts.replica.parts.store.require(TENANT, payment_id)).movements
        await forget(database, payment_id, kind, operation)
        with call_context.acting_for(TENANT):
            await reader.resync(TENANT, payment_id, origin="test", with_movements=True)
        after = (await carts.replica.parts.store.require(TENANT, payment_id)).movements
        assert {key: (one.actor_id, one.call_id) for key, one in after.items()} == {
            key: (one.actor_id, one.call_id) for key, one in before.items()
        }

    await gateway.ReverseTransfer(back)
    await learn_again(MovementKind.REVERSAL, "transfer.reverse")
    assert await carts.settled(payment_id) == {seller_id: 6_500}
    assert (await refused(gateway.ReverseTransfer(back)))[1] == "REQUEST_ID_REUSED"
    assert await carts.settled(payment_id) == {seller_id: 6_500}

    await gateway.CreateTransfer(sent)
    await learn_again(MovementKind.TRANSFER, "transfer.create")
    assert (await refused(gateway.CreateTransfer(sent)))[1] == "REQUEST_ID_REUSED"
    assert await carts.settled(payment_id) == {seller_id: 7_000}
