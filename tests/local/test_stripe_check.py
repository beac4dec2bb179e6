"""`batzen stripe check`: what an account lacks is said, with what to do; of one that lacks nothing too."""

from __future__ import annotations

import ast
from collections.abc import AsyncIterator, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import stripe

from local.stripe import findings, walk
from local.stripe.findings import Finding, State
from sandbox.control import SandboxControl
from sandbox.serving import running
from services.gateway.stripe_api import own_account
from services.gateway.webhooks.events import subscribed_types

SECRET = "whsec_0123456789abcdef"
OTHER_SECRET = "whsec_fedcba9876543210"
REPOSITORY = Path(__file__).parents[2]
WRITTEN_ALONE = {"/v1/account_links"}
"""What the gateway makes, and cannot read."""


def missing(found: Iterable[Finding]) -> list[str]:
    """Return what is missing, in words."""
    return [f"{one.about} {one.what}" for one in found if one.state is State.MISSING]


def noted(found: Iterable[Finding]) -> list[str]:
    return [one.what for one in found if one.state is State.NOTE]


def endpoint(**more: Any) -> dict[str, Any]:
    ours = {
        "id": "we_1",
        "url": "https://pay.example/webhooks/stripe",
        "status": "enabled",
        "enabled_events": subscribed_types(),
        "api_version": stripe.api_version,
    }
    return ours | more


def of_endpoint(**more: Any) -> list[Finding]:
    return list(findings.of_endpoints([endpoint(**more)], api_version=stripe.api_version, is_polled=True))


def test_an_endpoint_is_held_to_what_is_acted_on() -> None:
    assert [one.state for one in of_endpoint()] == [State.FINE]
    assert [one.state for one in of_endpoint(enabled_events=["*"])] == [State.FINE]
    assert of_endpoint(url="https://pay.example/other") == []  # somebody else's
    assert "is disabled" in missing(of_endpoint(status="disabled"))[0]
    lacking = [one for one in subscribed_types() if one != "refund.updated"]
    assert missing(of_endpoint(enabled_events=lacking)) == [
        "endpoint we_1 (/webhooks/stripe) does not get refund.updated"
    ]
    assert " more" in missing(of_endpoint(enabled_events=["charge.captured"]))[0]
    assert "renders events at 2020-08-27" in noted(of_endpoint(api_version="2020-08-27"))[0]
    of_accounts = of_endpoint(url="https://pay.example/webhooks/stripe/connect")
    assert "account.updated" in missing(of_accounts)[0]


def test_where_no_endpoint_leads_here_is_said_unless_events_are_read() -> None:
    none = list(findings.of_endpoints([], api_version="", is_polled=False))

    assert len(none) == 2
    assert missing(none) == []
    assert "/webhooks/stripe/connect" in none[1].do
    assert list(findings.of_endpoints([], api_version="", is_polled=True)) == []


@pytest.mark.parametrize(
    ("seconds", "state"),
    [
        (0, State.FINE),
        (-20, State.FINE),
        (40, State.NOTE),
        (-40, State.NOTE),
        (301, State.MISSING),
        (-301, State.MISSING),
    ],
)
def test_a_clock_that_would_have_webhooks_refused_is_said(seconds: float, state: State) -> None:
    found = findings.of_clock(timedelta(seconds=seconds))

    assert found.state is state
    assert ("ahead of" in found.what) is (state is not State.FINE and seconds > 0)


def test_secrets_are_told_from_what_is_none() -> None:
    def of(secrets: list[str], connect: list[str]) -> list[Finding]:
        return list(findings.of_secrets(secrets, connect, api_key="sk_test_1"))

    assert of([SECRET], [OTHER_SECRET]) == of([], []) == []
    assert missing(of(["sk_test_1"], []))[0].startswith("BATZEN_STRIPE_WEBHOOK_SECRETS ")
    assert missing(of([SECRET], ["we_1"]))[0].startswith("BATZEN_STRIPE_CONNECT_WEBHOOK_SECRETS ")
    assert "other endpoint" in noted(of([SECRET], [SECRET]))[0]
    assert not any(SECRET in str(one) for one in of([SECRET], [SECRET, "sk_test_1"]))


def test_how_events_arrive_is_said() -> None:
    def of(**how: Any) -> list[Finding]:
        ours = {"is_polled": "", "is_listed": True, "is_sellers_listed": True}
        return list(findings.of_events(**({"has_secret": False, "has_connect_secret": False} | ours | how)))

    assert [one.state for one in of(is_polled="2")] == [State.FINE]
    assert "cannot be read" in missing(of(is_polled="2", is_listed=False))[0]
    for written in ("never", "0", "3601", "2.5", "-1"):
        [said] = missing(of(is_polled=written))
        assert said.startswith(f"BATZEN_STRIPE_POLL_EVERY_S is {written!r} and is not a whole number from 1 to 3600")
    assert "of sellers' accounts cannot be read" in missing(of(is_polled="2", is_sellers_listed=False))[0]
    assert "of sellers' accounts" in missing(of(has_secret=True))[0]
    assert of(has_secret=True, has_connect_secret=True) == []


def test_an_account_says_what_it_may_not() -> None:
    own = {"id": "acct_1", "country": "CH", "default_currency": "chf", "charges_enabled": True}

    assert [one.state for one in findings.of_account(own)] == [State.FINE]
    assert "not activated" in noted(findings.of_account(own | {"charges_enabled": False}))[0]
    assert "twint_payments" in noted(findings.of_account(own | {"capabilities": {"twint_payments": "inactive"}}))[0]


# The whole walk, at the stand-in as if it were Stripe.


@pytest.fixture(scope="module")
async def stand_in() -> AsyncIterator[SandboxControl]:
    async with running() as sandbox, SandboxControl(sandbox.base_url) as control:
        yield control


async def walked(stand_in: SandboxControl, key: str, **more: str) -> list[Finding]:
    return await walk.walk({"STRIPE_API_KEY": key, "STRIPE_API_BASE": stand_in.base_url} | more)


async def seller(stand_in: SandboxControl, key: str) -> str:
    """Make a connected account, and return its id."""
    client = stripe.StripeClient(key, base_addresses={"api": stand_in.base_url}, http_client=stripe.HTTPXClient())
    account = await client.v1.accounts.create_async(
        {
            "country": "CH",
            "controller": {"stripe_dashboard": {"type": "express"}},
            "capabilities": {"transfers": {"requested": True}},
        }
    )
    return account.id


async def test_who_has_set_nothing_up_is_told_from_the_beginning(stand_in: SandboxControl) -> None:
    assert await walk.walk({}) == [walk.NO_KEY]
    assert "is a live key" in missing(await walk.walk({"STRIPE_API_KEY": "sk_live_1"}))[0]
    nowhere = {"STRIPE_API_KEY": "sk_test_1", "STRIPE_API_BASE": "http://127.0.0.1:1"}
    assert "cannot be asked at http://127.0.0.1:1" in missing(await walk.walk(nowhere))[0]
    await stand_in.revoke_key("sk_test_gone_1")
    assert "does not take" in missing(await walked(stand_in, "sk_test_gone_1"))[0]


async def test_a_fresh_account_lacks_a_seller_and_then_nothing(stand_in: SandboxControl) -> None:
    key = "sk_test_fresh_1"
    assert missing(await walked(stand_in, key)) == ["connect there is no connected account, so no seller can be paid"]

    account_id = await seller(stand_in, key)
    await stand_in.set_capability(account_id, "transfers", active=False)
    assert "may be transferred to yet" in missing(await walked(stand_in, key))[0]
    await stand_in.set_capability(account_id, "transfers", active=True)
    found = await walked(stand_in, key)
    assert missing(found) == []
    assert any("are read every 2 s" in one.what for one in found)


async def test_a_clock_is_held_to_what_stripe_says_with_its_answers() -> None:
    async with running() as sandbox, SandboxControl(sandbox.base_url) as late:  # nobody else's clock is moved
        before = await walked(late, "sk_test_late_1")
        await late.advance(1_000)
        found = await walked(late, "sk_test_late_1")

    assert not any("every webhook would be refused" in one for one in missing(before))
    assert any("behind Stripe's: every webhook would be refused" in one for one in missing(found))


async def test_a_restricted_key_is_told_what_it_may_not_read(stand_in: SandboxControl) -> None:
    await stand_in.fault("forbidden", route="GET /v1/transfers", times=None)
    await stand_in.fault("forbidden", route="GET /v1/events", times=None)
    try:
        found = missing(await walked(stand_in, "rk_test_fresh_2"))
    finally:
        await stand_in.clear_faults()

    assert "key may not read transfers" in found
    assert "events cannot be read by this key" in found


async def test_a_restricted_key_is_told_what_of_sellers_accounts_it_may_not_read(stand_in: SandboxControl) -> None:
    """For what a connected account has of its own such a key has permissions of their own."""
    key = "rk_test_fresh_3"
    await stand_in.set_capability(await seller(stand_in, key), "transfers", active=True)
    assert not any("may not" in one or "cannot be read" in one for one in missing(await walked(stand_in, key)))
    await stand_in.fault("forbidden", route="GET /v1/*", account="acct_*", times=None)
    try:
        found = await walked(stand_in, key)
        pushed = await walked(stand_in, key, BATZEN_STRIPE_WEBHOOK_SECRETS=SECRET)
    finally:
        await stand_in.clear_faults()

    assert missing(found) == [
        "key may not read payouts of connected accounts",
        "events of sellers' accounts cannot be read by this key",
    ]
    assert not any("cannot be read" in one for one in missing(pushed))  # nobody reads them


def test_what_the_gateway_reads_is_what_a_key_is_tried_at() -> None:
    """Each list of Stripe's that a path of the gateway's begins with."""
    named = {
        node.value.rstrip("/")
        for file in (REPOSITORY / "services" / "gateway").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("/v1/")
    } - {"/v1"}

    elsewhere = {own_account.PATH, walk.ACCOUNTS, walk.EVENTS}
    assert named - elsewhere - WRITTEN_ALONE == set(walk.READ.values())
    assert named > elsewhere | WRITTEN_ALONE
    assert set(walk.READ_OF_SELLERS.values()) <= named
