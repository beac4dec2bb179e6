"""`python -m sandbox`: what it needs, that it serves, and that it ends."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from pathlib import Path

import httpx
import pytest
import stripe

from local.ports import free_ports
from sandbox.control import SandboxControl
from sandbox.settings import Settings
from tests.sandbox.processes import WAIT_S, serving, started
from tests.sandbox.samples import Receiver


async def test_it_serves_delivers_to_the_configured_endpoint_and_ends(receiver: Receiver) -> None:
    async with serving(
        BATZEN_SANDBOX_WEBHOOK_URL=receiver.url,
        BATZEN_SANDBOX_WEBHOOK_SECRET="whsec_new,whsec_old",
        BATZEN_SANDBOX_WEBHOOK_EVENTS="payment_intent.created,charge.failed",
    ) as (process, control):
        http = stripe.HTTPXClient(timeout=WAIT_S)
        client = stripe.StripeClient("sk_test_x", base_addresses={"api": control.base_url}, http_client=http)
        await client.v1.payment_intents.create_async({"amount": 500, "currency": "chf"})
        await http.close_async()
        await control.drain()

        process.send_signal(signal.SIGTERM)

        output, errors = await process.communicate()
        assert (process.returncode, output, errors) == (0, b"", b"")
    assert receiver.types("whsec_new") == receiver.types("whsec_old") == ["payment_intent.created"]


@pytest.mark.parametrize("kind", ["timeout", "pause", "slow"])
async def test_it_ends_although_somebody_waits(kind: str) -> None:
    async with serving() as (process, control), httpx.AsyncClient(trust_env=False, timeout=WAIT_S) as http:
        await control.fault(kind, after=kind == "timeout", seconds=10 * WAIT_S)
        waiting = asyncio.ensure_future(
            http.get(f"{control.base_url}/v1/customers", headers={"authorization": "Bearer sk_test_x"})
        )
        while not (await control.faults())[0]["hits"]:
            pass

        process.send_signal(signal.SIGTERM)

        assert await asyncio.wait_for(process.wait(), WAIT_S) == 0
        if kind == "timeout":
            with pytest.raises(httpx.TransportError):
                await waiting
        else:
            await asyncio.wait([waiting])


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({"BATZEN_SANDBOX_LISTEN": "0.0.0.0:7200"}, "BATZEN_SANDBOX_LISTEN"),
        ({"BATZEN_SANDBOX_LISTEN": "127.0.0.1:port"}, "BATZEN_SANDBOX_LISTEN"),
        ({"BATZEN_SANDBOX_LISTEN": "127.0.0.1:70000"}, "BATZEN_SANDBOX_LISTEN"),
        ({"BATZEN_SANDBOX_WEBHOOK_URL": "http://127.0.0.1:1/"}, "BATZEN_SANDBOX_WEBHOOK_SECRET"),
        ({"BATZEN_SANDBOX_SEED": "x"}, "BATZEN_SANDBOX_SEED"),
        ({"BATZEN_SANDBOX_SETTLE_MS": "soon"}, "BATZEN_SANDBOX_SETTLE_MS"),
    ],
)
def test_a_wrong_setting_is_named(environment: dict[str, str], name: str) -> None:
    with pytest.raises(ValueError, match=name):
        Settings.from_environ(environment)


def test_secrets_are_not_shown() -> None:
    environment = {"BATZEN_SANDBOX_WEBHOOK_URL": "http://x", "BATZEN_SANDBOX_WEBHOOK_SECRET": "whsec_a,whsec_b"}

    settings = Settings.from_environ(environment)

    assert settings.webhook_secrets == ("whsec_a", "whsec_b")
    assert "whsec" not in repr(settings)


def test_a_secret_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("whsec_a\n")
    environment = {"BATZEN_SANDBOX_WEBHOOK_SECRET_FILE": str(tmp_path / "secret")}

    assert Settings.from_environ(environment).webhook_secrets == ("whsec_a",)
    with pytest.raises(ValueError, match="BATZEN_SANDBOX_WEBHOOK_SECRET_FILE"):
        Settings.from_environ({"BATZEN_SANDBOX_WEBHOOK_SECRET_FILE": str(tmp_path / "none")})


async def test_what_keeps_it_from_running_is_one_line() -> None:
    async with serving() as (_, control):
        other = await started(int(control.base_url.rpartition(":")[2]))
        _, errors = await other.communicate()

    assert other.returncode == 1
    assert errors.decode().startswith("The sandbox cannot run: [Errno ")
    assert errors.count(b"\n") == 1


async def test_it_listens_on_ipv6_loopback_too() -> None:
    port = free_ports()["sandbox"]
    process = await started(port, host="[::1]")
    try:
        async with SandboxControl(f"http://[::1]:{port}") as control, asyncio.timeout(WAIT_S):
            while process.returncode is None:
                with contextlib.suppress(httpx.ConnectError):
                    assert await control.health() == stripe.api_version
                    break
    finally:
        process.terminate()
        assert await process.wait() == 0
