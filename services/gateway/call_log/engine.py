"""Makes calls to Stripe once each: written down, carried out under their subject's lease, answered from the row after.

What happens if the process dies:
- before the call is written down: nothing was asked, nothing happens;
- after `accept`: it is known and was not sent; whoever repeats the request carries it on;
- later: as `execution` says.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from typing import Final

from services.errors import FailedPrecondition, RequestIdReused
from services.gateway.call_log.call import OPEN, Call, CallState, Q, StoredCall, call_id_of
from services.gateway.call_log.execution import Execution
from services.gateway.call_log.operation import AnyOperation, CallResult, Operation, P, S, SubjectStore
from services.gateway.call_log.store import CallStore
from services.gateway.errors import Amendable, NotNow, StripeUnavailable
from services.runtime.database.lease import LeaseLost, patience
from services.runtime.work.loops import detached
from services.shared import codec

WAIT_MAX_S: Final = 10.0
"""How long to wait for a subject when no deadline says less."""


class _Discarded(Exception):
    """The call was discarded while we waited for it, since it had no effect."""


class Calls:
    """Makes calls once each."""

    def __init__(self, store: CallStore, operations: Iterable[AnyOperation], *, now: Callable[[], datetime]) -> None:
        """`operations` are all that are made, or were made and may have no answer yet."""
        self._store = store
        self._operations = {operation.name: operation for operation in operations}
        self._now = now

    async def make(
        self,
        kind: type[Operation[P, S]],
        *,
        tenant_id: str,
        subject_id: str,
        request_id: uuid.UUID,
        request_hash: bytes,
        params: P,
        new_subject: S | None = None,
        deliver: str | None = None,
    ) -> CallResult[S]:
        """Make a call, or return what came of it when it was made before. It goes on if its caller disconnects.

        `new_subject` is written down with the call, unless the subject is known. `deliver` names what made us ask,
        where no caller gets what comes of it as an answer.
        """
        call: StoredCall = Call(
            tenant_id=tenant_id,
            call_id=call_id_of(tenant_id, kind.name, request_id),
            operation=kind.name,
            request_id=request_id,
            request_hash=request_hash,
            subject_id=subject_id,
            params=codec.to_json(params),
            create_time=self._now(),
        )
        operation: Operation[P, S] = self._operations[kind.name]
        return await asyncio.shield(detached(self._make(operation, call, new_subject, deliver=deliver), name=kind.name))

    async def carry_on(self, known: StoredCall, *, deliver: str) -> bool:
        """Find out what came of a call without an answer, and deliver it; False while its subject is not free."""
        operation = self._operations[known.operation]
        subject = await operation.subjects.take(known.tenant_id, known.subject_id)
        if subject is None:
            return False
        current = await self._store.call(known.tenant_id, known.operation, known.request_id)
        if current is None or current.state not in OPEN:
            await self._release(operation, subject)
        else:
            await self._carry_out(operation, subject, current, deliver=deliver)
        return True

    async def settle_open(self, subjects: SubjectStore[S], subject: S, *, before: Call[P] | None = None) -> None:
        """Ask what came of calls on a held subject that have no answer, before anything is concluded or done.

        Before another call is carried out, only of those that it waits for. What they led to is delivered. Raises
        StripeUnavailable while one stays unknown.
        """
        for name, request_id in list(subject.open_calls):
            if before is not None and not self._is_awaited(name, request_id, before):
                continue
            call = await self._store.call(subject.tenant_id, name, request_id)
            if call is None or call.state not in OPEN:
                continue
            operation = self._operations[name]
            try:
                result = await self._execution(operation, subject, call, deliver=f"settled {name}", release=False).run()
            except FailedPrecondition:
                continue  # kept as that call's answer; what is done now has another
            except (Amendable, NotNow):
                continue  # it had no effect, and is made anew by whoever repeats it
            finally:
                subjects.leases.answered(_question(call))
            if not result.answer:
                raise StripeUnavailable
            subject.open_calls.remove((name, request_id))

    async def _make(
        self, operation: Operation[P, S], call: StoredCall, new_subject: S | None, *, deliver: str | None
    ) -> CallResult[S]:
        until = patience(wait_max_s=WAIT_MAX_S)
        subjects = operation.subjects
        subjects.leases.check_room((call.tenant_id, call.subject_id))  # or it would be written down, too
        at_once = await self._started_at_once(operation, call, new_subject, deliver=deliver)
        while True:
            try:
                if at_once is not None:
                    execution, at_once = at_once, None
                    return await self._finish(operation, execution)
                if new_subject is not None:  # each time: a database that lost its last commits may have lost it, too
                    await subjects.begin(new_subject, now=self._now())
                accepted = await subjects.accept(call, now=self._now())
                if accepted.call is not None and accepted.subject is not None:
                    return await self._carry_out(operation, accepted.subject, accepted.call, deliver=deliver)
                return await self._join(operation, call, until=until, deliver=deliver)
            except (LeaseLost, _Discarded):
                continue  # what Stripe answered under an old fence is thrown away, and asked again

    async def _started_at_once(
        self, operation: Operation[P, S], call: StoredCall, new_subject: S | None, *, deliver: str | None
    ) -> Execution[P, S] | None:
        """Start a call on a subject that is new, or that nobody took since it was saved here; None if it is neither."""
        subject = operation.subjects.recent(call.tenant_id, call.subject_id) or new_subject
        if subject is None:
            return None
        execution = self._execution(operation, subject, call, deliver=deliver, release=True)
        return execution if await execution.start_at_once() else None

    async def _join(
        self, operation: Operation[P, S], call: StoredCall, *, until: float, deliver: str | None
    ) -> CallResult[S]:
        """Wait for whoever works on the subject; then return what came of the call, or carry it on."""
        while True:
            answered, subject = await operation.subjects.leases.acquire_or_answer(
                (call.tenant_id, call.subject_id),
                question=_question(call),
                answer=partial(self._answered, call),
                until=until,
            )
            if answered is not None:
                return await self._kept(operation, answered)
            assert subject is not None, "nothing else ends the wait"  # noqa: S101
            # Read under the lease: nobody else changes it from here on.
            current = await self._store.call(call.tenant_id, call.operation, call.request_id)
            if current is not None and current.state in (CallState.ACCEPTED, *OPEN):
                return await self._carry_out(operation, subject, current, deliver=deliver)
            await self._release(operation, subject)

    async def _answered(self, call: StoredCall) -> StoredCall | None:
        """Return a call that was made before, if it is done."""
        kept = await self._store.call(call.tenant_id, call.operation, call.request_id)
        if kept is None:  # a database that lost its last commits
            raise _Discarded
        if kept.request_hash != call.request_hash or kept.subject_id != call.subject_id:
            raise RequestIdReused(field="request_id")
        if kept.state is CallState.DISCARDED:
            raise _Discarded
        return kept if kept.state in (CallState.ANSWERED, CallState.REFUSED) else None

    async def _kept(self, operation: Operation[P, S], call: StoredCall) -> CallResult[S]:
        """Answer from the row."""
        if call.refusal is not None:
            raise call.refusal
        subject = await operation.subjects.require(call.tenant_id, call.subject_id)
        return CallResult(subject=subject, answer=call.answer or {}, live=None)

    async def _carry_out(
        self, operation: Operation[P, S], subject: S, call: StoredCall, *, deliver: str | None
    ) -> CallResult[S]:
        return await self._finish(operation, self._execution(operation, subject, call, deliver=deliver, release=True))

    async def _finish(self, operation: Operation[P, S], execution: Execution[P, S]) -> CallResult[S]:
        """Carry a call out whose subject is held, and wake those who wait for its answer."""
        leases = operation.subjects.leases
        try:
            async with leases.holding(execution.subject):
                await self.settle_open(operation.subjects, execution.subject, before=execution.call)
                return await execution.run()
        finally:
            leases.answered(_question(execution.call))

    def _execution(
        self, operation: Operation[P, S], subject: S, call: StoredCall, *, deliver: str | None, release: bool
    ) -> Execution[P, S]:
        typed = call.with_params(codec.from_json(operation.params_type, call.params))
        return Execution(operation, subject, typed, deliver=deliver, release=release, now=self._now)

    def _is_awaited(self, name: str, request_id: uuid.UUID, call: Call[P]) -> bool:
        return self._operations[name].is_waited_for and (name, request_id) != (call.operation, call.request_id)

    async def _release(self, operation: Operation[P, S], subject: S) -> None:
        async with operation.subjects.leases.holding(subject):
            await operation.subjects.save(subject, point="call.release", now=self._now(), release=True)


def _question(call: Call[Q]) -> tuple[str, str, uuid.UUID]:
    """Return what those wait for who wait for a call's answer."""
    return call.tenant_id, call.operation, call.request_id
