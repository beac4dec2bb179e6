"""`/v1/payments/{id}/receipt`: what was paid, to whom, with which VAT, what went back; as the page and the mail say."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import Field

from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.pricing.v1 import pricing_pb2
from services.bff.api.modern import models, views
from services.bff.api.modern.payments import PaymentId
from services.bff.api.polling import polled, tag
from services.bff.api.who import Who
from services.bff.callers import Asker
from services.bff.checkout.wording import Wording
from services.bff.tenants import Tenant, Tenants
from services.receipts import figures
from services.receipts.rows import rows_of, total_of
from services.receipts.wording import ReceiptWording
from services.web.front import Front


class Issuer(models.Answer):
    """Who writes the receipt."""

    name: str
    address: list[str] = Field(description="A line each; empty where the tenant's policy has none.")
    vat_id: str = Field(description="As it is written; empty where none is known.")


class ReceiptSeller(models.Answer):
    """Whose services or goods it was for."""

    seller_id: str
    name: str = Field(description="What receipts call the seller; may be empty.")
    vat_id: str = Field(description="As it is written; empty where none is known.")


class ReceiptRow(models.PriceRow):
    """One row of the price, with what it is called."""

    label: str = Field(description="In the language of who asks.")
    quantity: str = Field(description="Of a line, a plain decimal; empty of other rows.")
    unit_amount_minor: int | None = Field(description="Of a line; null of other rows.")


class Vat(models.Answer):
    """The VAT of one rate."""

    rate_percent: str = Field(examples=["8.1"])
    net_minor: int = Field(description="The net amount that it is of.")
    vat_minor: int


class Return(models.Answer):
    """Once that money went back, or turned out not to have."""

    kind: Literal["REFUNDED", "REFUND_FAILED", "DISPUTE_LOST", "DISPUTE_WON"]
    amount_minor: int = Field(description="Below 0 where money went to the payer.")
    time: datetime


class Receipt(models.Answer):
    """What was paid. All amounts are minor units of the currency of `total`."""

    payment_id: str = Field(description="The number of the receipt.")
    revision: int
    receipt_time: datetime
    session_name: str = Field(description="What was bought, as StartPayment has it; may be empty.")
    issuer: Issuer
    sellers: list[ReceiptSeller] = Field(
        description="Those of whom the platform said what receipts call them. Empty also while who knows is away."
    )
    rows: list[ReceiptRow] = Field(description="As the payer was shown them; none where no price is kept.")
    total: models.Money
    total_display: str
    captured_minor: int = Field(description="What was taken of the total.")
    vat: list[Vat] | None = Field(
        description="In what was taken. Null where that is a part of a price with several rates: nobody can tell."
    )
    method: models.Method | None
    surplus_minor: int = Field(description="Taken beside it by another attempt, and not given back yet.")
    returns: list[Return] = Field(description="The oldest first; with `captured_minor` they add up to `left_minor`.")
    left_minor: int = Field(description="What was taken and did not go back.")
    left_vat: list[Vat] | None = Field(description="In what is left; null as for `vat`.")


class ReceiptResources:
    """The handler of receipts."""

    def __init__(self, front: Front, tenants: Tenants) -> None:
        self._front = front
        self._tenants = tenants

    def add_to(self, router: APIRouter) -> None:
        """Add the route."""
        path = "/payments/{payment_id}/receipt"
        router.add_api_route(path, self.get_receipt, methods=["GET"], response_model=Receipt)

    async def get_receipt(self, request: Request, asker: Who, payment_id: PaymentId) -> Response:
        """Return the receipt as it stands: one as soon as money was taken, before that 409 `PAYMENT_STATE`.

        With `If-None-Match` of the `ETag` before: 304 while nothing has changed.
        """
        asked = pb.GetReceiptRequest(payment_id=payment_id)
        answer = await self._front.peers.calls.orchestrator.GetReceipt(asked, metadata=asker.metadata)
        shown = receipt(answer.receipt, self._tenants.of(asker.tenant_id), asker)
        return polled(request, _tag(answer.receipt, shown, asker), lambda: shown)


def receipt(found: pb.Receipt, tenant: Tenant, asker: Asker) -> Receipt:
    """Return a receipt."""
    words = Wording(asker.language, zone=tenant.time_zone)
    payment, quote = found.payment, found.quote
    amounts = payment.snapshot.amounts
    left_minor = figures.left_minor(payment)
    total = quote.total if quote.lines else payment.total
    return Receipt(
        payment_id=payment.payment_id,
        revision=payment.revision,
        receipt_time=figures.receipt_time(payment),
        session_name=found.session_name,
        issuer=Issuer(
            name=found.issuer.name or tenant.name, address=list(found.issuer.address), vat_id=found.issuer.vat_id
        ),
        sellers=[ReceiptSeller(seller_id=one.seller_id, name=one.name, vat_id=one.vat_id) for one in found.sellers],
        rows=_rows(quote, words),
        total=views.money(total),
        total_display=total_of(quote, words) if quote.lines else words.amount(total.amount_minor, total.currency_code),
        captured_minor=amounts.captured_minor,
        vat=_vat(quote, amounts.captured_minor),
        method=views.method(payment.snapshot.method) if payment.snapshot.HasField("method") else None,
        surplus_minor=amounts.surplus_minor,
        returns=[
            Return(kind=one.kind.value, amount_minor=one.amount_minor, time=one.time)
            for one in figures.returns(payment, found.history)
        ],
        left_minor=left_minor,
        left_vat=_vat(quote, left_minor),
    )


def _rows(quote: pricing_pb2.Quote, words: ReceiptWording) -> list[ReceiptRow]:
    lines = {line.line_id: line for line in quote.lines}
    facing = (row for row in quote.rows if row.payer_facing)
    rows = []
    for row, shown in zip(facing, rows_of(quote, words), strict=True):
        line = lines[row.line_id] if row.kind == pricing_pb2.ROW_KIND_LINE else None
        rows.append(
            ReceiptRow(
                kind=pricing_pb2.RowKind.Name(row.kind).removeprefix("ROW_KIND_"),
                line_id=row.line_id,
                label=shown.label,
                quantity=line.quantity if line else "",
                unit_amount_minor=line.unit_amount_minor if line else None,
                amount_minor=row.amount_minor,
                display=shown.amount,
                rate_percent=row.rate_percent,
                included_in_total=row.included_in_total,
            )
        )
    return rows


def _vat(quote: pricing_pb2.Quote, part_minor: int) -> list[Vat] | None:
    found = figures.vat_of(quote, part_minor=part_minor)
    if found is None:
        return None
    return [Vat(rate_percent=one.row.rate_percent, net_minor=one.net_minor, vat_minor=one.vat_minor) for one in found]


def _tag(found: pb.Receipt, shown: Receipt, asker: Asker) -> str:
    """Return the tag of a receipt: names of sellers and of who writes it are of no revision, and change it, too."""
    content = hashlib.sha256(shown.model_dump_json().encode()).hexdigest()[:16]
    return f'{tag(found.payment, asker)[:-1]}-{content}"'
