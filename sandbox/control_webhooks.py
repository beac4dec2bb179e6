"""Controls of webhooks: where they go, what goes wrong with them, what came of them."""

from collections.abc import Sequence
from typing import Any

from sandbox.control_client import ControlClient


class WebhookControl(ControlClient):
    """Deliveries, held, lost, doubled and counted."""

    async def webhooks(
        self,
        *,
        delay_s: float = 0.0,
        duplicate: int = 0,
        drop: float = 0.0,
        reorder: bool = False,
        hold: bool = False,
        skew_s: float = 0.0,
        tamper: bool = False,
    ) -> None:
        """Set every webhook switch; a call without arguments switches all of them off."""
        await self.post(
            "/webhooks",
            delay_s=delay_s,
            duplicate=duplicate,
            drop=drop,
            reorder=reorder,
            hold=hold,
            skew_s=skew_s,
            tamper=tamper,
        )

    async def endpoint(
        self, url: str, *, secrets: Sequence[str], enabled_events: Sequence[str] = ("*",), connect: bool = False
    ) -> None:
        """Register a webhook endpoint for every account, or replace the one at that URL (two secrets: rotation).

        With `connect` it gets the events of connected accounts, and no other.
        """
        await self.post(
            "/webhooks/endpoint", url=url, secrets=list(secrets), enabled_events=list(enabled_events), connect=connect
        )

    async def release(self) -> int:
        """Deliver what `hold` collected; returns how much."""
        return int((await self.post("/webhooks/release"))["released"])

    async def drain(self) -> None:
        """Wait until no delivery is under way, retries included; what is held stays held."""
        await self.post("/webhooks/drain")

    async def redeliver(self, event_id: str) -> None:
        await self.post("/webhooks/redeliver", event=event_id)

    async def deliveries(self) -> list[dict[str, Any]]:
        """Return every attempt: event, type, endpoint, attempt, outcome (status, error name or "dropped")."""
        return list((await self.get("/webhooks/deliveries"))["data"])
