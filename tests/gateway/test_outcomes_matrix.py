"""Every call × every wrong answer × what was sent before × whether it had an effect: what follows, and how it ends.

Whatever Stripe answers: a call has at most one effect, what may have had one keeps its reservation, nobody hears of an
end that Stripe did not say, and once Stripe answers again the mirror shows what is there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import pytest
import sqlalchemy as sa
from google.protobuf.message import Message
from grpc import aio

from batzen.gateway.v1 import intents_pb2, payer_pb2
from sandbox.control import SandboxControl
from services.gateway.call_log.execution import IN_FLIGHT_MAX
from services.gateway.stripe_api import transport
from tests.clock import Clock
from tests.gateway.conftest import Gateway
from tests.gateway.pages import CREATE_PAGE, EXPIRE_PAGE, READ_PAGE, Pages
from tests.gateway.samples import (
    CANCEL,
    CANCELED,
    CAPTURE,
    CONFIRM,
    CREATE,
    READ,
    REFUND,
    SETUP_CANCEL,
    SETUP_CONFIRM,
    SETUP_CREATE,
    SETUP_READ,
    Payments,
    new_id,
    reason_of,
)
from tests.gateway.stubs import GatewayStubs

PART_MINOR: Final = 6_000
"""More than half: two of them cannot go back."""

TRIES: Final = 3
"""Of one call here: one whose answer is lost, one that is wrong, and one more."""
REPEAT, WITHIN = "repeat of an unknown one", "after a lost answer in one call"

UNKNOWN, WITHDRAWN, REFUSED, ANSWERED = "UNKNOWN", "WITHDRAWN", "REFUSED", "ANSWERED"
UNAVAILABLE, LIMITED = "UNAVAILABLE STRIPE_UNAVAILABLE", "RESOURCE_EXHAUSTED STRIPE_RATE_LIMITED"
STRIPE_REFUSED, INTENT_STATE = "FAILED_PRECONDITION STRIPE_REFUSED", "FAILED_PRECONDITION INTENT_STATE"
OK = "OK"


@dataclass(frozen=True, kw_only=True)
class Wrong:
    """A wrong answer, and what becomes of the call by it."""

    fault: dict[str, Any]
    first: str
    """On a first try."""
    repeat: str = UNKNOWN
    """On any later one."""
    said: str = UNAVAILABLE
    """To the caller, of what is WITHDRAWN."""


WRONG: Final = {
    "401": Wrong(fault={"kind": "unauthorized"}, first=WITHDRAWN),
    "403": Wrong(fault={"kind": "forbidden"}, first=WITHDRAWN),
    "403 of a proxy": Wrong(fault={"kind": "html", "status": 403}, first=WITHDRAWN),
    "404 of the endpoint": Wrong(fault={"kind": "unknown_endpoint"}, first=WITHDRAWN),
    "404 of a proxy": Wrong(fault={"kind": "html", "status": 404}, first=WITHDRAWN),
    "404 of the object": Wrong(fault={"kind": "missing", "param": "intent"}, first=WITHDRAWN),
    "429": Wrong(fault={"kind": "rate_limit"}, first=WITHDRAWN, said=LIMITED),
    "429 of contention": Wrong(fault={"kind": "lock_timeout"}, first=WITHDRAWN, said=LIMITED),
    "400 of the parameters": Wrong(fault={"kind": "invalid"}, first=REFUSED),
    "402 without an intent": Wrong(fault={"kind": "invalid", "status": 402, "code": "odd"}, first=REFUSED),
    "409": Wrong(fault={"kind": "in_use"}, first=UNKNOWN),
    "500": Wrong(fault={"kind": "server_error", "stored": False}, first=UNKNOWN),
    "502 of a proxy": Wrong(fault={"kind": "html"}, first=UNKNOWN),
    "503": Wrong(fault={"kind": "server_error", "status": 503, "stored": False, "should_retry": False}, first=UNKNOWN),
    "400 of a proxy": Wrong(fault={"kind": "html", "status": 400}, first=UNKNOWN),
    "400 without a type": Wrong(fault={"kind": "invalid", "body": '{"error": {"message": "no"}}'}, first=UNKNOWN),
    "400 with a word": Wrong(fault={"kind": "invalid", "body": '{"error": "invalid_request"}'}, first=UNKNOWN),
    "400 with nothing": Wrong(fault={"kind": "invalid", "body": '{"error": null}'}, first=UNKNOWN),
    "broken": Wrong(fault={"kind": "broken_json"}, first=UNKNOWN),
    "empty": Wrong(fault={"kind": "empty"}, first=UNKNOWN),
    "cut off": Wrong(fault={"kind": "cut_off"}, first=UNKNOWN),
    "a page": Wrong(fault={"kind": "html", "status": 200}, first=UNKNOWN),
    "a list": Wrong(fault={"kind": "empty", "body": "[]"}, first=UNKNOWN),
    "another object": Wrong(fault={"kind": "empty", "body": '{"id": "co_1", "object": "coupon"}'}, first=UNKNOWN),
    "an object without an id": Wrong(fault={"kind": "empty", "body": '{"object": "refund"}'}, first=UNKNOWN),
    "no answer": Wrong(fault={"kind": "reset"}, first=UNKNOWN),
}  # fmt: skip
REFUSALS: Final = ("404 of the object", "400 of the parameters", "402 without an intent")
"""Stripe says no, from before it looks at the key."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One call that is about to be made."""

    payment_id: str
    request: Any

    @property
    def request_id(self) -> str:
        asked = self.request.intent if self.request.DESCRIPTOR.fields_by_name.get("intent") else self.request
        return str(asked.request_id)


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One of the calls that change something at Stripe."""

    route: str
    prepared: Callable[[Payments], Awaitable[Subject]]
    send: Callable[[GatewayStubs, Any], Awaitable[Message]]
    effects: Callable[[Payments, str], Awaitable[int]]
    said_of_unknown: str = OK
    said_of_found: str = OK
    """When Stripe refuses what it has done."""
    became_of_found: str = ANSWERED
    reading: str = READ
    """By which it is looked up."""

    @property
    def creates(self) -> bool:
        return self.route in (CREATE, SETUP_CREATE, CREATE_PAGE)

    @property
    def moves_each_time(self) -> bool:
        """Whether it is read where a repeat is refused, and sent anew only once nothing of it can come any more."""
        return self.route in (CAPTURE, REFUND)


async def _creating(payments: Payments) -> Subject:
    payment_id = new_id("pay")
    return Subject(payment_id=payment_id, request=payments.create_request(payment_id=payment_id))


async def _creating_setup(payments: Payments) -> Subject:
    payment_id = new_id("pay")
    return Subject(payment_id=payment_id, request=payments.create_request(payment_id=payment_id, setup_only=True))


async def _keeping(payments: Payments) -> Subject:
    payment_id = await payments.created(setup_only=True)
    return Subject(payment_id=payment_id, request=payments.confirm_request(payment_id))


async def _cancelling_setup(payments: Payments) -> Subject:
    payment_id = await payments.created(setup_only=True)
    return Subject(payment_id=payment_id, request=payments.cancel_request(payment_id))


async def _charging_off_session(payments: Payments) -> Subject:
    payer = payer_pb2.Payer(payer_id=new_id("payer"))
    payment_id = await payments.kept(payer=payer)
    method_id = (await payments.seen(payment_id)).method.payment_method_id
    await payments.created(payment_id=payment_id, attempt=2, payer=payer)
    request = payments.confirm_request(payment_id, attempt=2, payment_method_id=method_id, off_session=True)
    return Subject(payment_id=payment_id, request=request)


async def _opening_page(payments: Payments) -> Subject:
    payment_id = new_id("pay")
    return Subject(payment_id=payment_id, request=Pages(payments).create_request(payment_id=payment_id))


async def _expiring_page(payments: Payments) -> Subject:
    payment_id = (await Pages(payments).opened()).observation.payment_id
    return Subject(payment_id=payment_id, request=payments.cancel_request(payment_id))


async def _confirming(payments: Payments) -> Subject:
    payment_id = await payments.created()
    return Subject(payment_id=payment_id, request=payments.confirm_request(payment_id))


async def _cancelling(payments: Payments) -> Subject:
    payment_id = await payments.created()
    return Subject(payment_id=payment_id, request=payments.cancel_request(payment_id))


async def _capturing(payments: Payments) -> Subject:
    payment_id = await payments.held()
    return Subject(payment_id=payment_id, request=payments.capture_request(payment_id, PART_MINOR))


async def _refunding(payments: Payments) -> Subject:
    payment_id = await payments.paid()
    return Subject(payment_id=payment_id, request=payments.borne_refund_request(payment_id, PART_MINOR))


async def _intents(payments: Payments, payment_id: str) -> int:
    return len(await payments.intents(payment_id))


async def _setups(payments: Payments, payment_id: str) -> int:
    return len(await payments.setups(payment_id))


async def _kept(payments: Payments, payment_id: str) -> int:
    return sum(setup["status"] == "succeeded" for setup in await payments.setups(payment_id))


async def _cancelled_setups(payments: Payments, payment_id: str) -> int:
    return sum(setup["status"] == "canceled" for setup in await payments.setups(payment_id))


async def _charges(payments: Payments, payment_id: str) -> int:
    return len(await payments.charges(payment_id))


async def _cancelled(payments: Payments, payment_id: str) -> int:
    return sum(intent["status"] == "canceled" for intent in await payments.intents(payment_id))


async def _captured(payments: Payments, payment_id: str) -> int:
    charges = await payments.charges(payment_id)
    return sum(charge["captured"] for charge in charges)


async def _pages(payments: Payments, payment_id: str) -> int:
    return len(await Pages(payments).sessions(payment_id))


async def _expired_pages(payments: Payments, payment_id: str) -> int:
    return sum(session["status"] == "expired" for session in await Pages(payments).sessions(payment_id))


async def _refunds(payments: Payments, payment_id: str) -> int:
    return len(await payments.refunds(payment_id))


CALLS: Final = {
    "create": Kind(
        route=CREATE,
        prepared=_creating,
        send=lambda gateway, request: gateway.CreateIntent(request),
        effects=_intents,
        said_of_unknown=UNAVAILABLE,
        said_of_found=STRIPE_REFUSED,  # it is not looked for: an intent that nobody has the secret of takes no money
        became_of_found=REFUSED,
        reading="GET /v1/payment_intents",
    ),
    "confirm": Kind(
        route=CONFIRM,
        prepared=_confirming,
        send=lambda gateway, request: gateway.ConfirmIntent(request),
        effects=_charges,
        said_of_found=INTENT_STATE,
        became_of_found=REFUSED,
    ),
    "capture": Kind(
        route=CAPTURE,
        prepared=_capturing,
        send=lambda gateway, request: gateway.CaptureIntent(request),
        effects=_captured,
    ),
    "cancel": Kind(
        route=CANCEL,
        prepared=_cancelling,
        send=lambda gateway, request: gateway.CancelIntent(request),
        effects=_cancelled,
    ),
    "create of a setup": Kind(
        route=SETUP_CREATE,
        prepared=_creating_setup,
        send=lambda gateway, request: gateway.CreateIntent(request),
        effects=_setups,
        said_of_unknown=UNAVAILABLE,
        said_of_found=STRIPE_REFUSED,
        became_of_found=REFUSED,
        reading="GET /v1/setup_intents",
    ),
    "confirm of a setup": Kind(
        route=SETUP_CONFIRM,
        prepared=_keeping,
        send=lambda gateway, request: gateway.ConfirmIntent(request),
        effects=_kept,
        said_of_found=INTENT_STATE,
        became_of_found=REFUSED,
        reading=SETUP_READ,
    ),
    "cancel of a setup": Kind(
        route=SETUP_CANCEL,
        prepared=_cancelling_setup,
        send=lambda gateway, request: gateway.CancelIntent(request),
        effects=_cancelled_setups,
        reading=SETUP_READ,
    ),
    "confirm off-session": Kind(
        route=CONFIRM,
        prepared=_charging_off_session,
        send=lambda gateway, request: gateway.ConfirmIntent(request),
        effects=_charges,
        said_of_found=INTENT_STATE,
        became_of_found=REFUSED,
    ),
    "open a page": Kind(
        route=CREATE_PAGE,
        prepared=_opening_page,
        send=lambda gateway, request: gateway.CreateCheckoutSession(request),
        effects=_pages,
        said_of_unknown=UNAVAILABLE,
        said_of_found=STRIPE_REFUSED,  # nor is a page whose address nobody has
        became_of_found=REFUSED,
        reading="GET /v1/checkout/sessions",
    ),
    "expire a page": Kind(
        route=EXPIRE_PAGE,
        prepared=_expiring_page,
        send=lambda gateway, request: gateway.CancelIntent(request),
        effects=_expired_pages,
        reading=READ_PAGE,
    ),
    "refund": Kind(
        route=REFUND,
        prepared=_refunding,
        send=lambda gateway, request: gateway.CreateRefund(request),
        effects=_refunds,
        reading="GET /v1/refunds",
    ),
}

NAMES: Final = [
    name
    if name
    not in (
        "create of a setup",
        "confirm of a setup",
        "cancel of a setup",
        "confirm off-session",
        "open a page",
        "expire a page",
    )
    # They go by the same steps as the others.
    else pytest.param(name, marks=pytest.mark.soak)
    for name in CALLS
]

QUICK: Final = [name for name in NAMES if isinstance(name, str)]


@dataclass(kw_only=True)
class Matrix:
    """Runs cases and collects what is not as it must be."""

    replica: Gateway
    payments: Payments
    stripe: SandboxControl
    clock: Clock
    deviations: list[str] = field(default_factory=list)

    def expect(self, case: str, what: str, found: object, expected: object) -> None:
        if found != expected:
            self.deviations.append(f"{case}: {what} is {found}, not {expected}")

    async def said(self, call: Awaitable[Message]) -> str:
        """Return what a caller hears: OK, or status and reason."""
        try:
            await call
        except aio.AioRpcError as error:
            return f"{error.code().name} {reason_of(error)}"
        return OK

    async def row(self, subject: Subject) -> str:
        async with self.replica.parts.engine.connect() as connection:
            found = await connection.execute(
                sa.text("SELECT state FROM calls WHERE request_id = :request_id AND subject_id = :payment_id"),
                {"request_id": subject.request_id, "payment_id": subject.payment_id},
            )
            return str(found.scalar_one())

    async def is_reserved(self, subject: Subject) -> bool:
        """Whether what the call may have done is kept free for it."""
        held = await self.replica.parts.store.read("main", subject.payment_id)
        assert held is not None
        amounts = held.observation.amounts
        return (
            held.unsettled or amounts.refund_pending_minor > 0 or any(not one.is_made for one in held.intents.values())
        )

    async def lose(self, call: Kind, *, after: bool, times: int) -> None:
        await self.stripe.fault("reset", route=call.route, after=after, times=times)

    async def meets(
        self,
        case: str,
        call: Kind,
        subject: Subject,
        wrong: Wrong,
        *,
        route: str = "",
        after: bool = False,
        state: str,
        said: str,
    ) -> None:
        """Send the call while every answer is this one, and hold what follows against what must."""
        await self.stripe.fault(**wrong.fault, route=route or call.route, times=None, after=after)
        self.expect(case, "the answer", await self.said(call.send(self.payments.gateway, subject.request)), said)
        self.expect(case, "the call", await self.row(subject), state)
        # A create that was refused leaves its attempt, closed.
        keeps = state == UNKNOWN or (call.creates and state == REFUSED)
        self.expect(case, "reserved", await self.is_reserved(subject), keeps)
        await self.stripe.clear_faults()

    async def settled(self, case: str, call: Kind, subject: Subject) -> None:
        """Repeat the request once Stripe answers again: there is one effect or none, and the mirror shows it."""
        await self.stripe.clear_faults()
        for _ in range(3):
            if call.moves_each_time:
                self.clock.advance(IN_FLIGHT_MAX)
            await self.said(call.send(self.payments.gateway, subject.request))
            if await self.row(subject) not in (UNKNOWN, WITHDRAWN):
                break
        self.expect(case, "the call in the end", await self.row(subject) in (ANSWERED, REFUSED), expected=True)
        self.expect(case, "what is still reserved", await self.is_reserved(subject) and not call.creates, False)
        effects = await call.effects(self.payments, subject.payment_id)
        self.expect(case, "more than one effect", effects > 1, False)
        if await self.row(subject) == ANSWERED and not call.creates:
            await self.mirrored(case, subject)

    async def mirrored(self, case: str, subject: Subject) -> None:
        seen = await self.payments.seen(subject.payment_id)
        taken = sum(charge["amount_captured"] for charge in await self.payments.charges(subject.payment_id))
        returned = sum(refund["amount"] for refund in await self.payments.refunds(subject.payment_id))
        intents = [*await self.payments.setups(subject.payment_id), *await self.payments.intents(subject.payment_id)]
        pages = await Pages(self.payments).sessions(subject.payment_id)
        is_cancelled = (pages or intents)[-1]["status"] in ("canceled", "expired")
        self.expect(case, "what was taken", seen.amounts.captured_minor, taken)
        self.expect(case, "what went back", seen.amounts.refunded_minor, returned)
        self.expect(case, "cancelled", seen.intent_state == CANCELED, is_cancelled)


@pytest.fixture
def matrix(
    replica: Gateway, payments: Payments, stripe: SandboxControl, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> Matrix:
    monkeypatch.setattr(transport, "PAUSE_FIRST_S", 0.001)
    monkeypatch.setattr(transport, "TRIES_MAX", TRIES)
    return Matrix(replica=replica, payments=payments, stripe=stripe, clock=clock)


Answers = Callable[[str], list[tuple[str, Wrong]]]
"""Words and wrong answers that a call gets, by the call's name."""
EACH_CONCLUSION: Final = frozenset({"429", "400 of the parameters", "no answer"})
"""One answer for each of WITHDRAWN, REFUSED and UNKNOWN."""


@pytest.fixture(
    params=[pytest.param(12, id="some answers"), pytest.param(1, id="every answer", marks=pytest.mark.faults)]
)
def answers(request: pytest.FixtureRequest) -> Answers:
    """In `make test` each conclusion for each call, and each answer for some; in `make test-faults` all for all."""
    step: int = request.param

    def of(name: str) -> list[tuple[str, Wrong]]:
        chosen = list(WRONG)[QUICK.index(name) % step :: step] if name in QUICK else list(WRONG)[::step]
        return [(words, wrong) for words, wrong in WRONG.items() if words in EACH_CONCLUSION.union(chosen)]

    return of


def test_each_conclusion_is_one_that_the_answers_lead_to() -> None:
    assert {WRONG[words].first for words in EACH_CONCLUSION} == {wrong.first for wrong in WRONG.values()}
    assert len(QUICK) == 5, "each fifth answer for each of five calls is every answer"


@pytest.mark.parametrize("name", NAMES)
async def test_what_follows_from_each_answer_to_a_first_try(matrix: Matrix, name: str, answers: Answers) -> None:
    call = CALLS[name]
    for words, wrong in answers(name):
        for after in (False, True):
            case = f"{name}, {words}, {'after' if after else 'before'} the effect"
            subject = await call.prepared(matrix.payments)
            state, said = _first(name, words, after=after)
            await matrix.meets(case, call, subject, wrong, after=after, state=state, said=said)
            await matrix.settled(case, call, subject)
    assert not matrix.deviations, "\n".join(matrix.deviations)


@pytest.mark.parametrize("name", NAMES)
async def test_what_follows_from_each_answer_to_a_repeat(matrix: Matrix, name: str, answers: Answers) -> None:
    call = CALLS[name]
    for after in (False, True):
        subject = await call.prepared(matrix.payments)
        await matrix.lose(call, after=after, times=TRIES)
        assert await matrix.said(call.send(matrix.payments.gateway, subject.request)) == call.said_of_unknown
        for words, wrong in answers(name):  # each leaves it as unknown as it was
            case = f"{name}, {words}, repeated {'after' if after else 'before'} the effect"
            if after and call.moves_each_time and words in REFUSALS:  # but for this: it is read, and found
                found = await call.prepared(matrix.payments)
                await matrix.lose(call, after=True, times=TRIES)
                await matrix.said(call.send(matrix.payments.gateway, found.request))
                await matrix.meets(case, call, found, wrong, state=ANSWERED, said=OK)
            else:
                await matrix.meets(case, call, subject, wrong, state=UNKNOWN, said=call.said_of_unknown)
        await matrix.settled(name, call, subject)
        matrix.expect(name, "the call in the end", await matrix.row(subject), ANSWERED)
    assert not matrix.deviations, "\n".join(matrix.deviations)


@pytest.mark.parametrize("name", NAMES)
async def test_what_follows_from_each_answer_after_a_lost_one_in_the_same_call(
    matrix: Matrix, name: str, answers: Answers
) -> None:
    call = CALLS[name]
    for words, wrong in answers(name):
        if wrong.first == UNKNOWN:  # after one that says as little
            continue
        for after in (False, True):
            case = f"{name}, {words}, after a lost answer {'after' if after else 'before'} the effect"
            subject = await call.prepared(matrix.payments)
            await matrix.lose(call, after=after, times=1)
            await matrix.meets(case, call, subject, wrong, state=UNKNOWN, said=call.said_of_unknown)
            await matrix.settled(case, call, subject)
    assert not matrix.deviations, "\n".join(matrix.deviations)


def _first(name: str, words: str, *, after: bool) -> tuple[str, str]:
    """Return what becomes of a call whose first tries meet only this, and what its caller hears."""
    call, wrong = CALLS[name], WRONG[words]
    is_refused = wrong.first == REFUSED
    if words == "404 of the object" and call.creates:  # it names nothing that we know to exist
        is_refused = True
    if is_refused:
        return (call.became_of_found, call.said_of_found) if after else (REFUSED, STRIPE_REFUSED)
    return wrong.first, wrong.said if wrong.first == WITHDRAWN else call.said_of_unknown


@pytest.mark.parametrize("name", NAMES)
async def test_a_refusal_counts_on_a_repeat_once_it_is_replayed(matrix: Matrix, name: str) -> None:
    call = CALLS[name]
    for history in (REPEAT, WITHIN):
        for after in (False, True):
            case = f"{name}, {history}, {'after' if after else 'before'} the effect"
            subject = await call.prepared(matrix.payments)
            await matrix.lose(call, after=after, times=TRIES if history == REPEAT else 1)
            if history == REPEAT:
                await matrix.said(call.send(matrix.payments.gateway, subject.request))
            await matrix.stripe.fault("invalid", route=call.route, stored=True, code="odd", param="amount")

            said = await matrix.said(call.send(matrix.payments.gateway, subject.request))

            matrix.expect(case, "the answer", said, OK if after else STRIPE_REFUSED)
            matrix.expect(case, "the call", await matrix.row(subject), ANSWERED if after else REFUSED)
            await matrix.settled(case, call, subject)
            effects = await call.effects(matrix.payments, subject.payment_id)
            matrix.expect(case, "the effects", effects, int(after))
    assert not matrix.deviations, "\n".join(matrix.deviations)


@pytest.mark.parametrize("name", NAMES)
async def test_a_failure_that_is_replayed_is_settled_by_reading_and_stays_unknown_while_that_fails(
    matrix: Matrix, name: str, answers: Answers
) -> None:
    call = CALLS[name]
    for after in (False, True):
        subject = await call.prepared(matrix.payments)
        await matrix.stripe.fault("server_error", route=call.route, stored=True, after=after)
        for words, wrong in answers(name):
            case = f"{name}, reading: {words}, {'after' if after else 'before'} the effect"
            await matrix.meets(case, call, subject, wrong, route=call.reading, state=UNKNOWN, said=call.said_of_unknown)
        await matrix.settled(name, call, subject)
        effects = await call.effects(matrix.payments, subject.payment_id)
        matrix.expect(name, "an effect is lost", after and not effects, False)
    assert not matrix.deviations, "\n".join(matrix.deviations)


async def test_a_reading_concludes_nothing_but_from_an_answer(matrix: Matrix) -> None:
    gateway, payment_id = matrix.payments.gateway, await matrix.payments.created()
    before = await matrix.payments.seen(payment_id)
    for words, wrong in WRONG.items():
        await matrix.stripe.fault(**wrong.fault, route=READ, times=None)
        expected = wrong.said if wrong.first == WITHDRAWN else UNAVAILABLE
        for name, call in {
            "sync": gateway.SyncIntent(intents_pb2.SyncIntentRequest(payment_id=payment_id)),
            "secret": gateway.GetIntent(intents_pb2.GetIntentRequest(payment_id=payment_id, with_secret=True)),
        }.items():
            matrix.expect(f"{name}, {words}", "the answer", await matrix.said(call), expected)
        await matrix.stripe.clear_faults()
    assert not matrix.deviations, "\n".join(matrix.deviations)
    assert await matrix.payments.seen(payment_id) == before


async def test_customers_and_accounts_are_made_once_stripe_takes_them(matrix: Matrix) -> None:
    gateway, payments = matrix.payments.gateway, matrix.payments
    for words, wrong in WRONG.items():
        for after in (False, True):
            case = f"{words}, {'after' if after else 'before'} the effect"
            for route, kind in (("POST /v1/customers", "customer"), ("POST /v1/accounts", "account")):
                await matrix.stripe.fault(**wrong.fault, route=route, times=None, after=after)
                if kind == "customer":
                    payer_id = new_id("payer")
                    asked: Any = payments.create_request(payer=payer_pb2.Payer(payer_id=payer_id))
                    of_it = {"metadata.payer_id": payer_id}
                    send: Callable[[Any], Awaitable[Message]] = gateway.CreateIntent
                else:
                    asked, send = payments.put_seller_request(), gateway.PutSellerAccount
                    of_it = {"metadata.seller_id": asked.seller_id}
                expected = wrong.said if wrong.first != REFUSED and words != "404 of the object" else STRIPE_REFUSED
                matrix.expect(f"{kind}, {case}", "the answer", await matrix.said(send(asked)), expected)
                await matrix.stripe.clear_faults()
                matrix.expect(f"{kind}, {case}", "the answer in the end", await matrix.said(send(asked)), OK)
                made = len(await matrix.stripe.objects(kind, **of_it))
                # One that Stripe made and says it refused stays there, without any use.
                matrix.expect(f"{kind}, {case}", "made", made, 2 if after and expected == STRIPE_REFUSED else 1)
    assert not matrix.deviations, "\n".join(matrix.deviations)
