"""What is safe to mend of what was found, and why. Nothing is deleted, changed or guessed.

Each of it may be done twice: a balance transaction is booked once by its id, and a payment that is read again comes to
what Stripe shows, whoever reads it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from services.errors import NotFound
from services.gateway.balance.importer import BalanceImport
from services.gateway.reconciliation.domain import Finding, Kind, Stage
from services.gateway.reconciliation.position import Page
from services.gateway.reconciliation.run import Run
from services.gateway.sync.reader import MirrorReader

ORIGIN: Final = "reconciliation"
BOOKED: Final = "Booked: Stripe's balance transactions never change, and each is booked once by its id."
READ: Final = "The payment was read again: what Stripe shows of it is what the mirror is to say."
IS_KEPT: Final = "Not mended: it is kept here with another amount, and what is booked is never changed."
NO_PAYMENT: Final = "Not mended: it belongs to no payment that is known here."
NOT_SAFE: Final = "Not mended: what this means is for an operator to say."

Key = tuple[Kind, str, str, str]


class Repairs:
    """Mends."""

    def __init__(self, balance: BalanceImport, reader: MirrorReader) -> None:
        self._balance = balance
        self._reader = reader

    async def mend(self, run: Run, findings: Sequence[Finding], page: Page) -> Mapping[Key, str]:
        """Do what is safe about findings of a page, and return of each what was done, or why nothing was."""
        by_transaction = [one for one in findings if one.stage is Stage.BALANCE]
        done = await self._book(run, by_transaction, page)
        payments: dict[str, str] = {}
        for one in findings:
            if one.stage is Stage.BALANCE:
                continue
            if one.kind not in (Kind.MISSING_HERE, Kind.AMOUNT):
                reason = NOT_SAFE
            elif not one.payment_id:
                reason = NO_PAYMENT
            else:
                if one.payment_id not in payments:
                    payments[one.payment_id] = await self._read(run, one.payment_id)
                reason = payments[one.payment_id]
            done[(one.kind, one.stripe_id, one.figure, one.currency_code)] = reason
        return done

    async def _book(self, run: Run, findings: Sequence[Finding], page: Page) -> dict[Key, str]:
        missing = {one.stripe_id for one in findings if one.kind is Kind.MISSING_HERE}
        found = [one for one in page.transactions if one.balance_transaction_id in missing]
        if found:
            await self._balance.keep(run.tenant_id, found)
        return {
            (one.kind, one.stripe_id, one.figure, one.currency_code): BOOKED if one.stripe_id in missing else IS_KEPT
            for one in findings
        }

    async def _read(self, run: Run, payment_id: str) -> str:
        """Read a payment again. Raises what says that this is only not possible now."""
        try:
            await self._reader.resync(run.tenant_id, payment_id, origin=ORIGIN, with_disputes=True, with_movements=True)
        except NotFound as error:
            return f"Not mended: {error}"
        return READ
