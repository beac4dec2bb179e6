"""Sellers' accounts as they were read a moment ago: each payment needs one, and it rarely changes.

Only an account that can be paid is kept, for `AGE_MAX`; what this process writes of a seller drops theirs at once, so
`account.updated` and `PutSellerAccount` count from their answer on. What another process wrote counts here after
`AGE_MAX` at the latest. Until then a payment may be asked for in favour of an account that was closed or cannot receive
any more: Stripe refuses it, nothing happens, and the account is read there again. It never goes to a wrong account: a
seller gets another one only once the first is gone at Stripe.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Final

from services.gateway.sellers.domain import SellerAccount

AGE_MAX: Final = timedelta(seconds=5)
KEPT_MAX: Final = 10_000
"""About 5 MB. The one that was read first leaves first."""

Key = tuple[str, str]
"""Tenant and seller."""


class RecentAccounts:
    """The accounts that were read within `AGE_MAX`."""

    def __init__(self, *, now: Callable[[], datetime]) -> None:
        self._now = now
        self._kept: OrderedDict[Key, tuple[SellerAccount, datetime]] = OrderedDict()
        self.changes = 0
        """How often something was dropped; whoever reads compares it, so that nothing is kept from before a change."""

    def find(self, tenant_id: str, seller_id: str) -> SellerAccount | None:
        """Return the account, if it was read a moment ago."""
        kept = self._kept.get((tenant_id, seller_id))
        if kept is None:
            return None
        account, read_time = kept
        return account if abs(self._now() - read_time) < AGE_MAX else None

    def keep(self, tenant_id: str, account: SellerAccount, *, read_time: datetime, changes: int) -> None:
        """Keep an account that was read at `read_time`, when so many `changes` were known."""
        if account.missing or changes != self.changes:
            return
        self._kept[tenant_id, account.seller_id] = account, read_time
        self._kept.move_to_end((tenant_id, account.seller_id))
        if len(self._kept) > KEPT_MAX:
            self._kept.popitem(last=False)

    def drop(self, tenant_id: str, seller_id: str) -> None:
        """Forget what was just written."""
        self.changes += 1
        self._kept.pop((tenant_id, seller_id), None)
