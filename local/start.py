"""How the payments of the demo are started, and the sellers that they are of."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from zoneinfo import ZoneInfo

from batzen.cli.moments import DEFAULT_ZONE, Moment
from batzen.cli.starting import Sale, Wanted, When, start
from batzen.client import Client, new_request_id
from batzen.errors import NotFound
from batzen.gateway.v1.sellers_pb2 import GetSellerAccountRequest, PutSellerAccountRequest
from batzen.orchestrator.v1.notifications_pb2 import (
    ListNotificationPoliciesRequest,
    NotificationPolicy,
    PutNotificationPolicyRequest,
)
from batzen.orchestrator.v1.orchestrator_pb2 import PaymentSession
from batzen.type.v1.money_pb2 import Money

LOCALES: Final = ("de-CH", "fr-CH", "it-CH", "en")
"""Of the payers, by turns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How a payment is started."""

    when: When = When.NOW
    charge_in: timedelta | None = None
    """With `SCHEDULED`."""
    on_page: bool = False
    keep_method: bool = False
    booking_id: str = ""
    payer_id: str = "payer_1"
    cart: tuple[Sale, ...] = ()
    """Of several sellers; otherwise the demo's one seller sells all of it."""
    session_type: str = ""


async def started(client: Client, how: Start, *, seller_id: str, total: Money) -> PaymentSession:
    """Start a payment; what is no cart is sold by the one seller."""
    wanted = Wanted(
        sales=how.cart or (Sale(seller_id, total),),
        payer_id=how.payer_id,
        email=f"{how.payer_id}@example.com",
        locale=LOCALES[sum(how.payer_id.encode()) % len(LOCALES)],
        name="A session",
        session_type=how.session_type,
        booking_ids=(how.booking_id,) if how.booking_id else (),
        when=how.when,
        charge_at=Moment(span=how.charge_in) if how.charge_in else None,
        zone=ZoneInfo(DEFAULT_ZONE),
        on_page=how.on_page,
        keep_method=how.keep_method,
    )
    return await start(client, wanted)


async def add_seller(client: Client, seller_id: str) -> None:
    """Register a Swiss seller; one that is there stays as it is."""
    with contextlib.suppress(NotFound):
        there = await client.sellers.GetSellerAccount(GetSellerAccountRequest(seller_id=seller_id))
        if not there.account.gone:
            return
    request = PutSellerAccountRequest(
        request_id=new_request_id(),
        seller_id=seller_id,
        country_code="CH",
        email="seller@example.com",
        receipt_name=seller_id.replace("_", " ").title(),
        vat_id="CHE-109.322.551 MWST",
    )
    await client.sellers.PutSellerAccount(request)


async def put_issuer(operator: Client, *, payment_url: str) -> None:
    """Say who writes receipts, and where a payment is seen, unless an operator has said how people are told."""
    known = await operator.orchestrator_ops.ListNotificationPolicies(ListNotificationPoliciesRequest(page_size=1))
    if known.records:
        return
    policy = NotificationPolicy(
        sender_name="Alpine Lessons",
        address=["Bahnhofstrasse 1", "8001 Zürich"],
        vat_id="CHE-123.456.788 MWST",
        payment_url=payment_url,
        time_zone=DEFAULT_ZONE,
    )
    await operator.orchestrator_ops.PutNotificationPolicy(
        PutNotificationPolicyRequest(
            request_id=new_request_id(), policy=policy, actor_id="make-up", reason="who writes receipts here"
        )
    )
