"""A client of the sandbox's control routes, for tests, the demo and measurements.

async with SandboxControl("http://127.0.0.1:7200") as stripe:
    await stripe.fault("server_error", route="POST /v1/refunds", after=True)
"""

from collections.abc import Sequence
from typing import Any, Literal

from sandbox.control_client import Refused
from sandbox.control_money import MoneyControl
from sandbox.control_payer import PayerControl
from sandbox.control_webhooks import WebhookControl
from sandbox.faults import Kind

__all__ = ["Refused", "SandboxControl"]


class SandboxControl(PayerControl, WebhookControl, MoneyControl):
    """What a test may do to the sandbox, and a payer in a browser. Raises `Refused`, or httpx.TransportError."""

    async def health(self) -> str:
        """Return the API version; raises httpx.ConnectError while the sandbox is not up."""
        return str((await self.get("/health"))["api_version"])

    async def reset(self) -> None:
        """Forget everything but the settings it was started with."""
        await self.post("/reset")

    async def now(self) -> float:
        """Return the sandbox's clock in seconds since the epoch."""
        return float((await self.get("/clock"))["now"])

    async def advance(self, seconds: float) -> int:
        """Move the clock on; returns how many things fell due and happened."""
        return int((await self.post("/clock", advance_s=seconds))["ran"])

    async def set_latency(self, ms: float) -> None:
        """Let every call of the API take this much longer, before its effect; 0 switches it off."""
        await self.post("/latency", ms=ms)

    async def revoke_key(self, key: str) -> None:
        """Have a secret or restricted key taken no more."""
        await self.post("/keys/revoke", key=key)

    async def settle(self) -> int:
        """Let pending settlements and refunds settle now; returns how many did."""
        return int((await self.post("/settle"))["ran"])

    async def fault(
        self,
        kind: Kind | str,
        *,
        route: str = "*",
        account: str | None = None,
        after: bool = False,
        times: int | None = 1,
        chance: float = 1.0,
        should_retry: bool | None = None,
        reason: str | None = None,
        stored: bool | None = None,
        seconds: float = 0.0,
        status: int | None = None,
        code: str | None = None,
        param: str | None = None,
        body: str | None = None,
    ) -> None:
        """Order a fault for "METHOD /path" (`*` matches anything); see sandbox/faults.py for the kinds."""
        await self.post(
            "/faults",
            kind=str(kind),
            route=route,
            account=account,
            after=after,
            times=times,
            chance=chance,
            should_retry=should_retry,
            reason=reason,
            stored=stored,
            seconds=seconds,
            status=status,
            code=code,
            param=param,
            body=body,
        )

    async def faults(self) -> list[dict[str, Any]]:
        """Return the ordered faults with their `hits`."""
        return list((await self.get("/faults"))["data"])

    async def clear_faults(self) -> None:
        await self.delete("/faults")

    async def until_paused(self, count: int = 1) -> None:
        """Wait until a `pause` fault holds so many requests."""
        await self.post("/paused", count=count)

    async def resume(self) -> None:
        """Let requests held by a `pause` fault go on."""
        await self.post("/resume")

    async def counts(self) -> dict[str, int]:
        """Return how many objects there are of each type."""
        return dict(await self.get("/counts"))

    async def metrics(self) -> dict[str, dict[str, float]]:
        """Return {route: {count, seconds, seconds_max}}: time spent inside the sandbox."""
        return dict(await self.get("/metrics"))

    async def calls(self, about: str) -> dict[str, int]:
        """Return {route: count} of the last calls whose path or parameters name an object, or whatever else."""
        return dict(await self.get("/calls", {"about": about}))

    async def clear_metrics(self) -> None:
        await self.delete("/metrics")

    async def succeed(self, intent_id: str, *, payment_method: str = "pm_card_visa") -> dict[str, Any]:
        """Let the money arrive whatever the intent's status, even canceled; returns the intent."""
        return await self.force(intent_id, "succeeded", payment_method=payment_method)

    async def force(
        self,
        intent_id: str,
        outcome: Literal["succeeded", "declined", "processing", "canceled"],
        *,
        payment_method: str = "pm_card_visa",
    ) -> dict[str, Any]:
        """Change an intent from outside, whatever its status unless its money is there; returns the intent.

        A declining `payment_method` says how `declined` is declined. `canceled` is what Stripe itself may do.
        """
        return await self.post(f"/intents/{intent_id}/force", outcome=outcome, payment_method=payment_method)

    async def finish_debit(self, intent_id: str) -> dict[str, Any]:
        """Let a debit that is on its way come to its end now; returns the intent."""
        return await self.post(f"/intents/{intent_id}/finish")

    async def cancel(self, intent_id: str) -> dict[str, Any]:
        """Cancel as from the dashboard."""
        return await self.post(f"/intents/{intent_id}/cancel")

    async def lapse_hold(self, intent_id: str) -> dict[str, Any]:
        """Let a hold lapse now, without moving the clock; returns the intent."""
        return await self.post(f"/intents/{intent_id}/lapse")

    async def refund(self, intent_id: str, **params: Any) -> dict[str, Any]:
        """Refund as from the dashboard: `amount`, `reverse_transfer`, `refund_application_fee`, `metadata`."""
        return await self.post(f"/intents/{intent_id}/refund", **params)

    async def dispute(
        self,
        intent_id: str,
        *,
        amount: int | None = None,
        reason: str | None = None,
        inquiry: bool = False,
        **terms: int,
    ) -> dict[str, Any]:
        """Let the payer's bank dispute an intent's charge, or only ask about it (`inquiry`); returns the dispute.

        `terms` are what it costs, `fee` (minor units) and `returns_fee` (when it is won), `moves_after_s` for money
        that follows its event, and `due_in_s`.
        """
        return await self.post(f"/intents/{intent_id}/dispute", amount=amount, reason=reason, inquiry=inquiry, **terms)

    async def move_dispute(self, dispute_id: str, status: str, *, reinstated: int | None = None) -> dict[str, Any]:
        """Take a dispute to its next status: `under_review`, `won`, `lost`, …; returns the dispute.

        `reinstated` gives a part back, in minor units, of one that is lost or prevented.
        """
        return await self.post(f"/disputes/{dispute_id}", status=status, reinstated=reinstated)

    async def warn_of_fraud(self, intent_id: str, **given: str) -> dict[str, Any]:
        """Let the card's issuer warn of an intent's charge (`fraud_type`); returns the early fraud warning."""
        return await self.post(f"/intents/{intent_id}/fraud_warning", **given)

    async def open_review(self, intent_id: str, *, reason: str = "rule") -> dict[str, Any]:
        """Put an intent's payment under review, by a `rule` or `manual`; returns the review."""
        return await self.post(f"/intents/{intent_id}/review", reason=reason)

    async def close_review(self, review_id: str, *, reason: str = "approved") -> dict[str, Any]:
        """Close a review as from the dashboard, for one of Stripe's reasons; returns it."""
        return await self.post(f"/reviews/{review_id}/close", reason=reason)

    async def enable_account(self, account_id: str, *, enabled: bool) -> dict[str, Any]:
        """Let a connected account take payments, or stop it."""
        return await self.post(f"/accounts/{account_id}", charges_enabled=enabled)

    async def require(
        self,
        account_id: str,
        fields: Sequence[str],
        *,
        deadline_s: float | None = None,
        pending: Sequence[str] = (),
        errors: Sequence[dict[str, str]] = (),
    ) -> dict[str, Any]:
        """Want something of a seller: within `deadline_s`, after which the account is stopped, or at once."""
        return await self.post(
            f"/accounts/{account_id}/require",
            fields=list(fields),
            deadline_s=deadline_s,
            pending=list(pending),
            errors=list(errors),
        )

    async def set_capability(self, account_id: str, name: str, *, active: bool) -> dict[str, Any]:
        """Switch one capability of a connected account, such as `transfers`."""
        return await self.post(f"/accounts/{account_id}/capabilities/{name}", active=active)

    async def disconnect_account(self, account_id: str) -> None:
        """Take a connected account away, as when its seller takes back the platform's access."""
        await self.delete(f"/accounts/{account_id}")

    async def delete_customer(self, customer_id: str) -> None:
        """Delete a customer as from the dashboard."""
        await self.delete(f"/customers/{customer_id}")

    async def renew_card(self, method_id: str, *, exp_month: int, exp_year: int) -> dict[str, Any]:
        """Let the network of a kept card tell Stripe its new expiry, or one that is past; returns the method."""
        return await self.post(f"/methods/{method_id}/renew", exp_month=exp_month, exp_year=exp_year)

    async def decline_charges(
        self, method_id: str, reason: str, *, times: int | None = 1, advice_code: str | None = ""
    ) -> None:
        """Let the issuer refuse the next `times` charges of a method (None: all, 0: none any more), then no more.

        `reason` is a decline code, or `expired_card`, `incorrect_cvc`, `processing_error`; `advice_code` replaces what
        goes with it. `authentication_required` refuses what comes without the payer until they passed 3-D Secure.
        """
        await self.post(f"/methods/{method_id}/decline", reason=reason, times=times, advice_code=advice_code)

    async def detach_method(self, method_id: str) -> None:
        """Detach a method from its customer as from the dashboard."""
        await self.delete(f"/methods/{method_id}")

    async def expire_session(self, session_id: str) -> dict[str, Any]:
        """Let an open Checkout Session expire by itself now; returns it."""
        return await self.post(f"/sessions/{session_id}/expire")
