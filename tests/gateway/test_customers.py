"""Payers as Stripe's customers: one each, made anew when it is gone, and no payment waits for a person's details."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import Any

import pytest
from grpc import StatusCode

from batzen.gateway.v1 import contacts_pb2, payer_pb2
from local.databases import ServiceDatabase
from sandbox.control import SandboxControl
from sandbox.faults import Kind
from services.gateway.call_log import backoff
from services.gateway.customers.changes import CustomerChanges
from services.gateway.customers.operations import Customers
from services.gateway.payment_methods.store import MethodStore
from services.gateway.personal.sealed import SealedDetails
from services.runtime.rpc import call_context
from tests.clock import Clock
from tests.eventually import eventually
from tests.gateway.conftest import Gateway
from tests.gateway.samples import CREATE, SUCCEEDED, Payments, new_id, refusal, refused
from tests.gateway.stubs import GatewayStubs
from tests.gateway.test_calls import TRIES
from tests.gateway.test_checkout_crashes import Died, Life, Mortal, lives
from tests.gateway.test_races import connected

pytestmark = pytest.mark.usefixtures("settles_late")

CUSTOMERS = "POST /v1/customers"
ADA = {"email": "ada@example.org", "name": "Ada", "locale": "de-CH"}


def payer(**fields: str) -> payer_pb2.Payer:
    return payer_pb2.Payer(payer_id=new_id("payer"), **{**ADA, **fields})


async def customers(stripe: SandboxControl, payer: payer_pb2.Payer) -> list[dict[str, object]]:
    return await stripe.objects("customer", **{"metadata.payer_id": payer.payer_id})


async def customer_of(payments: Payments, payment_id: str) -> str:
    (intent,) = await payments.intents(payment_id)
    return str(intent["customer"])


async def test_a_payer_whose_customer_was_deleted_gets_another_and_keeps_that(
    payments: Payments, stripe: SandboxControl
) -> None:
    ada = payer()
    first = await customer_of(payments, await payments.created(payer=ada))
    for _ in range(2):
        await stripe.delete_customer(first)

        paid = await payments.paid(payer=ada)
        again = await payments.created(payer=payer_pb2.Payer(payer_id=ada.payer_id))

        (customer,) = await customers(stripe, ada)
        assert (customer["email"], customer["name"]) == ("ada@example.org", "Ada")
        assert first != customer["id"] == await customer_of(payments, paid) == await customer_of(payments, again)
        first = str(customer["id"])


async def test_payments_at_once_after_a_customer_was_deleted_make_one(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    ada = payer()
    await stripe.delete_customer(await customer_of(payments, await payments.created(payer=ada)))
    several = [payments.create_request(payer=ada) for _ in range(8)]

    answers = await asyncio.gather(*(gateway.CreateIntent(request) for request in several + several[:1] * 8))

    assert all(answer.client_secret for answer in answers)
    assert len(await customers(stripe, ada)) == 1
    for request in several:
        assert len(await payments.intents(request.payment_id)) == 1


async def test_copies_in_two_processes_after_a_customer_was_deleted_make_one_customer_and_one_intent(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl, start_gateway: Any
) -> None:
    ada = payer()
    await stripe.delete_customer(await customer_of(payments, await payments.created(payer=ada)))
    request = payments.create_request(payer=ada)

    async with start_gateway() as other, other.connect() as stub:
        answers = await asyncio.gather(*(each.CreateIntent(request) for _ in range(6) for each in (gateway, stub)))

    assert all(answer == answers[0] for answer in answers)
    assert len(await payments.intents(request.payment_id)) == len(await customers(stripe, ada)) == 1


async def test_a_customer_that_is_deleted_while_an_intents_making_is_unknown_stands_in_nobodys_way(
    gateway: GatewayStubs, replica: Gateway, payments: Payments, stripe: SandboxControl, clock: Clock
) -> None:
    ada = payer()
    customer_id = await customer_of(payments, await payments.created(payer=ada))
    await stripe.fault(Kind.RESET, route=CREATE, times=TRIES)
    request = payments.create_request(payer=ada)
    assert await refusal(gateway.CreateIntent(request)) == (StatusCode.UNAVAILABLE, "STRIPE_UNAVAILABLE")
    await stripe.delete_customer(customer_id)

    clock.advance(backoff.SETTLE_FIRST)
    await replica.parts.work.once()  # nobody who could say more of the payer is there
    answer = await gateway.CreateIntent(request)

    assert answer.client_secret
    (customer,) = await customers(stripe, ada)
    assert await customer_of(payments, request.payment_id) == customer["id"] != customer_id


@pytest.mark.parametrize("known", [ADA, {}], ids=["with the same details", "by who knows the id alone"])
async def test_a_customer_whose_row_was_lost_is_found_by_its_key_or_followed_by_the_next(
    payments: Payments, stripe: SandboxControl, database: ServiceDatabase, start_gateway: Any, known: dict[str, str]
) -> None:
    ada = payer()
    first = await customer_of(payments, await payments.created(payer=ada))
    async with connected(database) as connection:  # as after a failover to a standby that lagged behind
        await connection.execute("DELETE FROM customers WHERE payer_id = $1", ada.payer_id)

    async with start_gateway() as other, other.connect() as stub:  # this process remembers the first
        elsewhere = Payments(stub, stripe)
        elsewhere.seller_id = payments.seller_id
        again = payer_pb2.Payer(payer_id=ada.payer_id, **known)
        second = await customer_of(payments, await elsewhere.created(payer=again))
        assert await customer_of(payments, await elsewhere.created(payer=ada)) == second

    assert (second == first) == bool(known)
    assert len(await customers(stripe, ada)) == (1 if known else 2)


async def test_an_address_that_stripe_does_not_take_keeps_nobody_from_paying(
    payments: Payments, stripe: SandboxControl, caplog: pytest.LogCaptureFixture
) -> None:
    ada = payer(email="ada..lovelace@localhost")

    with caplog.at_level(logging.INFO, logger="services"):
        await payments.paid(payer=ada)

    (customer,) = await customers(stripe, ada)
    assert (customer["email"], customer["name"], customer["preferred_locales"]) == (None, "Ada", ["de-CH"])
    assert "email" in caplog.text
    assert "lovelace" not in caplog.text


@pytest.mark.parametrize(
    ("param", "left"),
    [
        ("name", ("ada@example.org", None, ["de-CH"])),
        ("preferred_locales[0]", ("ada@example.org", "Ada", [])),
        (None, (None, None, [])),
    ],
)
@pytest.mark.parametrize("stored", [False, True])
async def test_a_customer_is_made_without_the_detail_that_stripe_names_or_without_any(
    payments: Payments, stripe: SandboxControl, param: str | None, left: tuple[object, ...], stored: bool
) -> None:
    ada = payer()
    await stripe.fault(Kind.INVALID, route=CUSTOMERS, code="parameter_invalid", param=param or "", stored=stored)

    await payments.created(payer=ada)

    (customer,) = await customers(stripe, ada)
    assert (customer["email"], customer["name"], customer["preferred_locales"]) == left


async def test_each_detail_that_stripe_refuses_is_left_out_once(payments: Payments, stripe: SandboxControl) -> None:
    ada = payer(email="ada@localhost")
    for param in ("preferred_locales", "name"):
        await stripe.fault(Kind.INVALID, route=CUSTOMERS, code="parameter_invalid", param=param, stored=True)

    await payments.created(payer=ada)

    (customer,) = await customers(stripe, ada)
    assert (customer["email"], customer["name"], customer["preferred_locales"]) == (None, None, [])


async def test_details_are_said_again_after_a_refusal_that_is_of_none_of_them(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    ada = payer()
    await stripe.fault(Kind.INVALID, route=CUSTOMERS, code="parameter_invalid", param="metadata", stored=True)
    request = payments.create_request(payer=ada)
    code, reason, _, metadata = await refused(gateway.CreateIntent(request))
    assert (code, reason) == (StatusCode.FAILED_PRECONDITION, "STRIPE_REFUSED")
    assert metadata["param"] == "metadata"

    assert (await gateway.CreateIntent(request)).client_secret

    (customer,) = await customers(stripe, ada)
    assert customer["email"] == "ada@example.org"


async def test_a_description_that_stripe_does_not_take_is_left_out(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl, caplog: pytest.LogCaptureFixture
) -> None:
    await stripe.fault(Kind.INVALID, route=CREATE, code="parameter_invalid", param="description", stored=True)
    request = payments.create_request(description="A lesson of Ada's")

    with caplog.at_level(logging.INFO, logger="services"):
        answer = await gateway.CreateIntent(request)

    (intent,) = await payments.intents(request.payment_id)
    assert intent["description"] is None
    assert await gateway.CreateIntent(request) == answer
    assert "Ada" not in caplog.text
    paid = await gateway.ConfirmIntent(payments.confirm_request(request.payment_id))
    assert paid.observation.intent_state == SUCCEEDED


async def test_a_customer_that_is_refused_without_end_ends_in_a_refusal_that_may_be_tried_again(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    request = payments.create_request()
    await stripe.fault(
        Kind.MISSING, route=CREATE, status=400, code="resource_missing", param="customer", stored=True, times=None
    )
    assert await refusal(gateway.CreateIntent(request)) == (StatusCode.UNAVAILABLE, "STRIPE_UNAVAILABLE")

    await stripe.clear_faults()
    assert (await gateway.CreateIntent(request)).client_secret
    assert len(await payments.intents(request.payment_id)) == 1


# What is new of a person.

CHANGE = "POST /v1/customers/{customer}"
NEW = {"email": "ada@new.example", "name": "Ada King"}


async def until_told(database: ServiceDatabase, payer: payer_pb2.Payer, *, changes: int) -> None:
    """Wait until nothing is left to be told of a payer, after so many changes."""
    async with connected(database) as connection:

        async def is_told() -> bool:
            row = await connection.fetchrow(
                "SELECT details, changes FROM customers WHERE payer_id = $1", payer.payer_id
            )
            return row["details"] is None and row["changes"] >= changes

        await eventually(is_told)


async def test_no_payment_waits_while_stripe_is_told_and_what_failed_is_told_with_the_next(
    payments: Payments, stripe: SandboxControl, database: ServiceDatabase, start_gateway: Any
) -> None:
    ada = payer()
    await payments.created(payer=ada)
    await stripe.fault(Kind.RESET, route=CHANGE, times=TRIES)
    await payments.paid(payer=payer_pb2.Payer(payer_id=ada.payer_id, **NEW))

    async def has_failed() -> bool:
        return bool((await stripe.faults())[-1]["hits"] == TRIES)

    await eventually(has_failed)

    async with start_gateway() as other, other.connect() as stub:  # one that knows nothing but the tables
        elsewhere = Payments(stub, stripe)
        elsewhere.seller_id = payments.seller_id
        await elsewhere.created(payer=payer_pb2.Payer(payer_id=ada.payer_id))
        await until_told(database, ada, changes=2)

    (customer,) = await customers(stripe, ada)
    assert (customer["email"], customer["name"], customer["preferred_locales"]) == (*NEW.values(), ["de-CH"])


async def test_a_new_address_that_stripe_does_not_take_is_told_once_and_the_name_all_the_same(
    payments: Payments, stripe: SandboxControl, database: ServiceDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    ada = payer()
    await payments.created(payer=ada)
    strange = payer_pb2.Payer(payer_id=ada.payer_id, email="ada..king@localhost", name="Ada King")

    with caplog.at_level(logging.INFO, logger="services"):
        await payments.created(payer=strange)
        await until_told(database, ada, changes=2)
    await stripe.clear_metrics()
    await payments.created(payer=strange)

    (customer,) = await customers(stripe, ada)
    assert (customer["email"], customer["name"]) == ("ada@example.org", "Ada King")
    assert CHANGE not in await stripe.calls(str(customer["id"]))
    assert "king" not in caplog.text


async def test_a_customer_that_is_gone_when_it_is_told_is_made_anew(
    payments: Payments, stripe: SandboxControl, database: ServiceDatabase
) -> None:
    ada = payer()
    first = await customer_of(payments, await payments.created(payer=ada))
    await stripe.delete_customer(first)

    await payments.paid(payer=payer_pb2.Payer(payer_id=ada.payer_id, **NEW))

    (customer,) = await customers(stripe, ada)
    assert customer["id"] != first
    assert (customer["email"], customer["name"]) == tuple(NEW.values())
    await until_told(database, ada, changes=0)


# Who gave an address is reached, whatever dies.


async def died(replica: Gateway, payer: payer_pb2.Payer, life: Life, *, gone: str) -> bool:
    """Ask for a payer's customer in a process with a `life`, and wait for what it does beside; say whether it answered.

    A customer that is `gone` was refused to it.
    """
    parts, now = replica.parts, replica.parts.clock.now
    details: Any = Mortal(SealedDetails(parts.keys), life)
    customers_api: Any = Mortal(parts.provider.customers, life)
    provider: Any = type("Provider", (), {"customers": customers_api})
    changes: Any = CustomerChanges(
        parts.connections, MethodStore(parts.connections, clock=parts.clock), provider, details
    )
    customers = Customers(parts.connections, provider, changes, details, now=now)
    is_answered = False
    before = asyncio.all_tasks()
    with suppress(Died), call_context.acting_for("main"):
        if gone:
            await customers.forget("main", payer.payer_id, gone)
        await customers.ensure("main", payer.payer_id, email=payer.email, name=payer.name, locale=payer.locale)
        is_answered = True
    beside = asyncio.all_tasks() - before
    if beside:
        await asyncio.wait(beside)
    return is_answered


@pytest.mark.faults
@pytest.mark.parametrize("known", ["nobody", "the id alone", "another address", "a customer that was deleted"])
async def test_who_gave_an_address_is_reached_wherever_a_process_dies(
    gateway: GatewayStubs, replica: Gateway, payments: Payments, stripe: SandboxControl, known: str
) -> None:
    """Its caller repeats what was not answered, after somebody went on who knew no more than the id."""
    places = set()
    for life in lives():
        ada = payer()
        by_id, gone = payer_pb2.Payer(payer_id=ada.payer_id), ""
        if known != "nobody":
            before = {"email": "ada@old.example"} if known == "another address" else {}
            first = await payments.created(payer=payer_pb2.Payer(payer_id=ada.payer_id, **before))
            if known == "a customer that was deleted":
                gone = await customer_of(payments, first)
                await stripe.delete_customer(gone)

        is_answered = await died(replica, ada, life, gone=gone)
        places.add(life.place)
        await payments.created(payer=by_id)
        if not is_answered:
            await gateway.PutContact(contacts_pb2.PutContactRequest(payer=ada))

        found = (await gateway.GetContact(contacts_pb2.GetContactRequest(payer_id=ada.payer_id))).contact
        assert (found.email, found.name, found.locale) == tuple(ADA.values()), life.place
    assert {"before create", "after create"} <= places or {"before update", "after update"} <= places


async def test_a_repeat_makes_no_customer_of_who_has_none(gateway: GatewayStubs, stripe: SandboxControl) -> None:
    nobody = payer()
    await gateway.PutContact(contacts_pb2.PutContactRequest(payer=nobody))

    assert await customers(stripe, nobody) == []
    answer = await gateway.GetContact(contacts_pb2.GetContactRequest(payer_id=nobody.payer_id))
    assert not answer.HasField("contact")


async def test_an_attempt_that_was_made_by_the_id_alone_is_repeated_with_the_address(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl, start_gateway: Any
) -> None:
    """By a process that remembers the customer from before the one that it was made with."""
    ada = payer()
    await stripe.delete_customer(await customer_of(payments, await payments.created(payer=ada)))
    request = payments.create_request(payer=payer_pb2.Payer(payer_id=ada.payer_id))
    async with start_gateway() as other, other.connect() as stub:
        await stub.CreateIntent(request)

    request.payer.CopyFrom(ada)
    await gateway.CreateIntent(request)

    found = (await gateway.GetContact(contacts_pb2.GetContactRequest(payer_id=ada.payer_id))).contact
    assert found.email == ada.email
