"""Reads Stripe's events and has each that concerns us received, as if it had been sent here.

A *reading* goes from now back to a little before the newest event that the last one saw: Stripe's time and not ours, so
that no difference of clocks leaves anything out. A row of due work says how far it has come, so one process reads at a
time, and who goes on after a crash begins with the page that was not written down: the inbox knows what it has. What
Stripe lists late, behind that place, is looked for now and then, further back: a few pages at a time, each after a
reading of what is new.

Events of sellers' accounts are listed account by account, so each has a row of its own. Stripe lists the events of 30
days: who did not read for longer is told between which times something may be missing.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Final

from services.errors import Aborted, ResourceExhausted, Unavailable
from services.gateway.errors import StripeRefused
from services.gateway.polling.metrics import REFUSED, PollMetrics
from services.gateway.polling.store import LATE_FOR, PLATFORM, PollStore, Position, Reading
from services.gateway.sellers.operations import GONE, Sellers
from services.gateway.stripe_api import outcomes
from services.gateway.stripe_api.calls.events import NotPermitted
from services.gateway.stripe_api.client import Provider
from services.gateway.stripe_api.objects import parts
from services.gateway.webhooks import events
from services.gateway.webhooks.events import Action, Event
from services.gateway.webhooks.inbox import Inbox
from services.gateway.webhooks.signature import WebhookRefused
from services.runtime import crash_points
from services.runtime.observability.tracing import Kind
from services.runtime.rpc import call_context
from services.runtime.work.kinds import RetryLater, RetryPolicy, Work, WorkClass, WorkKind, jittered
from services.shared.codec import Json

RETRY: Final = RetryPolicy(tries_max=None, first_delay=timedelta(seconds=5), delay_max=timedelta(minutes=5))
"""It is never given up: what cannot be read now is read later, for up to `KEPT_FOR`."""
KEPT_FOR: Final = timedelta(days=30)
"""How far back Stripe lists events."""
OVERLAP: Final = timedelta(minutes=1)
"""How far behind the newest event a reading goes: events of one second are shown one after another."""
SWEEP_EVERY: Final = timedelta(minutes=10)
"""Between two looks that go back by `LATE_FOR`. What is later still, the next look at its payment finds, or the
daily reconciliation."""
PAGES_MAX: Final = 20
"""Of one step: 2,000 events, before others have their turn."""
SWEEP_PAGES_MAX: Final = 2
"""Of what may have come late, before what is new is read again: it waits for these two answers, and no longer."""
JOINED_EVERY: Final = timedelta(seconds=10)
"""Until the events of a new seller's account are read."""
ACCOUNTS_EVERY_MIN: Final = timedelta(seconds=10)
ACCOUNTS_A_SECOND_MAX: Final = 2
"""Readings of sellers' accounts, whose events are few and can wait; of 25 calls that Stripe takes with a test key."""
NOT_PERMITTED_REST: Final = timedelta(minutes=10)
"""Of an account in which the key may not read: somebody has to change that in Stripe's dashboard."""
AWAY: Final = (Unavailable, ResourceExhausted, Aborted)

_logger = logging.getLogger(__name__)


class EventPolls:
    """The work of reading."""

    def __init__(
        self,
        store: PollStore,
        provider: Provider,
        inbox: Inbox,
        sellers: Sellers,
        *,
        every: timedelta | None,
        now: Callable[[], datetime],
        metrics: PollMetrics,
    ) -> None:
        """`every` is the rest between two readings of the platform's own events; None: nothing is read by itself."""
        self._store = store
        self._provider = provider
        self._inbox = inbox
        self._sellers = sellers
        self._every = every
        self._now = now
        self._metrics = metrics
        self._join_time = datetime.min.replace(tzinfo=UTC)

    @property
    def work(self) -> tuple[WorkKind, ...]:
        """Whose events are read: the platform's, and those of each seller's account, which hold up nobody."""
        if self._every is None:
            return ()
        shared = {"table": "event_polls", "key": {"account": "text"}, "retry": RETRY, "handler": self.poll}
        return (
            WorkKind(name="event_polls", work_class=WorkClass.EVENTS, where="account = ''", **shared),  # type: ignore[arg-type]
            WorkKind(name="account_polls", work_class=WorkClass.READS, where="account <> ''", **shared),  # type: ignore[arg-type]
        )

    async def begin(self, tenant_id: str) -> None:
        """Have the platform's events read from now on, by whoever does due work, if any are."""
        if self._every is not None:
            await self._store.begin(tenant_id)

    async def look(self, tenant_id: str) -> None:
        """Show for how long events were not read, and between which times some may be missing."""
        if self._every is None:
            return
        standing = await self._store.standing(tenant_id, gap_after=self._now() - KEPT_FOR)
        self._metrics.stand(
            age=self._now() - standing.oldest_time if standing.oldest_time is not None else timedelta(),
            gap=standing.gap,
        )

    async def poll(self, work: Work) -> None:
        """Read what is new, and then rest."""
        (account,) = work.key
        try:
            is_whole = await self.read_on(work.tenant_id, account)
        except AWAY as error:
            raise RetryLater(jittered(RETRY.first_delay)) from error
        except NotPermitted as error:
            _logger.warning(
                "STRIPE_API_KEY may not read the events of %s; permit it to, or have Stripe send those of sellers",
                account,
            )
            raise RetryLater(jittered(NOT_PERMITTED_REST)) from error
        except StripeRefused as refusal:
            if account == PLATFORM or refusal.metadata.get("code") not in GONE:
                raise
            await self._sellers.read_again(work.tenant_id, account)
            if await self._store.is_ours(work.tenant_id, account):
                raise
            return  # it is closed to us, and nothing of it is listed any more
        raise RetryLater(jittered(await self._rest(work.tenant_id, account)) if is_whole else timedelta())

    async def read_on(self, tenant_id: str, account: str = PLATFORM) -> bool:
        """Go on with a reading, or begin one; False when there is more than one step reads."""
        if account == PLATFORM and self._now() - self._join_time >= JOINED_EVERY:
            await self._store.join_accounts(tenant_id)
            self._join_time = self._now()
        reading, sweep = await self._readings(tenant_id, account)
        if not await self._go_on(tenant_id, account, reading, pages_max=PAGES_MAX):
            return False
        return sweep is None or await self._go_on(tenant_id, account, sweep, pages_max=SWEEP_PAGES_MAX)

    async def _go_on(self, tenant_id: str, account: str, reading: Reading, *, pages_max: int) -> bool:
        """Read so many pages more; whether it has come to its end."""
        for _ in range(pages_max):
            try:
                page = await crash_points.call(
                    "poll.stripe",
                    self._provider.events.page(
                        account_id=account, since=reading.since, until=reading.until, after=reading.after_id
                    ),
                )
            except StripeRefused as refusal:
                if not reading.after_id or refusal.metadata.get("code") != outcomes.MISSING:
                    raise
                reading = replace(reading, after_id="")  # that event is older than what Stripe lists: from the top
                continue
            shown = list(parts(page, "data"))
            await self._receive(tenant_id, account, shown)
            if not shown or not page["has_more"]:
                await self._store.finish(tenant_id, account, _seen(reading, shown))
                return True
            reading = replace(_seen(reading, shown), after_id=str(shown[-1]["id"]))
            await self._store.keep(tenant_id, account, reading)
        return False

    async def _readings(self, tenant_id: str, account: str) -> tuple[Reading, Reading | None]:
        """Return the reading that is under way, or begin one; and the look for what came late, if one is under way."""
        position = await self._store.position(tenant_id, account)
        if position.under_way is not None:
            return position.under_way, position.sweep
        now = self._now()
        reading = Reading(begin_time=now, since=max(position.newest_time - OVERLAP, now - KEPT_FOR))
        sweep = _sweep(position, now) if position.sweep is None else None
        gap_from = position.read_time if now - position.read_time > KEPT_FOR else None
        await self._store.start(tenant_id, account, reading, sweep, gap_from=gap_from, gap_to=now - KEPT_FOR)
        if gap_from is not None:
            _logger.error(
                "Stripe's events were not read for more than 30 days, and are listed no more: of %s to %s what happened"
                " by no call of ours and was not sent here may be missing, such as refunds and disputes; `python -m"
                " services.gateway reconcile` finds what of it moved money",
                gap_from.isoformat(timespec="minutes"),
                (now - KEPT_FOR).isoformat(timespec="minutes"),
                extra={"fields": {"account": account}},
            )
        return reading, position.sweep or sweep

    async def _receive(self, tenant_id: str, account: str, shown: list[Json]) -> None:
        """Have those received that are not here, the oldest first."""
        read = [one for one in (self._event(account, listed) for listed in reversed(shown)) if one is not None]
        wanted = {event.event_id: (event, body) for event, body in read if event.action is not Action.IGNORE}
        for event_id in await self._store.missing(tenant_id, list(wanted)):
            event, body = wanted[event_id]
            with call_context.following(
                tenant_id, origin=None, correlation=event_id, name="event poll", kind=Kind.CONSUMER
            ) as said:
                said["batzen.event_type"] = event.type
                receipt = await self._inbox.receive(
                    event, body=body, tenant_id=tenant_id, is_connect=event.account is not None, now=self._now()
                )
                fields = {"event_id": event_id, "event_type": event.type, "receipt": receipt.name}
                _logger.info("an event was read", extra={"fields": fields | call_context.log_fields()})
            self._metrics.polled(receipt.name.lower())

    def _event(self, account: str, listed: Json) -> tuple[Event, bytes] | None:
        """Return an event with the body that is stored; None for what we cannot take for one."""
        # Its own account lists it as its own: only what is sent to us says whose it is.
        body = json.dumps({**listed, "account": account} if account else listed, separators=(",", ":")).encode()
        try:
            return events.read(body), body
        except WebhookRefused as refusal:
            self._metrics.polled(REFUSED)
            fields = {"event_id": str(listed.get("id")), "reason": refusal.reason}
            _logger.error("an event of Stripe's cannot be read", extra={"fields": fields})
            return None

    async def _rest(self, tenant_id: str, account: str) -> timedelta:
        every = self._every or timedelta()
        if account == PLATFORM:
            return every
        count = await self._store.count(tenant_id)
        return max(ACCOUNTS_EVERY_MIN, every, timedelta(seconds=count / ACCOUNTS_A_SECOND_MAX))


def _sweep(position: Position, now: datetime) -> Reading | None:
    """Return the look for what came late that is due: behind where the reading that begins now ends."""
    since, until = max(position.newest_time - LATE_FOR, now - KEPT_FOR), position.newest_time - OVERLAP
    if now - position.sweep_time < SWEEP_EVERY or since >= until:
        return None
    return Reading(begin_time=now, since=since, until=until)


def _seen(reading: Reading, shown: list[Mapping[str, object]]) -> Reading:
    """Return a reading with the newest time that it came by."""
    newest = max((_created(one) for one in shown), default=None)
    if newest is None or (reading.newest_time is not None and reading.newest_time >= newest):
        return reading
    return replace(reading, newest_time=newest)


def _created(listed: Mapping[str, object]) -> datetime:
    return datetime.fromtimestamp(int(str(listed["created"])), UTC)
