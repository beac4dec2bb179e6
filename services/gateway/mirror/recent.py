"""Payments as this process saved and released them last, so that what follows soon need not read them. Pure.

Whoever changes a payment holds its lease, and each lease has a fence that comes once, also after a restore. So a row
that still has the fence of the last release is, to the letter, what was saved then: a statement that demands this
fence may be computed from the copy here, and where the fence is another's it writes nothing and the row is read.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from services.gateway.mirror.payment import MirroredPayment
from services.runtime.database.lease import Key

RECENT_MAX: Final = 4_096
"""Payments kept, ~4 KB each; the one that was saved longest ago is forgotten first, and read when it is needed."""


class RecentPayments:
    """A bounded number of payments, found by their id and by the ids of what is Stripe's."""

    def __init__(self, *, size_max: int = RECENT_MAX) -> None:
        self._size_max = size_max
        self._payments: OrderedDict[Key, MirroredPayment] = OrderedDict()
        self._keys: dict[Key, Key] = {}
        """Of payments, by tenant and Stripe's id."""

    def put(self, payment: MirroredPayment, *, fence: int) -> None:
        """Keep a payment that was saved and released, which left it with `fence`; unless a call on it is open."""
        key = (payment.tenant_id, payment.payment_id)
        self.forget(key)
        if payment.open_calls or payment.unsettled:
            return
        self._payments[key] = kept = payment.copy()
        kept.fence = fence
        for stripe_id in payment.stripe_ids:
            self._keys[payment.tenant_id, stripe_id] = key
        while len(self._payments) > self._size_max:
            self.forget(next(iter(self._payments)))

    def get(self, key: Key) -> MirroredPayment | None:
        """Return a payment, to be changed by whoever asked."""
        payment = self._payments.get(key)
        return None if payment is None else payment.copy()

    def of(self, tenant_id: str, stripe_id: str) -> MirroredPayment | None:
        """Return the payment that something of Stripe's belongs to."""
        key = self._keys.get((tenant_id, stripe_id))
        return None if key is None else self.get(key)

    def forget(self, key: Key) -> None:
        """Forget a payment; nothing happens if it is not here."""
        payment = self._payments.pop(key, None)
        if payment is not None:
            for stripe_id in payment.stripe_ids:
                self._keys.pop((payment.tenant_id, stripe_id), None)
