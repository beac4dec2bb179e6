"""Stripe's key is replaced in its file while money moves: no call fails, and a key of another account is never used."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from sandbox.control import SandboxControl
from services import gateway
from services.errors import ServiceError
from services.gateway.errors import StripeUnavailable
from services.gateway.metrics import STRIPE_KEY_REFUSED
from services.gateway.settings import stripe_key as key_form
from services.gateway.stripe_api.key_rotation import ASK_AGAIN_EVERY, KeyRotation
from services.runtime.observability.metrics import Meter
from services.runtime.process.followed import FollowedFile
from tests.eventually import eventually
from tests.gateway.conftest import Gateway
from tests.gateway.samples import Payments, refused
from tests.logged import said_by
from tests.mounts import Mount

OWN_ACCOUNT = "GET /v1/account"


class Rotated:
    """A gateway's key as it is mounted, looked at when a test says so."""

    def __init__(self, folder: Path, replica: Gateway, *, in_use: str) -> None:
        self.mount = Mount(folder / "stripe", {"api-key": in_use})
        self.meter = Meter()
        key = FollowedFile(self.mount.path("api-key"), key_form(is_live=False).parse, name="STRIPE_API_KEY")
        self._rotation = KeyRotation(
            key,
            replica.parts.provider,
            replica.parts.account,
            in_use=in_use,
            is_refused=self.meter.gauge(STRIPE_KEY_REFUSED),
        )

    async def becomes(self, content: str) -> None:
        self.mount.replace({"api-key": content})
        await self.look()

    async def look(self) -> None:
        await self._rotation.look()

    async def is_refused(self) -> bool:
        figures = (await self.meter.text()).decode()
        return f"\n{STRIPE_KEY_REFUSED.name} 1.0\n" in figures


class Load:
    """Payments that are paid one after the other, until told to stop."""

    def __init__(self, payments: Payments) -> None:
        self.paid = 0
        self._payments = payments

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async def pay_for_ever() -> None:
            while True:
                await self._payments.paid()
                self.paid += 1

        task = asyncio.create_task(pay_for_ever())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})
        assert task.cancelled(), f"a call failed: {task}"

    async def goes_on(self) -> None:
        """Wait until a payment was begun and paid after this."""
        until = self.paid + 2
        await eventually(lambda: self.paid >= until)


@pytest.fixture
async def rotated(replica: Gateway, stripe_key: str, tmp_path: Path) -> AsyncIterator[Rotated]:
    rotated = Rotated(tmp_path, replica, in_use=stripe_key)
    yield rotated
    await rotated.becomes(stripe_key)


def another_of(stripe_key: str) -> str:
    """Return another key of the same account at the stand-in."""
    return f"{stripe_key}_{secrets.token_hex(8)}"


def errors_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in said_by(gateway, caplog) if record.levelno == logging.ERROR]


async def test_no_call_fails_while_the_key_is_replaced_and_the_old_one_revoked(
    rotated: Rotated, payments: Payments, replica: Gateway, stripe: SandboxControl, stripe_key: str
) -> None:
    load, first, second = Load(payments), another_of(stripe_key), another_of(stripe_key)

    async with load.running():
        await load.goes_on()
        await rotated.becomes(first)
        await load.goes_on()  # what was begun by the old key has ended
        await rotated.becomes(second)
        await load.goes_on()
        await stripe.revoke_key(first)
        await load.goes_on()
        for nothing_good in ("", "sk_live_hunter2", "hunter2"):
            await rotated.becomes(nothing_good)
            await load.goes_on()

    await stripe.revoke_key(second)  # what shows that it is the one that is used
    request = payments.create_request()
    async with replica.connect() as gateway:
        assert (await refused(gateway.CreateIntent(request)))[1] == "STRIPE_UNAVAILABLE"
    assert not await rotated.is_refused()


async def test_a_key_of_another_account_or_of_none_is_not_used_and_said(
    rotated: Rotated,
    payments: Payments,
    stripe: SandboxControl,
    stripe_key: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    other, expired = f"sk_test_{secrets.token_hex(16)}", another_of(stripe_key)
    await stripe.revoke_key(expired)

    for key, problem in ((other, "opens account"), (expired, "does not take")):
        await rotated.becomes(key)

        said = errors_in(caplog)
        assert problem in said[-1]
        assert key not in caplog.text
        assert await rotated.is_refused()
        assert await payments.paid()
        for _ in range(ASK_AGAIN_EVERY - 1):
            await rotated.look()
        assert errors_in(caplog) == said
        await rotated.look()
        assert len(errors_in(caplog)) == len(said) + 1

    await rotated.becomes(another_of(stripe_key))
    assert not await rotated.is_refused()
    assert await payments.paid()


async def test_while_stripe_is_away_the_old_key_stays_and_the_new_one_is_tried_again(
    rotated: Rotated, stripe: SandboxControl, stripe_key: str
) -> None:
    new = another_of(stripe_key)
    await stripe.fault("server_error", route=OWN_ACCOUNT, times=1)

    with pytest.raises(StripeUnavailable) as caught:
        await rotated.becomes(new)
    assert isinstance(caught.value, ServiceError)  # which the loop tries again
    await stripe.clear_metrics()
    await rotated.look()
    await rotated.look()

    assert (await stripe.metrics())[OWN_ACCOUNT]["count"] == 1
