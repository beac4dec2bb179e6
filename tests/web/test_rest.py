"""`/v1`: payments as resources, for the platform's back end and for payers."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any, Final

import pytest

from local.suite import Suite
from services.bff.api.reading import read_json
from tests.docs import ROOT
from tests.web.openapi import openapi
from tests.web.shop import PAYER, Shop, a_confirm, a_shop, a_start, key

JSON: Final = {"content-type": "application/json"}
TEXT: Final = {"content-type": "text/plain"}
SOME_PAYMENT: Final = "/v1/payments/pay_" + "a" * 26
HUGE: Final = b'{"reason":"x","window_s":1e30000000}'
"""To make an integer of it takes minutes, in which nobody else is answered."""
BAD_KEY: Final = (400, "IDEMPOTENCY_KEY_INVALID", "Idempotency-Key")


@pytest.fixture(scope="module")
async def shop(suite: Suite) -> AsyncIterator[Shop]:
    async with a_shop(suite) as made:
        yield made


async def test_a_payment_is_started_read_confirmed_and_given_back(shop: Shop) -> None:
    started = await shop.start()
    payment = started["payment"]
    where = f"/v1/payments/{payment['payment_id']}"

    confirmed = await shop.payer.post(f"{where}/confirm", json=a_confirm(), headers=key())
    preview = await shop.service.get(f"{where}/refund-preview")
    body = {"expected_refundable": preview.json()["refundable"], "actor_id": "clerk_a"}
    given_back = await shop.service.post(f"{where}/refunds", json=body, headers=(one := key()))
    repeated = await shop.service.post(f"{where}/refunds", json=body, headers=one)

    assert payment["state"] == "REQUIRES_PAYMENT_METHOD"
    assert started["client_secret"]
    assert started["price"]["total"] == {"amount_minor": 6000, "currency_code": "CHF"}
    assert started["price"]["total_display"] == "CHF\xa060.00"
    assert (confirmed.status_code, confirmed.json()["payment"]["state"]) == (200, "SUCCEEDED")
    assert (given_back.status_code, given_back.json()["payment"]["state"]) == (201, "REFUNDED")
    assert repeated.json() == given_back.json()


async def test_a_decline_is_a_state_and_the_next_key_another_try(shop: Shop) -> None:
    payment = (await shop.start())["payment"]
    where = f"/v1/payments/{payment['payment_id']}/confirm"

    declined = await shop.payer.post(where, json=a_confirm("pm_card_chargeDeclinedStolenCard"), headers=key())
    paid = await shop.payer.post(where, json=a_confirm(), headers=key())

    assert declined.status_code == 200
    assert declined.json()["payment"]["state"] == "REQUIRES_PAYMENT_METHOD"
    assert declined.json()["payment"]["last_error"]["decline_code"] == "generic_decline"
    assert paid.json()["payment"]["state"] == "SUCCEEDED"


async def test_polling_is_answered_by_304_while_nothing_changes(shop: Shop) -> None:
    payment = (await shop.start())["payment"]
    where = f"/v1/payments/{payment['payment_id']}"

    first = await shop.payer.get(where)
    again = await shop.payer.get(where, headers={"if-none-match": first.headers["etag"]})
    other_words = await shop.payer.get(
        where, headers={"if-none-match": first.headers["etag"], "accept-language": "fr-CH"}
    )
    await shop.payer.post(f"{where}/cancel", json={"reason": "changed my mind"}, headers=key())
    moved = await shop.payer.get(where, headers={"if-none-match": first.headers["etag"]})

    assert first.headers["cache-control"] == "private, no-cache"
    assert (again.status_code, again.content) == (304, b"")
    assert (other_words.status_code, moved.status_code) == (200, 200)
    assert moved.json()["state"] == "CANCELED"


async def test_payments_are_listed_page_by_page_and_only_ones_own(shop: Shop) -> None:
    reference = f"cart-{uuid.uuid4().hex}"
    for _ in range(3):
        await shop.start(client_reference=reference)

    first = (await shop.payer.get("/v1/payments", params={"client_reference": reference, "page_size": 2})).json()
    rest = (
        await shop.payer.get(
            "/v1/payments",
            params={"client_reference": reference, "page_size": 2, "page_token": first["next_page_token"]},
        )
    ).json()
    another = (await shop.other_payer.get("/v1/payments", params={"client_reference": reference})).json()

    assert (len(first["payments"]), len(rest["payments"]), rest["next_page_token"]) == (2, 1, "")
    assert another["payments"] == []


async def test_another_payers_payment_is_not_there_in_any_place(shop: Shop) -> None:
    payment_id = (await shop.start())["payment"]["payment_id"]
    where = f"/v1/payments/{payment_id}"
    other = shop.other_payer

    answers = [
        await other.get(where),
        await other.get(f"{where}/session"),
        await other.get(f"{where}/transitions"),
        await other.get(f"{where}/receipt"),
        *[
            await other.post(f"{where}/{what}", json=body, headers=key())
            for what, body in (
                ("confirm", a_confirm()),
                ("sync", {}),
                ("cancel", {}),
                ("preserve", {}),
                ("resume", {}),
            )
        ],
    ]

    assert {(one.status_code, one.json()["code"]) for one in answers} == {(404, "PAYMENT_NOT_FOUND")}


async def test_only_a_service_names_prices_and_gives_back(shop: Shop) -> None:
    payment_id = (await shop.start())["payment"]["payment_id"]
    money = {"amount_minor": 1, "currency_code": "CHF"}

    answers = [
        await shop.payer.post("/v1/payments", json=a_start(), headers=key()),
        await shop.payer.post(
            f"/v1/payments/{payment_id}/refunds", json={"expected_refundable": money, "actor_id": "me"}, headers=key()
        ),
        await shop.payer.post(f"/v1/payments/{payment_id}/capture", json={"actor_id": "me"}, headers=key()),
    ]

    assert {(one.status_code, one.json()["code"]) for one in answers} == {(403, "PERMISSION_DENIED")}


async def test_nobody_and_an_operators_token_are_refused(shop: Shop) -> None:
    nobody = await shop.nobody.get("/v1/payments")
    forged = await shop.nobody.get("/v1/payments", headers={"authorization": "Bearer a.b.c"})
    token = shop.suite.token("operator", sub="op")
    operator = await shop.nobody.get("/v1/payments", headers={"authorization": f"Bearer {token}"})

    assert (nobody.status_code, nobody.json()["code"]) == (401, "LOGIN_REQUIRED")
    assert (forged.status_code, forged.json()["code"]) == (401, "UNAUTHENTICATED")
    assert nobody.headers["www-authenticate"] == "Bearer"
    assert (operator.status_code, operator.json()["code"]) == (403, "PERMISSION_DENIED")


@pytest.mark.parametrize(
    ("method", "path", "sent", "expected"),
    [
        ("POST", "/v1/payments", {"json": a_start()}, (400, "IDEMPOTENCY_KEY_REQUIRED", "Idempotency-Key")),
        ("POST", "/v1/payments", {"json": a_start(), "headers": key("a b")}, BAD_KEY),
        ("POST", "/v1/payments", {"json": a_start(price=1), "headers": key()}, (400, "FIELD_INVALID", "price")),
        ("POST", "/v1/payments", {"json": {}, "headers": key()}, (400, "FIELD_MISSING", "payer")),
        ("POST", "/v1/payments", {"content": b"{", "headers": JSON}, (400, "REQUEST_MALFORMED", None)),
        ("POST", "/v1/payments", {"content": b"[" * 40, "headers": JSON}, (400, "REQUEST_MALFORMED", None)),
        ("POST", "/v1/payments", {"content": b"9" * 5000, "headers": JSON}, (400, "REQUEST_MALFORMED", None)),
        ("POST", f"{SOME_PAYMENT}/preserve", {"content": HUGE, "headers": JSON}, (400, "REQUEST_MALFORMED", None)),
        ("POST", "/v1/payments", {"content": b"x" * 70_000, "headers": JSON}, (413, "BODY_TOO_LARGE", None)),
        ("POST", "/v1/payments", {"content": b"{}", "headers": TEXT}, (415, "MEDIA_TYPE_NOT_TAKEN", None)),
        ("PUT", "/v1/payments", {"json": {}}, (405, "METHOD_NOT_ALLOWED", None)),
        ("GET", "/v1/nothing", {}, (404, "NOT_FOUND", None)),
        ("GET", "/v1/payments/pay_1", {}, (400, "FIELD_INVALID", "payment_id")),
        ("GET", "/v1/payments?page_size=1000", {}, (400, "FIELD_INVALID", "page_size")),
        ("GET", "/v1/payments?page_token=x", {}, (400, "PAGE_TOKEN_INVALID", "page_token")),
    ],
)
async def test_what_is_wrong_with_a_request_is_said(
    shop: Shop, method: str, path: str, sent: dict[str, Any], expected: tuple[int, str, str | None]
) -> None:
    answer = await shop.service.request(method, path, **sent)

    said = answer.json()
    assert (answer.status_code, said["code"], said["field"]) == expected
    assert answer.headers["content-type"] == "application/problem+json"
    assert said["traceId"] == answer.headers["x-correlation-id"]
    assert said["detail"]


@pytest.mark.parametrize(
    ("changes", "field", "has_to"),
    [
        ({"lines": {"quantity": "10001"}}, "lines[0].quantity", "must be at most 10000"),
        ({"lines": {"kind": "NONE"}}, "lines[0].kind", "must be 'SESSION', "),
        (
            {"lines": {"price": 1}},
            "lines[0].price",
            "must be left out: there is no such field, there are kind, line_id, ",
        ),
        ({"colour": "red"}, "colour", "must be left out: there is no such field, there are booking_ids, "),
        ({"payer": None}, "payer", "must be "),
        ({"session_type": "x" * 300}, "session_type", "must have at most "),
        ({"return_url": "http://shop.example"}, "return_url", "must be an https URL"),
    ],
)
async def test_a_refusal_names_the_field_and_what_it_has_to_be(
    shop: Shop, changes: dict[str, Any], field: str, has_to: str
) -> None:
    """Whoever minds: the front, the orchestrator or pricing behind it."""
    body = a_start() | changes
    body["lines"] = [a_start()["lines"][0] | changes.get("lines", {})]
    answer = await shop.service.post("/v1/payments", json=body, headers=key())

    said = answer.json()
    assert (answer.status_code, said["field"], said["violations"][0]["field"]) == (400, field, field), said
    assert said["violations"][0]["description"].startswith(has_to), said
    assert f"`{field}`: {has_to}" in said["detail"]


@pytest.mark.parametrize(
    "number", ["1e41", "-1e41", "1e-41", "0e41", "1e30000000", "1e-30000000", "1e999999999999999999"]
)
def test_a_number_is_refused_before_anything_is_made_of_its_exponent(number: str) -> None:
    with pytest.raises(json.JSONDecodeError, match="number"):
        read_json(number.encode())


@pytest.mark.parametrize("number", ["0", "-0.0", "60.50", "6e1", "1e40", "1e-40", "12345678901234567890"])
def test_a_number_is_read_exactly(number: str) -> None:
    assert read_json(number.encode()) == Decimal(number)


async def test_a_method_that_there_is_not_is_answered_by_those_that_there_are(shop: Shop) -> None:
    answer = await shop.service.put("/v1/payments", json={})

    assert answer.headers["allow"] == "GET, POST"


async def test_the_same_key_with_another_body_is_refused_and_another_callers_key_is_another(shop: Shop) -> None:
    first = await shop.service.post("/v1/payments", json=a_start(), headers=(one := key()))
    again = await shop.service.post("/v1/payments", json=a_start(), headers=one)
    other = await shop.service.post("/v1/payments", json=a_start(session_type="else"), headers=one)

    assert again.json()["payment"] == first.json()["payment"]
    assert (other.status_code, other.json()["code"]) == (409, "REQUEST_ID_REUSED")


async def test_kept_methods_are_ones_own(shop: Shop) -> None:
    kept = await shop.payer.post("/v1/payment-methods", json={"payment_method_id": "pm_card_visa"}, headers=key())
    method_id = kept.json()["payment_method_id"]
    listed = await shop.payer.get("/v1/payment-methods")
    anothers = await shop.other_payer.get("/v1/payment-methods", params={"payer_id": PAYER})
    stolen = await shop.other_payer.post(f"/v1/payment-methods/{method_id}/default", json={}, headers=key())
    forgotten = await shop.payer.delete(f"/v1/payment-methods/{method_id}", headers=key())

    assert kept.status_code == 201
    assert method_id in [one["payment_method_id"] for one in listed.json()["payment_methods"]]
    assert (anothers.status_code, anothers.json()["code"]) == (403, "PERMISSION_DENIED")
    assert (stolen.status_code, stolen.json()["code"]) == (404, "PAYMENT_METHOD_NOT_FOUND")
    assert forgotten.status_code == 204


async def test_a_payer_is_sent_back_to_no_place_that_is_not_their_tenants(shop: Shop) -> None:
    payment_id = (await shop.start())["payment"]["payment_id"]
    bodies = {
        f"/v1/payments/{payment_id}/confirm": a_confirm() | {"return_url": "https://evil.example/"},
        "/api/payments/confirm": {
            "paymentId": payment_id,
            "paymentMethodId": "pm_card_visa",
            "returnUrl": "https://evil.example/",
        },
    }
    answers = [await shop.payer.post(path, json=body, headers=key()) for path, body in bodies.items()]
    own = a_confirm() | {"return_url": f"{shop.suite.front_url('bff')}/return/{payment_id}"}
    paid = await shop.payer.post(f"/v1/payments/{payment_id}/confirm", json=own, headers=key())

    assert [(one.status_code, one.json()["code"]) for one in answers] == [(400, "FIELD_INVALID")] * 2
    assert answers[0].json()["field"] == "return_url"
    assert (paid.status_code, paid.json()["payment"]["state"]) == (200, "SUCCEEDED")


async def test_the_description_is_the_stored_one_and_its_page_shows_all_of_it(shop: Shop) -> None:
    described = await shop.nobody.get("/v1/openapi.json")
    page = await shop.nobody.get("/v1/docs")
    again = await shop.nobody.get("/v1/openapi.json")

    assert described.json() == again.json() == json.loads(openapi())
    assert described.json() == json.loads((ROOT / "docs" / "openapi.json").read_text())
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "https://" not in page.text  # nothing of another host
    for path in described.json()["paths"]:
        assert f"<code>{path}</code>" in page.text
