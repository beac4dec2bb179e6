"""What sellers and platform had of a payment goes back: never twice, never more than is left, whatever is lost."""

from __future__ import annotations

import asyncio
import uuid
from contextlib import suppress
from typing import Any

import pytest

from sandbox.control import SandboxControl
from sandbox.faults import Kind
from services.gateway.call_log import backoff
from services.gateway.call_log.execution import IN_FLIGHT_MAX
from services.gateway.errors import ReversalExceedsTransfer, StripeKeySpent, StripeRefused
from services.gateway.settlement import facts
from services.gateway.settlement.domain import (
    BACK,
    BALANCE_INSUFFICIENT,
    Movement,
    MovementKind,
    MovementOrigin,
    MovementState,
    is_short,
    went_back,
)
from services.gateway.settlement.way_back import RefundFee, ReverseTransfer, WayBackParams
from services.gateway.stripe_api.transport import TRIES_MAX
from services.runtime.rpc import call_context
from services.runtime.rpc.call_context import acting_for
from tests.clock import Clock
from tests.gateway.conftest import Gateway
from tests.gateway.samples import AMOUNT_MINOR, FEE_MINOR, Payments

pytestmark = pytest.mark.usefixtures("settles_late")

TENANT = "main"
WAYS = pytest.mark.parametrize(
    ("kind", "whole"),
    [(MovementKind.TRANSFER, AMOUNT_MINOR), (MovementKind.FEE, FEE_MINOR)],
    ids=["reversal", "fee refund"],
)
ROUTES = {
    MovementKind.TRANSFER: "POST /v1/transfers/{id}/reversals",
    MovementKind.FEE: "POST /v1/application_fees/{id}/refunds",
}


class Ways:
    """Sends money back on the movements of payments, as whoever settles them does."""

    def __init__(self, replica: Gateway, payments: Payments, stripe: SandboxControl) -> None:
        self.replica, self.payments, self.stripe = replica, payments, stripe

    async def paid(self) -> str:
        """Return a payment whose destination charge moved 100.00 and a fee of 15.00."""
        payment_id = await self.payments.paid()
        await self.stripe.settle()
        with acting_for(TENANT):  # the transfer and the fee themselves: by their charge alone they are assumed
            await self.replica.parts.reader.resync(TENANT, payment_id, origin="test", with_movements=True)
        return payment_id

    async def movements(self, payment_id: str) -> tuple[Movement, ...]:
        return tuple((await self.replica.parts.store.require(TENANT, payment_id)).movements.values())

    async def on(self, payment_id: str, kind: MovementKind) -> Movement:
        """Return the transfer, or the fee, of the charge."""
        return next(one for one in await self.movements(payment_id) if one.kind is kind)

    async def back(self, payment_id: str, kind: MovementKind, *, until_minor: int) -> None:
        """Ask for so much of it to have gone back in all."""
        on = await self.on(payment_id, kind)
        fact = facts.way_back(BACK[kind], on.movement_id, until_minor)
        known = next((one for one in await self.movements(payment_id) if one.fact == fact), None)
        request_id = facts.request_id(payment_id, fact, refusals=known.refusals if known is not None else 0)
        with call_context.acting_for(TENANT):
            await self.replica.parts.calls.make(
                ReverseTransfer if kind is MovementKind.TRANSFER else RefundFee,
                tenant_id=TENANT,
                subject_id=payment_id,
                request_id=request_id,
                request_hash=fact.encode(),
                params=WayBackParams(of_movement_id=on.movement_id, until_minor=until_minor, actor_id="anna"),
            )

    async def gone(self, payment_id: str, kind: MovementKind) -> int:
        """Return what went back on it, as the mirror has it."""
        return went_back(await self.on(payment_id, kind), await self.movements(payment_id)).charge_minor

    async def at_stripe(self, payment_id: str, kind: MovementKind) -> list[dict[str, Any]]:
        """Return what went back on it at Stripe."""
        on = await self.on(payment_id, kind)
        if kind is MovementKind.TRANSFER:
            return await self.stripe.objects("transfer_reversal", transfer=on.stripe_id)
        return await self.stripe.objects("fee_refund", fee=on.stripe_id)


@pytest.fixture
def ways(replica: Gateway, payments: Payments, stripe: SandboxControl) -> Ways:
    return Ways(replica, payments, stripe)


@WAYS
async def test_what_is_missing_goes_back_and_never_more_than_is_left(
    ways: Ways, kind: MovementKind, whole: int
) -> None:
    payment_id = await ways.paid()

    await ways.back(payment_id, kind, until_minor=whole * 2 // 5)
    await ways.back(payment_id, kind, until_minor=whole)
    for until_minor in (whole * 3 // 5, whole + 1):
        with pytest.raises(ReversalExceedsTransfer):
            await ways.back(payment_id, kind, until_minor=until_minor)

    first, rest = sorted(await ways.at_stripe(payment_id, kind), key=lambda one: int(one["amount"]))
    assert (first["amount"], rest["amount"]) == (whole * 2 // 5, whole * 3 // 5)
    assert await ways.gone(payment_id, kind) == whole
    made = [one for one in await ways.movements(payment_id) if one.kind is BACK[kind]]
    assert {one.movement_id for one in made} == {one["metadata"]["movement_id"] for one in (first, rest)}
    assert {one.stripe_id for one in made} == {first["id"], rest["id"]}
    assert {one.origin for one in made} == {MovementOrigin.WAY_BACK}


@WAYS
async def test_many_who_want_the_same_back_get_it_once(ways: Ways, kind: MovementKind, whole: int) -> None:
    payment_id = await ways.paid()

    await asyncio.gather(*(ways.back(payment_id, kind, until_minor=whole // 2) for _ in range(10)))

    [one] = await ways.at_stripe(payment_id, kind)
    assert one["amount"] == whole // 2


@WAYS
async def test_a_lost_answer_is_found_again_and_nothing_is_sent_twice(
    ways: Ways, clock: Clock, kind: MovementKind, whole: int
) -> None:
    payment_id = await ways.paid()
    await ways.stripe.fault(Kind.RESET, route=ROUTES[kind], after=True, times=TRIES_MAX)

    await ways.back(payment_id, kind, until_minor=whole)
    assert await ways.gone(payment_id, kind) == whole  # it may have moved, so it counts
    states = {one.kind: one.state for one in await ways.movements(payment_id)}
    assert states[BACK[kind]] is MovementState.PENDING

    clock.advance(backoff.SETTLE_FIRST)
    await ways.replica.parts.work.once()
    [one] = await ways.at_stripe(payment_id, kind)
    [back] = [each for each in await ways.movements(payment_id) if each.kind is BACK[kind]]
    assert (back.state, back.stripe_id) == (MovementState.MADE, one["id"])


@WAYS
async def test_a_stored_failure_is_looked_up_among_what_went_back(
    ways: Ways, kind: MovementKind, whole: int, clock: Clock
) -> None:
    payment_id = await ways.paid()
    await ways.stripe.fault(Kind.SERVER_ERROR, route=ROUTES[kind], after=True, stored=True)
    await ways.back(payment_id, kind, until_minor=whole)
    [one] = await ways.at_stripe(payment_id, kind)
    assert one["amount"] == whole

    second_id = await ways.paid()
    await ways.stripe.fault(Kind.SERVER_ERROR, route=ROUTES[kind], stored=True)
    await ways.back(second_id, kind, until_minor=whole)  # without effect, which nobody knows yet: it stays reserved
    assert (await ways.gone(second_id, kind), await ways.at_stripe(second_id, kind)) == (whole, [])

    clock.advance(IN_FLIGHT_MAX)
    with suppress(StripeKeySpent):  # whoever looks first finds that there is none, and asks anew
        await ways.back(second_id, kind, until_minor=whole)
    await ways.back(second_id, kind, until_minor=whole)
    [one] = await ways.at_stripe(second_id, kind)
    assert one["amount"] == whole


@WAYS
async def test_what_stripe_has_no_money_for_is_kept_as_refused_and_tried_again_by_another_call(
    ways: Ways, kind: MovementKind, whole: int
) -> None:
    payment_id = await ways.paid()
    for refusals in (1, 2):
        await ways.stripe.fault("invalid", route=ROUTES[kind], code=BALANCE_INSUFFICIENT, param="amount")
        with pytest.raises(StripeRefused):
            await ways.back(payment_id, kind, until_minor=whole)
        [back] = [each for each in await ways.movements(payment_id) if each.kind is BACK[kind]]
        assert (back.state, back.refusals, is_short(back)) == (MovementState.REFUSED, refusals, True)
        assert back.refuse_time is not None
        assert await ways.gone(payment_id, kind) == 0

    await ways.back(payment_id, kind, until_minor=whole)

    [back] = [each for each in await ways.movements(payment_id) if each.kind is BACK[kind]]
    assert (back.state, back.refusals, is_short(back)) == (MovementState.MADE, 2, False)
    [one] = await ways.at_stripe(payment_id, kind)
    assert one["id"] == back.stripe_id


async def test_nothing_goes_back_on_what_is_not_there(ways: Ways) -> None:
    payment_id = await ways.paid()
    with pytest.raises(ReversalExceedsTransfer):
        await ways.replica.parts.calls.make(  # no need to say for whom: nothing is sent
            ReverseTransfer,
            tenant_id=TENANT,
            subject_id=payment_id,
            request_id=uuid.uuid4(),
            request_hash=b"",
            params=WayBackParams(of_movement_id="transfer_none", until_minor=1),
        )
