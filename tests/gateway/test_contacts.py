"""How people are reached: by what was given or shown last, kept encrypted; Stripe is only asked where nothing is."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import asyncpg
import httpx
import pytest
from grpc import StatusCode

from batzen.gateway.v1 import contacts_pb2, ops_pb2, payer_pb2, sellers_pb2
from local.databases import ServiceDatabase
from sandbox.control import SandboxControl
from sandbox.faults import Kind
from services.gateway.contacts.payers import READ_AGAIN_AFTER, PayerContacts
from services.gateway.personal.sealed import SealedDetails
from services.runtime.database.connections import plain_dsn
from services.runtime.rpc import call_context
from tests.clock import Clock
from tests.eventually import WITHIN_S, eventually
from tests.gateway.conftest import Gateway
from tests.gateway.pages import Pages
from tests.gateway.samples import Payments, new_id, new_request_id, refusal
from tests.gateway.stubs import GatewayStubs
from tests.gateway.test_checkout_crashes import Died, Life, Mortal, lives
from tests.gateway.test_sellers import read_again
from tests.personal import readable

EMAIL = "berta.planted@example.org"
READ = "GET /v1/customers/{customer}"
READ_ACCOUNT = "GET /v1/accounts/{account}"
AWAY = (StatusCode.UNAVAILABLE, "STRIPE_UNAVAILABLE")


@pytest.fixture
async def owner(database: ServiceDatabase) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(plain_dsn(database.owner_url))
    yield connection
    await connection.close()


def berta(**fields: str) -> payer_pb2.Payer:
    return payer_pb2.Payer(**{"payer_id": new_id("payer"), "email": EMAIL, "name": "Berta", "locale": "fr-CH"} | fields)


async def answered(gateway: GatewayStubs, **recipient: str) -> contacts_pb2.GetContactResponse:
    return await gateway.GetContact(contacts_pb2.GetContactRequest(**recipient))


async def contact(gateway: GatewayStubs, **recipient: str) -> tuple[str, str, str] | None:
    answer = await answered(gateway, **recipient)
    found = answer.contact
    return (found.email, found.name, found.locale) if answer.HasField("contact") else None


async def reads(stripe: SandboxControl, payer: payer_pb2.Payer) -> int:
    """Count the readings of the payer's customer at Stripe."""
    made = await stripe.objects("customer", **{"metadata.payer_id": payer.payer_id})
    return sum([(await stripe.calls(one["id"])).get(READ, 0) for one in made])


async def account_reads(stripe: SandboxControl, account: sellers_pb2.SellerAccount) -> int:
    """Count the readings of a seller's account at Stripe."""
    return (await stripe.calls(account.stripe_account_id)).get(READ_ACCOUNT, 0)


async def change(stripe: SandboxControl, stripe_key: str, path: str, **fields: str) -> None:
    """Change something as at Stripe's dashboard."""
    async with httpx.AsyncClient(
        base_url=stripe.base_url, headers={"authorization": f"Bearer {stripe_key}"}, timeout=WITHIN_S
    ) as client:
        (await client.post(path, data=fields)).raise_for_status()


# Payers.


async def test_a_payer_is_reached_by_what_was_given_last_without_asking_stripe(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    payer = berta()
    await payments.created(payer=payer)
    assert await contact(gateway, payer_id=payer.payer_id) == (EMAIL, "Berta", "fr-CH")

    await payments.created(payer=berta(payer_id=payer.payer_id, email="b@example.org", name=""))

    async def is_another() -> bool:
        return await contact(gateway, payer_id=payer.payer_id) == ("b@example.org", "Berta", "fr-CH")

    await eventually(is_another)
    await payments.created(payer=payer_pb2.Payer(payer_id=payer.payer_id))
    assert await is_another()
    assert await reads(stripe, payer) == 0


async def test_what_stripe_was_not_told_yet_is_known_here(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl
) -> None:
    payer = berta()
    await payments.created(payer=payer)
    await stripe.fault(Kind.RESET, route="POST /v1/customers/{customer}", times=None)
    await payments.created(payer=berta(payer_id=payer.payer_id, email="b@example.org"))

    async def is_another() -> bool:
        return await contact(gateway, payer_id=payer.payer_id) == ("b@example.org", "Berta", "fr-CH")

    await eventually(is_another)


async def test_an_address_that_stripe_does_not_take_is_none(gateway: GatewayStubs, payments: Payments) -> None:
    payer = berta(email="berta..planted@localhost")
    await payments.created(payer=payer)

    assert await contact(gateway, payer_id=payer.payer_id) == ("", "Berta", "fr-CH")


async def test_who_gives_their_address_on_a_hosted_page_is_reached_by_that(
    gateway: GatewayStubs, pages: Pages, stripe: SandboxControl, clock: Clock
) -> None:
    payer = payer_pb2.Payer(payer_id=new_id("payer"))
    opened, before = await pages.opened(payer=payer), await reads(stripe, payer)
    for _ in range(2):  # nobody knows it yet, and Stripe is not asked for each mail
        assert await contact(gateway, payer_id=payer.payer_id) == ("", "", "")
    assert await reads(stripe, payer) == before + 1
    await stripe.pay_session(opened.session.url, email=EMAIL)

    clock.advance(READ_AGAIN_AFTER)
    for _ in range(2):
        assert await contact(gateway, payer_id=payer.payer_id) == (EMAIL, "", "")

    assert await reads(stripe, payer) == before + 2


async def test_who_is_erased_gone_at_stripe_or_was_never_here_is_nobody(
    gateway: GatewayStubs, replica: Gateway, payments: Payments, stripe: SandboxControl, owner: asyncpg.Connection
) -> None:
    erased, gone, unasked = (berta() for _ in range(3))
    for payer in (erased, gone, unasked):
        payment_id = await payments.created(payer=payer)
        await gateway.CancelIntent(payments.cancel_request(payment_id))
    assert not await readable(owner, [EMAIL])
    async with replica.connect_ops() as ops:
        await ops.ErasePayer(
            ops_pb2.ErasePayerRequest(request_id=new_request_id(), payer_id=erased.payer_id, actor_id="anna")
        )
    await owner.execute("UPDATE customers SET contact = NULL WHERE payer_id = $1", gone.payer_id)  # as of an import
    await stripe.delete_customer(str(await owner.fetchval(
        "SELECT customer_id FROM customers WHERE payer_id = $1", gone.payer_id
    )))  # fmt: skip

    assert await contact(gateway, payer_id=erased.payer_id) is None
    assert await contact(gateway, payer_id=gone.payer_id) is None
    assert await contact(gateway, payer_id=new_id("payer")) is None
    assert await contact(gateway, payer_id=unasked.payer_id) == (EMAIL, "Berta", "fr-CH")
    again = berta(payer_id=erased.payer_id, email="back@example.org")
    await payments.created(payer=again)
    assert await contact(gateway, payer_id=erased.payer_id) == ("back@example.org", "Berta", "fr-CH")


async def test_a_process_that_dies_while_it_reads_leaves_what_the_next_reads(
    gateway: GatewayStubs, replica: Gateway, payments: Payments, owner: asyncpg.Connection
) -> None:
    parts, places = replica.parts, set()
    for life in lives():
        payer = berta()
        await payments.created(payer=payer)
        await owner.execute("UPDATE customers SET contact = NULL WHERE payer_id = $1", payer.payer_id)
        await died(parts, life, payer.payer_id)
        places.add(life.place)

        assert await contact(gateway, payer_id=payer.payer_id) == (EMAIL, "Berta", "fr-CH"), life.place
    assert {"before find", "after find", "after sealed"} <= places


async def died(parts: Any, life: Life, payer_id: str) -> None:
    """Ask for a contact in a process with a `life`."""
    provider: Any = parts.provider
    details: Any = Mortal(SealedDetails(parts.keys), life)
    dying: Any = type("Provider", (), {"customers": Mortal(provider.customers, life)})
    contacts = PayerContacts(parts.connections, parts.customers, dying, details, now=parts.clock.now)
    with suppress(Died), call_context.acting_for("main"):
        await contacts.contact("main", payer_id)


# Sellers.


async def test_a_seller_is_reached_by_what_its_account_shows(
    gateway: GatewayStubs, replica: Gateway, payments: Payments, stripe: SandboxControl, stripe_key: str
) -> None:
    account = await payments.prepare_seller(new_id("seller"))
    before = await account_reads(stripe, account)
    assert await contact(gateway, seller_id=account.seller_id) == ("seller@example.org", "", "")
    assert await account_reads(stripe, account) == before

    path = f"/v1/accounts/{account.stripe_account_id}"
    await change(stripe, stripe_key, path, email="ski@example.org", **{"business_profile[name]": "Ski School"})
    await read_again(replica, account.stripe_account_id)
    assert await contact(gateway, seller_id=account.seller_id) == ("ski@example.org", "Ski School", "")

    await stripe.disconnect_account(account.stripe_account_id)
    await read_again(replica, account.stripe_account_id)
    assert await contact(gateway, seller_id=account.seller_id) is None
    assert await contact(gateway, seller_id=new_id("seller")) is None


async def test_a_seller_whose_contact_is_not_kept_is_read_once(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl, owner: asyncpg.Connection
) -> None:
    account = await payments.prepare_seller(new_id("seller"))
    await owner.execute("UPDATE seller_accounts SET contact = NULL WHERE seller_id = $1", account.seller_id)
    before = await account_reads(stripe, account)

    for _ in range(2):
        assert await contact(gateway, seller_id=account.seller_id) == ("seller@example.org", "", "")

    assert await account_reads(stripe, account) == before + 1
    assert not await readable(owner, ["seller@example.org"])


# Refusals.


@pytest.mark.parametrize(
    ("kind", "refused"),
    [(Kind.RESET, AWAY), (Kind.RATE_LIMIT, (StatusCode.RESOURCE_EXHAUSTED, "STRIPE_RATE_LIMITED"))],
)
async def test_while_stripe_does_not_say_nobody_is_nobody(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl, kind: Kind, refused: tuple[StatusCode, str]
) -> None:
    payer = payer_pb2.Payer(payer_id=new_id("payer"))
    await payments.created(payer=payer)
    await stripe.fault(kind, route=READ, times=None)

    request = contacts_pb2.GetContactRequest(payer_id=payer.payer_id)
    assert await refusal(gateway.GetContact(request, timeout=2)) == refused


async def test_a_contact_is_asked_for_of_somebody_of_our_tenant(gateway: GatewayStubs, replica: Gateway) -> None:
    nobody = contacts_pb2.GetContactRequest()
    assert await refusal(gateway.GetContact(nobody)) == (StatusCode.INVALID_ARGUMENT, "FIELD_MISSING")
    async with replica.connect(tenant="other") as other:
        request = contacts_pb2.GetContactRequest(payer_id=new_id("payer"))
        not_served = (StatusCode.FAILED_PRECONDITION, "TENANT_NOT_SERVED")
        assert await refusal(other.GetContact(request)) == not_served
        assert await refusal(other.PutContact(contacts_pb2.PutContactRequest(payer=berta()))) == not_served
    async with replica.connect("shop") as shop:
        assert (await refusal(shop.GetContact(request)))[1] == "PERMISSION_DENIED"
        assert (await refusal(shop.PutContact(contacts_pb2.PutContactRequest(payer=berta()))))[1] == "PERMISSION_DENIED"
