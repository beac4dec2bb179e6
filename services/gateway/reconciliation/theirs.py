"""What Stripe lists, page by page, as it is compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from services.gateway.reconciliation.domain import Shown, Stage
from services.gateway.reconciliation.position import Page, Position, Span
from services.gateway.refunds.domain import ON_ITS_WAY
from services.gateway.settlement.domain import MovementKind
from services.gateway.settlement.seen import MovedFacts
from services.gateway.stripe_api import stripe_ids
from services.gateway.stripe_api.balance_objects import balance_transaction
from services.gateway.stripe_api.calls.lists import Listed
from services.gateway.stripe_api.client import Provider
from services.gateway.stripe_api.movement_objects import backs, moved_facts
from services.gateway.stripe_api.objects import (
    amount,
    dispute_in,
    number,
    parts,
    reference,
    refund_facts,
    text,
)
from services.runtime import crash_points
from services.shared.codec import Json

LISTS: Final[Mapping[Stage, Listed]] = {
    Stage.BALANCE: Listed(
        path="/v1/balance_transactions",
        of_type="balance_transaction",
        prefixes=stripe_ids.BALANCE_TRANSACTION,
        expand=("source",),
    ),
    Stage.CHARGES: Listed(path="/v1/charges", of_type="charge", prefixes=stripe_ids.CHARGE),
    Stage.REFUNDS: Listed(path="/v1/refunds", of_type="refund", prefixes=stripe_ids.REFUND),
    Stage.TRANSFERS: Listed(path="/v1/transfers", of_type="transfer", prefixes=stripe_ids.TRANSFER),
    Stage.FEES: Listed(path="/v1/application_fees", of_type="application_fee", prefixes=stripe_ids.FEE),
    Stage.DISPUTES: Listed(path="/v1/disputes", of_type="dispute", prefixes=stripe_ids.DISPUTE),
    Stage.PAYOUTS: Listed(path="/v1/payouts", of_type="payout", prefixes=stripe_ids.PAYOUT),
}
CAME_BACK: Final = frozenset({"failed", "canceled"})
"""States of a payout whose money is on the balance again."""
PAYOUT_PAGES_MAX: Final = 1_000
"""Of what is in one payout: 100,000 balance transactions."""


class Theirs:
    """Reads lists."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    async def page(self, position: Position, day: Span) -> Page:
        """Read the page that follows."""
        page = await crash_points.call(
            "reconciliation.stripe",
            self._provider.lists.page(
                LISTS[position.stage],
                since=int(day.since.timestamp()),
                until=int(day.until.timestamp()),
                after=position.after,
            ),
        )
        rows = parts(page, "data")
        shown = [one for row in rows for one in await self._shown(position.stage, row)]
        return Page(
            shown=tuple(shown),
            last_id=str(rows[-1]["id"]) if rows else "",
            oldest_time=_time(rows[-1]) if rows else None,
            has_more=bool(page["has_more"]),
            transactions=tuple(map(balance_transaction, rows)) if position.stage is Stage.BALANCE else (),
        )

    async def find(self, stage: Stage, stripe_id: str) -> Shown | None:
        """Read one object; None if Stripe says that there is none such."""
        reading = self._provider.lists.find(LISTS[stage], stripe_id)
        row = await crash_points.call("reconciliation.stripe", reading)
        return None if row is None else (await self._shown(stage, row))[0]

    async def payout_minor(self, payout_id: str) -> int | None:
        """Return what the balance transactions of an automatic payout come to; None of one that is too long."""
        listed, after, sum_minor = LISTS[Stage.BALANCE], "", 0
        for _ in range(PAYOUT_PAGES_MAX):
            reading = self._provider.lists.page(listed, after=after, filters={"payout": payout_id})
            page = await crash_points.call("reconciliation.stripe", reading)
            found = [balance_transaction(row) for row in parts(page, "data")]
            sum_minor += sum(one.net_minor for one in found if one.source_id != payout_id)
            if not page["has_more"]:
                return sum_minor
            after = found[-1].balance_transaction_id
        return None

    async def _shown(self, stage: Stage, row: Json) -> list[Shown]:
        if stage in (Stage.TRANSFERS, Stage.FEES):
            return list(_moved(await self._whole(moved_facts(row))))
        return [_READERS[stage](row)]

    async def _whole(self, moved: MovedFacts) -> MovedFacts:
        """Return what moved with all that went back on it, of which a long list is not shown with it."""
        if moved.is_whole:
            return moved
        if moved.kind is MovementKind.TRANSFER:
            return replace(moved, back=backs(await self._provider.transfers.reversals_of(moved.stripe_id)))
        return replace(moved, back=backs(await self._provider.fees.refunds_of(moved.stripe_id)))


def _transaction(row: Json) -> Shown:
    one = balance_transaction(row)
    return Shown(
        stripe_id=one.balance_transaction_id,
        currency_code=one.currency_code,
        figures={"net": one.net_minor, "fee": one.fee_minor},
        create_time=one.create_time,
        related_ids=tuple(filter(None, (one.source_id, *one.related_ids))),
    )


def _charge(row: Json) -> Shown:
    took = text(row, "status") == "succeeded" and number(row, "amount_captured") > 0
    return Shown(
        stripe_id=str(row["id"]),
        currency_code=_currency(row),
        figures={"captured": amount(row, "amount_captured") if took else 0},
        create_time=_time(row),
        related_ids=tuple(filter(None, (reference(row, "payment_intent"),))),
    )


def _refund(row: Json) -> Shown:
    facts = refund_facts(row)
    return Shown(
        stripe_id=facts.stripe_refund_id,
        currency_code=_currency(row),
        figures={"refunded": facts.amount_minor if facts.state in ON_ITS_WAY else 0},
        create_time=facts.create_time,
        related_ids=tuple(filter(None, (reference(row, "charge"), reference(row, "payment_intent")))),
        is_asked=bool(facts.refund_id),
    )


def _dispute(row: Json) -> Shown:
    facts = dispute_in(row, currency_code=_currency(row), captured_minor=0)
    return Shown(
        stripe_id=facts.dispute_id,
        currency_code=facts.currency_code,
        figures={"withdrawn": facts.withdrawn_minor},
        create_time=_time(row),
        related_ids=tuple(filter(None, (facts.charge_id, reference(row, "payment_intent")))),
    )


def _payout(row: Json) -> Shown:
    is_known = bool(row.get("automatic")) and text(row, "reconciliation_status") == "completed"
    return Shown(
        stripe_id=str(row["id"]),
        currency_code=_currency(row),
        figures={"paid out": 0 if text(row, "status") in CAME_BACK else amount(row, "amount")},
        create_time=_time(row),
        made_of_minor=amount(row, "amount") if is_known else None,
    )


def _moved(moved: MovedFacts) -> Iterator[Shown]:
    is_transfer = moved.kind is MovementKind.TRANSFER
    yield Shown(
        stripe_id=moved.stripe_id,
        currency_code=moved.currency_code,
        figures={"transferred" if is_transfer else "fee": moved.amount_minor},
        create_time=moved.create_time,
        related_ids=tuple(filter(None, (moved.charge_id,))),
        is_asked=bool(moved.movement_id),
    )
    for back in moved.back:
        yield Shown(
            stripe_id=back.stripe_id,
            currency_code=moved.currency_code,
            figures={"reversed" if is_transfer else "given back": back.amount_minor},
            create_time=back.create_time,
            related_ids=(moved.stripe_id, *filter(None, (moved.charge_id,))),
            is_asked=bool(back.movement_id),
        )


def _currency(row: Json) -> str:
    return str(row["currency"]).upper()


def _time(row: Json) -> datetime:
    return datetime.fromtimestamp(number(row, "created"), UTC)


_READERS: Final[Mapping[Stage, Callable[[Json], Shown]]] = {
    Stage.BALANCE: _transaction,
    Stage.CHARGES: _charge,
    Stage.REFUNDS: _refund,
    Stage.DISPUTES: _dispute,
    Stage.PAYOUTS: _payout,
}
