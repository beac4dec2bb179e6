"""What a front can reach with the keys that it has: what its people reach, and nothing more, whatever becomes of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from batzen import errors
from batzen.client import Client, new_request_id
from batzen.gateway.v1 import ops_pb2 as gateway_ops_pb2
from batzen.gateway.v1 import payer_pb2, payment_methods_pb2, sellers_pb2
from batzen.orchestrator.v1 import ops_pb2, orchestrator_pb2, webhooks_pb2
from batzen.status.v1 import status_pb2
from local.issuer import AUDIENCE
from local.suite import Suite
from services.web.assertions import AssertionMinter, Person
from tests.eventually import WITHIN_S
from tests.web.shop import PAYER, Shop, a_shop


@pytest.fixture(scope="module")
async def shop(suite: Suite) -> AsyncIterator[Shop]:
    async with a_shop(suite) as opened:
        yield opened


@pytest.fixture(scope="module")
async def payment_id(shop: Shop) -> str:
    """A payment of PAYER's."""
    return str((await shop.start())["payment"]["payment_id"])


def says(suite: Suite, front: str, *, role: str, subject: str, tenant: str = "main", minutes_ago: int = 0) -> str:
    """Return what a front that has its key can say of somebody."""
    key = suite.directory / "fronts" / f"{front}.pem"
    minter = AssertionMinter(key.read_text, issuer=front, audience=AUDIENCE, now=lambda: datetime.now(UTC))
    proved = datetime.now(UTC) - timedelta(minutes=minutes_ago)
    return minter.mint(Person(tenant_id=tenant, subject=subject, role=role, auth_time=proved))


@asynccontextmanager
async def calling(suite: Suite, token: str) -> AsyncIterator[Client]:
    async with Client(token=token, addresses=suite.addresses, timeout_s=WITHIN_S) as client:
        yield client


def own_token(suite: Suite, front: str) -> str:
    return (suite.directory / "tokens" / front / "main.jwt").read_text()


@pytest.mark.parametrize("role", ["operator", "operator_readonly", "seller", "service", "front"])
async def test_a_payers_front_that_names_anybody_but_a_payer_is_not_heard(suite: Suite, role: str) -> None:
    async with calling(suite, says(suite, "bff", role=role, subject="operator_1")) as client:
        with pytest.raises(errors.Unauthenticated, match="may not speak for this role"):
            await client.status.ListPayments(status_pb2.ListPaymentsRequest())


async def test_a_payer_starts_nothing_and_sees_their_own_alone(suite: Suite, payment_id: str) -> None:
    async with (
        calling(suite, says(suite, "bff", role="payer", subject=PAYER)) as payer,
        calling(suite, says(suite, "bff", role="payer", subject="another_payer")) as other,
    ):
        seen = await payer.status.GetPayment(status_pb2.GetPaymentRequest(payment_id=payment_id))
        with pytest.raises(errors.NotFound):
            await other.status.GetPayment(status_pb2.GetPaymentRequest(payment_id=payment_id))
        with pytest.raises(errors.PermissionDenied):
            await payer.orchestrator.StartPayment(orchestrator_pb2.StartPaymentRequest(request_id=new_request_id()))

    assert seen.payment.payment_id == payment_id


@pytest.mark.parametrize("front", ["bff", "console"])
async def test_the_fronts_own_token_neither_starts_nor_reads(suite: Suite, payment_id: str, front: str) -> None:
    async with calling(suite, own_token(suite, front)) as client:
        for call in (
            client.status.GetPayment(status_pb2.GetPaymentRequest(payment_id=payment_id)),
            client.status.ListPayments(status_pb2.ListPaymentsRequest()),
            client.orchestrator.StartPayment(orchestrator_pb2.StartPaymentRequest(request_id=new_request_id())),
            client.orchestrator.RefundPayment(
                orchestrator_pb2.RefundPaymentRequest(request_id=new_request_id(), payment_id=payment_id)
            ),
        ):
            with pytest.raises(errors.PermissionDenied):
                await call


async def test_in_its_stream_a_front_sees_what_its_people_see(suite: Suite, payment_id: str) -> None:
    payer = says(suite, "bff", role="payer", subject=PAYER)
    other = says(suite, "bff", role="payer", subject="another_payer")

    async def first(assertion: str | None) -> int:
        async with (
            calling(suite, own_token(suite, "bff")) as front,
            front.watch(payment_id, assertion=assertion) as transitions,
            asyncio.timeout(WITHIN_S),
        ):
            return (await anext(transitions)).revision

    assert await first(payer) >= 1
    for nothing in (None, other):
        with pytest.raises(errors.NotFound):
            await first(nothing)


def money_moves(client: Client, payment_id: str) -> list[Any]:
    """Return calls that would move money; none of them is complete, so that none does."""
    return [
        client.orchestrator.RefundPayment(orchestrator_pb2.RefundPaymentRequest(payment_id=payment_id)),
        client.orchestrator.CapturePayment(orchestrator_pb2.CapturePaymentRequest(payment_id=payment_id)),
        client.orchestrator_ops.ResolvePayment(ops_pb2.ResolvePaymentRequest(payment_id=payment_id)),
    ]


def ways_change(client: Client) -> list[Any]:
    """Return calls that would change where money, events or rules go, or take something out for good."""
    ops = client.orchestrator_ops
    return [
        ops.PutWebhookSubscription(webhooks_pb2.PutWebhookSubscriptionRequest()),
        ops.RotateWebhookSecret(webhooks_pb2.RotateWebhookSecretRequest()),
        ops.DeleteWebhookSubscription(webhooks_pb2.DeleteWebhookSubscriptionRequest()),
        ops.PutPolicy(ops_pb2.PutPolicyRequest()),
        client.sellers.CreateOnboardingLink(sellers_pb2.CreateOnboardingLinkRequest()),
        client.gateway_ops.ErasePayer(gateway_ops_pb2.ErasePayerRequest()),
    ]


async def test_an_operator_whose_proof_is_old_moves_no_money_and_still_reads(suite: Suite, payment_id: str) -> None:
    old = says(suite, "console", role="operator", subject="operator_1", minutes_ago=11)
    fresh = says(suite, "console", role="operator", subject="operator_1", minutes_ago=9)
    async with calling(suite, old) as client, calling(suite, fresh) as again:
        await client.status.GetPayment(status_pb2.GetPaymentRequest(payment_id=payment_id))
        for call in (*money_moves(client, payment_id), *ways_change(client)):
            with pytest.raises(errors.Unauthenticated) as refused:
                await call
            assert refused.value.reason == "PROOF_TOO_OLD"
        for call in money_moves(again, payment_id):
            with pytest.raises(errors.BatzenError) as wanting:
                await call
            assert wanting.value.reason == "FIELD_MISSING"
        for call in ways_change(again):
            with pytest.raises(errors.BatzenError) as wanting:
                await call
            assert wanting.value.reason != "PROOF_TOO_OLD"


async def test_a_read_only_operator_moves_nothing_however_fresh(suite: Suite, payment_id: str) -> None:
    reader = says(suite, "console", role="operator_readonly", subject="reader_1")
    async with calling(suite, reader) as client:
        await client.status.GetPayment(status_pb2.GetPaymentRequest(payment_id=payment_id))
        await client.orchestrator_ops.ListOperatorActions(ops_pb2.ListOperatorActionsRequest())
        for call in money_moves(client, payment_id):
            with pytest.raises(errors.PermissionDenied):
                await call


async def test_an_operator_decides_in_their_own_name(suite: Suite, payment_id: str) -> None:
    async with calling(suite, says(suite, "console", role="operator", subject="operator_1")) as client:
        with pytest.raises(errors.PermissionDenied, match="in their own name"):
            await client.orchestrator_ops.ResolvePayment(
                ops_pb2.ResolvePaymentRequest(payment_id=payment_id, actor_id="operator_2")
            )


async def test_another_tenants_payer_of_the_same_name_finds_nothing(suite: Suite, payment_id: str) -> None:
    async with calling(suite, says(suite, "bff", role="payer", subject=PAYER, tenant="other")) as stranger:
        with pytest.raises(errors.NotFound):
            await stranger.status.GetPayment(status_pb2.GetPaymentRequest(payment_id=payment_id))


async def test_a_payer_has_their_own_methods_and_no_others(suite: Suite) -> None:
    async with calling(suite, says(suite, "bff", role="payer", subject=PAYER)) as payer:
        await payer.payment_methods.ListPaymentMethods(payment_methods_pb2.ListPaymentMethodsRequest())
        with pytest.raises(errors.PermissionDenied):
            await payer.payment_methods.CreateSetupIntent(
                payment_methods_pb2.CreateSetupIntentRequest(
                    request_id=new_request_id(), payer=payer_pb2.Payer(payer_id="another_payer")
                )
            )
