"""One call to Stripe: written down, made, recorded. Under the payment's lease, outside of any transaction.

What happens if the process dies:
- before the call is written down: nothing was asked, nothing happens;
- after `accept`: it is known and was not sent; whoever repeats the request carries it on;
- after `start`: it may have been sent. Its row is due when the lease ends, and the engine sends the same parameters
  under the same key: Stripe does it once;
- after Stripe answered and before that is recorded: the same; Stripe replays its answer;
- after it was recorded: the caller's repeat is answered from the row.

Stripe answers late, twice or never: late answers come under an old fence and are not recorded, the call is asked again;
a repeated answer is the same one; while there is none the call is UNKNOWN and is asked again for ever, at growing
intervals, and what it led to is delivered as an event.

A call that certainly had no effect is WITHDRAWN: whoever repeats the request takes it up again, under the same key, or
under the next generation's if this key will never say more. What Stripe refuses although the mirror allowed it is
read again before it is refused here, and the answer says what is true.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from services.errors import (
    Aborted,
    FailedPrecondition,
    RequestIdReused,
    RequestInProgress,
    ResourceExhausted,
    ServiceError,
    Unavailable,
)
from services.gateway import domain
from services.gateway.call_log import backoff
from services.gateway.domain import IntentNotFound
from services.gateway.mirror.store import Call, LeaseLost, MirroredPayment, Store, call_id_of
from services.gateway.stripe_api.client import NotExecuted, Unanswered
from services.runtime import crash_points
from services.runtime.rpc import call_context
from services.runtime.work.kinds import RetryLater, RetryPolicy, Work, WorkClass, WorkKind
from services.runtime.work.waiting_room import WaitingRoom

RENEW_EVERY_S: Final = domain.LEASE.total_seconds() / 3
WAIT_MAX_S: Final = 10.0
"""How long to wait for a payment when no deadline says less."""
ANSWER_MARGIN_S: Final = 0.1
SETTLE_RETRY: Final = RetryPolicy(tries_max=40, first_delay=timedelta(seconds=1), delay_max=domain.SETTLE_MAX)
"""Of a call whose settling raises what it should not, for about three hours; then an operator has to look. While Stripe
does not say what became of a call, nothing failed, and it is asked for ever."""
TRANSIENT: Final = (Unavailable, ResourceExhausted, Aborted)

SEND_BEFORE: Final = "send_before_time"
"""The parameter of a call that says, in ISO 8601, when it is too late for Stripe to hear of it for a first time."""
IN_FLIGHT_MAX: Final = timedelta(minutes=2)
"""How long Stripe may still be at work on what it was sent last; its own clients give up after 80 s."""

Json = Mapping[str, Any]
_logger = logging.getLogger(__name__)


class Operation(Protocol):
    """One kind of call. What gets `held` changes it in memory; the engine saves it."""

    name: str
    """`intent.confirm`; part of the idempotency key."""
    retry_until_known: bool
    """Whether a caller is told that it goes ahead while its outcome is unknown: then it is not given up silently."""

    async def prepare(self, held: MirroredPayment, call: Call) -> dict[str, Any]:
        """Return what is sent, or raise what forbids it."""

    async def send(self, held: MirroredPayment, call: Call, *, is_repeat: bool) -> Json:
        """Make the call, which may have been sent before. Raises what `Provider` does."""

    async def look_up(self, held: MirroredPayment, call: Call) -> Json | None:
        """Find out what a call led to whose key says no more; None if it had no effect."""

    async def look_again(self, held: MirroredPayment, call: Call, refusal: domain.StripeRefused) -> Json:
        """Put what is true into `held` after Stripe refused what the mirror allowed.

        Return what was asked for if that is there all the same. Else undo what `prepare` reserved and raise what
        forbids the call: what is true, or if that does not explain it, the refusal.
        """

    def record(self, held: MirroredPayment, call: Call, answer: Json) -> dict[str, Any]:
        """Put what Stripe answered into `held`, and return what is kept of it: ids, never a secret."""

    def discarded(self, held: MirroredPayment, call: Call) -> None:
        """Make `held` what it was before `prepare`: the call had no effect, and will be made anew."""

    def unknown(self, held: MirroredPayment) -> None:
        """Put into `held` that the outcome is not known."""


class _Discarded(Exception):
    """The call was withdrawn while we waited for it, since it had no effect."""


class Refusal(ServiceError):
    """A kept refusal, raised again."""

    def __init__(self, kept: Mapping[str, Any]) -> None:
        Exception.__init__(self, kept["message"])
        self.status = kept["status"]  # type: ignore[misc]  # each brings its own
        self.reason = kept["reason"]  # type: ignore[misc]
        self.field = kept["field"]
        self.metadata = dict(kept["metadata"])


@dataclass(frozen=True, slots=True, kw_only=True)
class CallResult:
    """What came of a call."""

    held: MirroredPayment
    answer: Mapping[str, Any]
    """What was kept of Stripe's answer; empty while it is not known."""
    live: Json | None
    """Stripe's answer itself, when it came just now."""


class Calls:
    """Makes calls once each."""

    def __init__(
        self,
        store: Store,
        operations: list[Operation],
        *,
        now: Callable[[], datetime],
        is_away: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """`is_away` says of an operation whether Stripe is known to be away for it."""
        self._store = store
        self._operations = {operation.name: operation for operation in operations}
        self._now = now
        self._is_away = is_away
        self._room = WaitingRoom()
        """Those who wait for a payment of (tenant, payment)."""

    async def make(
        self,
        operation: str,
        *,
        tenant_id: str,
        payment_id: str,
        request_id: uuid.UUID,
        request_hash: bytes,
        params: Json,
    ) -> CallResult:
        """Make a call, or return what came of it when it was made before. It goes on if its caller goes away."""
        call = Call(
            tenant_id=tenant_id,
            call_id=call_id_of(tenant_id, operation, request_id),
            operation=operation,
            request_id=request_id,
            request_hash=request_hash,
            payment_id=payment_id,
            params=dict(params),
            create_time=self._now(),
        )
        task = asyncio.ensure_future(self._make(call))
        task.add_done_callback(_retrieve)
        return await asyncio.shield(task)

    async def _make(self, call: Call) -> CallResult:
        until = patience()
        self._room.check_room((call.tenant_id, call.payment_id))  # or it would be written down, too
        while True:
            found, accepted, held = await self._store.accept(call, now=self._now())
            if not found:
                raise IntentNotFound
            try:
                if held is not None and accepted is not None:
                    return await self._carry_out(held, accepted, deliver=None)
                return await self._join(call, until=until)
            except (LeaseLost, _Discarded):
                continue  # what Stripe answered under an old fence is thrown away, and asked again

    async def _join(self, call: Call, *, until: float) -> CallResult:
        """Wait for whoever works on the payment; then return what came of the call, or carry it on."""
        while True:
            kept, held = await self._turn(call, until=until)
            if held is None:
                return await self._kept(kept)
            # Read under the lease: nobody else changes it from here on.
            current = await self._store.call(call.tenant_id, call.operation, call.request_id)
            if current is not None and current.state in ("ACCEPTED", "STARTED", "UNKNOWN"):
                return await self._carry_out(held, current, deliver=None)
            async with self.holding(held):
                await self._store.save(held, point="call.release", now=self._now(), release=True)

    async def _turn(self, call: Call, *, until: float) -> tuple[Call, MirroredPayment | None]:
        """Wait until a call that was made before is done, or its payment is ours. Raises RequestInProgress."""
        question = (call.tenant_id, call.operation, call.request_id)
        with self._room.place((call.tenant_id, call.payment_id), question=question) as place:
            while True:
                kept = await self._store.call(*question)
                if kept is None:  # a database that lost its last commits
                    raise _Discarded
                if kept.request_hash != call.request_hash or kept.payment_id != call.payment_id:
                    raise RequestIdReused(field="request_id")
                if kept.state == "WITHDRAWN":
                    raise _Discarded
                if kept.state in ("ANSWERED", "REFUSED"):
                    return kept, None
                held = await self._store.take(call.tenant_id, call.payment_id)
                if held is not None:
                    place.served()
                    return kept, held
                if not await place.until_worth_a_look(until):
                    raise RequestInProgress

    @property
    def work(self) -> WorkKind:
        """The calls whose outcome is not known."""
        return WorkKind(
            name="calls",
            work_class=WorkClass.MONEY,
            table="calls",
            key={"call_id": "uuid"},
            retry=SETTLE_RETRY,
            handler=self.settle,
        )

    async def settle(self, work: Work) -> None:
        """Ask again what came of a call without an answer, and deliver it. Its row says when it is asked next."""
        call = await self._store.call_by_id(work.tenant_id, work.key[0])
        if call is None:
            return
        if self._is_away(call.operation):
            raise RetryLater(domain.SETTLE_FIRST)  # this was no try
        held = await self._store.take(call.tenant_id, call.payment_id)
        if held is None:
            raise RetryLater(backoff.REST_MIN)  # somebody works on the payment, and may settle it
        kept = await self._store.call(call.tenant_id, call.operation, call.request_id)
        if kept is None or kept.state not in ("STARTED", "UNKNOWN"):
            async with self.holding(held):
                await self._store.save(held, point="call.release", now=self._now(), release=True)
            return
        try:
            await self._carry_out(held, kept, deliver=f"settled {call.operation}")
        except TRANSIENT as error:
            _logger.info("%s of %s waits: %s", call.operation, call.payment_id, error.reason)
            raise RetryLater(domain.settle_delay(kept.tries)) from error
        except ServiceError as error:  # kept as the call's answer
            _logger.info("%s of %s: %s", call.operation, call.payment_id, error.reason)

    async def _kept(self, call: Call) -> CallResult:
        if call.state == "REFUSED":
            raise Refusal(call.answer or {})
        held = await self._store.read(call.tenant_id, call.payment_id)
        if held is None:
            raise IntentNotFound
        return CallResult(held=held, answer=call.answer or {}, live=None)

    async def _carry_out(self, held: MirroredPayment, call: Call, *, deliver: str | None) -> CallResult:
        try:
            async with self.holding(held):
                await self.settle_open(held, but=call)
                return await self._perform(held, call, deliver=deliver)
        finally:
            self._room.answered((call.tenant_id, call.operation, call.request_id))

    async def settle_open(self, held: MirroredPayment, *, but: Call | None = None) -> None:
        """Ask what came of calls on a held payment that have no answer, before anything is concluded or done.

        What they led to is delivered. Raises StripeUnavailable while one stays unknown.
        """
        for operation, request_id in list(held.open_calls):
            if but is not None and (operation, request_id) == (but.operation, but.request_id):
                continue
            call = await self._store.call(held.tenant_id, operation, request_id)
            if call is None or call.state not in ("STARTED", "UNKNOWN"):
                continue
            try:
                done = await self._perform(held, call, deliver=f"settled {operation}", release=False)
            except FailedPrecondition:
                continue  # kept as that call's answer; what is done now has another
            except domain.Amendable:
                continue  # it had no effect, and is made anew by whoever repeats it
            finally:
                self._room.answered((held.tenant_id, operation, request_id))
            if not done.answer:
                raise domain.StripeUnavailable
            del held.open_calls[operation, request_id]

    async def _perform(
        self, held: MirroredPayment, call: Call, *, deliver: str | None, release: bool = True
    ) -> CallResult:
        operation = self._operations[call.operation]
        step = call.operation
        was_sent = call.state != "ACCEPTED"
        if not was_sent:
            try:
                if self._too_late_by(call) is not None:
                    raise domain.RequestExpired
                params = await operation.prepare(held, call)
            except ServiceError as error:
                await self._refuse(held, call, error, deliver=None, release=release)
                raise
            # Stripe's memory of the key begins now. After a failover that lost this the same key is used again.
            now = self._now()
            call = replace(call, params=params, state="STARTED", key_time=now, due_time=now + domain.LEASE)
            await self._store.save(held, point=f"{step}.start", now=self._now(), call=call)
        try:
            answer = await crash_points.call(f"{step}.stripe", self._ask(operation, held, call, is_repeat=was_sent))
        except domain.Amendable:  # refused, so no try before this one had an effect either, nor will one by this key
            call = call.with_new_key(self._now())
            await self._discard(operation, held, call, deliver=deliver, release=release)
            raise
        except (domain.StripeRateLimited, domain.StripeUnavailable):
            if was_sent:  # it was not sent this time; the times before may have had an effect
                return await self._unknown(operation, held, call, release=release, was_asked=False)
            await self._discard(operation, held, call, deliver=deliver, release=release)
            raise
        except Unanswered:
            return await self._unknown(operation, held, call, release=release)
        except NotExecuted as nothing:
            if operation.retry_until_known and call.state == "UNKNOWN":
                return await self._unknown(operation, held, call.with_new_key(self._now()), release=release)
            call = call.with_new_key(self._now())
            await self._discard(operation, held, call, deliver=deliver, release=release)
            raise domain.StripeKeySpent from nothing
        except domain.StripeRefused as refusal:
            found = await self._look_again(
                operation, held, call, refusal, was_sent=was_sent, deliver=deliver, release=release
            )
            if found is None:
                return await self._unknown(operation, held, call, release=release)
            answer = found
        kept = operation.record(held, call, answer)
        call = replace(call, state="ANSWERED", answer=kept, due_time=None)
        await self._store.save(
            held, point=f"{step}.record", now=self._now(), call=call, release=release, deliver=deliver
        )
        return CallResult(held=held, answer=kept, live=answer)

    def _too_late_by(self, call: Call) -> timedelta | None:
        """Return for how long Stripe may not hear of a call for a first time any more; None if it still may."""
        if SEND_BEFORE not in call.params:
            return None
        late = self._now() - datetime.fromisoformat(call.params[SEND_BEFORE])
        return late if late >= timedelta(0) else None

    async def _ask(self, operation: Operation, held: MirroredPayment, call: Call, *, is_repeat: bool) -> Json:
        """Send by the key while Stripe remembers it; look up what is older, or what it will not say.

        What was sent and not answered may never have got there. When it is too late for that it is not sent again, lest
        it has its effect only now: once nothing of it can be on its way any more, it is looked up.
        """
        late = self._too_late_by(call)
        if late is not None and late < IN_FLIGHT_MAX:
            raise Unanswered
        if late is None and not call.key_ends(self._now()):
            try:
                return await operation.send(held, call, is_repeat=is_repeat)
            except Unanswered as silence:
                if not silence.is_replay:
                    raise
        try:
            found = await operation.look_up(held, call)
        except (domain.StripeRateLimited, domain.StripeUnavailable) as silence:
            raise Unanswered from silence  # of what was sent, nothing is known
        if found is None:
            raise NotExecuted
        return found

    async def _look_again(
        self,
        operation: Operation,
        held: MirroredPayment,
        call: Call,
        refusal: domain.StripeRefused,
        *,
        was_sent: bool,
        deliver: str | None,
        release: bool,
    ) -> Json | None:
        """Return what is there of a call that Stripe refused, or refuse it by what is true; None if that is unknown.

        While what is true cannot be read the refusal is not kept: the same call brings it again.
        """
        step = call.operation
        try:
            return await crash_points.call(f"{step}.look_again", operation.look_again(held, call, refusal))
        except (domain.StripeRateLimited, domain.StripeUnavailable):
            if was_sent:  # somebody may have been told that it goes ahead
                return None
            await self._discard(operation, held, call, deliver=deliver, release=release)
            raise
        except ServiceError as truth:
            # The caller is told of the refusal alone, so what was seen is delivered.
            is_new = held.observation.mirror_version != held.saved_version
            deliver = deliver or (f"refused {step}" if is_new else None)
            await self._refuse(held, call, truth, deliver=deliver, release=release)
            raise

    async def _discard(
        self, operation: Operation, held: MirroredPayment, call: Call, *, deliver: str | None, release: bool
    ) -> None:
        """Put a call aside that certainly had no effect, so that a repeat takes it up again."""
        operation.discarded(held, call)
        await self._store.save(
            held,
            point=f"{call.operation}.withdraw",
            now=self._now(),
            call=replace(call, state="WITHDRAWN", due_time=None),
            release=release,
            deliver=deliver,
        )

    async def _unknown(
        self, operation: Operation, held: MirroredPayment, call: Call, *, release: bool, was_asked: bool = True
    ) -> CallResult:
        """Keep that the outcome is not known. Each time that Stripe was asked in vain it rests longer."""
        now = self._now()
        operation.unknown(held)
        delay = domain.settle_delay(call.tries)
        call = replace(call, state="UNKNOWN", tries=call.tries + was_asked, due_time=now + delay)
        await self._store.save(held, point=f"{call.operation}.unknown", now=now, call=call, release=release)
        _logger.warning("%s of %s is unknown, try %d", call.operation, call.payment_id, call.tries)
        return CallResult(held=held, answer={}, live=None)

    async def _refuse(
        self, held: MirroredPayment, call: Call, refusal: ServiceError, *, deliver: str | None, release: bool
    ) -> None:
        kept = {
            "status": refusal.status,
            "reason": refusal.reason,
            "message": str(refusal),
            "field": refusal.field,
            "metadata": refusal.metadata,
        }
        call = replace(call, state="REFUSED", answer=kept, due_time=None)
        await self._store.save(
            held, point=f"{call.operation}.refuse", now=self._now(), call=call, release=release, deliver=deliver
        )

    @asynccontextmanager
    async def holding(self, held: MirroredPayment) -> AsyncIterator[None]:
        """Keep the lease while inside. After an error let go; what is saved is where the next one goes on."""
        renewing = asyncio.create_task(self._renew(held))
        try:
            yield
        except LeaseLost:
            raise
        except (Exception, asyncio.CancelledError):
            await self._release(held)
            raise
        finally:
            renewing.cancel()
            self._room.wake((held.tenant_id, held.payment_id))

    async def acquire(self, tenant_id: str, payment_id: str) -> MirroredPayment:
        """Take a payment, waiting for whoever works on it."""
        held = await self._store.take(tenant_id, payment_id)
        if held is not None:
            return held
        if await self._store.read(tenant_id, payment_id) is None:
            raise IntentNotFound
        until = patience()
        with self._room.place((tenant_id, payment_id)) as place:
            while True:
                # Again at once: it may have been let go before there was anybody in line to wake.
                held = await self._store.take(tenant_id, payment_id)
                if held is not None:
                    place.served()
                    return held
                if not await place.until_worth_a_look(until):
                    raise RequestInProgress

    async def _release(self, held: MirroredPayment) -> None:
        try:
            await self._store.release(held)
        except ServiceError:
            _logger.warning("%s could not be let go; its lease ends by itself", held.payment_id)

    async def _renew(self, held: MirroredPayment) -> None:
        while True:
            await asyncio.sleep(RENEW_EVERY_S)
            try:
                if not await self._store.renew(held):
                    return
            except ServiceError:
                _logger.warning("the lease of %s could not be renewed", held.payment_id)


def patience() -> float:
    """Return the loop's time at which a waiting call should answer that another one still runs."""
    remaining_s = call_context.time_remaining()
    wait_s = WAIT_MAX_S if remaining_s is None else remaining_s - ANSWER_MARGIN_S
    return asyncio.get_running_loop().time() + wait_s


def _retrieve(task: asyncio.Task[CallResult]) -> None:
    """Look at how a task ended, for when nobody waits for it any more."""
    if not task.cancelled() and task.exception() is not None and not isinstance(task.exception(), ServiceError):
        _logger.error("a call failed", exc_info=task.exception())
