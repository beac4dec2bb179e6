"""Reading what moved with a payment: transfers by their group, application fees by their charge, and what went back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from services.gateway.mirror.payment import MirroredPayment
from services.gateway.settlement.domain import MovementKind, Settled
from services.gateway.settlement.seen import MovedFacts, unseen
from services.gateway.stripe_api.client import Provider
from services.gateway.stripe_api.money_objects import settled
from services.gateway.stripe_api.movement_objects import backs, moved_facts
from services.gateway.stripe_api.objects import amount, text
from services.runtime import crash_points
from services.shared.codec import Json


class AccountOwners(Protocol):
    """Who knows whose account is whose."""

    async def seller_of(self, tenant_id: str, stripe_account_id: str) -> str | None:
        """Return whose account this is; None if it is no seller's of ours."""


class MovementReader:
    """Reads movements into a payment that is held."""

    def __init__(self, provider: Provider, owners: AccountOwners) -> None:
        self._provider = provider
        self._owners = owners

    async def read(self, payment: MirroredPayment, attempt: int, charge: Json) -> None:
        """Mirror all that moved with an attempt, whose charge was just read."""
        await crash_points.call("movements.stripe", self._read(payment, attempt, charge))

    async def apply(self, payment: MirroredPayment, moved: MovedFacts) -> None:
        """Mirror a transfer or a fee of a payment, and what went back on it: all that it says it is known to be."""
        attempt = payment.attempt_of_charge(moved.charge_id)
        await self._know_rate(payment, attempt, moved)
        payment.apply_moved(attempt, await self.seller_of(payment, attempt, moved), moved)

    async def seller_of(self, payment: MirroredPayment, attempt: int, moved: MovedFacts) -> str:
        """Return to or from whom something moved; the account's id where it is no seller's of ours."""
        intent = payment.intents[attempt]
        if intent.is_destination and moved.charge_id == intent.charge_id:
            return intent.seller_id
        return await self._owners.seller_of(payment.tenant_id, moved.account_id) or moved.account_id

    async def _know_rate(self, payment: MirroredPayment, attempt: int, moved: MovedFacts) -> None:
        """Mirror by what rate an attempt's charge was exchanged, where what moved is in another currency.

        Without that it would be taken for so much of the payment's own.
        """
        intent = payment.intents[attempt]
        is_known = intent.rate is not None or not unseen(payment.movements, moved)
        if moved.currency_code == payment.currency_code or is_known or not intent.charge_id:
            return
        charge = await crash_points.call("movements.charge", self._provider.charges.retrieve(intent.charge_id))
        payment.intents[attempt] = replace(intent, settled=await self.settled(charge))

    async def settled(self, charge: Json) -> Settled | None:
        """Return what a charge, just read, came to on the platform's balance: of several captures what all came to."""
        found = settled(charge)
        if found is None or found.charge_minor >= amount(charge, "amount_captured"):
            return found
        rows = await crash_points.call("movements.captures", self._provider.balance.of(str(charge["id"])))
        return settled(charge, rows)

    async def shown(self, payment: MirroredPayment, attempt: int, charge: Json) -> list[MovedFacts]:
        """Return all that Stripe shows to have moved with an attempt, the oldest first; nothing of it is applied."""
        group = text(charge, "transfer_group")
        transfers = await self._provider.transfers.of_group(group) if group else []
        fees: Sequence[Json] = ()
        if payment.intents[attempt].is_destination and charge:
            fees = await self._provider.fees.of_charge(str(charge["id"]))
        return [await self._whole(moved_facts(one)) for one in (*reversed(transfers), *reversed(fees))]

    async def _read(self, payment: MirroredPayment, attempt: int, charge: Json) -> None:
        for moved in await self.shown(payment, attempt, charge):
            await self.apply(payment, moved)

    async def _whole(self, moved: MovedFacts) -> MovedFacts:
        """Return what moved with all that went back on it, of which a long list was not shown with it."""
        if moved.is_whole:
            return moved
        if moved.kind is MovementKind.TRANSFER:
            return replace(moved, back=backs(await self._provider.transfers.reversals_of(moved.stripe_id)))
        return replace(moved, back=backs(await self._provider.fees.refunds_of(moved.stripe_id)))
