"""Random histories of money over a real gateway: what payers, sellers, banks, operators and Stripe do, by a seed.

Nothing happens by itself: due work is done where a history says so, and what settles at Stripe settles then. So a seed
makes nearly the same history again. What must be true of one is in tests/gateway/money_rules.py.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from google.protobuf.timestamp_pb2 import Timestamp
from grpc import StatusCode, aio

from batzen.gateway.v1 import ops_pb2, split_pb2, transfers_pb2
from batzen.type.v1 import money_pb2
from sandbox.control import Refused
from services.gateway.errors import IntentNotFound
from services.gateway.settlement.positions import captured_of_lines
from services.runtime.rpc.call_context import acting_for
from tests.gateway.money_world import World
from tests.gateway.samples import new_id, new_request_id
from tests.gateway.settling import TENANT

PLATFORM: Final = TENANT
"""As a seller: the platform's own goods."""
CARDS: Final = ("visa", "visa", "visa", "bypassPending", "pendingRefund", "refundFail")
FAULTS: Final = ("server_error", "reset", "lock_timeout", "broken_json")
ROUTES: Final = (
    "POST /v1/transfers",
    "POST /v1/transfers/{id}/reversals",
    "POST /v1/application_fees/{id}/refunds",
    "POST /v1/refunds",
    "POST /v1/payment_intents/{intent}/capture",
    "GET *",
    "*",
)
MOVES: Final = ("under_review", "won", "lost", "prevented", "warning_closed", "needs_response", "appeal_needs_response")
CLOCK_MOVES: Final = (2, 70, 3_700, 90_000, 260_000)
"""Seconds: a call is settled, a refusal has rested, an hour, more than a day, a payer's money is available."""
OF_THE_CALLER: Final = {
    StatusCode.INVALID_ARGUMENT,
    StatusCode.FAILED_PRECONDITION,
    StatusCode.NOT_FOUND,
    StatusCode.UNAVAILABLE,
    StatusCode.ABORTED,
    StatusCode.RESOURCE_EXHAUSTED,
}
"""What a caller may be answered; anything else is a bug."""
RESTS: Final = 8
"""Looks, a day apart, within which everything comes to rest."""


@dataclass(kw_only=True)
class Sale:
    """One payment of a history."""

    payment_id: str
    currency_code: str
    lines: dict[str, split_pb2.LinePart]
    sellers: dict[str, str]
    """Line → whose it is."""
    recovery: split_pb2.DisputeRecovery
    is_destination: bool
    by_hand: set[str] = field(default_factory=set)
    """Sellers from whom something was taken back by hand: it is not sent again by itself."""


class History:
    """What happens to some payments of some sellers."""

    def __init__(self, world: World, seed: str) -> None:
        self.world, self.chance = world, random.Random(seed)
        self.accounts: dict[str, str] = {}
        """Seller → its account at Stripe."""
        self.sales: list[Sale] = []
        self.reviews: list[str] = []
        self.told: list[str] = []
        """What happened, for whoever reads a failure."""
        self.seen: Counter[str] = Counter()

    async def play(self, steps: int) -> None:
        """Make it happen."""
        for _ in range(self.chance.randint(1, 3)):
            seller_id, account = await self.world.seller()
            self.accounts[seller_id] = account
        await self._try(self.buys)
        for _ in range(steps):
            names = self.chance.choices(list(WEIGHTS), list(WEIGHTS.values()), k=self.chance.choice((1, 1, 1, 2)))
            await asyncio.gather(*(self._try(getattr(self, name)) for name in names))

    async def _try(self, step: Callable[[], Awaitable[object]]) -> None:
        name, outcome = step.__name__, "done"
        try:
            await step()
        except aio.AioRpcError as refusal:
            if refusal.code() not in OF_THE_CALLER:
                raise
            outcome = f"{refusal.code().name} {refusal.details()}"
        except Refused as refusal:
            outcome = str(refusal)
        self.told.append(f"{name}: {outcome}")
        self.seen[name if outcome == "done" else f"{name} refused"] += 1

    # What payers do.

    async def buys(self) -> None:
        """A payer buys of one seller or several, and is captured at once or held."""
        chance, currency = self.chance, self.chance.choice(("CHF", "CHF", "EUR"))
        is_destination = chance.random() < 0.4
        sellers = [chance.choice(list(self.accounts))] if is_destination else [*self.accounts]
        parts = [self._part(seller_id) for seller_id in sellers for _ in range(chance.randint(1, 2))]
        if not is_destination and chance.random() < 0.3:
            goods = split_pb2.LinePart(line_id=new_id("line"), gross_minor=2_000, seller_minor=2_000)
            parts.append(split_pb2.SellerPart(seller_id=PLATFORM, is_platform=True, lines=[goods]))
        total = sum(one.lines[0].gross_minor for one in parts)
        kept = sum(one.lines[0].gross_minor - one.lines[0].seller_minor for one in parts if not one.is_platform)
        if is_destination and kept < 0:  # a seller who gets more than is charged is paid by a transfer
            is_destination = False
        terms = split_pb2.SettlementTerms(dispute_recovery=chance.choice(RECOVERIES))
        if chance.random() < 0.3:
            pay_time = Timestamp()
            pay_time.FromDatetime(self.world.clock.now() + timedelta(seconds=chance.choice(CLOCK_MOVES)))
            terms.pay_time.CopyFrom(pay_time)
        fields: dict[str, Any] = {
            "amount": money_pb2.Money(amount_minor=total, currency_code=currency),
            "seller_id": sellers[0] if is_destination else "",
            "application_fee": money_pb2.Money(amount_minor=kept if is_destination else 0, currency_code=currency),
            "seller_parts": parts,
            "settlement_terms": terms,
            "capture_manually": chance.random() < (0.7 if is_destination else 0.3),
        }
        payment_id, card = new_id("pay"), chance.choice(CARDS)
        self.sales.append(
            Sale(
                payment_id=payment_id,
                currency_code=currency,
                lines={one.lines[0].line_id: one.lines[0] for one in parts},
                sellers={one.lines[0].line_id: one.seller_id for one in parts},
                recovery=terms.dispute_recovery,
                is_destination=is_destination,
            )
        )
        payments = self.world.payments
        await payments.gateway.CreateIntent(payments.create_request(payment_id=payment_id, **fields))
        await payments.gateway.ConfirmIntent(payments.confirm_request(payment_id, card))

    def _part(self, seller_id: str) -> split_pb2.SellerPart:
        gross = self.chance.choice((1, 99, 3_333, 5_000, 12_501))
        fee = self.chance.choice((0, gross // 10, gross * 15 // 100, gross))
        funded = self.chance.choice((0, 0, 0, gross // 3))
        line = split_pb2.LinePart(
            line_id=new_id("line"),
            gross_minor=gross,
            seller_minor=gross - fee + funded,
            platform_fee_minor=fee,
            discounts_funded_minor=funded,
        )
        return split_pb2.SellerPart(seller_id=seller_id, lines=[line])

    async def captures(self) -> None:
        """What is held is captured, all of what is left of it or a part; of which lines that is is said or not."""
        held = [one for one in self.sales if await self._holds(one)]
        if not held:
            return
        sale = self.chance.choice(held)
        known = await self.world.replica.parts.store.require(TENANT, sale.payment_id)
        captured = captured_of_lines(known.intents[1])
        amounts: dict[str, int] = {}
        is_whole = self.chance.random() < 0.3 or not sale.is_destination
        for line_id, line in sale.lines.items():
            left = line.gross_minor - captured[line_id]
            amounts[line_id] = left if is_whole else self.chance.randint(0, left)
        total = sum(amounts.values())
        if not total:
            return
        kept = sum(
            line.gross_minor - line.seller_minor for key, line in sale.lines.items() if sale.sellers[key] != PLATFORM
        )
        fee = kept * total // sum(line.gross_minor for line in sale.lines.values()) if sale.is_destination else 0
        request = self.world.payments.capture_request(
            sale.payment_id,
            amount=money_pb2.Money(amount_minor=total, currency_code=sale.currency_code),
            application_fee=money_pb2.Money(amount_minor=fee, currency_code=sale.currency_code),
            final_capture=is_whole or self.chance.random() < 0.2,
            line_amounts=_line_amounts(amounts) if self.chance.random() < 0.7 else (),
        )
        await self.world.payments.gateway.CaptureIntent(request)
        if any(captured.values()):
            self.seen[f"captures once more in {sale.currency_code}"] += 1

    async def refunds(self) -> None:
        """A payer gets back all, a part, a line, at whosever cost."""
        sale, chance = self._sale(), self.chance
        seen = await self.world.payments.seen(sale.payment_id)
        left = seen.refundable_minor
        amount = chance.choice((left, left // 2, chance.randint(1, max(1, left)), left + 1))
        given: dict[str, Any] = {}
        if chance.random() < 0.4:
            chosen = chance.sample(list(sale.lines), chance.randint(1, len(sale.lines)))
            amounts = {key: chance.randint(0, sale.lines[key].gross_minor) for key in chosen}
            given, amount = {"line_amounts": _line_amounts(amounts)}, sum(amounts.values())
        elif chance.random() < 0.2:
            given = {"line_ids": [chance.choice(list(sale.lines))]}
        reverses = chance.random() < 0.8
        request = self.world.payments.refund_request(
            sale.payment_id,
            amount,
            amount=money_pb2.Money(amount_minor=amount, currency_code=sale.currency_code),
            expected_refundable=money_pb2.Money(amount_minor=left, currency_code=sale.currency_code),
            reverse_transfer=reverses,
            refund_application_fee=reverses and chance.random() < 0.7,
            **given,
        )
        await self.world.payments.gateway.CreateRefund(request)

    # What banks do.

    async def disputes(self) -> None:
        """A payer's bank takes money back, all, a part, or more than is left; or only asks."""
        sale, chance = self._sale(), self.chance
        whole = sum(line.gross_minor for line in sale.lines.values())
        await self.world.stripe.dispute(
            await self._intent_id(sale),
            amount=chance.choice((None, whole // 2, chance.randint(1, whole + 100))),
            inquiry=chance.random() < 0.2,
            returns_fee=chance.randint(0, 1),
            moves_after_s=chance.choice((0, 0, 3_600)),
        )

    async def decides(self) -> None:
        """A bank goes on with a dispute."""
        found = []
        for sale in self.sales:
            found += await self.world.stripe.objects("dispute", payment_intent=await self._intent_id(sale))
        if not found:
            return
        dispute = self.chance.choice(found)
        status, part_minor = self.chance.choice(MOVES), self.chance.randint(1, dispute["amount"])
        reinstated = part_minor if status in ("lost", "prevented") and self.chance.random() < 0.3 else None
        await self.world.stripe.move_dispute(dispute["id"], status, reinstated=reinstated)

    # What sellers do, and what becomes of balances.

    async def seller_stops(self) -> None:
        await self.world.stripe.enable_account(self._account(), enabled=False)

    async def seller_goes_on(self) -> None:
        await self.world.stripe.enable_account(self._account(), enabled=True)

    async def seller_is_emptied(self) -> None:
        await self.world.stripe.empty_account(self._account(), currency="chf")

    async def platform_is_emptied(self) -> None:
        await self.world.stripe.empty_account(self.world.account, currency="chf")

    async def platform_is_topped_up(self) -> None:
        await self.world.stripe.top_up(self.world.account, 3_000, currency="chf")

    # What operators do, here and at Stripe's dashboard.

    async def transfers(self) -> None:
        """Somebody sends a seller its part before its time, or more than that."""
        sale, seller_id = self._sale(), self.chance.choice(list(self.accounts))
        amount = money_pb2.Money(amount_minor=self.chance.choice((1, 100, 2_000)), currency_code=sale.currency_code)
        await self.world.payments.gateway.CreateTransfer(
            transfers_pb2.CreateTransferRequest(
                request_id=new_request_id(),
                payment_id=sale.payment_id,
                seller_id=seller_id,
                amount=amount,
                actor_id="operator_1",
            )
        )

    async def takes_back(self) -> None:
        """Somebody takes a part of a transfer back, here or at the dashboard."""
        sale = self._sale()
        asked = transfers_pb2.ListTransfersRequest(payment_id=sale.payment_id)
        listed = (await self.world.payments.gateway.ListTransfers(asked)).transfers
        made = [one for one in listed if one.state == transfers_pb2.Transfer.STATE_MADE]
        if not made:
            return
        transfer = self.chance.choice(made)
        sale.by_hand.add(transfer.seller_id)
        amount = self.chance.randint(1, transfer.amount.amount_minor)
        if self.chance.random() < 0.3:
            minor = max(1, amount * transfer.settled_amount.amount_minor // transfer.amount.amount_minor)
            await self.world.stripe.reverse_transfer(transfer.stripe_transfer_id, amount=minor)
            return
        await self.world.payments.gateway.ReverseTransfer(
            transfers_pb2.ReverseTransferRequest(
                request_id=new_request_id(),
                transfer_id=transfer.transfer_id,
                amount=money_pb2.Money(amount_minor=amount, currency_code=sale.currency_code),
                actor_id="operator_1",
            )
        )

    async def refunds_at_dashboard(self) -> None:
        sale = self._sale()
        amount = self.chance.randint(1, sum(line.gross_minor for line in sale.lines.values()))
        await self.world.stripe.refund(await self._intent_id(sale), amount=amount)

    async def writes_off(self) -> None:
        """An operator lets a seller owe no more."""
        for seller_id in self.accounts:
            listed = await self.world.ops.ListReceivables(ops_pb2.ListReceivablesRequest(seller_id=seller_id))
            for owed in listed.receivables:
                await self.world.ops.WriteOffReceivable(
                    ops_pb2.WriteOffReceivableRequest(
                        request_id=new_request_id(),
                        payment_id=owed.payment_id,
                        attempt=owed.attempt,
                        seller_id=seller_id,
                        expected=owed.amount,
                        reason="It has gone.",
                        actor_id="anna",
                    )
                )

    async def reviews_it(self) -> None:
        self.reviews.append((await self.world.stripe.open_review(await self._intent_id(self._sale())))["id"])

    # What Stripe does, and time.

    async def webhooks_go_wrong(self) -> None:
        chance = self.chance
        await self.world.stripe.webhooks(
            duplicate=chance.choice((0, 1)),
            drop=chance.choice((0.0, 0.3)),
            reorder=chance.random() < 0.5,
            hold=chance.random() < 0.3,
        )

    async def webhooks_come(self) -> None:
        await self.world.stripe.release()
        await self.world.stripe.drain()

    async def stripe_fails(self) -> None:
        await self.world.stripe.fault(
            self.chance.choice(FAULTS),
            route=self.chance.choice(ROUTES),
            after=self.chance.random() < 0.5,
            times=self.chance.choice((1, 2, 5)),
        )

    async def rates_move(self) -> None:
        rate = self.chance.choice(("0.94", "0.95", "0.97"))
        await self.world.stripe.settle_in(self.world.account, "chf", rates={"eur": rate})

    async def stripe_settles(self) -> None:
        await self.world.stripe.settle()

    async def time_goes_by(self) -> None:
        await self.world.advance(self.chance.choice(CLOCK_MOVES))

    async def work_is_done(self) -> None:
        await self.world.work()

    async def reads_again(self) -> None:
        await self.world.payments.synced(self._sale().payment_id)

    # How it ends.

    async def calms(self) -> None:
        """Let Stripe and webhooks work as they should, and everything that is under way come to its end."""
        await self.world.stripe.clear_faults()
        await self.world.stripe.webhooks()
        await self.webhooks_come()
        for _ in range(RESTS):
            await self._goes_on()
            if await self._rests():
                return

    async def heals(self) -> None:
        """Let nobody lack anything: accounts are good, balances suffice, reviews are closed."""
        stripe = self.world.stripe
        for review_id in self.reviews:
            with suppress(Refused):
                await stripe.close_review(review_id)
        for account in self.accounts.values():
            await stripe.enable_account(account, enabled=True)
            await stripe.top_up(account, 500_000, currency="chf")
        await stripe.top_up(self.world.account, 500_000, currency="chf")
        await self.calms()

    async def _goes_on(self) -> None:
        await self.world.stripe.settle()
        await self.world.stripe.drain()
        await self.world.advance(90_000)
        await self.world.stripe.drain()
        for sale in self.sales:  # as the reconciliation does where an event never came
            with acting_for(TENANT), suppress(IntentNotFound):  # it never came to be
                await self.world.replica.parts.reader.resync(
                    TENANT, sale.payment_id, origin="test", with_disputes=True, with_movements=True
                )
        for account in self.accounts.values():
            with acting_for(TENANT):
                assert await self.world.replica.parts.sellers.read_again(TENANT, account)
        await self.world.work()

    async def _rests(self) -> bool:
        query = "SELECT count(*) FROM settlements WHERE payment_id = ANY($1)"
        return not await self.world.connection.fetchval(query, [one.payment_id for one in self.sales])

    def _sale(self) -> Sale:
        return self.chance.choice(self.sales)

    async def _holds(self, sale: Sale) -> bool:
        try:
            return (await self.world.payments.seen(sale.payment_id)).amounts.capturable_minor > 0
        except aio.AioRpcError as refusal:
            if refusal.code() is not StatusCode.NOT_FOUND:
                raise
            return False

    def _account(self) -> str:
        return self.chance.choice(list(self.accounts.values()))

    async def _intent_id(self, sale: Sale) -> str:
        intents = await self.world.payments.intents(sale.payment_id)
        return str(intents[-1]["id"]) if intents else "pi_none"


RECOVERIES: Final = (
    split_pb2.DISPUTE_RECOVERY_NONE,
    split_pb2.DISPUTE_RECOVERY_AT_WITHDRAWAL,
    split_pb2.DISPUTE_RECOVERY_AT_LOSS,
)
WEIGHTS: Final[dict[str, int]] = {
    "buys": 3,
    "captures": 8,
    "refunds": 7,
    "disputes": 3,
    "decides": 4,
    "seller_stops": 2,
    "seller_goes_on": 2,
    "seller_is_emptied": 2,
    "platform_is_emptied": 1,
    "platform_is_topped_up": 1,
    "transfers": 2,
    "takes_back": 2,
    "refunds_at_dashboard": 2,
    "writes_off": 2,
    "reviews_it": 1,
    "webhooks_go_wrong": 2,
    "webhooks_come": 3,
    "stripe_fails": 4,
    "rates_move": 2,
    "stripe_settles": 5,
    "time_goes_by": 4,
    "work_is_done": 8,
    "reads_again": 2,
}


def _line_amounts(amounts: dict[str, int]) -> Sequence[split_pb2.LineAmount]:
    return [split_pb2.LineAmount(line_id=key, amount_minor=minor) for key, minor in amounts.items() if minor]
