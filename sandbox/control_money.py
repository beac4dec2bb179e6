"""Controls of the money after a charge. `account` is a connected account's id, or the platform's, or a key of its."""

from collections.abc import Mapping, Sequence
from typing import Any

from sandbox.control_client import ControlClient


class MoneyControl(ControlClient):
    """Balances, payouts, exchange, what is done in the dashboard, and faults planted in the books."""

    async def pay_out(
        self, account: str, *, currency: str, amount: int | None = None, automatic: bool = True
    ) -> dict[str, Any]:
        """Let an account pay out automatically, all that is available or so much; returns the payout.

        Only a payout of all that is available names its balance transactions.
        """
        return await self.post(f"/accounts/{account}/payouts", amount=amount, currency=currency, automatic=automatic)

    async def empty_account(self, account: str, *, currency: str) -> dict[str, Any]:
        """Let an account pay out all that it has, also what is not available yet; returns the payout."""
        return await self.post(f"/accounts/{account}/empty", currency=currency)

    async def move_payout(self, payout_id: str, status: str, **more: str) -> dict[str, Any]:
        """Take a payout to `in_transit`, `paid`, `failed` (`failure_code`) or `canceled`; returns it."""
        return await self.post(f"/payouts/{payout_id}", status=status, **more)

    async def reconcile_payout(self, payout_id: str) -> dict[str, Any]:
        """Let Stripe say that it knows what is in an automatic payout; returns it."""
        return await self.post(f"/payouts/{payout_id}", reconciled=True)

    async def pay_out_daily(self, account: str, *, daily: bool = True) -> None:
        """Let an account pay out what is available once a day by the clock, or no more."""
        await self.post(f"/accounts/{account}/schedule", daily=daily)

    async def take_of_charges(self, account: str, *, per_mille: int = 29, fixed: int = 30) -> None:
        """Let Stripe take other fees of the platform's charges; without figures the usual ones."""
        await self.post(f"/accounts/{account}/fees", per_mille=per_mille, fixed=fixed)

    async def settle_in(
        self,
        account: str,
        default_currency: str,
        *,
        currencies: Sequence[str] = (),
        rates: Mapping[str, str] | None = None,
    ) -> None:
        """Say what the platform settles in; money of any other currency becomes the default one, by its rate to that.

        `rates` are decimals, such as {"eur": "0.95"}; those not given stay.
        """
        settles = [default_currency, *(one for one in currencies if one != default_currency)]
        await self.post(
            f"/accounts/{account}/exchange",
            default_currency=default_currency,
            currencies=settles,
            rates=dict(rates or {}),
        )

    async def top_up(self, account: str, amount: int, *, currency: str) -> dict[str, Any]:
        """Add to what an account has available, from its bank; returns the top-up."""
        return await self.post(f"/accounts/{account}/topups", amount=amount, currency=currency)

    async def book(
        self,
        account: str,
        kind: str,
        amount: int,
        *,
        currency: str,
        fee: int = 0,
        description: str | None = None,
        source: str | None = None,
    ) -> dict[str, Any]:
        """Book a balance transaction of any type, also one that nobody knows; returns it."""
        return await self.post(
            f"/accounts/{account}/bookings",
            kind=kind,
            amount=amount,
            currency=currency,
            fee=fee,
            description=description,
            source=source,
        )

    async def balance(self, account: str) -> dict[str, Any]:
        """Return what an account has, as Stripe answers it."""
        return await self.get(f"/accounts/{account}/balance")

    async def transfer(self, account: str, **params: Any) -> dict[str, Any]:
        """Make a transfer as from the platform's dashboard; the parameters are those of the API."""
        return await self.post(f"/accounts/{account}/transfers", **params)

    async def reverse_transfer(self, transfer_id: str, **params: Any) -> dict[str, Any]:
        """Reverse a transfer as from the dashboard: `amount`, `metadata`."""
        return await self.post(f"/transfers/{transfer_id}/reversals", **params)

    async def refund_fee(self, fee_id: str, **params: Any) -> dict[str, Any]:
        """Give an application fee back as from the dashboard: `amount`, `metadata`."""
        return await self.post(f"/application_fees/{fee_id}/refunds", **params)

    async def change_booking(self, transaction_id: str, **figures: int) -> dict[str, Any]:
        """Change `amount` or `fee` of a balance transaction, which Stripe never does: a planted fault; returns it."""
        return await self.post(f"/balance_transactions/{transaction_id}", **figures)

    async def forget(self, object_id: str) -> None:
        """Let an object be gone as if it had never been, which Stripe never does: a planted fault."""
        await self.delete(f"/objects/{object_id}")
