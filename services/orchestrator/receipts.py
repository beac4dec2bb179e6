"""What a receipt is written of: the payment, its price, when money went back, who sold and who writes it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Final

from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.pricing.v1.pricing_pb2 import Quote
from batzen.status.v1.status_pb2 import Payment, Transition
from services.errors import DependencyUnavailable
from services.orchestrator.domain.errors import PaymentState
from services.orchestrator.domain.plan import Plan
from services.orchestrator.notifications.domain import NotificationPolicy
from services.orchestrator.peers import Peers
from services.orchestrator.peers.sellers import ReceiptSellers
from services.orchestrator.storage.store import Store
from services.orchestrator.wire.responses import for_payer
from services.receipts.content import receipt
from services.receipts.model import Receipt
from services.receipts.wording import ReceiptWording
from services.shared.refusals import Refusal

HISTORY_MAX: Final = 500
"""Transitions that are looked through; few payments have twenty. Of a longer history the sums are told alone."""
SELLERS_WAIT_S: Final = 2.0
"""For what sellers are called, on a page: a payer waits for it no longer."""

_logger = logging.getLogger(__name__)

SellersOf = Callable[[Iterable[str], datetime], Awaitable[list[pb.ReceiptParty]]]
Policies = Callable[[str], Awaitable[NotificationPolicy]]


class Receipts:
    """Puts them together."""

    def __init__(self, store: Store, peers: Peers, sellers: ReceiptSellers, policies: Policies) -> None:
        self._store = store
        self._peers = peers
        self._sellers = sellers
        self._policies = policies

    async def now(self, plan: Plan) -> pb.Receipt:
        """Return the receipt of a payment as it stands. Raises `PaymentState` where nothing was taken.

        Without its sellers while who knows them is away: whoever looks at it can look again. A mail can not, and waits.
        """
        payment = await self._peers.status.payment(plan.payment_id)
        if not payment.snapshot.amounts.captured_minor:
            raise PaymentState(state=plan.latest_snapshot.collection)
        return await self._of(plan, payment, self._sellers_at_hand)

    async def then(self, tenant_id: str, payment: bytes, words: ReceiptWording, *, issuer: str) -> Receipt | None:
        """Return the receipt of a payment as one of its revisions left it; None where nothing was taken."""
        then = Payment.FromString(payment)
        plan = await self._store.read(tenant_id, then.payment_id, payer_id=None)
        if plan is None or not then.snapshot.amounts.captured_minor:
            return None
        return receipt(await self._of(plan, then, self._sellers.of), words, issuer=issuer)

    async def _sellers_at_hand(self, seller_ids: Iterable[str], issued: datetime) -> list[pb.ReceiptParty]:
        try:
            async with asyncio.timeout(SELLERS_WAIT_S):
                return await self._sellers.of(seller_ids, issued)
        except (DependencyUnavailable, TimeoutError):
            _logger.warning("A receipt is shown without its sellers: the gateway does not say what they are called.")
            return []

    async def _of(self, plan: Plan, payment: Payment, of_sellers: SellersOf) -> pb.Receipt:
        told = await self._peers.status.transitions(payment.payment_id, at_most=HISTORY_MAX)
        history = [one for one in told or () if one.revision <= payment.revision]
        sellers, policy = await asyncio.gather(
            of_sellers(payment.seller_ids, _issued(payment, history)), self._policies(plan.tenant_id)
        )
        found = pb.Receipt(
            payment=payment,
            session_name=plan.session_name,
            history=_returns(history),
            sellers=sellers,
            issuer=pb.ReceiptParty(name=policy.sender_name, address=policy.address, vat_id=policy.vat_id),
        )
        if plan.quote_id:
            found.quote.CopyFrom(await self._quote(plan.quote_id))
        return found

    async def _quote(self, quote_id: str) -> Quote:
        """Return what a payer sees of a quote; nothing of one that pricing lost: what was paid is known."""
        try:
            return for_payer(await self._peers.pricing.quote(quote_id))
        except Refusal as refusal:
            if refusal.status != "NOT_FOUND":
                raise
            _logger.error("The quote %s of a payment is not there, so its receipt shows no lines.", quote_id)
            return Quote()


def _issued(payment: Payment, history: Iterable[Transition]) -> datetime:
    """Return when money was first taken: whatever becomes of the payment, the receipt is issued once.

    Where the history is not there, that is when collecting first ended; of a hold that has not, when it was opened.
    """
    taken = next((one for one in history if one.snapshot.amounts.captured_minor), None)
    if taken is not None:
        return taken.record_time.ToDatetime(UTC)
    return (payment.complete_time if payment.HasField("complete_time") else payment.open_time).ToDatetime(UTC)


def _returns(history: Iterable[Transition]) -> Iterator[Transition]:
    """Yield the revisions with which money went back, or turned out not to have."""
    before = (0, 0)
    for one in history:
        now = (one.snapshot.amounts.refunded_minor, one.snapshot.amounts.disputed_lost_minor)
        if now != before:
            yield one
        before = now
