"""Takes records over: those that are new and good are kept, of all others it is said why not. Stripe is not called.

If the process dies before a kind of records was kept, none of them is here, and after it all are; a repeat finds which.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from services.errors import ServiceError
from services.gateway.balance.store import BalanceStore
from services.gateway.errors import PayerHasCustomer, RecordChanged, SellerExists, StripeIdTaken
from services.gateway.imports.domain import CustomerRecord, PaymentRecord, RecordKind, SellerRecord, mirrored
from services.gateway.imports.store import ImportStore, Named, Row, customer_row, payment_row, seller_row
from services.gateway.mirror.observation import Observation
from services.gateway.mirror.store import Store

Record = PaymentRecord | CustomerRecord | SellerRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One record that is to be taken over."""

    named: Named
    record: Record


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one."""

    is_new: bool = False
    """It was taken over by this, or would be."""
    refusal: ServiceError | None = None
    observation: Observation | None = None
    """Of a payment that has an intent."""


@dataclass(frozen=True, slots=True)
class _Checked:
    """Rows of what is new and good, and what comes of it once those are kept."""

    row: Row
    observation: Observation | None = None


_KINDS: Final[Mapping[RecordKind, type[Record]]] = {
    RecordKind.SELLER: SellerRecord,
    RecordKind.CUSTOMER: CustomerRecord,
    RecordKind.PAYMENT: PaymentRecord,
}


class Imports:
    """Takes records over for a tenant."""

    def __init__(
        self, store: ImportStore, payments: Store, balance: BalanceStore, *, now: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._payments = payments
        self._balance = balance
        self._now = now
        self._checks: Mapping[RecordKind, Callable[[str, list[Asked]], Awaitable[list[_Checked | ServiceError]]]] = {
            RecordKind.SELLER: self._sellers,
            RecordKind.CUSTOMER: self._customers,
            RecordKind.PAYMENT: self._payments_of,
        }

    async def take(self, tenant_id: str, asked: Sequence[Asked], *, dry_run: bool, actor_id: str) -> list[Outcome]:
        """Take records over, and return what came of each, in their order."""
        outcomes: dict[int, Outcome] = {}
        for kind, of_kind in _KINDS.items():
            places = [place for place, one in enumerate(asked) if isinstance(one.record, of_kind)]
            if places:
                found = await self._take(tenant_id, kind, [asked[place] for place in places], dry_run, actor_id)
                outcomes.update(zip(places, found, strict=True))
        return [outcomes[place] for place in range(len(asked))]

    async def _take(
        self, tenant_id: str, kind: RecordKind, asked: list[Asked], dry_run: bool, actor_id: str
    ) -> list[Outcome]:
        known = await self._store.known(tenant_id, kind, [one.named.record_id for one in asked])
        digests = {record_id: one.digest for record_id, one in known.items()}
        outcomes: list[Outcome | None] = []
        new: list[Asked] = []
        for one in asked:
            digest = digests.setdefault(one.named.record_id, one.named.digest)
            if digest != one.named.digest:
                outcomes.append(Outcome(refusal=RecordChanged(field="record_id")))
            elif one.named.record_id in known:
                outcomes.append(Outcome())
            else:
                outcomes.append(None)
                if one.named.record_id not in {each.named.record_id for each in new}:
                    new.append(one)
        checked = await self._checks[kind](tenant_id, new) if new else []
        rows = [one.row for one in checked if isinstance(one, _Checked)]
        if rows and not dry_run:
            await self._store.keep(tenant_id, kind, rows, actor_id=actor_id)
        fresh = {one.named.record_id: _outcome(found) for one, found in zip(new, checked, strict=True)}
        results: list[Outcome] = []
        for one, outcome in zip(asked, outcomes, strict=True):
            record_id = one.named.record_id
            results.append(fresh[record_id] if outcome is None else outcome)
            if outcome is None and fresh[record_id].is_new:  # the same once more is here by then; or refused as before
                fresh[record_id] = replace(fresh[record_id], is_new=False)
        return await self._with_observations(tenant_id, kind, asked, results)

    async def _with_observations(
        self, tenant_id: str, kind: RecordKind, asked: list[Asked], outcomes: list[Outcome]
    ) -> list[Outcome]:
        """Say of payments that were here before what is known of them."""
        if kind is not RecordKind.PAYMENT:
            return outcomes
        old = {
            one.record.payment_id
            for one, outcome in zip(asked, outcomes, strict=True)
            if isinstance(one.record, PaymentRecord) and not outcome.is_new and outcome.refusal is None
        }
        if not old:
            return outcomes
        held = {one.payment_id: one.observation for one in await self._payments.read_many(tenant_id, sorted(old))}
        return [
            replace(outcome, observation=held.get(one.record.payment_id))
            if isinstance(one.record, PaymentRecord) and one.record.payment_id in old
            else outcome
            for one, outcome in zip(asked, outcomes, strict=True)
        ]

    async def _payments_of(self, tenant_id: str, new: list[Asked]) -> list[_Checked | ServiceError]:
        since = (await self._balance.position(tenant_id)).since
        checked: list[_Checked | ServiceError] = []
        named: list[list[str]] = []
        for one in new:
            record = one.record
            assert isinstance(record, PaymentRecord)  # noqa: S101 of its kind
            try:
                held = (
                    mirrored(record, record.intent, tenant_id=tenant_id, read_since=since, now=self._now())
                    if record.intent is not None
                    else None
                )
            except ServiceError as refusal:
                checked.append(refusal)
                named.append([])
                continue
            observation = held.payment.observation if held is not None else None
            checked.append(_Checked(payment_row(one.named, record, held), observation))
            disputes = [each.dispute_id for each in record.disputes]
            named.append([record.payment_id, *(held.payment.stripe_ids if held is not None else []), *disputes])
        taken = await self._store.payments_of(tenant_id, [each for ids in named for each in ids])
        return _distinct(checked, named, taken, field="charge")

    async def _customers(self, tenant_id: str, new: list[Asked]) -> list[_Checked | ServiceError]:
        records = [(one.named, one.record) for one in new if isinstance(one.record, CustomerRecord)]
        found = await self._store.customers(
            tenant_id, [one.payer_id for _, one in records], [one.customer_id for _, one in records]
        )
        of_payer, payer_of = dict(found), {customer_id: payer_id for payer_id, customer_id in found}
        checked: list[_Checked | ServiceError] = []
        for named, one in records:
            if one.payer_id in of_payer and of_payer[one.payer_id] != one.customer_id:
                checked.append(PayerHasCustomer(field="payer_id"))
            elif payer_of.get(one.customer_id, one.payer_id) != one.payer_id:
                checked.append(StripeIdTaken(field="customer_id"))
            else:
                checked.append(_Checked(customer_row(named, one)))
        return _distinct(checked, [[one.payer_id, one.customer_id] for _, one in records], {}, field="customer_id")

    async def _sellers(self, tenant_id: str, new: list[Asked]) -> list[_Checked | ServiceError]:
        records = [(one.named, one.record) for one in new if isinstance(one.record, SellerRecord)]
        found = await self._store.sellers(
            tenant_id, [one.seller_id for _, one in records], [one.stripe_account_id for _, one in records]
        )
        of_seller, seller_of = dict(found), {account_id: seller_id for seller_id, account_id in found}
        checked: list[_Checked | ServiceError] = []
        for named, one in records:
            if of_seller.get(one.seller_id) not in (None, one.stripe_account_id):
                checked.append(SellerExists(field="stripe_account_id"))
            elif seller_of.get(one.stripe_account_id, one.seller_id) != one.seller_id:
                checked.append(StripeIdTaken(field="stripe_account_id"))
            else:
                checked.append(_Checked(seller_row(named, one)))
        ids = [[one.seller_id, one.stripe_account_id] for _, one in records]
        return _distinct(checked, ids, {}, field="stripe_account_id")


def _distinct(
    checked: list[_Checked | ServiceError], ids: list[list[str]], taken: Mapping[str, str], *, field: str
) -> list[_Checked | ServiceError]:
    """Refuse what names something that is taken, or that one before it names."""
    seen = set(taken)
    found: list[_Checked | ServiceError] = []
    for one, named in zip(checked, ids, strict=True):
        again = next((each for each in named if each in seen), None)
        if isinstance(one, _Checked) and again is not None:
            found.append(StripeIdTaken(field=field, detail=f"It is {again}."))
            continue
        found.append(one)
        if isinstance(one, _Checked):
            seen.update(named)
    return found


def _outcome(checked: _Checked | ServiceError) -> Outcome:
    if isinstance(checked, ServiceError):
        return Outcome(refusal=checked)
    return Outcome(is_new=True, observation=checked.observation)
