"""Sellers' accounts that are kept for a moment: none outlives its age or a change, and an old one pays nobody else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from grpc import StatusCode

from sandbox.control import SandboxControl
from services.gateway.sellers import recent
from services.gateway.sellers.domain import SellerAccount
from services.gateway.sellers.recent import AGE_MAX, RecentAccounts
from services.runtime.rpc import call_context
from tests.clock import Clock
from tests.gateway.conftest import Gateway
from tests.gateway.samples import Payments, new_id, refusal
from tests.gateway.stubs import GatewayStubs

ACCOUNT = SellerAccount(
    seller_id="seller_1",
    stripe_account_id="acct_1",
    charges_enabled=True,
    payouts_enabled=True,
    transfers_enabled=True,
    gone=False,
)


@pytest.fixture
def time() -> Clock:
    return Clock()


@pytest.fixture
def accounts(time: Clock) -> RecentAccounts:
    return RecentAccounts(now=time.now)


def keep(accounts: RecentAccounts, time: Clock, account: SellerAccount = ACCOUNT) -> None:
    accounts.keep("main", account, read_time=time.now(), changes=accounts.changes)


def test_an_account_is_kept_for_its_tenant_until_it_is_too_old(accounts: RecentAccounts, time: Clock) -> None:
    keep(accounts, time)

    assert accounts.find("main", "seller_1") is ACCOUNT
    assert accounts.find("other", "seller_1") is None
    time.advance(AGE_MAX)
    assert accounts.find("main", "seller_1") is None


@pytest.mark.parametrize("lacking", [replace(ACCOUNT, transfers_enabled=False), replace(ACCOUNT, gone=True)])
def test_an_account_that_cannot_be_paid_is_not_kept(
    accounts: RecentAccounts, time: Clock, lacking: SellerAccount
) -> None:
    keep(accounts, time, lacking)

    assert accounts.find("main", "seller_1") is None


def test_what_was_read_before_a_change_is_not_kept_after_it(accounts: RecentAccounts, time: Clock) -> None:
    keep(accounts, time)
    changes = accounts.changes

    accounts.drop("main", "seller_1")

    assert accounts.find("main", "seller_1") is None
    accounts.keep("main", ACCOUNT, read_time=time.now(), changes=changes)
    assert accounts.find("main", "seller_1") is None


def test_no_more_are_kept_than_there_is_room_for(
    accounts: RecentAccounts, time: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recent, "KEPT_MAX", 2)
    for number in range(3):
        keep(accounts, time, replace(ACCOUNT, seller_id=f"seller_{number}"))

    found = [accounts.find("main", f"seller_{number}") is not None for number in range(3)]
    assert found == [False, True, True]


async def test_what_another_process_saw_of_a_seller_is_not_needed_for_stripe_to_refuse_and_the_next_account_is_paid(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl, start_gateway: Callable[[], Any]
) -> None:
    account = await payments.prepare_seller(new_id("seller"))
    seller = {"seller_id": account.seller_id}
    await gateway.CreateIntent(payments.create_request(**seller))  # from here on the account is kept
    request = payments.create_request(**seller)

    other: Gateway
    async with start_gateway() as other, other.connect() as at_other:
        await stripe.disconnect_account(account.stripe_account_id)
        with call_context.acting_for("main"):
            assert await other.parts.sellers.read_again("main", account.stripe_account_id)
        assert await refusal(gateway.CreateIntent(request)) == (StatusCode.FAILED_PRECONDITION, "SELLER_NOT_PAYABLE")
        another = (await at_other.PutSellerAccount(payments.put_seller_request(**seller))).account

    await gateway.CreateIntent(request)

    (intent,) = await payments.intents(request.payment_id)
    assert intent["transfer_data"]["destination"] == another.stripe_account_id != account.stripe_account_id
