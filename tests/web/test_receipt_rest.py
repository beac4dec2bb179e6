"""`/v1/payments/{id}/receipt`: what the page and the mail say, as figures."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from batzen.client import new_request_id
from batzen.gateway.v1 import sellers_pb2
from batzen.status.v1.status_pb2 import Transition
from local.suite import Suite
from services.bff.api.modern.receipts import Receipt, receipt
from services.bff.callers import Asker
from services.bff.checkout.receipts import receipt as page_of
from services.receipts.model import Receipt as Shown
from tests.eventually import eventually
from tests.web import checkout_samples as samples
from tests.web.shop import SELLER, Shop, a_confirm, a_shop, key

ASKER: Final = Asker(
    tenant_id="main", subject="payer_1", is_service=False, metadata=(), language="en", correlation_id="c"
)


@pytest.fixture(scope="module")
async def shop(suite: Suite) -> AsyncIterator[Shop]:
    async with a_shop(suite) as made:
        yield made


async def _paid(shop: Shop) -> str:
    """Have a payment paid, and return where it is."""
    where = f"/v1/payments/{(await shop.start(session_name='Yoga for two'))['payment']['payment_id']}"
    paid = await shop.payer.post(f"{where}/confirm", json=a_confirm(), headers=key())
    assert paid.json()["payment"]["state"] == "SUCCEEDED"
    return where


async def _call_seller(shop: Shop, name: str) -> None:
    async with shop.suite.client("service", sub="shop") as batzen:
        account = (await batzen.sellers.GetSellerAccount(sellers_pb2.GetSellerAccountRequest(seller_id=SELLER))).account
        await batzen.sellers.PutSellerAccount(
            sellers_pb2.PutSellerAccountRequest(
                request_id=new_request_id(),
                seller_id=SELLER,
                stripe_account_id=account.stripe_account_id,
                receipt_name=name,
                vat_id="CHE-109.322.551",
            )
        )


async def _with_sellers(shop: Shop, where: str) -> Any:
    """Return a receipt, once the gateway says in time what its sellers are called."""

    async def found() -> Any:
        receipt = (await shop.payer.get(f"{where}/receipt")).json()
        return receipt if receipt["sellers"] else None

    return await eventually(found)


async def test_a_receipt_says_what_was_paid_to_whom_and_what_went_back(shop: Shop) -> None:
    await _call_seller(shop, "Anna Berg Yoga")
    where = await _paid(shop)
    before = await _with_sellers(shop, where)
    francs = {"amount_minor": 2_000, "currency_code": "CHF"}
    body = {"amount": francs, "expected_refundable": francs | {"amount_minor": 6_000}, "actor_id": "clerk_a"}
    given_back = await shop.service.post(f"{where}/refunds", json=body, headers=key())
    after = (await shop.payer.get(f"{where}/receipt", headers={"accept-language": "de-CH"})).json()

    assert given_back.status_code == 201
    assert (before["payment_id"], before["session_name"]) == (where.rsplit("/", 1)[-1], "Yoga for two")
    assert before["sellers"] == [
        {"seller_id": SELLER, "name": "Anna Berg Yoga", "vat_id": "CHE-109.322.551 MWST"},
    ]
    assert before["issuer"]["name"]
    assert before["total"] == {"amount_minor": 6_000, "currency_code": "CHF"}
    assert [(one["label"], one["quantity"], one["unit_amount_minor"]) for one in before["rows"]][:1] == [
        ("Session", "1", 6_000)
    ]
    assert (before["captured_minor"], before["returns"], before["left_minor"]) == (6_000, [], 6_000)
    assert before["method"]["last4"] == "4242"
    assert [(one["kind"], one["amount_minor"]) for one in after["returns"]] == [("REFUNDED", -2_000)]
    assert (after["captured_minor"], after["left_minor"]) == (6_000, 4_000)
    assert after["rows"][0]["label"] != before["rows"][0]["label"]
    assert after["revision"] > before["revision"]


async def test_a_receipt_keeps_what_its_seller_was_called_and_the_next_one_has_the_new_name(shop: Shop) -> None:
    await _call_seller(shop, "Anna Berg Yoga")
    before = await _paid(shop)
    await _call_seller(shop, "Berg Yoga GmbH")
    after = await _paid(shop)

    names = [(await _with_sellers(shop, one))["sellers"][0]["name"] for one in (before, after)]
    assert names == ["Anna Berg Yoga", "Berg Yoga GmbH"]


async def test_a_receipt_is_its_payers_and_there_is_none_before_money_was_taken(shop: Shop) -> None:
    unpaid = f"/v1/payments/{(await shop.start())['payment']['payment_id']}"
    where = await _paid(shop)

    another = await shop.other_payer.get(f"{where}/receipt")
    nobody = await shop.nobody.get(f"{where}/receipt")
    early = await shop.payer.get(f"{unpaid}/receipt")
    service = await shop.service.get(f"{where}/receipt")

    assert (another.status_code, another.json()["code"]) == (404, "PAYMENT_NOT_FOUND")
    assert (nobody.status_code, nobody.json()["code"]) == (401, "LOGIN_REQUIRED")
    assert (early.status_code, early.json()["code"]) == (409, "PAYMENT_STATE")
    assert service.json()["captured_minor"] == 6_000


async def test_polling_a_receipt_is_answered_by_304_while_it_says_the_same(shop: Shop) -> None:
    where = f"{await _paid(shop)}/receipt"

    first = await shop.payer.get(where)
    known = {"if-none-match": first.headers["etag"]}
    again = await shop.payer.get(where, headers=known)
    other_words = await shop.payer.get(where, headers=known | {"accept-language": "fr-CH"})

    assert first.headers["cache-control"] == "private, no-cache"
    assert (again.status_code, again.content) == (304, b"")
    assert other_words.status_code == 200


def _both(
    *returned: Transition, has_one_rate: bool = False, state: str = "PARTIALLY_REFUNDED", **amounts: int
) -> tuple[Receipt, Shown]:
    """Return the same receipt as REST and as the page have it."""
    taken = {"captured_minor": samples.TOTAL_MINOR} | amounts
    session = samples.session(state, snapshot=samples.snapshot(amounts=taken))
    if has_one_rate:
        session.quote.CopyFrom(samples.one_rate())
    found = samples.receipt(session, returned)
    shown: Any = page_of(found, samples.place()).part["receipt"]
    return receipt(found, samples.TENANT, ASKER), shown


@pytest.mark.parametrize("has_one_rate", [True, False])
@pytest.mark.parametrize("refunded_minor", [0, 5_060, samples.TOTAL_MINOR])
def test_it_says_what_the_page_says(refunded_minor: int, *, has_one_rate: bool) -> None:
    figures, page = _both(*samples.history(refunded_minor), has_one_rate=has_one_rate, refunded_minor=refunded_minor)
    words = samples.place().words

    assert [(one.label, one.display) for one in figures.rows if one.kind != "VAT"] == [
        (one.label, one.amount) for one in page.rows if one.kind != "vat"
    ]
    assert figures.total_display == page.total
    assert [words.amount(one.amount_minor, "CHF") for one in figures.returns] == [one.value for one in page.refunds]
    assert [words.amount(one.vat_minor, "CHF") for one in figures.vat or ()] == [one.value for one in page.vat]
    assert (figures.left_vat is None) is bool(page.vat_note)
    assert figures.captured_minor + sum(one.amount_minor for one in figures.returns) == figures.left_minor
    if page.left:
        left = [words.amount(figures.left_minor, "CHF"), *_vat(figures)]
        assert left == [one.value for one in page.left]


def _vat(figures: Receipt) -> list[str]:
    return [samples.place().words.amount(one.vat_minor, "CHF") for one in figures.left_vat or ()]


def test_the_vat_of_a_part_with_several_rates_is_told_by_nobody() -> None:
    figures, _ = _both(state="SUCCEEDED", captured_minor=10_000)
    whole, _ = _both(state="SUCCEEDED")

    assert (figures.vat, figures.left_vat) == (None, None)
    assert [(one.rate_percent, one.net_minor, one.vat_minor) for one in whole.vat or ()] == [
        ("8.1", 16_651, 1_349),
        ("2.6", 2_982, 78),
    ]
