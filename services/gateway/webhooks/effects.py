"""What the events of one subject make true: of a payment, a seller's account, or a payer's customer or method."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from services.gateway.call_log import backoff
from services.gateway.checkout.claims import claim_of
from services.gateway.errors import IntentNotFound
from services.gateway.payment_methods.kept_methods import KeptMethods
from services.gateway.payment_methods.setup_intents import SetupIntents
from services.gateway.payouts.operations import Payouts
from services.gateway.sellers.operations import Sellers
from services.gateway.stripe_api.objects import metadata, text
from services.gateway.sync.reader import MirrorReader
from services.gateway.webhooks import events
from services.gateway.webhooks.events import Action, Event
from services.runtime.rpc import call_context
from services.runtime.work.kinds import RetryLater

EARLY_MAX: Final = timedelta(minutes=10)
"""How long an event waits for its payment: a call of ours that makes it is settled long before. And how long one of a
review or a warning asks Stripe whether that is over: then what the event says counts, until the next reading."""
WHOLE: Final = frozenset({Action.SNAPSHOT, Action.BOOKED, Action.MOVED})
"""What carries all that it is about."""
OF_NO_PAYMENT: Final = frozenset({Action.ACCOUNT, Action.PAYOUT, Action.CUSTOMER, Action.METHOD})
"""What is about a person: a seller or a payer; or of all payments together, the platform's payouts."""


NO_SELLER: Final = "no seller of ours"


class PaymentUnknown(Exception):
    """An event claims a payment of ours that is not here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What waits of one subject, the oldest first."""

    waiting: tuple[Event, ...]
    since: datetime
    """When the one that waits for the longest was received."""
    is_whole: bool
    """Nothing waits but these."""


class Effects:
    """Makes true what events say. An effect may come twice, late, or after that of a newer event."""

    def __init__(
        self,
        reader: MirrorReader,
        *,
        sellers: Sellers,
        payouts: Payouts,
        methods: KeptMethods,
        setups: SetupIntents,
        api_version: str,
        now: Callable[[], datetime],
    ) -> None:
        self._reader = reader
        self._sellers = sellers
        self._payouts = payouts
        self._methods = methods
        self._setups = setups
        self._api_version = api_version
        self._now = now

    async def apply(self, tenant_id: str, run: Run) -> str:
        """Make true what the events of a run say; returns why nothing was done, or nothing."""
        if run.waiting[0].action in OF_NO_PAYMENT:
            return await self._apply_to_person(tenant_id, run.waiting)
        try:
            payment_id = await self._payment_of(tenant_id, run.waiting) or await self._bound(tenant_id, run.waiting)
            if payment_id is None:
                return "" if await self._setups.observe(tenant_id, run.waiting[0].subject) else self._early(run)
            call_context.about(payment_id)
            is_sure = await self._notice(tenant_id, payment_id, run.waiting)
            snapshots = [event for event in run.waiting if event.action is not Action.NOTICE]
            if not await self._advance(tenant_id, payment_id, snapshots):
                await self._reader.resync(
                    tenant_id,
                    payment_id,
                    origin=f"webhook {snapshots[-1].type}",
                    with_disputes=any(event.action is Action.DISPUTE for event in snapshots),
                    with_movements=any(event.action is Action.MOVED for event in snapshots),
                )
        except IntentNotFound:
            return self._early(run)
        if not is_sure:
            self._wait(run)
        return ""

    async def _apply_to_person(self, tenant_id: str, waiting_events: Sequence[Event]) -> str:
        """Make true what events of a seller's account, or of a payer's customer or method say."""
        subject, action = waiting_events[0].subject, waiting_events[0].action
        if action is Action.ACCOUNT:
            return "" if await self._sellers.read_again(tenant_id, subject) else NO_SELLER
        if action is Action.PAYOUT:
            observed = [await self._observe_payout(tenant_id, event) for event in waiting_events]
            return "" if any(observed) else NO_SELLER
        if action is Action.CUSTOMER:
            is_ours = await self._methods.lose_customer(tenant_id, subject)
        else:
            is_readable = all(event.api_version == self._api_version for event in waiting_events)
            shown = [event.object for event in waiting_events]
            is_ours = await self._methods.observe(tenant_id, subject, shown, is_readable=is_readable)
        return "" if is_ours else "no payer of ours"

    async def _observe_payout(self, tenant_id: str, event: Event) -> bool:
        return await self._payouts.observe(
            tenant_id,
            event.object,
            account=event.account,
            shown_time=event.create_time,
            is_readable=event.api_version == self._api_version,
        )

    async def _advance(self, tenant_id: str, payment_id: str, snapshots: Sequence[Event]) -> bool:
        """Apply what events show, the oldest first, while it only takes the payment further; False asks to read."""
        if any(one.action not in WHOLE or one.api_version != self._api_version for one in snapshots):
            return False
        for event in snapshots:
            if not await self._apply_snapshot(tenant_id, payment_id, event):
                return False
        return True

    async def _apply_snapshot(self, tenant_id: str, payment_id: str, event: Event) -> bool:
        origin = f"webhook {event.type}"
        if event.action is Action.BOOKED:
            return await self._reader.apply_booked(tenant_id, payment_id, event.object, origin=origin)
        if event.action is Action.MOVED:
            return await self._reader.apply_moved(tenant_id, payment_id, event.object, origin=origin)
        seen = await self._reader.apply_snapshot(tenant_id, payment_id, event.object, origin=origin)
        return seen is not None

    async def _notice(self, tenant_id: str, payment_id: str, waiting_events: Sequence[Event]) -> bool:
        """Bring to an operator what they are to decide; False if it may be over, and Stripe does not say."""
        is_sure = True
        for event in waiting_events:
            if event.action is Action.NOTICE:
                is_said = await self._reader.notice(
                    tenant_id,
                    payment_id,
                    event.object,
                    event.type,
                    is_over=event.is_over,
                    origin=f"webhook {event.type}",
                )
                is_sure = is_sure and is_said
        return is_sure

    async def _payment_of(self, tenant_id: str, waiting_events: Sequence[Event]) -> str | None:
        for stripe_id in dict.fromkeys(one for event in waiting_events for one in events.stripe_ids(event.object)):
            payment_id = await self._reader.payment_of(tenant_id, stripe_id)
            if payment_id is not None:
                return payment_id
        for group in (text(event.object, "transfer_group") for event in waiting_events):
            if group and await self._reader.is_known(tenant_id, group):
                return group
        return None

    async def _bound(self, tenant_id: str, waiting_events: Sequence[Event]) -> str | None:
        """Return the payment of a hosted page whose intent the events are of, which they show before the page does."""
        for event in waiting_events:
            claim = claim_of(event.object)
            if claim is not None and event.account is None:
                return await self._reader.bind(tenant_id, claim, origin=f"webhook {event.type}")
        return None

    def _early(self, run: Run) -> str:
        """Wait for a payment that a call of ours is just making; give up on what is nobody's of ours.

        What is ours says so in its metadata from the moment it exists; what it says is not believed further than this.
        """
        self._wait(run)
        for event in run.waiting:
            claimed = metadata(event.object, "payment_id")
            if claimed:
                raise PaymentUnknown(f"{event.type} {event.subject} claims {claimed}")
        return "no payment of ours"

    def _wait(self, run: Run) -> None:
        """Have a run applied again; returns once it has waited for as long as one does."""
        waited = self._now() - run.since
        rest = backoff.rest(waited)
        if waited < EARLY_MAX and rest is not None:
            raise RetryLater(rest)
