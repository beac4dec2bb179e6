"""What a dispute takes back from sellers at Stripe, and what a won one gives them again: by the terms of the charge."""

from __future__ import annotations

from collections.abc import Awaitable

import pytest

from batzen.gateway.v1 import split_pb2
from sandbox.control import SandboxControl
from tests.gateway.conftest import Gateway
from tests.gateway.samples import Payments, chf, refusal
from tests.gateway.settling import Carts, part

AT_WITHDRAWAL = split_pb2.DISPUTE_RECOVERY_AT_WITHDRAWAL
AT_LOSS = split_pb2.DISPUTE_RECOVERY_AT_LOSS
NONE = split_pb2.DISPUTE_RECOVERY_NONE
Recovery = split_pb2.DisputeRecovery


@pytest.fixture
def carts(replica: Gateway, payments: Payments, stripe: SandboxControl) -> Carts:
    return Carts(replica, payments, stripe)


class Contested:
    """A cart of two sellers over 100.00 and 50.00 that was settled, and of which half is contested."""

    def __init__(self, carts: Carts, payment_id: str, sellers: list[str]) -> None:
        self.carts, self.payment_id, self.sellers = carts, payment_id, sellers
        self.dispute_id = ""

    @classmethod
    async def of(cls, carts: Carts, recovery: Recovery, *, card: str = "visa") -> Contested:
        sellers = await carts.sellers(2)
        parts = [part(sellers[0], 10_000), part(sellers[1], 5_000)]
        terms = split_pb2.SettlementTerms(dispute_recovery=recovery)
        payment_id = await carts.paid(*parts, settlement_terms=terms, card=card)
        assert await carts.settled(payment_id) == dict(zip(sellers, (8_500, 4_250), strict=True))
        return cls(carts, payment_id, sellers)

    async def withdrawn(self, **terms: int) -> list[int]:
        """Return what each seller has after the bank took half of it."""
        await self.disputed(7_500, **terms)
        return await self.have()

    async def disputed(self, amount_minor: int, **terms: int) -> None:
        """Let the bank contest so much of it, of which nothing is read yet."""
        intent_id = await self.carts.payments.intent_id(self.payment_id)
        dispute = await self.carts.stripe.dispute(intent_id, amount=amount_minor, **terms)
        self.dispute_id = str(dispute["id"])

    def refund(self, amount_minor: int) -> Awaitable[object]:
        """Return the call that refunds so much, asked for by somebody to whom nothing of it went back yet."""
        return self.carts.payments.gateway.CreateRefund(
            self.carts.payments.refund_request(self.payment_id, amount_minor, expected_refundable=chf(15_000))
        )

    async def moved(self, status: str) -> list[int]:
        """Return what each seller has after the bank decided."""
        await self.carts.stripe.move_dispute(self.dispute_id, status)
        return await self.have()

    async def have(self) -> list[int]:
        await self.carts.payments.synced(self.payment_id)
        got = await self.carts.settled(self.payment_id)
        return [got[one] for one in self.sellers]


@pytest.mark.parametrize(
    ("recovery", "withdrawn", "lost"),
    [
        (AT_WITHDRAWAL, [4_250, 2_125], [4_250, 2_125]),
        (AT_LOSS, [8_500, 4_250], [4_250, 2_125]),
        (NONE, [8_500, 4_250], [8_500, 4_250]),
    ],
)
async def test_sellers_give_their_part_of_what_is_lost_when_their_terms_say(
    carts: Carts, recovery: Recovery, withdrawn: list[int], lost: list[int]
) -> None:
    contested = await Contested.of(carts, recovery)

    assert await contested.withdrawn() == withdrawn
    assert await contested.moved("lost") == lost


async def test_what_was_taken_back_is_transferred_again_once_it_is_won_and_the_money_is_back(carts: Carts) -> None:
    contested = await Contested.of(carts, AT_WITHDRAWAL)
    assert await contested.withdrawn() == [4_250, 2_125]
    # What its charge does not cover a second time comes from what the platform has available.
    account = await carts.replica.parts.provider.own_account_id()
    await carts.stripe.top_up(account, 1_000_000, currency="chf")

    assert await contested.moved("won") == [8_500, 4_250]
    await carts.stripe.empty_account(account, currency="chf")  # what is left is no other test's


async def test_nothing_is_taken_back_before_the_bank_took_it(carts: Carts) -> None:
    contested = await Contested.of(carts, AT_WITHDRAWAL)

    assert await contested.withdrawn(moves_after_s=3_600) == [8_500, 4_250]


@pytest.mark.parametrize(("recovery", "withdrawn"), [(AT_WITHDRAWAL, [0, 0]), (AT_LOSS, [8_500, 4_250])])
async def test_a_refund_that_a_dispute_forbids_leaves_the_sellers_their_part_of_the_dispute(
    carts: Carts, recovery: Recovery, withdrawn: list[int]
) -> None:
    """All is contested, and somebody refunds all before that is known: Stripe refuses, and nothing is left of it."""
    contested = await Contested.of(carts, recovery)
    await contested.disputed(15_000)

    assert (await refusal(contested.refund(15_000)))[1] == "CHARGE_DISPUTED"

    assert await contested.have() == withdrawn
    assert await contested.moved("lost") == [0, 0]


async def test_a_refund_that_comes_back_leaves_the_sellers_their_part_of_a_dispute(carts: Carts) -> None:
    """Half is on its way back while all is contested; the payer's bank sends that half back, and all is lost."""
    account = await carts.replica.parts.provider.own_account_id()
    contested = await Contested.of(carts, AT_LOSS, card="refundFail")
    await carts.stripe.top_up(account, 1_000_000, currency="chf")
    await contested.refund(7_500)
    await contested.disputed(15_000)
    await carts.payments.synced(contested.payment_id)
    await carts.stripe.settle()  # now it comes back

    assert await contested.have() == [8_500, 4_250]
    assert await contested.moved("lost") == [0, 0]
    await carts.stripe.empty_account(account, currency="chf")  # what is left is no other test's
