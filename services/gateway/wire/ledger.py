"""The ledger on the wire: requests as filters, and what is booked as messages."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final, TypeVar

from google.protobuf.message import Message

from batzen.gateway.v1 import ops_pb2
from services.errors import FieldInvalid, FieldMissing
from services.gateway.ledger.domain import OF_COUNTRIES, OF_SELLERS, Account
from services.gateway.ledger.store import ALWAYS, NEVER, Balance, BookedEntry, EntryFilter, Owed, StatementLine
from services.gateway.wire.responses import money, timestamp
from services.shared import fields

Unset = TypeVar("Unset", datetime, None)
PAGE_SIZE_DEFAULT: Final = 100
PAGE_SIZE_MAX: Final = 500
"""Entries, or lines of a statement: about 150 KB."""


def entry_filter(request: ops_pb2.ListLedgerEntriesRequest) -> EntryFilter:
    """Read which entries are listed."""
    account, seller_id, country = account_asked(request.account, seller_id=request.seller_id)
    payment_id = fields.identifier(request.payment_id, field="payment_id") if request.payment_id else ""
    return EntryFilter(
        payment_id=payment_id,
        account=account,
        seller_id=seller_id,
        country=country,
        start_time=instant(request, "start_time", unset=ALWAYS),
        end_time=instant(request, "end_time", unset=NEVER),
        by_value_time=request.by_value_time,
    )


def account_asked(name: str, *, seller_id: str) -> tuple[str, str, str]:
    """Read the name of an account, and a seller: return account, seller and country; empty for any."""
    seller_id = fields.identifier(seller_id, field="seller_id") if seller_id else ""
    if not name:
        return "", seller_id, ""
    kind, _, owner = name.partition(":")
    if kind not in set(Account):
        raise FieldInvalid(field="account", detail=fields.one_word_of(Account))
    account = Account(kind)
    if owner and account in OF_SELLERS:
        owner = fields.identifier(owner, field="account")
        if seller_id not in ("", owner):
            raise FieldInvalid(field="account", detail="must be the account of `seller_id`")
        return account, owner, ""
    if owner and account not in OF_COUNTRIES:
        raise FieldInvalid(field="account", detail=f"must be {kind}: no seller and no country has one of its own")
    return account, seller_id, fields.country(owner) if owner else ""


def instant(request: Message, name: str, *, unset: Unset) -> datetime | Unset:
    """Read an instant; `unset` where there is none."""
    if not request.HasField(name):
        return unset
    try:
        read: datetime = getattr(request, name).ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise FieldInvalid(field=name, detail="must be an instant of the years 1 to 9999") from None
    return read


def span(request: ops_pb2.GetSellerStatementRequest) -> tuple[datetime, datetime]:
    """Read a span of time, which has both ends."""
    for name in ("start_time", "end_time"):
        if not request.HasField(name):
            raise FieldMissing(field=name)
    start, end = instant(request, "start_time", unset=ALWAYS), instant(request, "end_time", unset=NEVER)
    if start >= end:
        raise FieldInvalid(field="end_time", detail="must be after `start_time`")
    return start, end


def page_size(asked: int, *, least: int = 1) -> int:
    """Read how long a page is."""
    size = fields.page_size(asked, default=PAGE_SIZE_DEFAULT, at_most=PAGE_SIZE_MAX)
    if size < least:
        raise FieldInvalid(field="page_size", detail=f"must be {least} to {PAGE_SIZE_MAX}", page_size_max=PAGE_SIZE_MAX)
    return size


def entry(one: BookedEntry) -> ops_pb2.LedgerEntry:
    """Return an entry's message."""
    vat = money(one.vat_minor, one.currency_code) if one.vat_minor else None
    return ops_pb2.LedgerEntry(
        transaction_id=one.fact,
        fact=one.fact.partition(":")[0],
        account=one.account_name,
        seller_id=one.seller_id,
        amount=money(one.amount_minor, one.currency_code),
        payment_id=one.payment_id,
        stripe_id=one.stripe_id,
        record_time=timestamp(one.record_time),
        value_time=timestamp(one.value_time),
        actor_id=one.actor_id,
        corrects_transaction_id=one.corrects,
        vat=vat,
    )


def balance(one: Balance) -> ops_pb2.GetBalancesResponse.Balance:
    """Return a balance's message."""
    return ops_pb2.GetBalancesResponse.Balance(
        account=one.account_name, seller_id=one.seller_id, amount=money(one.balance_minor, one.currency_code)
    )


def owed(found: Iterable[Owed]) -> list[ops_pb2.GetSellerStatementResponse.Owed]:
    """Return what a seller is owed, as messages."""
    return [
        ops_pb2.GetSellerStatementResponse.Owed(
            owed=money(one.owed_minor, one.currency_code), held=money(one.held_minor, one.currency_code)
        )
        for one in found
    ]


def line(one: StatementLine) -> ops_pb2.GetSellerStatementResponse.Line:
    """Return a line's message."""
    code = one.currency_code
    return ops_pb2.GetSellerStatementResponse.Line(
        transaction_id=one.fact,
        fact=one.fact.partition(":")[0],
        payment_id=one.payment_id,
        stripe_id=one.stripe_id,
        record_time=timestamp(one.record_time),
        value_time=timestamp(one.value_time),
        amount=money(one.owed_minor, code),
        held=money(one.held_minor, code),
        gross=money(one.gross_minor, code),
        platform_fee=money(one.fee_minor, code),
        platform_fee_vat=money(one.fee_vat_minor, code),
        sale_vat=money(one.sale_vat_minor, code),
    )
