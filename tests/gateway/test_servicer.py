"""The face of the gateway: what it does not take, whom it does not serve, and what each field may hold."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from google.protobuf.message import Message
from grpc import StatusCode

from batzen.gateway.v1 import intents_pb2, payer_pb2, refunds_pb2, sellers_pb2
from batzen.type.v1 import money_pb2
from local.databases import ServiceDatabase
from tests.gateway.conftest import Gateway
from tests.gateway.samples import AMOUNT_MINOR, Payments, chf, new_id, refusal, refused
from tests.gateway.stubs import GatewayStubs
from tests.gateway.test_races import connected

INVALID = (StatusCode.INVALID_ARGUMENT, "FIELD_INVALID")
MISSING = (StatusCode.INVALID_ARGUMENT, "FIELD_MISSING")

CREATE_FIELDS = [
    ({"request_id": ""}, MISSING, "request_id"),
    ({"request_id": "twice"}, INVALID, "request_id"),
    ({"payment_id": ""}, MISSING, "payment_id"),
    ({"payment_id": "p" * 129}, INVALID, "payment_id"),
    ({"payment_id": "pay 1"}, INVALID, "payment_id"),
    ({"payment_id": "pay_\0"}, INVALID, "payment_id"),
    ({"attempt": 0}, MISSING, "attempt"),
    ({"attempt": -1}, INVALID, "attempt"),
    ({"payer": payer_pb2.Payer()}, MISSING, "payer.payer_id"),
    ({"payer": payer_pb2.Payer(payer_id="p" * 129)}, INVALID, "payer.payer_id"),
    ({"payer": payer_pb2.Payer(payer_id="payer_1", email="no address")}, INVALID, "payer.email"),
    ({"payer": payer_pb2.Payer(payer_id="payer_1", name="n" * 513)}, INVALID, "payer.name"),
    ({"payer": payer_pb2.Payer(payer_id="payer_1", locale="de\0CH")}, INVALID, "payer.locale"),
    ({"amount": None}, MISSING, "amount"),
    ({"amount": chf(0)}, INVALID, "amount.amount_minor"),
    ({"amount": chf(-5)}, INVALID, "amount.amount_minor"),
    ({"amount": money_pb2.Money(amount_minor=5_000)}, MISSING, "amount.currency_code"),
    ({"amount": money_pb2.Money(amount_minor=5_000, currency_code="chf")}, INVALID, "amount.currency_code"),
    ({"seller_id": ""}, MISSING, "seller_id"),
    ({"application_fee": None}, MISSING, "application_fee"),
    ({"application_fee": chf(-1)}, INVALID, "application_fee.amount_minor"),
    ({"application_fee": chf(AMOUNT_MINOR + 1)}, INVALID, "application_fee.amount_minor"),
    (
        {"application_fee": money_pb2.Money(amount_minor=1, currency_code="EUR")},
        INVALID,
        "application_fee.currency_code",
    ),
    ({"description": "d" * 501}, INVALID, "description"),
]

CONFIRM_FIELDS = [
    ({"request_id": ""}, MISSING, "request_id"),
    ({"payment_id": ""}, MISSING, "payment_id"),
    ({"attempt": 0}, MISSING, "attempt"),
    ({"payment_method_id": ""}, MISSING, "payment_method_id"),
    ({"payment_method_id": "4242 4242"}, INVALID, "payment_method_id"),
    ({"payment_method_id": "pm_1/../pi_1"}, INVALID, "payment_method_id"),
    ({"payment_method_id": "pi_1"}, INVALID, "payment_method_id"),
    ({"payment_method_id": None, "confirmation_token_id": ".."}, INVALID, "confirmation_token_id"),
    ({"use_stripe_sdk": True}, INVALID, "use_stripe_sdk"),
    ({"payment_method_id": None, "confirmation_token_id": "pm_card_visa"}, INVALID, "confirmation_token_id"),
    ({"return_url": ""}, MISSING, "return_url"),
    ({"return_url": "http://shop.example/"}, INVALID, "return_url"),
    ({"return_url": "https://"}, INVALID, "return_url"),
    ({"return_url": "javascript:alert(1)"}, INVALID, "return_url"),
    ({"return_url": "https://shop.example/ x"}, INVALID, "return_url"),
    ({"return_url": "https://[shop/"}, INVALID, "return_url"),
]

REFUND_FIELDS = [
    ({"request_id": ""}, MISSING, "request_id"),
    ({"payment_id": ""}, MISSING, "payment_id"),
    ({"amount": None}, MISSING, "amount"),
    ({"expected_refundable": None}, MISSING, "expected_refundable"),
    ({"expected_refundable": chf(-1)}, INVALID, "expected_refundable.amount_minor"),
    ({"actor_id": ""}, MISSING, "actor_id"),
    ({"reason": 99}, INVALID, "reason"),
]

SELLER_FIELDS = [
    ({"request_id": ""}, MISSING, "request_id"),
    ({"seller_id": ""}, MISSING, "seller_id"),
    ({"country_code": ""}, MISSING, "country_code"),
    ({"country_code": "Switzerland"}, INVALID, "country_code"),
    ({"email": ""}, MISSING, "email"),
    ({"email": "seller"}, INVALID, "email"),
    *[
        ({"stripe_account_id": value}, INVALID, "stripe_account_id")
        for value in (
            "acct 1",
            ".",
            "..",
            "acct_",
            "acct_..",
            "acct_1/..",
            "acct_1?expand=1",
            "acct_1#x",
            "%2e%2e",
            "acct_%2e",
            "acct_1;",
            "acct_\u0661",
            "acct_1\n",
            "cus_1",
            f"acct_{'1' * 128}",
        )
    ],
]


def changed(request: Any, changes: dict[str, Any]) -> Any:
    """Return a request with other values in some fields; None clears one."""
    for name, value in changes.items():
        request.ClearField(name)
        if isinstance(value, Message):
            getattr(request, name).CopyFrom(value)
        elif value is not None:
            setattr(request, name, value)
    return request


@pytest.mark.parametrize(("changes", "expected", "field"), CREATE_FIELDS)
async def test_fields_of_a_create(
    gateway: GatewayStubs, payments: Payments, changes: dict[str, Any], expected: Any, field: str
) -> None:
    request = changed(payments.create_request(), changes)

    assert (await refused(gateway.CreateIntent(request)))[:3] == (*expected, field)

    if request.payment_id.startswith("pay_") and request.payment_id.isascii() and "\0" not in request.payment_id:
        assert await payments.intents(request.payment_id) == []


@pytest.mark.parametrize(("changes", "expected", "field"), CONFIRM_FIELDS)
async def test_fields_of_a_confirm(
    gateway: GatewayStubs, payments: Payments, changes: dict[str, Any], expected: Any, field: str
) -> None:
    request = changed(payments.confirm_request(new_id("pay")), changes)

    assert (await refused(gateway.ConfirmIntent(request)))[:3] == (*expected, field)


async def test_a_confirm_needs_something_to_pay_with(gateway: GatewayStubs, payments: Payments) -> None:
    request = changed(payments.confirm_request(new_id("pay")), {"payment_method_id": None})

    assert await refusal(gateway.ConfirmIntent(request)) == MISSING


async def test_a_browser_on_loopback_needs_no_https(gateway: GatewayStubs, payments: Payments) -> None:
    payment_id = await payments.created()

    request = payments.confirm_request(payment_id, return_url="http://127.0.0.1:8000/return")

    assert (await gateway.ConfirmIntent(request)).observation.amounts.captured_minor == AMOUNT_MINOR


@pytest.mark.parametrize(("changes", "expected", "field"), REFUND_FIELDS)
async def test_fields_of_a_refund(
    gateway: GatewayStubs, payments: Payments, changes: dict[str, Any], expected: Any, field: str
) -> None:
    payment_id = await payments.paid()
    request = changed(payments.refund_request(payment_id, 100), changes)

    assert (await refused(gateway.CreateRefund(request)))[:3] == (*expected, field)

    assert await payments.refunds(payment_id) == []


@pytest.mark.parametrize(("changes", "expected", "field"), SELLER_FIELDS)
async def test_fields_of_a_seller(
    gateway: GatewayStubs, payments: Payments, changes: dict[str, Any], expected: Any, field: str
) -> None:
    request = changed(payments.put_seller_request(), changes)

    assert (await refused(gateway.PutSellerAccount(request)))[:3] == (*expected, field)

    # Nothing was written: the same request is good once it is put right.
    if field not in ("request_id", "seller_id"):
        right = payments.put_seller_request(request_id=request.request_id, seller_id=request.seller_id)
        assert (await gateway.PutSellerAccount(right)).account.seller_id == request.seller_id


async def test_fields_of_the_other_requests(gateway: GatewayStubs, payments: Payments) -> None:
    for call, field in (
        (gateway.CancelIntent(changed(payments.cancel_request(new_id("pay")), {"request_id": ""})), "request_id"),
        (gateway.CancelIntent(changed(payments.cancel_request(new_id("pay")), {"attempt": 0})), "attempt"),
        (gateway.SyncIntent(intents_pb2.SyncIntentRequest()), "payment_id"),
        (gateway.GetIntent(intents_pb2.GetIntentRequest()), "payment_id"),
        (gateway.GetLimits(intents_pb2.GetLimitsRequest()), "currency_code"),
        (gateway.GetRefund(refunds_pb2.GetRefundRequest()), "refund_id"),
        (gateway.ListRefunds(refunds_pb2.ListRefundsRequest()), "payment_id"),
        (gateway.GetSellerAccount(sellers_pb2.GetSellerAccountRequest()), "seller_id"),
    ):
        assert (await refused(call))[:3] == (*MISSING, field)
    by_account = gateway.GetIntent(intents_pb2.GetIntentRequest(stripe_id="acct_1"))
    assert (await refused(by_account))[:3] == (*INVALID, "stripe_id")
    strange = changed(payments.cancel_request(await payments.created()), {"reason": 99})
    assert (await refused(gateway.CancelIntent(strange)))[:3] == (*INVALID, "reason")


@pytest.mark.parametrize(
    ("amount", "reason"),
    [
        (money_pb2.Money(amount_minor=49, currency_code="CHF"), "AMOUNT_NOT_CHARGEABLE"),
        (money_pb2.Money(amount_minor=10**9, currency_code="CHF"), "AMOUNT_NOT_CHARGEABLE"),
        (money_pb2.Money(amount_minor=5_123, currency_code="KWD"), "AMOUNT_NOT_CHARGEABLE"),
        (money_pb2.Money(amount_minor=5_000, currency_code="XTS"), "CURRENCY_UNKNOWN"),
    ],
)
async def test_what_stripe_cannot_charge_is_refused_before_anything_is_written(
    gateway: GatewayStubs, payments: Payments, database: ServiceDatabase, amount: money_pb2.Money, reason: str
) -> None:
    fee = money_pb2.Money(amount_minor=0, currency_code=amount.currency_code)
    request = payments.create_request(amount=amount, application_fee=fee)

    assert (await refused(gateway.CreateIntent(request)))[:3] == (StatusCode.INVALID_ARGUMENT, reason, "amount")
    assert await payments.intents(request.payment_id) == []
    assert await written(database, request) == 0


async def test_a_fee_that_stripe_cannot_express_is_refused_before_anything_is_written(
    gateway: GatewayStubs, payments: Payments, database: ServiceDatabase
) -> None:
    request = payments.create_request(amount=kwd(50_000), application_fee=kwd(7_501))  # Stripe counts in tens

    code, reason, field, _ = await refused(gateway.CreateIntent(request))

    assert (code, reason, field) == (StatusCode.INVALID_ARGUMENT, "AMOUNT_NOT_CHARGEABLE", "application_fee")
    assert await written(database, request) == 0


async def test_a_refund_that_stripe_cannot_express_is_refused_before_anything_is_written(
    gateway: GatewayStubs, payments: Payments, database: ServiceDatabase
) -> None:
    payment_id = await payments.paid(amount=kwd(50_000), application_fee=kwd(0))
    request = payments.refund_request(payment_id, 0, amount=kwd(1_005), expected_refundable=kwd(50_000))

    code, reason, field, _ = await refused(gateway.CreateRefund(request))

    assert (code, reason, field) == (StatusCode.INVALID_ARGUMENT, "AMOUNT_NOT_CHARGEABLE", "amount")
    async with connected(database) as connection:
        assert not await connection.fetchval("SELECT count(*) FROM calls WHERE request_id = $1", request.request_id)
    request.amount.amount_minor = 1_010
    assert (await gateway.CreateRefund(request)).refund.amount == kwd(1_010)


def kwd(amount_minor: int) -> money_pb2.Money:
    return money_pb2.Money(amount_minor=amount_minor, currency_code="KWD")


async def written(database: ServiceDatabase, request: intents_pb2.CreateIntentRequest) -> int:
    """Return how many rows there are of what a request to create names."""
    async with connected(database) as connection:
        found = await connection.fetchval(
            """SELECT (SELECT count(*) FROM payments WHERE payment_id = $1)
                   + (SELECT count(*) FROM customers WHERE payer_id = $2)
                   + (SELECT count(*) FROM calls WHERE request_id = $3)""",
            request.payment_id,
            request.payer.payer_id,
            request.request_id,
        )
    return int(found)


async def test_amounts_reach_stripe_in_its_own_units(gateway: GatewayStubs, payments: Payments) -> None:
    def isk(amount_minor: int) -> money_pb2.Money:
        return money_pb2.Money(amount_minor=amount_minor, currency_code="ISK")

    payment_id = await payments.paid(amount=isk(5_000), application_fee=isk(750))

    (intent,) = await payments.intents(payment_id)
    assert (intent["amount"], intent["application_fee_amount"]) == (500_000, 75_000)
    seen = await payments.seen(payment_id)
    assert (seen.amounts.captured_minor, seen.refundable_minor) == (5_000, 5_000)
    request = payments.refund_request(payment_id, 0, amount=isk(1_000), expected_refundable=isk(5_000))
    await gateway.CreateRefund(request)
    assert (await payments.refunds(payment_id))[0]["amount"] == 100_000


async def test_the_limits_of_a_currency(gateway: GatewayStubs) -> None:
    limits = await gateway.GetLimits(intents_pb2.GetLimitsRequest(currency_code="CHF"))
    assert (limits.minimum, limits.maximum, limits.step_minor) == (chf(50), chf(99_999_999), 1)

    for unknown in ("XTS", "chf"):
        assert await refusal(gateway.GetLimits(intents_pb2.GetLimitsRequest(currency_code=unknown))) == (
            StatusCode.INVALID_ARGUMENT,
            "CURRENCY_UNKNOWN",
        )


async def test_a_disputed_charge_is_not_refunded(
    gateway: GatewayStubs, payments: Payments, database: ServiceDatabase
) -> None:
    payment_id = await payments.paid()
    async with connected(database) as connection:
        disputed = "UPDATE intents SET mirrored = jsonb_set(mirrored, '{disputed}', 'true') WHERE payment_id = $1"
        await connection.execute(disputed, payment_id)
        # As whoever changes a payment does: it was taken for that.
        await connection.execute("UPDATE payments SET fence = fence + 1 WHERE payment_id = $1", payment_id)

    assert await refusal(gateway.CreateRefund(payments.refund_request(payment_id, 100))) == (
        StatusCode.FAILED_PRECONDITION,
        "CHARGE_DISPUTED",
    )


async def test_secrets_are_kept_nowhere(gateway: GatewayStubs, payments: Payments, database: ServiceDatabase) -> None:
    request = payments.create_request()
    request.payer.email = f"{new_id('payer')}@example.org"  # others stand where another test left a customer half made
    secret = (await gateway.CreateIntent(request)).client_secret
    answer = await gateway.ConfirmIntent(payments.confirm_request(request.payment_id, "threeDSecure2Required"))

    async with connected(database) as connection:
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        for table in tables:
            rows = await connection.fetch(f'SELECT row_to_json(t)::text FROM "{table["tablename"]}" t')
            kept = "\n".join(row[0] for row in rows)
            assert secret not in kept
            assert answer.next_action.redirect_url not in kept
            assert request.payer.email not in kept


# Whom it serves.


@pytest.fixture
async def stranger(replica: Gateway) -> AsyncIterator[GatewayStubs]:
    """Another tenant's orchestrator."""
    async with replica.connect(tenant="other") as stub:
        yield stub


async def test_another_tenant_finds_nothing(stranger: GatewayStubs, payments: Payments, gateway: GatewayStubs) -> None:
    payment_id = await payments.paid()
    refund = (await gateway.CreateRefund(payments.refund_request(payment_id, 100))).refund

    for call, reason in (
        (stranger.GetIntent(intents_pb2.GetIntentRequest(payment_id=payment_id)), "INTENT_NOT_FOUND"),
        (stranger.GetIntent(intents_pb2.GetIntentRequest(stripe_id=refund.stripe_refund_id)), "INTENT_NOT_FOUND"),
        (stranger.ListRefunds(refunds_pb2.ListRefundsRequest(payment_id=payment_id)), "INTENT_NOT_FOUND"),
        (stranger.GetRefund(refunds_pb2.GetRefundRequest(refund_id=refund.refund_id)), "REFUND_NOT_FOUND"),
        (
            stranger.GetSellerAccount(sellers_pb2.GetSellerAccountRequest(seller_id=payments.seller_id)),
            "SELLER_NOT_FOUND",
        ),
    ):
        assert await refusal(call) == (StatusCode.NOT_FOUND, reason)


async def test_money_moves_for_the_orchestrator_alone(replica: Gateway, payments: Payments) -> None:
    payment_id = await payments.paid()
    for subject, roles in (("payer_1", ["payer"]), ("operator_1", ["operator"]), ("shop", ["service"])):
        async with replica.connect(subject, roles=roles) as stub:
            for call in (
                stub.CreateIntent(payments.create_request()),
                stub.ConfirmIntent(payments.confirm_request(payment_id)),
                stub.CancelIntent(payments.cancel_request(payment_id)),
                stub.CreateRefund(payments.refund_request(payment_id, 100)),
            ):
                assert await refusal(call) == (StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")
    assert await payments.refunds(payment_id) == []
