"""Connected accounts: what is theirs alone, where their events go, onboarding, payouts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import stripe

from local.ports import free_ports
from sandbox.control import Refused, SandboxControl
from sandbox.serving import running
from sandbox.settings import Settings
from tests.sandbox.samples import Api, Connect, Receiver, connected, seller

BACK = "http://127.0.0.1:1/back"
AGAIN = "http://127.0.0.1:1/again"
DOCUMENT = "individual.verification.document"


def code_of(error: stripe.StripeError) -> str:
    """The client takes the code of some refusals only."""
    return str(error.json_body["error"]["code"])


async def link_of(v1: Api, account_id: str, **params: str) -> Any:
    given = {"account": account_id, "type": "account_onboarding", "return_url": BACK, "refresh_url": AGAIN} | params
    return await v1.account_links.create_async(
        {name: value for name, value in given.items() if value} | {"collection_options": {"fields": "eventually_due"}}
    )


async def test_events_of_an_account_go_to_the_connect_endpoint_alone(
    v1: Api, control: SandboxControl, receiver: Receiver
) -> None:
    own = await v1.webhook_endpoints.create_async({"url": receiver.url, "enabled_events": ["*"]})
    others = await v1.webhook_endpoints.create_async({"url": receiver.url, "enabled_events": ["*"], "connect": True})
    account_id = await seller(v1)
    await v1.payment_intents.create_async({"amount": 500, "currency": "chf"})
    await control.set_capability(account_id, "transfers", active=False)
    await control.drain()

    signed: dict[str, list[Any]] = {own.secret: [], others.secret: []}
    for body, signature in receiver.deliveries:
        for secret, found in signed.items():
            try:
                found.append(stripe.Webhook.construct_event(body, signature, secret).to_dict())
            except stripe.SignatureVerificationError:
                continue
    assert [(one["type"], one.get("account")) for one in signed[own.secret]] == [("payment_intent.created", None)]
    assert sorted((one["type"], one["account"]) for one in signed[others.secret]) == [
        ("account.updated", account_id),
        ("capability.updated", account_id),
    ]
    listed = await v1.events.list_async({}, {"stripe_account": account_id})
    assert [event.type for event in listed.data] == ["account.updated", "capability.updated"]
    assert [event.type for event in (await v1.events.list_async()).data] == ["payment_intent.created"]


async def test_what_is_wanted_stops_an_account_at_its_deadline(fresh: tuple[Api, SandboxControl]) -> None:
    v1, control = fresh
    account_id = await seller(v1)
    await control.require(account_id, [DOCUMENT], deadline_s=3_600)

    waiting = await v1.accounts.retrieve_async(account_id)
    assert (waiting.charges_enabled, waiting.requirements.currently_due) == (True, [DOCUMENT])
    assert waiting.requirements.current_deadline > await control.now()

    await control.advance(3_601)
    stopped = await v1.accounts.retrieve_async(account_id)
    assert (stopped.payouts_enabled, stopped.capabilities.transfers) == (False, "inactive")
    assert (stopped.requirements.past_due, stopped.requirements.disabled_reason) == (
        [DOCUMENT],
        "requirements.past_due",
    )


async def test_a_link_works_once_and_what_its_page_sends_off_makes_the_account_ready(
    v1: Api, control: SandboxControl
) -> None:
    account_id = await seller(v1)
    await control.require(account_id, [DOCUMENT])
    link = await link_of(v1, account_id)

    assert (await v1.accounts.retrieve_async(account_id)).charges_enabled is False
    assert await control.onboard(link.url) == BACK
    ready = await v1.accounts.retrieve_async(account_id)
    assert (ready.charges_enabled, ready.capabilities.transfers, ready.requirements.eventually_due) == (
        True,
        "active",
        [],
    )

    await control.require(account_id, [DOCUMENT])
    assert await control.onboard(link.url) == AGAIN
    assert (await v1.accounts.retrieve_async(account_id)).charges_enabled is False


async def test_a_link_is_good_for_minutes(fresh: tuple[Api, SandboxControl]) -> None:
    v1, control = fresh
    link = await link_of(v1, await seller(v1))
    assert link.expires_at - link.created == 300

    await control.advance(300)

    assert await control.onboard(link.url) == AGAIN
    with pytest.raises(Refused) as caught:
        await control.onboard(link.url[:-1])
    assert caught.value.status == 404


@pytest.mark.parametrize(
    ("params", "status", "code"),
    [
        ({"account": "acct_nobody"}, 403, "account_invalid"),
        ({"return_url": ""}, 400, "parameter_missing"),
        ({"refresh_url": "shop.example"}, 400, "url_invalid"),
        ({"type": "account_update"}, 501, "sandbox_not_modelled"),
    ],
)
async def test_a_link_that_cannot_be_made_is_refused(v1: Api, params: dict[str, str], status: int, code: str) -> None:
    with pytest.raises(stripe.StripeError) as caught:
        await link_of(v1, await seller(v1), **params)

    assert (caught.value.http_status, code_of(caught.value)) == (status, code)


async def test_a_payout_is_its_accounts_own_and_may_come_back(v1: Api, control: SandboxControl) -> None:
    account_id, other_id = await seller(v1), await seller(v1)
    payout = await control.pay_out(account_id, amount=8_500, currency="chf")
    for status in ("in_transit", "paid"):
        await control.move_payout(payout["id"], status)
    await control.reconcile_payout(payout["id"])

    failed = await control.move_payout(payout["id"], "failed", failure_code="no_account")

    assert (failed["status"], failed["failure_code"]) == ("failed", "no_account")
    with pytest.raises(Refused):
        await control.move_payout(payout["id"], "paid")
    of_account = {"stripe_account": account_id}
    listed = (await v1.payouts.list_async({"status": "failed"}, of_account)).data
    assert [(one.id, one.reconciliation_status) for one in listed] == [(payout["id"], "completed")]
    assert (await v1.payouts.retrieve_async(payout["id"], {}, of_account)).id == payout["id"]
    types = [event.type for event in (await v1.events.list_async({}, of_account)).data]
    assert types[::-1] == [
        "payout.created",
        "payout.updated",
        "payout.paid",
        "payout.reconciliation_completed",
        "payout.failed",
    ]
    for elsewhere in ({}, {"stripe_account": other_id}):
        assert (await v1.payouts.list_async({}, elsewhere)).data == []
        with pytest.raises(stripe.InvalidRequestError):
            await v1.payouts.retrieve_async(payout["id"], {}, elsewhere)


async def test_nothing_else_is_done_for_an_account_and_nothing_for_a_stranger(v1: Api, connect: Connect) -> None:
    account_id = await seller(v1)

    with pytest.raises(stripe.StripeError) as caught:
        await v1.payment_intents.list_async({}, {"stripe_account": account_id})
    assert caught.value.http_status == 501
    with pytest.raises(stripe.StripeError) as caught:
        await connect().payouts.list_async({}, {"stripe_account": account_id})
    assert (caught.value.http_status, code_of(caught.value)) == (403, "account_invalid")


async def test_a_seller_who_takes_access_back_is_heard_of_once_more(v1: Api, control: SandboxControl) -> None:
    account_id = await seller(v1)
    await control.disconnect_account(account_id)

    events = await control.objects("event", account=account_id)

    assert [(event["type"], event["data"]["object"]["object"]) for event in events] == [
        ("account.application.deauthorized", "application")
    ]
    with pytest.raises(stripe.StripeError) as caught:
        await v1.accounts.retrieve_async(account_id)
    assert code_of(caught.value) == "account_invalid"


async def test_what_accounts_have_is_there_after_a_restart(tmp_path: Path) -> None:
    settings = Settings(port=free_ports()["sandbox"], check_answers=True, state_file=tmp_path / "state.json", seed=7)
    async with running(settings) as sandbox, SandboxControl(sandbox.base_url) as control, connected(sandbox) as connect:
        v1 = connect("sk_test_kept")
        account_id = await seller(v1)
        payout = await control.pay_out(account_id, amount=100, currency="chf")
        await control.require(account_id, [DOCUMENT], deadline_s=3_600)
        link = await link_of(v1, account_id)

    async with running(settings) as sandbox, SandboxControl(sandbox.base_url) as control, connected(sandbox) as connect:
        v1 = connect("sk_test_kept")
        listed = (await v1.payouts.list_async({}, {"stripe_account": account_id})).data
        assert [one.id for one in listed] == [payout["id"]]
        await control.advance(3_601)
        assert (await v1.accounts.retrieve_async(account_id)).charges_enabled is False
        assert await control.onboard(link.url) == AGAIN
