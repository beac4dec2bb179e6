"""Plays one scenario, for the demo and for `batzen trigger`; what goes wrong is kept with it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from batzen.cli.pages import PageNotCompleted
from batzen.client import Client
from batzen.errors import BatzenError
from local.demo_view import Shown
from local.player import playing
from local.scenarios import Scenario
from sandbox.control import SandboxControl


async def play_one(
    batzen: Client,
    scenario: Scenario,
    shown: Shown,
    *,
    seller_id: str,
    stand_in: SandboxControl | None,
    stripe_seconds: Callable[[], Awaitable[float | None]],
    changed: Callable[[], None],
) -> None:
    """Play it; a failure is written into `shown`."""
    try:
        async with playing(
            batzen,
            shown.record,
            start=scenario.start,
            seller_id=seller_id,
            stripe_seconds=stripe_seconds,
            changed=changed,
        ) as player:
            await scenario.played(player, stand_in)
    except BatzenError as error:
        shown.failure = f"{error} (correlation id {error.correlation_id})" if error.correlation_id else str(error)
    except PageNotCompleted as error:
        shown.failure = str(error)
    except TimeoutError:
        shown.failure = f"stayed in {shown.record.states[-1] if shown.record.states else 'nothing'} for too long"
