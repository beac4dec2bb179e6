"""Payments that operators act on, and the forms of the console as a browser sends them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Final

import httpx

from batzen.cli.starting import When
from batzen.client import new_request_id
from batzen.gateway.v1.refunds_pb2 import ListRefundsRequest
from batzen.orchestrator.v1.orchestrator_pb2 import (
    COLLECTION_ELEMENTS,
    TIMING_MANUAL_CAPTURE,
    CancelPaymentRequest,
    Payer,
    StartPaymentRequest,
    SubmitPaymentRequest,
    SyncPaymentRequest,
)
from batzen.pricing.v1.pricing_pb2 import Line
from batzen.type.v1.money_pb2 import Money
from local.start import Start, add_seller, started
from local.suite import Suite
from services.wire import timestamp

SELLER: Final = "seller_console"
_INPUT: Final = re.compile(r'<input type="hidden" name="([^"]+)" value="([^"]*)">')
_FORM: Final = re.compile(r'<form [^>]*action="([^"]+)"[^>]*>(.*?)</form>', re.DOTALL)


async def paid(
    suite: Suite, minor: int, *, when: When = When.NOW, payer_id: str = "payer_console", booking_id: str = ""
) -> str:
    """Return a payment that was paid, or whose amount is held."""
    async with suite.client("service", sub="shop") as shop:
        await add_seller(shop, SELLER)
        total = Money(amount_minor=minor, currency_code="CHF")
        how = Start(when=when, payer_id=payer_id, booking_id=booking_id)
        session = await started(shop, how, seller_id=SELLER, total=total)
        payment_id = session.payment.payment_id
        await shop.orchestrator.SubmitPayment(
            SubmitPaymentRequest(request_id=new_request_id(), payment_id=payment_id, payment_method_id="pm_card_visa")
        )
    return payment_id


async def held_late(suite: Suite, minor: int) -> str:
    """Return a payment whose amount is held since after it was cancelled; the shop wanted it captured in an hour."""
    async with suite.client("service", sub="shop") as shop:
        await add_seller(shop, SELLER)
        amount = Money(amount_minor=minor, currency_code="CHF")
        asked = StartPaymentRequest(
            request_id=new_request_id(),
            payer=Payer(payer_id="payer_console"),
            lines=[
                Line(line_id="a", seller_id=SELLER, kind="LINE_KIND_SESSION", quantity="1", unit_amount=amount),
            ],
            timing=TIMING_MANUAL_CAPTURE,
            capture_time=timestamp(datetime.now(UTC) + timedelta(hours=1)),
            collection=COLLECTION_ELEMENTS,
            return_url="https://shop.example/back",
        )
        payment_id = (await shop.orchestrator.StartPayment(asked)).session.payment.payment_id
        cancel = CancelPaymentRequest(request_id=new_request_id(), payment_id=payment_id)
        await shop.orchestrator.CancelPayment(cancel)
        [intent] = await suite.sandbox.objects("payment_intent", **{"metadata.payment_id": payment_id})
        await suite.sandbox.succeed(intent["id"])
        await shop.orchestrator.SyncPayment(SyncPaymentRequest(payment_id=payment_id))
    return payment_id


async def refunds_of(suite: Suite, payment_id: str) -> list[int]:
    """Return what went back of a payment, refund by refund."""
    async with suite.client("service", sub="shop") as shop:
        found = await shop.refunds.ListRefunds(ListRefundsRequest(payment_id=payment_id))
    return [refund.amount.amount_minor for refund in found.refunds]


def form_of(answer: httpx.Response, action: str) -> dict[str, str]:
    """Return the hidden fields of the form that leads to an address."""
    for path, inside in _FORM.findall(answer.text):
        if unescape(path) == action:
            return {name: unescape(value) for name, value in _INPUT.findall(inside)}
    raise AssertionError(f"no form leads to {action}:\n{answer.text}")


async def reviewed(browser: httpx.AsyncClient, path: str, **given: str) -> dict[str, str]:
    """Look at what an action would do, and return the form that does it."""
    answer = await browser.get(path, params={"review": "1", **given})
    assert answer.status_code == 200, answer.text
    return form_of(answer, path)


async def refund_form(browser: httpx.AsyncClient, payment_id: str, amount: str) -> dict[str, str]:
    """Return the form that refunds an amount."""
    path = f"/payments/{payment_id}/refund"
    return await reviewed(browser, path, amount=amount, why="REASON_REQUESTED_BY_PAYER", bearer="shared")


async def send(browser: httpx.AsyncClient, path: str, form: Mapping[str, str], **more: str) -> httpx.Response:
    """Send a form."""
    return await browser.post(path, data={**form, **more})
