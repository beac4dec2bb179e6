"""What the books of a suite say once its payments are over, and whether that is as it should be."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from batzen.cli import money
from batzen.client import Client, new_request_id
from batzen.gateway.v1.ops_pb2 import (
    GetBalancesRequest,
    GetBalancesResponse,
    GetReconciliationRequest,
    GetReconciliationResponse,
    ReconcileRequest,
)
from batzen.gateway.v1.transfers_pb2 import ListTransfersRequest, Transfer
from local.record import Record
from sandbox.control import SandboxControl

ACTOR_ID: Final = "demo"
LOOK_EVERY_S: Final = 0.2
LOOKS_MAX: Final = 100
"""20 s: for Stripe's side of the books to arrive here, and for a reconciliation to come to its end."""
AT_REST: Final = frozenset({"seller", "seller_held", "dispute_withheld", "stripe_clearing", "unclassified"})
"""Accounts that are at 0 once everything has arrived, and every seller has its part."""

Balance = GetBalancesResponse.Balance


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What a seller was to get of the carts, and has."""

    seller_id: str
    currency_code: str
    quoted_minor: int
    """By the quotes of the carts."""
    returned_minor: int
    """Of it by the carts that it gave its part of back."""
    has_minor: int
    """Transferred at Stripe, less what was taken back."""

    @property
    def due_minor(self) -> int:
        return self.quoted_minor - self.returned_minor


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """The books at an end."""

    balances: Sequence[Balance]
    parts: Sequence[Part]
    report: GetReconciliationResponse

    @property
    def sums(self) -> dict[str, int]:
        """What all accounts come to, by currency; 0 in books that balance."""
        sums: Counter[str] = Counter()
        for balance in self.balances:
            sums[balance.amount.currency_code] += balance.amount.amount_minor
        return dict(sorted(sums.items()))

    @property
    def in_transit_count(self) -> int:
        return sum(one.in_transit_count for one in self.report.sums)

    @property
    def problems(self) -> list[str]:
        """What is not as it should be, in words; nothing if all is."""
        return [*self._of_balances(), *self._of_parts(), *self._of_report()]

    def _of_balances(self) -> Iterable[str]:
        if not self.balances:
            yield "Nothing is booked."
        for currency_code, minor in self.sums.items():
            if minor:
                yield f"The ledger does not balance: {money.shown(minor, currency_code)} is left."
        for balance in self.balances:
            if _kind(balance) in AT_REST:
                left = money.shown(balance.amount.amount_minor, balance.amount.currency_code)
                yield f"{balance.account} should be at 0, and is at {left}."

    def _of_parts(self) -> Iterable[str]:
        for part in self.parts:
            if part.has_minor != part.due_minor:
                has, due = (money.shown(minor, part.currency_code) for minor in (part.has_minor, part.due_minor))
                yield f"{part.seller_id} has {has}; by its quotes it is {due}."

    def _of_report(self) -> Iterable[str]:
        report = self.report
        if not report.done or report.cut_short:
            yield f"The reconciliation did not come to its end: {report.cut_short or report.problem or report.step}"
        if not any(one.matched_count for one in report.sums):
            yield "The reconciliation compared nothing."
        if self.in_transit_count:
            yield f"{self.in_transit_count} amounts are still on their way between Stripe and us."
        for one in report.differences:
            yield f"Stripe and we differ: {one.stripe_id} {one.figure} {one.detail}".rstrip()
        for rest in report.unexplained:
            if rest.amount_minor:
                yield f"A remainder of {money.shown(rest.amount_minor, rest.currency_code)} is left."


async def closed(operator: Client, stand_in: SandboxControl, records: Sequence[Record], *, since: datetime) -> Books:
    """Let what is on its way arrive, for a time, compare with Stripe, and return the books as they are then."""
    await stand_in.settle()
    await stand_in.drain()
    carts = [record for record in records if len(record.quote.sellers) > 1]
    for _ in range(LOOKS_MAX):
        if await _is_quiet(operator, carts):
            break
        await asyncio.sleep(LOOK_EVERY_S)
    report = await _reconciled(operator, since=since)
    return Books(
        balances=await _balances(operator),
        parts=[await _part(operator, seller_id, carts) for seller_id in _sellers(carts)],
        report=report,
    )


async def _is_quiet(operator: Client, carts: Sequence[Record]) -> bool:
    if any(_kind(balance) in AT_REST for balance in await _balances(operator)):
        return False
    parts = [await _part(operator, seller_id, carts) for seller_id in _sellers(carts)]
    return all(part.has_minor == part.due_minor for part in parts)


def _kind(balance: Balance) -> str:
    """Return the account without whose it is."""
    return balance.account.partition(":")[0]


def _sellers(carts: Iterable[Record]) -> list[str]:
    return sorted({seller.seller_id for record in carts for seller in record.quote.sellers})


async def _balances(operator: Client) -> list[Balance]:
    return list((await operator.gateway_ops.GetBalances(GetBalancesRequest())).balances)


async def had(client: Client, request: ListTransfersRequest) -> Counter[str]:
    """Return what each seller has of what is asked for: transferred, less what was taken back."""
    has: Counter[str] = Counter()
    for one in (await client.transfers.ListTransfers(request)).transfers:
        if one.state == Transfer.STATE_MADE:
            has[one.seller_id] += one.amount.amount_minor - one.reversed.amount_minor
    return has


async def _part(operator: Client, seller_id: str, carts: Iterable[Record]) -> Part:
    has = await had(operator, ListTransfersRequest(seller_id=seller_id, page_size=200))
    shares = [
        (seller.seller_share_minor, seller_id in record.gave_back)
        for record in carts
        for seller in record.quote.sellers
        if seller.seller_id == seller_id
    ]
    return Part(
        seller_id=seller_id,
        currency_code=next(record.quote.currency_code for record in carts),
        quoted_minor=sum(minor for minor, _ in shares),
        returned_minor=sum(minor for minor, is_back in shares if is_back),
        has_minor=has[seller_id],
    )


async def _reconciled(operator: Client, *, since: datetime) -> GetReconciliationResponse:
    """Compare with Stripe since the beginning of a day, and return what came of it, finished or not."""
    request = ReconcileRequest(request_id=new_request_id(), actor_id=ACTOR_ID)
    request.start_time.FromDatetime(since.replace(hour=0, minute=0, second=0, microsecond=0))
    request.end_time.FromDatetime(datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=1))
    begun = await operator.gateway_ops.Reconcile(request)
    asked = GetReconciliationRequest(reconciliation_id=begun.reconciliation_id)
    report = GetReconciliationResponse()
    for _ in range(LOOKS_MAX):
        report = await operator.gateway_ops.GetReconciliation(asked)
        if report.done:
            break
        await asyncio.sleep(LOOK_EVERY_S)
    return report
