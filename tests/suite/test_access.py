"""Every method is asked by everybody, and lets in whom the table names, as far as it says."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import asyncpg
import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor, MethodDescriptor
from google.protobuf.message_factory import GetMessageClass
from grpc import aio

from batzen import errors
from batzen._channel import make_channel, streaming
from batzen.client import new_request_id
from batzen.orchestrator.v1 import orchestrator_pb2
from batzen.status.v1 import status_pb2
from batzen.type.v1 import payment_pb2
from local.environments import SERVICES
from local.issuer import Issuer
from local.suite import Suite
from services.access import TABLE
from services.runtime.database.connections import plain_dsn
from services.runtime.rpc.access import Allow
from services.runtime.rpc.call_context import CORRELATION_KEY
from services.runtime.rpc.identity import FRONT, OPERATOR, OPERATOR_READONLY, PAYER, SELLER, SERVICE
from tests.eventually import WITHIN_S
from tests.suite import journeys
from tests.suite.journeys import Traveller
from tests.test_contracts import ANNOUNCED

MODULES: Final = (
    "orchestrator.v1.orchestrator_pb2",
    "orchestrator.v1.ops_pb2",
    "orchestrator.v1.notifications_pb2",
    "status.v1.status_pb2",
    "pricing.v1.pricing_pb2",
    "gateway.v1.intents_pb2",
    "gateway.v1.checkout_pb2",
    "gateway.v1.refunds_pb2",
    "gateway.v1.payment_methods_pb2",
    "gateway.v1.sellers_pb2",
    "gateway.v1.transfers_pb2",
    "gateway.v1.disputes_pb2",
    "gateway.v1.diagnosis_pb2",
    "gateway.v1.contacts_pb2",
    "gateway.v1.imports_pb2",
    "gateway.v1.observation_pb2",
    "gateway.v1.ops_pb2",
)
TIMEOUT_S: Final = WITHIN_S
OTHER_TENANT: Final = "other"

CODE: Final = grpc.StatusCode
NEVER: Final = frozenset({CODE.INTERNAL, CODE.UNKNOWN, CODE.UNAVAILABLE, CODE.DEADLINE_EXCEEDED})
"""What no call of the walk may end with."""


def _methods() -> Iterator[MethodDescriptor]:
    for name in MODULES:
        for service in importlib.import_module(f"batzen.{name}").DESCRIPTOR.services_by_name.values():
            yield from service.methods


def _path(method: MethodDescriptor) -> str:
    return f"/{method.containing_service.full_name}/{method.name}"


METHODS: Final = {_path(method): method for method in _methods()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Somebody:
    """Who asks."""

    role: str
    subject: str
    owns: bool = False
    """The payment that is asked for is theirs."""


EVERYBODY: Final = {
    "the payer": Somebody(role=PAYER, subject=journeys.PAYER, owns=True),
    "another payer": Somebody(role=PAYER, subject="payer_2"),
    "a payer named like a service": Somebody(role=PAYER, subject="orchestrator"),
    "the seller": Somebody(role=SELLER, subject=journeys.SELLER, owns=True),
    "another seller": Somebody(role=SELLER, subject="seller_2"),
    "an operator": Somebody(role=OPERATOR, subject="operator_1"),
    "an operator named like a service": Somebody(role=OPERATOR, subject="gateway"),
    "a read-only operator": Somebody(role=OPERATOR_READONLY, subject="reader_1"),
    "a front": Somebody(role=FRONT, subject="bff"),
    "a service": Somebody(role=SERVICE, subject="shop"),
    **{f"the {name}": Somebody(role=SERVICE, subject=name) for name in SERVICES},
}

LISTING: Final = {name: who for name, who in EVERYBODY.items() if who.role != FRONT}
"""Who may list payments."""


class Walker:
    """Asks any method of the suite, as anybody."""

    def __init__(self, suite: Suite, channels: Mapping[str, aio.Channel], payment_id: str) -> None:
        self.suite = suite
        self.payment_id = payment_id
        self.tokens = {name: suite.token(who.role, sub=who.subject) for name, who in EVERYBODY.items()}
        self._channels = channels

    async def ask(self, path: str, token: str | None) -> grpc.StatusCode:
        """Call a method for the walk's payment; OK stands for an answer, and for the first message of a stream."""
        method = METHODS[path]
        request = self._request(method)
        channel = self._channels[_served_by(method)]
        metadata = () if token is None else (("authorization", f"Bearer {token}"),)
        coding: dict[str, Any] = {
            "request_serializer": lambda message: message.SerializeToString(),
            "response_deserializer": GetMessageClass(method.output_type).FromString,
        }
        try:
            if method.client_streaming:
                # Who may not come in is refused before a message is read; one that crosses the refusal confuses gRPC.
                call: Any = channel.stream_stream(path, **coding)([], timeout=TIMEOUT_S, metadata=metadata)
                is_let_in = CORRELATION_KEY in dict(await call.initial_metadata())  # it is sent as a stream begins
                if is_let_in:
                    call.cancel()
                return CODE.OK if is_let_in else await call.code()
            elif method.server_streaming:
                call = channel.unary_stream(path, **coding)(request, timeout=TIMEOUT_S, metadata=metadata)
            else:
                await channel.unary_unary(path, **coding)(request, timeout=TIMEOUT_S, metadata=metadata)
                return CODE.OK
            async with streaming(call) as messages:
                await anext(messages)
        except aio.AioRpcError as refusal:
            return refusal.code()
        return CODE.OK

    def _request(self, method: MethodDescriptor) -> Any:
        """Return a request about the payment; what else a method needs is left out, so that nothing is changed."""
        known = {"payment_id": self.payment_id, "request_id": new_request_id(), "payment_method_id": "pm_card_visa"}
        request = GetMessageClass(method.input_type)()
        for field in method.input_type.fields:
            if field.name in known and field.type == FieldDescriptor.TYPE_STRING:
                setattr(request, field.name, known[field.name])
        return request


def _served_by(method: MethodDescriptor) -> str:
    service = method.containing_service
    if service.name == "GatewayEventSinkService":
        return "orchestrator"  # the gateway declares what it delivers to
    return service.full_name.split(".")[1]


@pytest.fixture(scope="module")
async def walker(suite: Suite, stripe: Any) -> AsyncIterator[Walker]:
    async with AsyncExitStack() as stack:
        shop = await stack.enter_async_context(suite.client("service", sub="shop"))
        payer = await stack.enter_async_context(suite.client("payer", sub=journeys.PAYER))
        traveller = Traveller(suite, shop, payer, stripe)
        await traveller.put_seller()
        payment_id = (await traveller.start()).payment.payment_id
        channels = {
            service: await stack.enter_async_context(
                make_channel(getattr(suite.addresses, service), timeout_s=TIMEOUT_S, metadata=tuple)
            )
            for service in SERVICES
        }
        yield Walker(suite, channels, payment_id)


def _is_let_in(rule: Allow, who: Somebody) -> bool:
    return who.role in rule.roles or (who.role == SERVICE and who.subject in rule.subjects)


def _is_announced(method: MethodDescriptor) -> bool:
    return method.name in ANNOUNCED.get(method.containing_service.name, "").split()


def _is_right(method: MethodDescriptor, who: Somebody, code: grpc.StatusCode) -> bool:
    rule = TABLE[_path(method)]
    if _is_let_in(rule, who):
        return code not in NEVER | {CODE.PERMISSION_DENIED, CODE.UNAUTHENTICATED}
    if who.role not in rule.own:
        return code is CODE.PERMISSION_DENIED
    if _is_announced(method):
        return code is CODE.UNIMPLEMENTED
    if method.containing_service.name in {"PaymentMethodService", "NotificationService"}:
        # Of the caller's own: nobody is named, what is asked for is nobody's, and a setup would need more.
        return code in (CODE.OK, CODE.NOT_FOUND, CODE.INVALID_ARGUMENT)
    if "payment_id" not in method.input_type.fields_by_name:
        return code is CODE.OK  # a list: what it holds is looked at below
    return code in (CODE.OK, CODE.FAILED_PRECONDITION) if who.owns else code is CODE.NOT_FOUND


def test_the_table_and_the_contracts_name_the_same_methods() -> None:
    assert set(TABLE) == set(METHODS)


@pytest.mark.parametrize("path", METHODS)
async def test_each_method_lets_in_whom_the_table_names(path: str, walker: Walker) -> None:
    wrong = {}
    for name, who in EVERYBODY.items():
        code = await walker.ask(path, walker.tokens[name])
        if not _is_right(METHODS[path], who, code):
            wrong[name] = code.name

    assert wrong == {}


async def test_no_method_answers_who_brings_no_good_token(walker: Walker, tmp_path: Path) -> None:
    suite = walker.suite
    elsewhere = Issuer(suite.directory / "issuer", now=lambda: datetime.now(UTC), audience="elsewhere")
    forger = Issuer(tmp_path / "forger", now=lambda: datetime.now(UTC))
    subject, roles = "orchestrator", {OPERATOR, PAYER, SELLER, SERVICE}
    good = suite.issuer.mint(subject, roles=roles)
    tokens = {
        "none": None,
        "expired": suite.issuer.mint(subject, roles=roles, life=timedelta(hours=-1)),
        "for another audience": elsewhere.mint(subject, roles=roles),
        "of another issuer": forger.mint(subject, roles=roles),
        "changed": good[:-2] + ("AA" if good[-2:] != "AA" else "BB"),
        "no token at all": "open sesame",
    }

    let_in = [
        f"{path} with a token {kind}"
        for path in METHODS
        for kind, token in tokens.items()
        if await walker.ask(path, token) is not CODE.UNAUTHENTICATED
    ]

    assert let_in == []


async def test_a_token_without_a_role_opens_nothing(walker: Walker) -> None:
    token = walker.suite.issuer.mint("orchestrator", roles={"admin"})

    let_in = [path for path in METHODS if await walker.ask(path, token) is not CODE.PERMISSION_DENIED]

    assert let_in == []


@pytest.mark.parametrize("who", LISTING.values(), ids=LISTING.keys())
async def test_lists_hold_what_concerns_whoever_asks_and_nothing_else(walker: Walker, who: Somebody) -> None:
    asked = [
        status_pb2.ListPaymentsRequest(),
        status_pb2.ListPaymentsRequest(filter=status_pb2.PaymentFilter(payer_id=journeys.PAYER)),
        status_pb2.ListPaymentsRequest(filter=status_pb2.PaymentFilter(seller_id=journeys.SELLER)),
    ]

    async with walker.suite.client(who.role, sub=who.subject) as client:
        found = [(await client.status.ListPayments(request)).payments for request in asked]

    sees = who.owns or who.role in (OPERATOR, OPERATOR_READONLY, SERVICE)
    assert [walker.payment_id in {payment.payment_id for payment in payments} for payments in found] == [sees] * 3
    assert sees or not any(found)


async def test_a_repeat_by_somebody_else_is_not_answered_with_what_the_first_was_told(
    walker: Walker, traveller: Traveller
) -> None:
    payment_id = (await traveller.start()).payment.payment_id
    request = orchestrator_pb2.SubmitPaymentRequest(
        request_id=new_request_id(), payment_id=payment_id, payment_method_id="pm_card_visa"
    )
    await traveller.payer.orchestrator.SubmitPayment(request)

    async with walker.suite.client("payer", sub="payer_2") as other:
        with pytest.raises(errors.NotFound) as refused:
            await other.orchestrator.SubmitPayment(request)

    assert refused.value.reason == "PAYMENT_NOT_FOUND"
    await traveller.until(payment_id, "SUCCEEDED")


@pytest.mark.parametrize("role", [PAYER, SELLER, OPERATOR, SERVICE])
async def test_another_tenant_finds_nothing_whatever_its_role(walker: Walker, role: str) -> None:
    subject = {PAYER: journeys.PAYER, SELLER: journeys.SELLER}.get(role, "orchestrator")
    token = walker.suite.token(role, sub=subject, tenant=OTHER_TENANT)
    readings = [path for path in METHODS if path.endswith(("/GetPayment", "/ListTransitions", "/WatchPayment"))]
    commands = [
        path
        for path in METHODS
        if path.endswith(("/SubmitPayment", "/SyncPayment", "/CancelPayment", "/GetPaymentSession", "/GetReceipt"))
        and role != SELLER
    ]

    codes = {path: await walker.ask(path, token) for path in [*readings, *commands]}
    async with walker.suite.client(role, sub=subject, tenant=OTHER_TENANT) as stranger:
        listed = await stranger.status.ListPayments(status_pb2.ListPaymentsRequest())

    assert set(codes.values()) == {CODE.NOT_FOUND}, codes
    assert not [payment for payment in listed.payments if payment.payment_id == walker.payment_id]


async def test_two_tenants_use_the_same_ids_and_never_meet(suite: Suite, traveller: Traveller) -> None:
    suite.issuer.write_service_tokens(suite.directory / "tokens", services=SERVICES, tenants=[OTHER_TENANT])
    async with (
        suite.client("service", sub="shop", tenant=OTHER_TENANT) as shop,
        suite.client("payer", sub=journeys.PAYER, tenant=OTHER_TENANT) as payer,
    ):
        there = Traveller(suite, shop, payer, suite.sandbox)
        request_id = new_request_id()

        ours = (await traveller.start(request_id=request_id)).payment.payment_id
        # The gateway has the key of one tenant's account: for another nothing is made there, whoever sends it.
        with pytest.raises(errors.Unavailable, match="DEPENDENCY_UNAVAILABLE"):
            await shop.orchestrator.StartPayment(there.start_request(request_id=request_id))

        listed = await payer.status.ListPayments(status_pb2.ListPaymentsRequest())
        [theirs] = [payment.payment_id for payment in listed.payments]
        assert ours != theirs
        for stranger, payment_id in ((payer, ours), (traveller.payer, theirs)):
            with pytest.raises(errors.NotFound):
                await stranger.status.GetPayment(status_pb2.GetPaymentRequest(payment_id=payment_id))
        assert payment_pb2.PaymentState.Name((await there.payment(theirs)).state) == "PAYMENT_STATE_INITIALIZED"
        assert not await suite.sandbox.objects("payment_intent", **{"metadata.payment_id": theirs})
    owner = await asyncpg.connect(plain_dsn(suite.owner_url("orchestrator")))
    for table in ("requests", "payments"):  # it would wait for a gateway of that tenant
        await owner.execute(f"DELETE FROM {table} WHERE tenant_id = $1", OTHER_TENANT)
    await owner.close()
