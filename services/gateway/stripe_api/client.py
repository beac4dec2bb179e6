"""Stripe itself, as far as we use it: one transport, and on it the calls by resource."""

from __future__ import annotations

import math
from collections.abc import Callable

from services.gateway.stripe_api.calls.accounts import AccountCalls
from services.gateway.stripe_api.calls.balance import BalanceCalls
from services.gateway.stripe_api.calls.charges import ChargeCalls
from services.gateway.stripe_api.calls.customers import CustomerCalls
from services.gateway.stripe_api.calls.disputes import DisputeCalls
from services.gateway.stripe_api.calls.events import EventCalls
from services.gateway.stripe_api.calls.fees import FeeCalls
from services.gateway.stripe_api.calls.intents import IntentCalls
from services.gateway.stripe_api.calls.lists import ListCalls
from services.gateway.stripe_api.calls.payment_methods import PaymentMethodCalls
from services.gateway.stripe_api.calls.payouts import PayoutCalls
from services.gateway.stripe_api.calls.radar import RadarCalls
from services.gateway.stripe_api.calls.refunds import RefundCalls
from services.gateway.stripe_api.calls.sessions import SessionCalls
from services.gateway.stripe_api.calls.transfers import TransferCalls
from services.gateway.stripe_api.limits import StripeLimits
from services.gateway.stripe_api.metrics import UNCOUNTED, StripeMetrics
from services.gateway.stripe_api.transport import TRY_TIMEOUT_S, Transport


class Provider:
    """Stripe's API by resource: `provider.intents.confirm(…)`. How a call may end says `Transport`.

    Amounts are still Stripe's here: `objects` reads them into ISO minor units, `currencies` writes them.
    """

    def __init__(
        self,
        api_key: str,
        *,
        api_base: str | None,
        try_timeout_s: float = TRY_TIMEOUT_S,
        require: Callable[[], None] = lambda: None,
        limits: StripeLimits | None = None,
        metrics: StripeMetrics = UNCOUNTED,
    ) -> None:
        self._transport = transport = Transport(
            api_key,
            api_base=api_base,
            try_timeout_s=try_timeout_s,
            require=require,
            limits=limits,
            metrics=metrics,
        )
        self.customers = CustomerCalls(transport)
        self.payment_methods = PaymentMethodCalls(transport)
        self.accounts = AccountCalls(transport)
        self.balance = BalanceCalls(transport)
        self.intents = IntentCalls(transport)
        self.sessions = SessionCalls(transport)
        self.charges = ChargeCalls(transport)
        self.refunds = RefundCalls(transport)
        self.transfers = TransferCalls(transport)
        self.fees = FeeCalls(transport)
        self.disputes = DisputeCalls(transport)
        self.payouts = PayoutCalls(transport)
        self.lists = ListCalls(transport)
        self.events = EventCalls(transport)
        self.radar = RadarCalls(transport)

    @property
    def base(self) -> str:
        """Where Stripe is called."""
        return self._transport.base

    def use(self, api_key: str) -> None:
        """Send what begins from now on by another key of the same account; what was sent is not asked for again."""
        self._transport.use(api_key)

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    async def own_account_id(self, api_key: str | None = None, *, within_s: float = math.inf) -> str:
        """Read whose key this is, ours if no other is given; as `Transport.own_account_id`."""
        return await self._transport.own_account_id(api_key, within_s=within_s)
