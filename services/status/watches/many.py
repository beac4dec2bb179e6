"""One WatchMany stream: its watches, and for whom each of them is.

A command that cannot be carried out closes its watch and leaves the stream and the other watches alone.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import suppress
from datetime import datetime

from services.errors import PermissionDenied, ServiceError, Unauthenticated
from services.runtime.rpc.access import Access
from services.runtime.rpc.identity import FRONT, Caller
from services.status.domain.commands import Add, Command, Drop, Renew
from services.status.domain.errors import AssertionInvalid, PaymentNotFound, TooManyWatches
from services.status.domain.records import Payment
from services.status.storage.rows import Unreadable
from services.status.storage.store import StatusStore
from services.status.watches.hub import WatchHub
from services.status.watches.send_queue import SendQueue
from services.status.watches.watch import NOT_BEGUN, Watch
from services.status.wire.responses import many_canceled, many_created, many_update


class _User:
    """An end user for whom some watches of the stream are, by the assertion that holds longest."""

    def __init__(self, caller: Caller, access: Access) -> None:
        self.caller = caller
        self.access = access
        self.payment_ids: set[str] = set()


class Identify:
    """Says of whom an assertion is and how far they reach."""

    def __init__(
        self, *, verify: Callable[[str], Awaitable[Caller]], reach: Callable[[Caller], Access], tenant_id: str
    ) -> None:
        self._verify = verify
        self._reach = reach
        self._tenant_id = tenant_id

    async def __call__(self, assertion: str) -> tuple[Caller, Access]:
        """Raises AssertionInvalid if it is not good, PermissionDenied if it is another tenant's or may not watch."""
        try:
            caller = await self._verify(assertion)
        except Unauthenticated as error:  # which speaks of the token of a call
            raise AssertionInvalid(field="assertion", detail=error.detail) from error
        if caller.tenant_id != self._tenant_id:
            raise PermissionDenied
        return caller, self._reach(caller)


class ManyWatches:
    """The watches of one stream. Commands are carried out one after the other; `close` forgets all watches."""

    def __init__(
        self,
        *,
        hub: WatchHub,
        store: StatusStore,
        identify: Identify,
        caller: Caller,
        access: Access,
        now: Callable[[], datetime],
    ) -> None:
        self._hub = hub
        self._store = store
        self._identify = identify
        self._caller = caller
        self._access = access
        self._now = now
        self._watches: dict[str, Watch] = {}
        self._users: dict[str, _User] = {}
        self._user_of: dict[str, _User] = {}
        """By payment, where a watch is for an end user and not for the stream's caller."""

    def begin(self, send_queue: SendQueue) -> None:
        """Send to this send queue."""
        self._send_queue = send_queue

    async def carry_out(self, commands: Sequence[Command]) -> None:
        """Carry commands out in their order; additions in a row with one reading."""
        adds: dict[str, Add] = {}
        for command in commands:
            if adds and (not isinstance(command, Add) or command.payment_id in adds):
                await self._add(adds.values())
                adds = {}
            match command:
                case Add():
                    adds[command.payment_id] = command
                case Drop():
                    self._end(command.payment_id)
                case Renew():
                    await self._renew(command.assertion)
        await self._add(adds.values())

    def cancel(self, watch: Watch, error: ServiceError) -> None:
        """End a watch for a reason of the hub's."""
        self._end(watch.topic.payment_id, error)

    def expire(self) -> None:
        """End the watches whose assertion has expired."""
        now = self._now()
        for user in [user for user in self._users.values() if user.caller.expire_time <= now]:
            for payment_id in tuple(user.payment_ids):
                self._end(payment_id, AssertionInvalid(detail="It has expired."))

    def close(self) -> None:
        """Forget all watches."""
        for watch in self._watches.values():
            self._hub.drop(watch)

    async def _add(self, adds: Collection[Add]) -> None:
        began = time.perf_counter()
        registered = []
        for add in adds:
            self._end(add.payment_id)
            try:
                await self._register(add)
            except ServiceError as error:
                self._send_queue.put(many_canceled(add.payment_id, error=error, resume_after_revision=None))
            else:
                registered.append(add)
        if registered:
            await self._begin_all(registered)
            self._hub.metrics.began(seconds=time.perf_counter() - began)

    async def _begin_all(self, adds: Sequence[Add]) -> None:
        """Begin what was registered, with one reading unless one of the payments is not to be read."""
        try:
            payments = await self._store.read_many([(self._caller.tenant_id, add.payment_id) for add in adds])
        except ServiceError as error:
            if isinstance(error, Unreadable) and len(adds) > 1:
                for add in adds:
                    await self._begin_all([add])
            else:
                for add in adds:
                    self._end(add.payment_id, error)
            return
        for add, payment in zip(adds, payments, strict=True):
            try:
                self._begin(add, payment)
            except ServiceError as error:
                self._end(add.payment_id, error)

    async def _register(self, add: Add) -> None:
        """Have the hub gather what it hears of a payment before that is read; raise what speaks against it."""
        if add.error is not None:
            raise add.error
        limits = self._hub.limits
        if len(self._watches) >= limits.watches_per_stream_max:
            raise TooManyWatches(max=limits.watches_per_stream_max)
        user = await self._user(add.assertion) if add.assertion else None
        self._watches[add.payment_id] = self._hub.add(
            self._caller.tenant_id,
            add.payment_id,
            send_queue=self._send_queue,
            form=many_update,
            cancel=self.cancel,
            latest_only=add.latest_only,
        )
        if user is not None:
            self._users[user.caller.subject] = self._user_of[add.payment_id] = user
            user.payment_ids.add(add.payment_id)

    def _begin(self, add: Add, payment: Payment | None) -> None:
        watch = self._watches.get(add.payment_id)
        if watch is None:  # its assertion expired while the payment was read, or was replaced; its caller heard of that
            return
        user = self._user_of.get(add.payment_id)
        if payment is None or not self._is_seen(payment, user):
            raise PaymentNotFound
        self._hub.begin(watch, payment, after_revision=add.after_revision)
        self._send_queue.put(many_created(payment, with_payment=add.after_revision is None))

    def _is_seen(self, payment: Payment, user: _User | None) -> bool:
        """Tell whether the stream's caller sees a payment, and the user for whom it is watched; a front, who sees none
        by itself, sees what its user does.
        """
        if user is None:
            return _sees(self._caller, self._access, payment)
        is_front = FRONT in self._access.own_as
        return _sees(user.caller, user.access, payment) and (is_front or _sees(self._caller, self._access, payment))

    def _end(self, payment_id: str, error: ServiceError | None = None) -> None:
        """End a watch, if there is one: without an error its caller wanted it so."""
        watch = self._watches.pop(payment_id, None)
        if watch is None:
            return
        self._send_queue.seal(watch)
        tail = None if watch.tail == NOT_BEGUN else watch.tail
        self._hub.drop(watch)
        user = self._user_of.pop(payment_id, None)
        if user is not None:
            user.payment_ids.discard(payment_id)
            if not user.payment_ids:
                self._users.pop(user.caller.subject, None)
        self._send_queue.put(many_canceled(payment_id, error=error, resume_after_revision=tail))

    async def _user(self, assertion: str) -> _User:
        """Return the user of an assertion, as known to the stream or new."""
        caller, access = await self._identify(assertion)
        user = self._users.get(caller.subject)
        if user is None:
            return _User(caller, access)
        if caller.expire_time > user.caller.expire_time:
            is_changed = access != user.access
            user.caller, user.access = caller, access
            if is_changed:
                await self._end_unseen(user)
        return user

    async def _renew(self, assertion: str) -> None:
        with suppress(ServiceError):  # the older one holds until it expires
            await self._user(assertion)

    async def _end_unseen(self, user: _User) -> None:
        """End the watches that a user's new assertion does not reach, or all of them if that cannot be found out."""
        payment_ids = tuple(user.payment_ids)
        try:
            payments = await self._store.read_many([(self._caller.tenant_id, each) for each in payment_ids])
        except ServiceError as error:
            for payment_id in payment_ids:
                self._end(payment_id, error)
            return
        for payment_id, payment in zip(payment_ids, payments, strict=True):
            if payment is None or not _sees(user.caller, user.access, payment):
                self._end(payment_id, PaymentNotFound())


def _sees(caller: Caller, access: Access, payment: Payment) -> bool:
    return not access.own_only or payment.belongs_to(caller.subject, roles=access.own_as)
