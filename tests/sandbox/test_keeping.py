"""The state file: a stand-in that is started again is the one that ended, by a signal or by a kill."""

from __future__ import annotations

import ast
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import stripe

from local.ports import free_ports
from sandbox import keeping, schema
from sandbox.control import Refused, SandboxControl
from sandbox.keeper import Keeper
from sandbox.serving import running
from sandbox.settings import Settings
from sandbox.state import Sandbox
from tests.eventually import WITHIN_S
from tests.sandbox.processes import serving, started
from tests.sandbox.samples import Api, Receiver, connected, debited, opened, paid, seller, set_up

KEY = "sk_test_kept"
DAY_S = 86_400
DECLINED = "pm_card_chargeDeclinedInsufficientFunds"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    port = free_ports()["sandbox"]
    return Settings(port=port, retry_backoff_s=0.01, check_answers=True, state_file=tmp_path / "state.db", seed=7)


@asynccontextmanager
async def _run(settings: Settings) -> AsyncIterator[tuple[Api, SandboxControl]]:
    async with running(settings) as sandbox, SandboxControl(sandbox.base_url) as control, connected(sandbox) as connect:
        yield connect(KEY), control


async def _declined(control: SandboxControl, url: str) -> None:
    with pytest.raises(Refused):
        await control.pay_session(url, payment_method=DECLINED)


async def test_sessions_and_what_they_refer_to_are_there_after_a_restart(settings: Settings) -> None:
    async with _run(settings) as (v1, control):
        account = await seller(v1)
        customer = await v1.customers.create_async({"email": "payer@example.com"})
        split = {"application_fee_amount": 700, "transfer_data": {"destination": account}, "metadata": {"of": "intent"}}
        session = await opened(v1, customer=customer.id, payment_intent_data=split)
        await _declined(control, session.url)
        tried = await v1.checkout.sessions.retrieve_async(session.id)
        waiting = await opened(v1)
        bank = await control.pay_session(waiting.url, payment_method="pm_card_threeDSecure2Required")
        kept = await v1.payment_methods.attach_async("pm_card_visa", {"customer": customer.id})

    async with _run(settings) as (v1, control):
        again = await v1.checkout.sessions.retrieve_async(session.id, {"expand": ["line_items"]})
        assert (again.status, again.url, again.payment_intent) == ("open", session.url, tried.payment_intent)
        assert [item.description for item in again.line_items.data] == ["A lesson"]
        await control.pay_session(session.url)
        await control.answer_3ds(bank, succeed=True)

        done = await v1.checkout.sessions.retrieve_async(session.id, {"expand": ["payment_intent"]})
        assert (done.payment_status, done.payment_intent.application_fee_amount) == ("paid", 700)
        assert done.payment_intent.metadata.to_dict() == {"of": "intent"}
        assert (await v1.checkout.sessions.retrieve_async(waiting.id)).payment_status == "paid"
        methods = await v1.customers.payment_methods.list_async(customer.id)
        assert [method.id for method in methods.data] == [kept.id]
        assert (await paid(v1, card=kept.id, customer=customer.id)).status == "succeeded"


async def test_what_was_due_later_is_still_due_by_the_same_clock(settings: Settings) -> None:
    async with _run(settings) as (v1, control):
        await control.advance(10 * DAY_S)
        at = await control.now()
        session = await opened(v1)
        debit, held = await debited(v1), await paid(v1, capture_method="manual")
        refunded = await paid(v1, card="pm_card_pendingRefund")
        refund = await v1.refunds.create_async({"payment_intent": refunded.id})
        failing = await paid(v1, card="pm_card_refundFail")
        unsound = await v1.refunds.create_async({"payment_intent": failing.id})
        contested = await paid(v1, card="pm_card_createDispute")
        late = await control.dispute((await paid(v1)).id, moves_after_s=3_600)
        answered = await control.dispute((await paid(v1)).id, returns_fee=True)
        won = {"uncategorized_text": "winning_evidence"}
        await v1.disputes.update_async(answered["id"], {"evidence": won, "submit": True})
        unanswered = await control.dispute((await paid(v1)).id, due_in_s=7 * DAY_S)
        unsettled = await paid(v1)

    async with _run(settings) as (v1, control):
        assert await control.now() >= at
        await control.settle()
        assert (await v1.refunds.retrieve_async(refund.id)).status == "succeeded"
        assert (await v1.refunds.retrieve_async(unsound.id)).status == "failed"
        assert (await v1.charges.retrieve_async(contested.latest_charge.id)).disputed
        assert (await v1.charges.retrieve_async(unsettled.latest_charge.id)).balance_transaction is not None
        await control.advance(DAY_S + 1)
        assert (await v1.checkout.sessions.retrieve_async(session.id)).status == "expired"
        assert [entry.net for entry in (await v1.disputes.retrieve_async(late["id"])).balance_transactions] == [-11_500]
        answered = await v1.disputes.retrieve_async(answered["id"])
        assert (answered.status, sum(entry.net for entry in answered.balance_transactions)) == ("won", 0)
        await control.advance(6 * DAY_S)
        assert (await v1.disputes.retrieve_async(unanswered["id"])).status == "lost"
        assert (await v1.payment_intents.retrieve_async(debit.id)).status == "succeeded"
        assert (await v1.payment_intents.retrieve_async(held.id)).status == "canceled"


async def test_a_key_that_was_used_is_still_used(settings: Settings) -> None:
    params = {"amount": 500, "currency": "chf"}
    async with _run(settings) as (v1, control):
        first = await v1.payment_intents.create_async(params, {"idempotency_key": "once"})
        customer = await v1.customers.create_async({})
        await v1.customers.delete_async(customer.id)

    async with _run(settings) as (v1, control):
        second = await v1.payment_intents.create_async(params, {"idempotency_key": "once"})
        other = await v1.payment_intents.create_async(params)

        assert second.id == first.id != other.id
        assert (await control.counts())["payment_intent"] == 2
        assert (await v1.customers.retrieve_async(customer.id)).deleted
        assert (await v1.customers.list_async()).data == []


async def test_an_event_nobody_took_is_delivered_after_the_restart(settings: Settings, receiver: Receiver) -> None:
    wanted = replace(settings, webhook_url=receiver.url, webhook_secrets=("whsec_old",))
    async with _run(wanted) as (v1, control):
        await v1.customers.create_async({})
        await control.drain()
        await control.webhooks(hold=True)
        await paid(v1)
    assert receiver.types("whsec_old") == ["customer.created"]

    async with _run(replace(wanted, webhook_secrets=("whsec_new",))) as (_, control):
        await control.drain()

    after = [
        stripe.Webhook.construct_event(body, signature, "whsec_new").type for body, signature in receiver.deliveries[1:]
    ]
    assert sorted(after) == ["charge.succeeded", "charge.updated", "payment_intent.created", "payment_intent.succeeded"]


async def test_a_killed_stand_in_has_what_it_wrote(tmp_path: Path) -> None:
    file, port = tmp_path / "state.db", free_ports()["sandbox"]
    async with serving(port, BATZEN_SANDBOX_STATE=str(file)) as (process, control):
        async with _client(control.base_url) as v1:
            session = await opened(v1)
        process.kill()
        await process.wait()
    assert file.stat().st_mode & 0o777 == 0o600

    async with serving(port, BATZEN_SANDBOX_STATE=str(file)) as (_, control):
        assert (await control.pay_session(session.url)).startswith("https://shop.example/done")
        assert (await control.objects("checkout.session", id=session.id))[0]["payment_status"] == "paid"


async def test_an_event_that_was_posted_is_known_after_a_kill(tmp_path: Path, receiver: Receiver) -> None:
    """Whatever our services were told of is there again, however soon after it the process was killed."""
    port = free_ports()["sandbox"]
    settings = {
        "BATZEN_SANDBOX_STATE": str(tmp_path / "state.db"),
        "BATZEN_SANDBOX_WEBHOOK_URL": receiver.url,
        "BATZEN_SANDBOX_WEBHOOK_SECRET": "whsec_one",
    }
    async with serving(port, **settings) as (process, control):
        receiver.then = process.kill
        async with _client(control.base_url) as v1:
            with contextlib.suppress(stripe.APIConnectionError):
                await v1.customers.create_async({})
        await process.wait()
    [told, *_] = receiver.events("whsec_one")

    async with serving(port, **settings) as (_, control):
        assert [event["type"] for event in await control.objects("event", id=told.id)] == ["customer.created"]


def test_a_change_that_nobody_noted_is_found(settings: Settings) -> None:
    """What `differences` is for: a world's object was changed by somebody who did not get it from its world."""
    sandbox = Sandbox(settings, schema=schema.load(), port=1)
    keeper = Keeper(sandbox, settings.state_file or Path())
    customer = sandbox.account(KEY).world.add({"id": "cus_1", "object": "customer", "name": "Anna"})
    assert keeper.differences() == []

    customer["name"] = "Berta"

    assert keeper.differences() == [("kept", "cus_1")]
    with pytest.raises(RuntimeError, match="did not note it"):
        keeper.close()


@asynccontextmanager
async def _client(base_url: str) -> AsyncIterator[Api]:
    http = stripe.HTTPXClient(timeout=WITHIN_S)
    yield stripe.StripeClient(KEY, base_addresses={"api": base_url}, http_client=http, max_network_retries=0).v1
    await http.close_async()


async def test_a_file_it_cannot_read_is_named_and_left_alone(settings: Settings) -> None:
    file = settings.state_file or Path()
    file.write_text("{")

    with pytest.raises(ValueError, match=r"state\.db does not hold the state of this stand-in"):
        async with running(settings):
            pass

    assert file.read_text() == "{"


async def test_the_state_of_another_version_is_refused(settings: Settings) -> None:
    async with _run(settings) as (v1, _):
        await v1.customers.create_async({})
    with contextlib.closing(sqlite3.connect(settings.state_file or "")) as database, database:
        database.execute("UPDATE about SET value = '4' WHERE name = 'format'")

    with pytest.raises(ValueError, match=r"state\.db does not hold the state of this stand-in"):
        async with running(settings):
            pass


async def test_a_file_is_of_one_stand_in_at_a_time(settings: Settings) -> None:
    async with running(settings):
        with pytest.raises(ValueError, match="another stand-in may run on it"):
            async with running(replace(settings, port=0)):
                pass


async def test_a_file_it_cannot_read_ends_it_with_one_line(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_text("{")

    process = await started(free_ports()["sandbox"], BATZEN_SANDBOX_STATE=str(tmp_path / "state.db"))
    _, errors = await process.communicate()

    assert (process.returncode, errors.count(b"\n")) == (1, 1)


def test_whatever_an_account_holds_is_in_the_file(settings: Settings) -> None:
    """A new attribute of a world is either kept, or belongs to the process and stands here."""
    of_the_process = {"account_id", "settings", "clock", "agenda", "api_version", "base_url", "cause", "followers"}
    of_the_process |= {"platform"}  # of a connected account: whoever keeps it
    of_the_process |= {"balance"}  # the sum of what is kept
    sandbox = Sandbox(settings, schema=schema.load(), port=1)
    world = sandbox.open_account("one").world

    held = {name for name in vars(world) if not name.startswith("_")}

    assert held - of_the_process == keeping.KEPT


def test_whatever_falls_due_later_is_taken_up_after_a_restart() -> None:
    """A module that puts something on the agenda has a function that does so again, and keeping.py calls it."""
    folder = Path(keeping.__file__).parent
    waiting = {file.stem for file in folder.glob("*.py") if "world.later(" in file.read_text()}
    calls = {
        node.func.value.id
        for node in ast.walk(ast.parse(Path(keeping.__file__).read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.attr in ("arm", "take_up")
    }

    assert calls == waiting


async def test_a_kept_card_goes_on_declining_and_a_hold_ends_in_its_time(settings: Settings) -> None:
    often = {"card": {"request_multicapture": "if_available"}}
    async with _run(settings) as (v1, control):
        customer = await v1.customers.create_async({})
        setup = await set_up(v1, customer=customer.id)
        await control.decline_charges(setup.payment_method, "insufficient_funds", times=2)
        with pytest.raises(stripe.CardError):
            await paid(v1, card=setup.payment_method, customer=customer.id, off_session=True)
        held = await paid(v1, capture_method="manual", payment_method_options=often)
        await v1.payment_intents.capture_async(held.id, {"amount_to_capture": 4_000, "final_capture": False})

    async with _run(settings) as (v1, control):
        with pytest.raises(stripe.CardError):
            await paid(v1, card=setup.payment_method, customer=customer.id, off_session=True)
        assert (await paid(v1, card=setup.payment_method, customer=customer.id)).status == "succeeded"
        await control.advance(7 * DAY_S)
        held = await v1.payment_intents.retrieve_async(held.id)
        assert (held.status, held.amount_received) == ("succeeded", 4_000)


async def test_money_is_where_it_was_after_a_restart(settings: Settings) -> None:
    async with _run(settings) as (v1, control):
        await control.settle_in(KEY, "chf", rates={"eur": "0.95"})
        account = await seller(v1)
        charge = await paid(v1, currency="eur", capture_method="automatic")
        made = await v1.transfers.create_async(
            {
                "amount": 5_000,
                "currency": "chf",
                "destination": account,
                "source_transaction": charge.latest_charge.id,
            }
        )
        reversal = await v1.transfers.reversals.create_async(made.id, {"amount": 1_000})
        before = [await control.balance(one) for one in (KEY, account)]
        await control.top_up(KEY, 700, currency="chf")
        payout = await control.pay_out(KEY, currency="chf")

    async with _run(settings) as (v1, control):
        assert [await control.balance(one) for one in (KEY, account)] == before
        await v1.transfers.reversals.update_async(made.id, reversal.id, {"metadata": {"seen": "yes"}})
        again = await v1.transfers.retrieve_async(made.id)
        assert (again.amount_reversed, again.reversals.data[0].metadata["seen"]) == (1_000, "yes")
        await control.settle()
        inside = (await v1.balance_transactions.list_async({"payout": payout["id"]})).data
        assert [row.type for row in inside] == ["payout", "topup"]
        assert (await v1.payouts.retrieve_async(payout["id"])).reconciliation_status == "completed"
        await control.advance(2 * DAY_S)
        assert (await v1.payouts.retrieve_async(payout["id"])).status == "paid"
        assert (await control.balance(account))["available"][0]["amount"] == 4_000
        assert (await paid(v1, currency="eur")).status == "succeeded"
