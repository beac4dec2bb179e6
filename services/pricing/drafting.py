"""What a price book would be after changes that nobody has put: checked as their Puts would be, and kept nowhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from google.protobuf.message import Message

from batzen.pricing.v1 import price_book_pb2, pricing_pb2
from services.errors import FieldInvalid, ServiceError
from services.pricing.domain.currency import Currency
from services.pricing.domain.errors import CouponCodeTaken
from services.pricing.storage.price_books import LoadedBook
from services.pricing.wire.entries import (
    Entry,
    EntryKind,
    read_discount,
    read_fee_plan,
    read_tax_rate,
    tax_rate_id,
    to_price_book,
)

DRAFTS_MAX: Final = 20
"""Of one kind: more changes at once than a person compares."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An entry that nobody has put."""

    kind: EntryKind
    entry_id: str
    message: price_book_pb2.TaxRate | price_book_pb2.FeePlan | price_book_pb2.Discount
    path: str
    """Of the request."""


def read_drafts(request: pricing_pb2.CreateQuoteRequest, *, currencies: Mapping[str, Currency]) -> tuple[Draft, ...]:
    """Return the drafts of a request; raise what is wrong with one by itself."""
    if not request.HasField("draft"):
        return ()
    if not request.preview:
        raise FieldInvalid(field="draft", detail="must be empty: only a preview has one")
    book, drafts = request.draft, list[Draft]()
    for name, given in (("tax_rates", book.tax_rates), ("fee_plans", book.fee_plans), ("discounts", book.discounts)):
        if len(given) > DRAFTS_MAX:
            raise FieldInvalid(field=f"draft.{name}", detail=f"must be at most {DRAFTS_MAX}")
    for index, rate in enumerate(book.tax_rates):
        path = f"draft.tax_rates[{index}]"
        with within(path):
            read_tax_rate(rate, revision=0)
        drafts.append(Draft(kind=EntryKind.TAX_RATE, entry_id=tax_rate_id(rate), message=rate, path=path))
    for index, plan in enumerate(book.fee_plans):
        path = f"draft.fee_plans[{index}]"
        with within(path):
            read_fee_plan(plan, revision=0, currencies=currencies)
        drafts.append(Draft(kind=EntryKind.FEE_PLAN, entry_id=plan.fee_plan_id, message=plan, path=path))
    for index, given_discount in enumerate(book.discounts):
        path, discount = f"draft.discounts[{index}]", as_put(given_discount)
        with within(path):
            read_discount(discount, revision=0, currencies=currencies)
        drafts.append(Draft(kind=EntryKind.DISCOUNT, entry_id=discount.discount_id, message=discount, path=path))
    _refuse_repeated(drafts)
    return tuple(drafts)


def after_drafts(
    loaded: LoadedBook, drafts: tuple[Draft, ...], *, currencies: Mapping[str, Currency], now: datetime
) -> LoadedBook:
    """Return the book as it would be; its revision is that of the book it would follow.

    Raises what its Put would raise of an entry that does not go with the rest of the book.
    """
    if not drafts:
        return loaded
    for draft in drafts:
        with within(draft.path):
            if isinstance(draft.message, price_book_pb2.FeePlan):
                refuse_other_scope(draft.message, loaded)
    entries = (*loaded.entries, *(_entry(draft, loaded, now=now) for draft in drafts))
    drafted = replace(loaded, entries=entries, book=to_price_book(entries, currencies=currencies))
    for draft in drafts:
        with within(draft.path):
            if isinstance(draft.message, price_book_pb2.Discount):
                refuse_taken_code(draft.message, drafted)
    return drafted


def as_put(discount: price_book_pb2.Discount) -> price_book_pb2.Discount:
    """Return a discount as it is kept: its code in upper case, nothing in it that is output only."""
    put = price_book_pb2.Discount()
    put.CopyFrom(discount)
    put.code = put.code.upper()
    for output_only in ("held_count", "redeemed_count"):
        put.ClearField(output_only)
    return put


def refuse_other_scope(plan: price_book_pb2.FeePlan, loaded: LoadedBook) -> None:
    """Raise where a plan is to be for another seller or currency than before."""
    if (entry := loaded.current(EntryKind.FEE_PLAN, plan.fee_plan_id)) is None:
        return
    before = price_book_pb2.FeePlan.FromString(entry.message)
    for field in ("seller_id", "currency_code"):
        if getattr(before, field) != getattr(plan, field):
            raise FieldInvalid(field=field, detail="must stay as it is; make another plan")


def refuse_taken_code(discount: price_book_pb2.Discount, loaded: LoadedBook) -> None:
    """Raise where another discount has the code of this one."""
    if not discount.code:
        return
    for other in loaded.book.discounts:
        if other.code == discount.code and other.discount_id != discount.discount_id:
            raise CouponCodeTaken(field="code", discount_id=other.discount_id)


@contextmanager
def within(message: str) -> Iterator[None]:
    """Put the path of a message in front of the field that an error names."""
    try:
        yield
    except ServiceError as error:
        error.field = f"{message}.{error.field}"
        raise


def _refuse_repeated(drafts: list[Draft]) -> None:
    seen: set[tuple[EntryKind, str]] = set()
    for draft in drafts:
        if (draft.kind, draft.entry_id) in seen:
            raise FieldInvalid(field=draft.path, detail="must have a key of its own")
        seen.add((draft.kind, draft.entry_id))


def _entry(draft: Draft, loaded: LoadedBook, *, now: datetime) -> Entry:
    before, message = loaded.current(draft.kind, draft.entry_id), _content(draft.message)
    return Entry(
        kind=draft.kind,
        entry_id=draft.entry_id,
        revision=before.revision + 1 if before else 1,
        book_revision=loaded.revision + 1,
        message=message.SerializeToString(deterministic=True),
        actor="",
        change_reason="",
        create_time=now,
    )


def _content(message: Message) -> Message:
    content = type(message)()
    content.CopyFrom(message)
    content.ClearField("revision")
    return content
