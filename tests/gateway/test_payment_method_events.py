"""What Stripe says of payers' methods and customers without a call of ours, in whatever order it comes."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from batzen.gateway.v1 import payer_pb2
from local.databases import ServiceDatabase
from sandbox.control import SandboxControl
from services.runtime.rpc import call_context
from tests.clock import Clock
from tests.eventually import eventually
from tests.gateway.conftest import Gateway
from tests.gateway.receiving import Sender, event_of, receiving, stored
from tests.gateway.samples import Payments, new_id
from tests.gateway.stubs import GatewayStubs
from tests.gateway.test_method_needs import begin_to_need, need_no_more
from tests.gateway.test_payment_methods import Wallet, at_stripe
from tests.gateway.test_races import connected

READ_ONE = "GET /v1/payment_methods/{payment_method}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A gateway with its webhooks, and Stripe's dashboard, in which somebody does what we did not ask for."""

    gateway: Gateway
    stripe: SandboxControl
    sender: Sender
    clock: Clock

    async def detach(self, method_id: str) -> dict[str, Any]:
        """Detach a method in the dashboard, and return the event of that."""
        await self.stripe.detach_method(method_id)
        return await self.event(method_id, "detached")

    async def attach(self, customer_id: str) -> str:
        """Attach a method in the dashboard."""
        with call_context.acting_for("main"):
            shown = await self.gateway.parts.provider.payment_methods.attach(
                "pm_card_visa", {"customer": customer_id}, key=new_id("key")
            )
        return str(shown["id"])

    async def event(self, method_id: str, what: str, **fields: Any) -> dict[str, Any]:
        (method,) = await self.stripe.objects("payment_method", id=method_id)
        return event_of(method, f"payment_method.{what}", at=self.clock.now(), **fields)

    async def applied(self, event: dict[str, Any]) -> str:
        """Deliver an event, wait until it is worked on, and return its state."""
        await self.sender.send(event)
        engine = self.gateway.parts.engine

        async def is_done() -> bool:
            return (await stored(engine, event["id"])).state != "WAITING"

        await eventually(is_done)
        return str((await stored(engine, event["id"])).state)

    async def reads(self, method_id: str) -> int:
        return (await self.stripe.calls(method_id)).get(READ_ONE, 0)


@pytest.fixture
async def place(replica: Gateway, stripe: SandboxControl, clock: Clock) -> AsyncIterator[Place]:
    async with receiving(replica.parts.inbox, clock=clock) as sender:
        yield Place(gateway=replica, stripe=stripe, sender=sender, clock=clock)


@pytest.fixture
def wallet(gateway: GatewayStubs) -> Wallet:
    return Wallet(gateway)


async def test_what_our_own_calls_led_to_needs_no_reading(place: Place, wallet: Wallet) -> None:
    visa = (await wallet.attach()).payment_method_id
    attached = await place.event(visa, "attached")
    assert await place.applied(attached) == "DONE"
    await wallet.detach(visa)
    assert await place.applied(await place.event(visa, "detached")) == "DONE"

    assert await place.reads(visa) == 0
    assert await wallet.listed() == []


async def test_a_method_detached_in_the_dashboard_is_gone_and_the_default_passes_on(
    place: Place, wallet: Wallet
) -> None:
    visa, amex = [(await wallet.attach(card)).payment_method_id for card in ("visa", "amex")]
    late = await place.event(visa, "attached")

    await place.applied(await place.detach(visa))
    assert (await wallet.ids(), (await wallet.listed())[0].default) == ([amex], True)

    await place.applied(late)  # an older event brings nothing back
    assert await wallet.ids() == [amex]


async def test_a_needed_method_that_is_detached_in_the_dashboard_is_said(
    place: Place, wallet: Wallet, payments: Payments, database: ServiceDatabase, caplog: pytest.LogCaptureFixture
) -> None:
    visa, payment_id = (await wallet.attach()).payment_method_id, await payments.created()
    async with connected(database) as connection:
        assert await begin_to_need(connection, payment_id, visa)
        with caplog.at_level(logging.WARNING, logger="services"):
            await place.applied(await place.detach(visa))
        await need_no_more(connection, payment_id)

    assert payment_id in caplog.text
    assert await wallet.listed() == []


async def test_the_first_event_of_a_payer_who_was_never_read_has_all_of_them_read(
    place: Place, wallet: Wallet, payments: Payments
) -> None:
    await payments.created(payer=payer_pb2.Payer(payer_id=wallet.payer_id))
    (customer,) = await place.stripe.objects("customer", **{"metadata.payer_id": wallet.payer_id})
    first, second = [await place.attach(str(customer["id"])) for _ in range(2)]

    await place.applied(await place.event(second, "attached"))

    payer = await place.gateway.parts.methods.of("main", wallet.payer_id)
    assert payer is not None
    assert set(payer.methods) == {first, second}


async def test_a_method_kept_with_a_payment_elsewhere_is_found_by_its_event(
    place: Place, wallet: Wallet, payments: Payments
) -> None:
    await payments.created(payer=payer_pb2.Payer(payer_id=wallet.payer_id))
    assert await wallet.listed() == []
    (customer,) = await place.stripe.objects("customer", **{"metadata.payer_id": wallet.payer_id})
    method_id = await place.attach(str(customer["id"]))

    await place.applied(await place.event(method_id, "attached"))

    (visa,) = await wallet.listed()
    assert (visa.payment_method_id, visa.default, visa.consent_actor_id) == (method_id, True, "")


@pytest.mark.parametrize("what", ["updated", "automatically_updated"])
@pytest.mark.parametrize("version", ["same", "other"])
async def test_a_card_that_its_network_renews_is_good_again(
    place: Place, wallet: Wallet, what: str, version: str
) -> None:
    visa = await wallet.attach()
    fields = {} if version == "same" else {"api_version": "2020-08-27"}
    for year, expired in ((place.clock.now().year - 1, True), (visa.expire_year, False)):
        await place.stripe.renew_card(visa.payment_method_id, exp_month=12, exp_year=year)
        await place.applied(await place.event(visa.payment_method_id, what, **fields))

        (now,) = await wallet.listed()
        assert (now.expire_year, now.expired) == (year, expired)
    assert (now.default, now.consent_actor_id, now.keep_time) == (True, wallet.payer_id, visa.keep_time)


async def test_an_older_update_that_comes_late_brings_nothing_back(place: Place, wallet: Wallet) -> None:
    visa = await wallet.attach()
    year = visa.expire_year
    await place.stripe.renew_card(visa.payment_method_id, exp_month=1, exp_year=year + 1)
    late = await place.event(visa.payment_method_id, "automatically_updated")
    await place.stripe.renew_card(visa.payment_method_id, exp_month=1, exp_year=year + 4)
    newer = await place.event(visa.payment_method_id, "automatically_updated")

    for event in (newer, late, newer):
        await place.applied(event)

    assert [one.expire_year for one in await wallet.listed()] == [year + 4]


async def test_a_customer_deleted_in_the_dashboard_is_forgotten_with_its_methods(place: Place, wallet: Wallet) -> None:
    await wallet.attach()
    (customer,) = await place.stripe.objects("customer", **{"metadata.payer_id": wallet.payer_id})
    await place.stripe.delete_customer(str(customer["id"]))

    deleted = event_of(customer, "customer.deleted", at=place.clock.now())
    assert await place.applied(deleted) == "DONE"
    assert await wallet.listed() == []

    amex = await wallet.attach("amex")
    assert amex.default
    again = event_of(customer, "customer.deleted", at=place.clock.now())
    assert await place.applied(again) == "IGNORED"
    assert await wallet.ids() == await at_stripe(place.stripe, wallet) == [amex.payment_method_id]


async def test_what_is_no_payers_of_ours_is_ignored(place: Place) -> None:
    with call_context.acting_for("main"):
        customer = await place.gateway.parts.provider.customers.create({}, key=new_id("key"))
    method_id = await place.attach(str(customer["id"]))

    assert await place.applied(await place.event(method_id, "attached")) == "IGNORED"
    assert await place.applied(event_of(customer, "customer.deleted", at=place.clock.now())) == "IGNORED"
