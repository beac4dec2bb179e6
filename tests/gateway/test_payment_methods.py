"""The methods that payers keep: attached, listed, made the default, detached; and seen by nobody else."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC
from typing import Any

import pytest
from grpc import StatusCode, aio

from batzen.gateway.v1 import payer_pb2
from batzen.gateway.v1 import payment_methods_pb2 as pb
from local.databases import ServiceDatabase
from sandbox.control import SandboxControl
from sandbox.faults import Kind
from services.gateway.call_log import backoff
from services.gateway.payment_methods.domain import METHODS_MAX, READ_AGE_MAX
from tests.clock import Clock
from tests.eventually import eventually, persistently
from tests.gateway.conftest import Gateway
from tests.gateway.samples import Payments, new_id, new_request_id, refusal, refused
from tests.gateway.stubs import GatewayStubs
from tests.gateway.test_calls import TRIES
from tests.gateway.test_races import connected, outcomes

pytestmark = pytest.mark.usefixtures("settles_late")

ATTACH = "POST /v1/payment_methods/{payment_method}/attach"
DETACH = "POST /v1/payment_methods/{payment_method}/detach"
LIST = "GET /v1/payment_methods"
NOT_FOUND = (StatusCode.NOT_FOUND, "PAYMENT_METHOD_NOT_FOUND")


class Wallet:
    """A payer, and what they do with their methods."""

    def __init__(self, gateway: GatewayStubs, payer_id: str = "") -> None:
        self.gateway = gateway
        self.payer_id = payer_id or new_id("payer")

    def attach_request(self, card: str = "visa", **fields: Any) -> pb.AttachPaymentMethodRequest:
        ours: dict[str, Any] = {
            "request_id": new_request_id(),
            "payer": payer_pb2.Payer(payer_id=self.payer_id, email="ada@example.org", name="Ada"),
            "payment_method_id": card if card.startswith("pm_") else f"pm_card_{card}",
        }
        return pb.AttachPaymentMethodRequest(**{**ours, **fields})

    def detach_request(self, method_id: str, **fields: Any) -> pb.DetachPaymentMethodRequest:
        ours = {"request_id": new_request_id(), "payer_id": self.payer_id, "payment_method_id": method_id}
        return pb.DetachPaymentMethodRequest(**{**ours, **fields})

    def default_request(self, method_id: str, **fields: Any) -> pb.SetDefaultPaymentMethodRequest:
        ours = {"request_id": new_request_id(), "payer_id": self.payer_id, "payment_method_id": method_id}
        return pb.SetDefaultPaymentMethodRequest(**{**ours, **fields})

    async def attach(self, card: str = "visa", **fields: Any) -> pb.PaymentMethod:
        return (await self.gateway.AttachPaymentMethod(self.attach_request(card, **fields))).payment_method

    async def detach(self, method_id: str) -> None:
        await self.gateway.DetachPaymentMethod(self.detach_request(method_id))

    async def make_default(self, method_id: str) -> pb.PaymentMethod:
        answer = await self.gateway.SetDefaultPaymentMethod(self.default_request(method_id))
        return answer.payment_method

    async def listed(self) -> list[pb.PaymentMethod]:
        answer = await self.gateway.ListPaymentMethods(pb.ListPaymentMethodsRequest(payer_id=self.payer_id))
        return list(answer.payment_methods)

    async def ids(self) -> list[str]:
        return [one.payment_method_id for one in await self.listed()]


@pytest.fixture
def wallet(gateway: GatewayStubs) -> Wallet:
    return Wallet(gateway)


@asynccontextmanager
async def as_payer(replica: Gateway, payer_id: str = "") -> AsyncIterator[Wallet]:
    payer_id = payer_id or new_id("payer")
    async with replica.connect(payer_id, roles=("payer",)) as stub:
        yield Wallet(stub, payer_id)


async def a_day_passes(stripe: SandboxControl, clock: Clock) -> None:
    await stripe.advance(READ_AGE_MAX.total_seconds())
    clock.advance(READ_AGE_MAX)


async def lists(stripe: SandboxControl, wallet: Wallet) -> int:
    """Count how often the payer's methods were listed at Stripe since its figures were cleared."""
    (customer,) = await stripe.objects("customer", **{"metadata.payer_id": wallet.payer_id})
    return (await stripe.calls(customer["id"])).get(LIST, 0)


async def at_stripe(stripe: SandboxControl, wallet: Wallet) -> list[str]:
    """Return what is attached to the payer's customer."""
    (customer,) = await stripe.objects("customer", **{"metadata.payer_id": wallet.payer_id})
    return [str(one["id"]) for one in await stripe.objects("payment_method", customer=customer["id"])]


async def test_the_first_method_is_the_default_and_the_others_follow_the_newest_first(wallet: Wallet) -> None:
    assert await wallet.listed() == []
    visa, mastercard, amex = [await wallet.attach(card) for card in ("visa", "mastercard", "amex")]

    listed = await wallet.listed()

    assert [one.payment_method_id for one in listed] == [one.payment_method_id for one in (visa, amex, mastercard)]
    assert [one.default for one in listed] == [True, False, False]
    assert (visa.type, visa.brand, visa.last4, visa.expired) == ("card", "visa", "4242", False)
    assert visa.expire_month
    assert visa.expire_year


async def test_a_method_that_is_made_the_default_comes_first(wallet: Wallet) -> None:
    visa, amex = await wallet.attach("visa"), await wallet.attach("amex")

    assert (await wallet.make_default(amex.payment_method_id)).default

    assert await wallet.ids() == [amex.payment_method_id, visa.payment_method_id]


async def test_without_the_default_the_newest_that_is_left_takes_its_place_for_good(wallet: Wallet) -> None:
    visa, mastercard, amex = [await wallet.attach(card) for card in ("visa", "mastercard", "amex")]

    await wallet.detach(visa.payment_method_id)
    newer = await wallet.attach("visa")

    assert await wallet.ids() == [
        amex.payment_method_id,
        newer.payment_method_id,
        mastercard.payment_method_id,
    ]
    for method in (amex, newer, mastercard):
        await wallet.detach(method.payment_method_id)
    assert await wallet.ids() == []
    assert (await wallet.attach("mastercard")).default


async def test_a_detached_method_is_gone_at_stripe_and_a_repeat_changes_nothing(
    wallet: Wallet, gateway: GatewayStubs, stripe: SandboxControl
) -> None:
    visa = await wallet.attach()
    request = wallet.detach_request(visa.payment_method_id)

    for _ in range(2):
        await gateway.DetachPaymentMethod(request)
    await wallet.detach(visa.payment_method_id)

    assert await at_stripe(stripe, wallet) == []
    assert await refusal(wallet.gateway.AttachPaymentMethod(wallet.attach_request(visa.payment_method_id))) == NOT_FOUND


async def test_the_same_card_is_listed_once_as_its_newest_and_removed_whole(
    wallet: Wallet, stripe: SandboxControl
) -> None:
    first, _, again = [await wallet.attach(card) for card in ("visa", "amex", "visa")]

    listed = await wallet.listed()
    assert [one.brand for one in listed] == ["visa", "amex"]
    assert (listed[0].payment_method_id, listed[0].default) == (again.payment_method_id, True)

    await wallet.detach(again.payment_method_id)
    assert [one.brand for one in await wallet.listed()] == ["amex"]
    assert len(await at_stripe(stripe, wallet)) == 1
    assert first.payment_method_id not in await at_stripe(stripe, wallet)


@pytest.mark.parametrize(("months_ago", "expired"), [(0, False), (1, True)])
async def test_an_expired_card_says_so(
    wallet: Wallet, clock: Clock, database: ServiceDatabase, months_ago: int, expired: bool
) -> None:
    await wallet.attach()
    months = clock.now().year * 12 + clock.now().month - 1 - months_ago
    async with connected(database) as connection:
        await connection.execute(
            """UPDATE payment_methods SET mirrored = jsonb_set(jsonb_set(mirrored,
                   '{method,expire_year}', to_jsonb($2::int)), '{method,expire_month}', to_jsonb($3::int))
               WHERE payer_id = $1""",
            wallet.payer_id,
            months // 12,
            months % 12 + 1,
        )

    (visa,) = await wallet.listed()

    assert visa.expired is expired


async def test_consent_is_recorded_with_time_and_actor_and_the_first_stands(
    wallet: Wallet, replica: Gateway, clock: Clock
) -> None:
    before = clock.now()
    visa = await wallet.attach(consent_actor_id="agent_7")
    again = await wallet.attach(visa.payment_method_id, consent_actor_id="agent_8")
    amex = await wallet.attach("amex")
    async with as_payer(replica) as ada:
        own = await ada.attach(consent_actor_id="agent_9")

    assert before <= visa.consent_time.ToDatetime(UTC) <= clock.now()
    assert (visa.consent_actor_id, again.consent_actor_id) == ("agent_7", "agent_7")
    assert amex.consent_actor_id == wallet.payer_id
    assert own.consent_actor_id == ada.payer_id  # a payer cannot name another


async def test_the_list_asks_stripe_once_and_then_a_day_later(
    wallet: Wallet, stripe: SandboxControl, clock: Clock
) -> None:
    await wallet.attach()
    await stripe.clear_metrics()
    for _ in range(3):
        await wallet.listed()
    assert await lists(stripe, wallet) == 0

    await a_day_passes(stripe, clock)
    await wallet.listed()
    assert await lists(stripe, wallet) == 1


async def test_many_first_lists_at_once_ask_stripe_once(
    wallet: Wallet, payments: Payments, stripe: SandboxControl
) -> None:
    await payments.created(payer=payer_pb2.Payer(payer_id=wallet.payer_id))
    await stripe.clear_metrics()

    await asyncio.gather(*(wallet.listed() for _ in range(20)))

    assert await lists(stripe, wallet) == 1


async def test_a_method_kept_with_a_payment_is_listed_at_once_with_its_consent(
    wallet: Wallet, payments: Payments, stripe: SandboxControl
) -> None:
    await wallet.attach("amex")  # so that the list was read
    payment_id = await payments.created(payer=payer_pb2.Payer(payer_id=wallet.payer_id))
    confirm = payments.confirm_request(payment_id, keep_method=True, consent_actor_id="agent_7")
    method_id = (await wallet.gateway.ConfirmIntent(confirm)).observation.method.payment_method_id
    await stripe.clear_metrics()

    amex, visa = [await wallet.listed() for _ in range(2)][-1]  # no event has come

    assert (visa.payment_method_id, visa.consent_actor_id, visa.default) == (method_id, "agent_7", False)
    assert visa.consent_time.ToDatetime()
    assert amex.default
    assert await lists(stripe, wallet) == 1


async def test_what_was_kept_without_us_is_found_by_the_first_list(wallet: Wallet, database: ServiceDatabase) -> None:
    visa, amex = await wallet.attach("visa"), await wallet.attach("amex")
    async with connected(database) as connection:  # as if it had been kept before there was this service
        await connection.execute("DELETE FROM payment_methods WHERE payer_id = $1", wallet.payer_id)
        await connection.execute(
            "UPDATE customers SET read_time = NULL, default_method_id = NULL WHERE payer_id = $1", wallet.payer_id
        )

    listed = await wallet.listed()

    assert [one.payment_method_id for one in listed] == [visa.payment_method_id, amex.payment_method_id]
    assert listed[0].default


async def test_while_stripe_is_away_the_list_is_as_last_read(
    wallet: Wallet, stripe: SandboxControl, clock: Clock
) -> None:
    visa = await wallet.attach()
    await a_day_passes(stripe, clock)
    await stripe.fault(Kind.SERVER_ERROR, route=LIST, times=None)

    assert await wallet.ids() == [visa.payment_method_id]


async def test_a_first_list_while_stripe_is_away_is_refused(
    wallet: Wallet, payments: Payments, stripe: SandboxControl
) -> None:
    await payments.created(payer=payer_pb2.Payer(payer_id=wallet.payer_id))
    await stripe.fault(Kind.SERVER_ERROR, route=LIST, times=None)

    assert await refusal(wallet.gateway.ListPaymentMethods(pb.ListPaymentMethodsRequest(payer_id=wallet.payer_id))) == (
        StatusCode.UNAVAILABLE,
        "STRIPE_UNAVAILABLE",
    )


# Another's.


async def test_a_payer_sees_and_touches_their_own_alone(replica: Gateway, stripe: SandboxControl) -> None:
    async with as_payer(replica) as ada, as_payer(replica) as bob:
        visa = await ada.attach()
        mine = await bob.attach("amex")
        named = Wallet(bob.gateway, ada.payer_id)  # Bob names Ada

        assert await named.listed() == []
        for each in (bob, named):
            for request, call in (
                (each.detach_request(visa.payment_method_id), bob.gateway.DetachPaymentMethod),
                (each.default_request(visa.payment_method_id), bob.gateway.SetDefaultPaymentMethod),
            ):
                assert await refusal(call(request)) == NOT_FOUND
        assert await refusal(bob.gateway.AttachPaymentMethod(bob.attach_request(visa.payment_method_id))) == NOT_FOUND
        assert await refusal(bob.gateway.AttachPaymentMethod(named.attach_request())) == (
            StatusCode.PERMISSION_DENIED,
            "PERMISSION_DENIED",
        )

        assert await ada.ids() == await at_stripe(stripe, ada) == [visa.payment_method_id]
        assert await bob.ids() == [mine.payment_method_id]


@pytest.mark.parametrize("role", ["service", "operator"])
async def test_services_and_operators_reach_every_payer(wallet: Wallet, replica: Gateway, role: str) -> None:
    visa = await wallet.attach()
    async with replica.connect("anna", roles=(role,)) as stub:
        theirs = Wallet(stub, wallet.payer_id)
        assert await theirs.ids() == [visa.payment_method_id]
        await theirs.detach(visa.payment_method_id)
    assert await wallet.ids() == []


async def test_a_seller_reaches_nobodys(wallet: Wallet, replica: Gateway) -> None:
    async with replica.connect("seller_1", roles=("seller",)) as stub:
        for call in (
            stub.ListPaymentMethods(pb.ListPaymentMethodsRequest(payer_id=wallet.payer_id)),
            stub.AttachPaymentMethod(wallet.attach_request()),
        ):
            assert (await refusal(call))[0] is StatusCode.PERMISSION_DENIED


async def test_a_method_that_stripe_has_with_another_customer_is_not_found(
    wallet: Wallet, gateway: GatewayStubs, database: ServiceDatabase
) -> None:
    other = Wallet(gateway)
    visa = await other.attach()
    async with connected(database) as connection:
        await connection.execute("DELETE FROM payment_methods WHERE payer_id = $1", other.payer_id)
    await wallet.attach("amex")

    assert await refusal(gateway.AttachPaymentMethod(wallet.attach_request(visa.payment_method_id))) == NOT_FOUND
    assert await refusal(gateway.DetachPaymentMethod(wallet.detach_request(visa.payment_method_id))) == NOT_FOUND
    assert await refusal(gateway.SetDefaultPaymentMethod(wallet.default_request(visa.payment_method_id))) == NOT_FOUND


# Refusals.


async def test_a_card_that_the_bank_declines_is_not_kept(wallet: Wallet) -> None:
    code, reason, _, metadata = await refused(
        wallet.gateway.AttachPaymentMethod(wallet.attach_request("chargeDeclined"))
    )

    assert (code, reason) == (StatusCode.FAILED_PRECONDITION, "STRIPE_REFUSED")
    assert (metadata["code"], metadata["decline_code"]) == ("card_declined", "generic_decline")
    assert await wallet.listed() == []


async def test_what_stripe_does_not_know_is_not_found(wallet: Wallet) -> None:
    assert await refusal(wallet.gateway.AttachPaymentMethod(wallet.attach_request("pm_1nothing"))) == NOT_FOUND
    assert await refusal(wallet.gateway.SetDefaultPaymentMethod(wallet.default_request("pm_1nothing"))) == NOT_FOUND
    await wallet.detach("pm_1nothing")  # what is not kept is forgotten


async def test_a_payer_keeps_a_hundred_methods_and_no_more(
    wallet: Wallet, gateway: GatewayStubs, database: ServiceDatabase
) -> None:
    visa = await wallet.attach()
    async with connected(database) as connection:
        await connection.execute(
            """INSERT INTO payment_methods
               SELECT tenant_id, 'pm_1more' || n, payer_id, state, jsonb_set(
                   mirrored || jsonb_build_object('fingerprint', 'of' || n), '{method,payment_method_id}',
                   to_jsonb('pm_1more' || n)), keep_time
               FROM payment_methods, generate_series(2, $2) AS n WHERE payer_id = $1""",
            wallet.payer_id,
            METHODS_MAX,
        )
    assert len(await wallet.listed()) == METHODS_MAX

    code, reason, _, metadata = await refused(gateway.AttachPaymentMethod(wallet.attach_request("amex")))

    assert (code, reason, metadata["max"]) == (StatusCode.FAILED_PRECONDITION, "METHOD_LIMIT_REACHED", "100")
    assert (await wallet.attach(visa.payment_method_id)).payment_method_id == visa.payment_method_id


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"payer": payer_pb2.Payer()}, "payer.payer_id"),
        ({"payer": payer_pb2.Payer(payer_id="ada", email="no address")}, "payer.email"),
        ({"payment_method_id": "../x"}, "payment_method_id"),
        ({"payment_method_id": ""}, "payment_method_id"),
        ({"request_id": ""}, "request_id"),
        ({"consent_actor_id": "a b"}, "consent_actor_id"),
    ],
)
async def test_a_wrong_field_is_named(wallet: Wallet, fields: dict[str, Any], field: str) -> None:
    code, _, named, _ = await refused(wallet.gateway.AttachPaymentMethod(wallet.attach_request(**fields)))
    assert (code, named) == (StatusCode.INVALID_ARGUMENT, field)


async def test_the_same_id_for_something_else_is_refused(wallet: Wallet, gateway: GatewayStubs) -> None:
    request = wallet.attach_request()
    await gateway.AttachPaymentMethod(request)
    for other in (
        wallet.attach_request("amex", request_id=request.request_id),
        Wallet(gateway).attach_request(request_id=request.request_id),
    ):
        assert (await refusal(gateway.AttachPaymentMethod(other)))[1] == "REQUEST_ID_REUSED"


# Customers.


async def test_a_method_is_attached_to_a_new_customer_when_the_known_one_was_deleted(
    wallet: Wallet, stripe: SandboxControl
) -> None:
    await wallet.attach()
    (customer,) = await stripe.objects("customer", **{"metadata.payer_id": wallet.payer_id})
    await stripe.delete_customer(str(customer["id"]))

    amex = await wallet.attach("amex")

    assert amex.default
    assert await wallet.ids() == await at_stripe(stripe, wallet) == [amex.payment_method_id]


async def test_a_list_that_finds_the_customer_gone_is_empty(
    wallet: Wallet, stripe: SandboxControl, clock: Clock
) -> None:
    await wallet.attach()
    (customer,) = await stripe.objects("customer", **{"metadata.payer_id": wallet.payer_id})
    await stripe.delete_customer(str(customer["id"]))

    await a_day_passes(stripe, clock)

    assert await wallet.listed() == []


async def test_e_mail_and_name_are_kept_up_to_date_and_not_kept_here(
    wallet: Wallet, payments: Payments, stripe: SandboxControl, database: ServiceDatabase
) -> None:
    await wallet.attach()
    new = payer_pb2.Payer(payer_id=wallet.payer_id, email="ada@new.example", name="Ada King")
    await payments.created(payer=new)

    async with connected(database) as connection:

        async def row() -> str:
            return str(await connection.fetchrow("SELECT * FROM customers WHERE payer_id = $1", wallet.payer_id))

        async def is_told() -> bool:
            return "details=None" in await row() and "changes=1" in await row()

        await eventually(is_told)
        kept = await row()
        assert not any(detail in kept for detail in ("King", "ada@"))
    (customer,) = await stripe.objects("customer", **{"metadata.payer_id": wallet.payer_id})
    assert (customer["email"], customer["name"]) == ("ada@new.example", "Ada King")
    await stripe.clear_metrics()
    await payments.created(payer=new)
    await payments.created(payer=payer_pb2.Payer(payer_id=wallet.payer_id))
    assert "POST /v1/customers/{customer}" not in await stripe.calls(customer["id"])


async def test_fifty_first_payments_at_once_make_one_customer(
    wallet: Wallet, gateway: GatewayStubs, payments: Payments, stripe: SandboxControl, start_gateway: Any
) -> None:
    payer = payer_pb2.Payer(payer_id=wallet.payer_id, email="ada@example.org", name="Ada")
    requests = [payments.create_request(payer=payer) for _ in range(50)]
    async with start_gateway() as other, other.connect() as stub:
        await persistently(lambda: stub.CreateIntent(payments.create_request()), again=aio.AioRpcError)  # it is up
        answers = await asyncio.gather(
            *((stub, gateway)[place % 2].CreateIntent(request) for place, request in enumerate(requests))
        )
    assert all(answer.client_secret for answer in answers)
    assert len(await stripe.objects("customer", **{"metadata.payer_id": wallet.payer_id})) == 1


# Trouble at Stripe.


@pytest.mark.parametrize("after", [False, True])
async def test_an_attachment_without_an_answer_is_settled_by_itself_and_made_once(
    wallet: Wallet, replica: Gateway, stripe: SandboxControl, clock: Clock, after: bool
) -> None:
    await wallet.attach("amex")
    await stripe.fault(Kind.RESET, route=ATTACH, after=after, times=TRIES)
    request = wallet.attach_request()
    assert await refusal(wallet.gateway.AttachPaymentMethod(request)) == (StatusCode.UNAVAILABLE, "STRIPE_UNAVAILABLE")

    clock.advance(backoff.SETTLE_FIRST)
    await replica.parts.work.once()

    kept = (await wallet.gateway.AttachPaymentMethod(request)).payment_method
    assert kept.payment_method_id in await wallet.ids()
    assert len(await at_stripe(stripe, wallet)) == 2


async def test_a_detachment_without_an_answer_is_settled_by_itself(
    wallet: Wallet, replica: Gateway, stripe: SandboxControl, clock: Clock
) -> None:
    visa, amex = await wallet.attach(), await wallet.attach("amex")
    await stripe.fault(Kind.RESET, route=DETACH, after=True, times=TRIES)
    request = wallet.detach_request(visa.payment_method_id)
    assert await refusal(wallet.gateway.DetachPaymentMethod(request)) == (StatusCode.UNAVAILABLE, "STRIPE_UNAVAILABLE")
    assert await wallet.ids() == [amex.payment_method_id]  # it is on its way out

    clock.advance(backoff.SETTLE_FIRST)
    await replica.parts.work.once()

    await wallet.gateway.DetachPaymentMethod(request)
    (left,) = await wallet.listed()
    assert (left.payment_method_id, left.default) == (amex.payment_method_id, True)


async def test_a_detachment_that_stripe_refuses_leaves_the_method_kept(wallet: Wallet, stripe: SandboxControl) -> None:
    visa = await wallet.attach()
    await stripe.fault(Kind.INVALID, route=DETACH, code="parameter_invalid", stored=True)

    code, reason, _, metadata = await refused(
        wallet.gateway.DetachPaymentMethod(wallet.detach_request(visa.payment_method_id))
    )

    assert (code, reason, metadata["code"]) == (StatusCode.FAILED_PRECONDITION, "STRIPE_REFUSED", "parameter_invalid")
    assert await wallet.ids() == [visa.payment_method_id]


async def test_copies_of_a_request_in_two_processes_are_one_call(
    wallet: Wallet, gateway: GatewayStubs, stripe: SandboxControl, start_gateway: Any
) -> None:
    request = wallet.attach_request()
    async with start_gateway() as other, other.connect() as stub:
        answers = await asyncio.gather(
            *(each.AttachPaymentMethod(request) for _ in range(6) for each in (gateway, stub))
        )
        assert all(answer == answers[0] for answer in answers)
        assert len(await at_stripe(stripe, wallet)) == 1
        detach = wallet.detach_request(answers[0].payment_method.payment_method_id)
        await asyncio.gather(*(each.DetachPaymentMethod(detach) for _ in range(6) for each in (gateway, stub)))
    assert await at_stripe(stripe, wallet) == []


@pytest.mark.parametrize("rounds", [3, pytest.param(200, marks=pytest.mark.soak)])
async def test_a_default_that_is_made_while_methods_are_detached_is_one_that_is_there(
    gateway: GatewayStubs, stripe: SandboxControl, rounds: int
) -> None:
    chance = random.Random(11)
    for _ in range(rounds):
        wallet = Wallet(gateway)
        cards = ("visa", "mastercard", "amex", "visa_debit")
        methods = [(await wallet.attach(card)).payment_method_id for card in cards]
        detached = chance.sample(methods, 2)
        calls = [gateway.DetachPaymentMethod(wallet.detach_request(one)) for one in detached]
        calls += [gateway.SetDefaultPaymentMethod(wallet.default_request(one)) for one in methods]
        chance.shuffle(calls)

        found = await outcomes(*calls)

        assert {one for one in found if isinstance(one, StatusCode)} <= {StatusCode.NOT_FOUND}
        left = await wallet.listed()
        kept = {one.payment_method_id for one in left}
        assert kept == set(methods) - set(detached) == set(await at_stripe(stripe, wallet))
        assert [one.default for one in left] == [True, False]
