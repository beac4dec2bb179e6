"""One call under its subject's lease: started, sent, and what came of it kept. `run` is the path, the rest its steps.

What happens if the process dies:
- after `start`: it may have been sent. Its row is due when the lease ends, and the engine sends the same parameters
  under the same key: Stripe does it once;
- after Stripe answered and before that is recorded: the same; Stripe replays its answer;
- after it was recorded: the caller's repeat is answered from the row.

Stripe answers late, twice or never: late answers come under an old fence and are not recorded, the call is sent again;
a repeated answer is the same one; while there is none the call is UNKNOWN and is sent again for ever, at growing
intervals, and what it led to is delivered.

A call that certainly had no effect is discarded: whoever repeats the request takes it up again, under the same key, or
under the next generation's if this key will never say more. What moves money each time that it is carried out is not
sent by another key before what was sent by this one cannot come any more. What Stripe refuses although the mirror
allowed it is read again before it is refused here, and the answer says what is true.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final, Generic

from services.errors import ServiceError
from services.gateway.call_log.backoff import settle_delay
from services.gateway.call_log.call import Call, CallState, StoredCall
from services.gateway.call_log.operation import CallResult, Operation, P, S
from services.gateway.errors import (
    Amendable,
    NotNow,
    RequestExpired,
    StripeKeySpent,
    StripeRateLimited,
    StripeRefused,
    StripeUnavailable,
)
from services.gateway.stripe_api.outcomes import NotExecuted, Unanswered
from services.runtime import crash_points
from services.runtime.database.lease import LEASE
from services.shared import codec, refusals
from services.shared.codec import Json
from services.shared.refusals import Refusal

IN_FLIGHT_MAX: Final = timedelta(minutes=5)
"""How long Stripe may still be at work on what it was sent last. Its own clients give up after 80 s; the rest is for
clocks that are apart, of whoever sent it and whoever looks."""
KEPT_FAILURE_REST: Final = timedelta(seconds=10)
"""Between a try of which Stripe kept a failure and what is concluded from not finding that it had an effect: to Stripe
such an outcome is indeterminate, and it mends by itself what it left half done (docs.stripe.com/error-low-level)."""
SILENCE: Final = (StripeRateLimited, StripeUnavailable)
"""It was not sent, or not read: nothing is known from it."""

_logger = logging.getLogger(__name__)


class Execution(Generic[P, S]):
    """Carries one call out."""

    def __init__(
        self,
        operation: Operation[P, S],
        subject: S,
        call: Call[P],
        *,
        deliver: str | None,
        release: bool,
        now: Callable[[], datetime],
    ) -> None:
        """`deliver` names what made us ask, where no caller waits; with `release` the subject is released after."""
        self._operation = operation
        self.subject = subject
        self.call = call
        self._deliver = deliver
        self._release = release
        self._now = now
        self._was_begun = call.state is not CallState.ACCEPTED  # it may have been sent, and a caller been promised it

    async def run(self) -> CallResult[S]:
        """Make the call and keep what came of it. Raises what it is refused with, or why it had no effect."""
        if self.call.state is CallState.ACCEPTED:
            await self._start()
        try:
            answer = await self._answer()
        except (Amendable, NotNow):  # refused: no try before this one had an effect either, nor will one by this key
            await self._discard(with_new_key=True)
            raise
        except SILENCE:  # it was not sent this time; the times before may have had an effect
            if not self._was_begun:
                await self._discard()
                raise
            return await self._unknown(was_asked=False)
        except Unanswered:
            return await self._unknown()
        except NotExecuted as nothing:
            if self._operation.retry_until_known and self.call.state is CallState.UNKNOWN:
                return await self._unknown(with_new_key=True)
            await self._discard(with_new_key=True)
            raise StripeKeySpent from nothing
        return await self._record(answer)

    async def start_at_once(self) -> bool:
        """Write the call down as started, and take its subject, if that is still what it was computed from.

        False if it is not, or if the subject as it is known forbids the call: then nothing is written, and the call
        is accepted first, and forbidden by what is true under the lease.
        """
        try:
            await self._prepare()
        except ServiceError:
            return False
        return await self._operation.subjects.start(
            self.subject, self._stored(), point=f"{self._operation.name}.start", now=self._now()
        )

    async def _start(self) -> None:
        """Write down exactly what is sent, before it is. Raises what forbids the call."""
        try:
            await self._prepare()
        except NotNow:
            await self._discard()
            raise
        except ServiceError as error:
            await self._refuse(error, deliver=None)
            raise
        await self._save("start", release=False)

    async def _prepare(self) -> None:
        if self._too_late_by() is not None:
            raise RequestExpired
        params = await self._operation.prepare(self.subject, self.call)
        # Stripe's memory of the key begins now. After a failover that lost this the same key is used again.
        now = self._now()
        started = replace(self.call, params=params, state=CallState.STARTED, key_time=now, due_time=now + LEASE)
        self.call = replace(started, send_time=now)

    async def _answer(self) -> Json:
        """Ask Stripe, and read again what it refuses although the mirror allowed it."""
        try:
            return await crash_points.call(f"{self._operation.name}.stripe", self._ask())
        except StripeRefused as refusal:
            return await self._look_again(refusal)

    async def _ask(self) -> Json:
        """Send by the key while Stripe remembers it; look up what is older, or what it will not say.

        What was sent and not answered may never have got there. When it is too late for that it is not sent again, lest
        it has its effect only now: once nothing of it can be on its way any more, it is looked up. That it is not found
        says that it had no effect once nothing of it can come any more; sent anew before, it might be done twice.
        """
        late = self._too_late_by()
        if late is not None and late < IN_FLIGHT_MAX:
            raise Unanswered
        rest = IN_FLIGHT_MAX
        if late is None and not self.call.key_ends(self._now()):
            try:
                return await self._send()
            except Unanswered as silence:
                if not self._is_in_vain(silence):
                    raise
                rest = KEPT_FAILURE_REST if silence.is_kept else rest
        try:
            found = await self._operation.look_up(self.subject, self.call)
        except SILENCE as silence:
            raise Unanswered from silence  # of what was sent, nothing is known
        if found is None:
            raise Unanswered if self._may_come_yet(rest) else NotExecuted
        return found

    async def _send(self) -> Json:
        """Send the call, and keep when: before it is sent, unless it was written down as started just now."""
        earlier = self.call.send_time if self._was_begun else None
        if self._was_begun:
            self.call = replace(self.call, send_time=self._now())
            await self._save("resend", release=False)
        try:
            return await self._operation.send(self.subject, self.call, is_repeat=earlier is not None)
        except Unanswered as silence:
            last = earlier if self._is_in_vain(silence) and earlier is not None else self._now()
            self.call = replace(self.call, send_time=last)
            raise

    def _is_in_vain(self, silence: Unanswered) -> bool:
        """Whether this try did nothing, and others by the same key may go the same way for ever.

        What brings something into a state is asked for again where it is refused: that state may come by an earlier
        try, and reading it before would conclude from what is not there yet.
        """
        return silence.is_replay or (silence.is_refused and self._operation.moves_each_time)

    def _may_come_yet(self, rest: timedelta) -> bool:
        """Whether what was sent before may still be carried out, and would move money beside what is sent anew."""
        sent = self.call.send_time
        return self._operation.moves_each_time and sent is not None and self._now() - sent < rest

    async def _look_again(self, refusal: StripeRefused) -> Json:
        """Return what is there of a call that Stripe refused, or refuse it by what is true.

        While what is true cannot be read the refusal is not kept: the same call brings it again.
        """
        step = self._operation.name
        try:
            looking = self._operation.look_again(self.subject, self.call, refusal)
            return await crash_points.call(f"{step}.look_again", looking)
        except SILENCE as silence:
            if self._was_begun:  # a caller may have been answered that it goes ahead
                raise Unanswered from silence
            raise
        except ServiceError as truth:
            # The caller gets the refusal alone, so what was found is delivered.
            deliver = self._deliver or (f"refused {step}" if self.subject.is_changed else None)
            await self._refuse(truth, deliver=deliver)
            raise

    async def _record(self, answer: Json) -> CallResult[S]:
        kept = self._operation.record(self.subject, self.call, answer)
        params = self._operation.kept(self.call.params)
        self.call = replace(self.call, params=params, state=CallState.ANSWERED, answer=kept, due_time=None)
        is_news = self._operation.is_delivered and self.subject.is_changed
        await self._save("record", deliver=self._deliver or (f"called {self._operation.name}" if is_news else None))
        return CallResult(subject=self.subject, answer=kept, live=answer)

    async def _discard(self, *, with_new_key: bool = False) -> None:
        """Discard a call that certainly had no effect, so that a repeat takes it up again."""
        call = self.call.with_new_key(self._now()) if with_new_key else self.call
        self._operation.discarded(self.subject, call)
        self.call = replace(call, state=CallState.DISCARDED, due_time=None)
        await self._save("withdraw", deliver=self._deliver)

    async def _unknown(self, *, was_asked: bool = True, with_new_key: bool = False) -> CallResult[S]:
        """Keep that the outcome is not known. Each time that Stripe was asked in vain it rests longer."""
        now = self._now()
        call = self.call.with_new_key(now) if with_new_key else self.call
        self._operation.unknown(self.subject)
        due_time = now + settle_delay(call.tries)
        self.call = replace(call, state=CallState.UNKNOWN, tries=call.tries + was_asked, due_time=due_time)
        await self._save("unknown")
        _logger.warning("%s of %s is unknown, try %d", call.operation, call.subject_id, call.tries)
        return CallResult(subject=self.subject, answer={}, live=None)

    async def _refuse(self, error: ServiceError, *, deliver: str | None) -> None:
        """Keep a refusal, to be the answer to each repeat."""
        refusal = Refusal.from_json(refusals.to_json(error))
        params = self._operation.kept(self.call.params)
        self.call = replace(self.call, params=params, state=CallState.REFUSED, refusal=refusal, due_time=None)
        await self._save("refuse", deliver=deliver)

    async def _save(self, step: str, *, deliver: str | None = None, release: bool | None = None) -> None:
        await self._operation.subjects.save(
            self.subject,
            point=f"{self._operation.name}.{step}",
            now=self._now(),
            call=self._stored(),
            release=self._release if release is None else release,
            deliver=deliver,
        )

    def _stored(self) -> StoredCall:
        return self.call.with_params(codec.to_json(self.call.params))

    def _too_late_by(self) -> timedelta | None:
        """Return how long ago it became too late to send the call for a first time; None if it is not."""
        if self.call.params.send_before_time is None:
            return None
        late = self._now() - self.call.params.send_before_time
        return late if late >= timedelta(0) else None
