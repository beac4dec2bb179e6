"""What a new payment is to be, as the options of `batzen pay` say it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from batzen._request_ids import new_request_id
from batzen.cli.moments import Moment
from batzen.orchestrator.v1.orchestrator_pb2 import (
    Collection,
    Payer,
    PaymentSession,
    StartPaymentRequest,
    Timing,
)
from batzen.pricing.v1.price_book_pb2 import LineKind
from batzen.pricing.v1.pricing_pb2 import Line
from batzen.type.v1.money_pb2 import Money

if TYPE_CHECKING:
    from batzen.client import Client

RETURN_URL: Final = "http://127.0.0.1/returned"
"""Where a browser would go once the payer is done elsewhere; nobody does."""
CANCEL_URL: Final = "http://127.0.0.1/turned-back"


class When(StrEnum):
    """When the money is taken."""

    NOW = "now"
    HOLD = "hold"
    SCHEDULED = "scheduled"


TIMINGS: Final = {
    When.NOW: Timing.TIMING_IMMEDIATE,
    When.HOLD: Timing.TIMING_MANUAL_CAPTURE,
    When.SCHEDULED: Timing.TIMING_SCHEDULED,
}


@dataclass(frozen=True, slots=True)
class Sale:
    """What one seller sells: a line of the payment."""

    seller_id: str
    amount: Money


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A payment that is to be started."""

    sales: tuple[Sale, ...]
    """Lines `1`, `2`, … in this order."""
    payer_id: str
    email: str = ""
    """Where the payer is told of it."""
    locale: str = ""
    """In which language."""
    name: str
    session_type: str = ""
    """Which policies hold."""
    booking_ids: tuple[str, ...] = ()
    client_reference: str = ""
    when: When = When.NOW
    offered: tuple[When, ...] = ()
    """What else its payer may choose."""
    charge_at: Moment | None = None
    capture_at: Moment | None = None
    release_before_lapse: bool = False
    zone: ZoneInfo
    on_page: bool = False
    """On Stripe's page, instead of the site's own form."""
    keep_method: bool = False


def _offered(wanted: Wanted) -> list[Timing]:
    """Return what the payer may choose among: with what is taken until they do, or nothing."""
    return [TIMINGS[one] for one in dict.fromkeys((wanted.when, *wanted.offered))] if wanted.offered else []


async def start(client: Client, wanted: Wanted) -> PaymentSession:
    """Start it, and return what its payer needs."""
    request = StartPaymentRequest(
        request_id=new_request_id(),
        payer=Payer(payer_id=wanted.payer_id, email=wanted.email, locale=wanted.locale),
        lines=[
            Line(
                line_id=str(number),
                seller_id=sale.seller_id,
                kind=LineKind.LINE_KIND_SESSION,
                quantity="1",
                unit_amount=sale.amount,
            )
            for number, sale in enumerate(wanted.sales, start=1)
        ],
        booking_ids=wanted.booking_ids,
        client_reference=wanted.client_reference,
        session_name=wanted.name,
        session_type=wanted.session_type,
        return_url=RETURN_URL,
        timing=TIMINGS[wanted.when],
        timings_offered=_offered(wanted),
        collection=Collection.COLLECTION_CHECKOUT if wanted.on_page else Collection.COLLECTION_ELEMENTS,
        keep_method=wanted.keep_method,
        release_before_lapse=wanted.release_before_lapse,
        time_zone=wanted.zone.key,
    )
    if wanted.on_page:
        request.cancel_url = CANCEL_URL
    if wanted.charge_at is not None:
        request.charge_local_time = wanted.charge_at.local_time
        if not request.charge_local_time:
            request.charge_time.CopyFrom(wanted.charge_at.timestamp(wanted.zone))
    if wanted.capture_at is not None:
        request.capture_time.CopyFrom(wanted.capture_at.timestamp(wanted.zone))
    return (await client.orchestrator.StartPayment(request)).session
