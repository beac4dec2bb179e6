"""What a dispute takes back from sellers at Stripe, and what a won one gives them again: by the terms of the charge."""

from __future__ import annotations

import pytest

from batzen.gateway.v1 import split_pb2
from sandbox.control import SandboxControl
from tests.gateway.conftest import Gateway
from tests.gateway.samples import Payments
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
    async def of(cls, carts: Carts, recovery: Recovery) -> Contested:
        sellers = await carts.sellers(2)
        parts = [part(sellers[0], 10_000), part(sellers[1], 5_000)]
        terms = split_pb2.SettlementTerms(dispute_recovery=recovery)
        payment_id = await carts.paid(*parts, settlement_terms=terms)
        assert await carts.settled(payment_id) == dict(zip(sellers, (8_500, 4_250), strict=True))
        return cls(carts, payment_id, sellers)

    async def withdrawn(self, **terms: int) -> list[int]:
        """Return what each seller has after the bank took half of it."""
        intent_id = await self.carts.payments.intent_id(self.payment_id)
        dispute = await self.carts.stripe.dispute(intent_id, amount=7_500, **terms)
        self.dispute_id = str(dispute["id"])
        return await self.have()

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
