"""`batzen hooks`: an operator subscribes a system, tests it, looks at what was sent, and sends it again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from typer.testing import CliRunner

from batzen.cli.app import app
from tests.orchestrator.conftest import Orchestrator, World
from tests.orchestrator.hooks import Room, new_name, of, room
from tests.orchestrator.receivers import receiver, says

Batzen = Callable[..., Awaitable[tuple[int, str]]]


@pytest.fixture
async def hooks(world: World) -> AsyncIterator[Room]:
    async with room(world.database_url, clock=world.clock) as made:
        yield made


@pytest.fixture
def batzen(replica: Orchestrator, world: World, hooks: Room) -> Batzen:
    """Run a command as an operator of the room's tenant; return its exit code and what it printed."""
    environment = {
        "BATZEN_TOKEN": world.issuer.mint("anna", roles=["operator"], tenant=hooks.tenant_id),
        "COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1",
    }  # fmt: skip
    elsewhere = [f"--{service}=127.0.0.1:1" for service in ("pricing", "status", "gateway")]

    async def run(*arguments: str) -> tuple[int, str]:
        command = [f"--orchestrator=127.0.0.1:{replica.port}", *elsewhere, "hooks", *arguments]
        done = await asyncio.to_thread(CliRunner().invoke, app, command, env=environment)
        return done.exit_code, done.stdout

    return run


async def said(answer: Awaitable[tuple[int, str]]) -> Any:
    code, output = await answer
    assert code == 0, output
    return json.loads(output)


async def test_a_system_is_subscribed_tested_paused_and_removed(batzen: Batzen) -> None:
    why = ("--reason", "goes live", "--actor", "anna")
    async with receiver(says("200 OK", body=b"thank you")) as good:
        code, shown = await batzen("add", "reservations", good.url(), "--kind", "payment_moved", *why)
        assert code == 0
        assert "whsec_" in shown
        assert "shown this once" in shown
        code, shown = await batzen("test", "reservations")
        assert (code, "DELIVERED" in shown, "thank you" in shown) == (0, True, True)
        rotated = await said(batzen("rotate", "reservations", "--overlap", "2h", "--json", *why))
        assert len(rotated["subscription"]["secrets"]) == 2
        [paused] = await said(batzen("pause", "reservations", "--json", *why))
        assert (paused["paused"], paused["kinds"]) == (True, ["PAYMENT_MOVED"])
        assert "paused" in (await batzen("list"))[1]
        [resumed] = await said(batzen("resume", "reservations", "--json", *why))
        assert not resumed["paused"]
        assert (await batzen("pause", "bookings", *why))[0] == 1
        assert await said(batzen("remove", "reservations", "--json", *why)) == {"removed": "reservations"}
        assert (await batzen("list"))[1] == "No system is sent anything.\n"


async def test_what_was_sent_is_looked_at_and_sent_again(batzen: Batzen, hooks: Room) -> None:
    why, payment_id = ("--reason", "they lost it"), new_name("pay_") + "a" * 14
    async with receiver(says("500 Internal Server Error", body=b"no room")) as bad:
        await batzen("add", "reservations", bad.url(), "--reason", "goes live")
        await hooks.happen(payment_id, 1)
        await hooks.send()
        code, shown = await batzen("list")
        assert (code, "fails since" in shown, "1 wait, 0 given up" in shown) == (1, True, True)
        code, shown = await batzen("deliveries", "--state", "waiting", "--tries", "--payment", payment_id)
        assert code == 0
        assert all(text in shown for text in ("REFUSED", "500", "no room", "payment.moved", "next "))
        assert (await batzen("test", "reservations"))[0] == 1
        bad.answer = says("204 No Content")
        [delivery] = await said(batzen("deliveries", "--state", "waiting", "--json"))
        assert await said(batzen("replay", delivery["delivery_id"], "--json", *why)) == {"replayed_count": 1}
        await hooks.send()
        assert of(payment_id, [one for one in bad.requests if payment_id.encode() in one.body]) == [1, 1]
        code, shown = await batzen("deliveries", "--subscription", "reservations", "--since", "1h")
        assert (code, shown.count("delivered")) == (0, 1)
        again = ("replay", "--subscription", "reservations", "--since", "1h", "--all", *why)
        assert (await batzen(*again))[1] == "1 are sent again.\n"
        assert (await batzen("deliveries", "--state", "canceled"))[1] == "There is none such.\n"
