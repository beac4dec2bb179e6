"""Those who write: as the orchestrator, by compare-and-set, each under an id of its own, asked until it is settled."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any, Final

from google.protobuf.message import Message
from grpc import aio

from batzen.status.v1 import status_pb2 as pb
from batzen.type.v1 import money_pb2, payment_pb2
from tests.status.history.harness.world import World, ended_by
from tests.status.history.reports import Attempt, Reading, Refused, Unknown, Written, now_us
from tests.status.history.stored import collection_of, content, payment_content

PaymentSnapshot = payment_pb2.PaymentSnapshot

TOTAL_MINOR: Final = 12_000
SETTLED_WITHIN_S: Final = 60.0
"""From a first try to an answer that counts, whatever happens."""
PAUSE_S: Final = 0.1
NOT_YET: Final = frozenset({"", "DEPENDENCY_UNAVAILABLE", "SHUTTING_DOWN", "REQUEST_IN_PROGRESS"})
"""Reasons of an answer that settles nothing."""
MOVED_TO_THE_END: Final = 3
BURST_MAX: Final = 100
LONG_BYTES: Final = 6_000

WALK: Final = {
    "INITIALIZED": ("REQUIRES_PAYMENT_METHOD",),
    "REQUIRES_PAYMENT_METHOD": ("REQUIRES_PAYMENT_METHOD", "PROCESSING", "PROCESSING", "PROCESSING", "EXPIRED"),
    "PROCESSING": ("PROCESSING", "REQUIRES_ACTION", "REQUIRES_PAYMENT_METHOD", "AUTHORIZED", "SUCCEEDED"),
    "REQUIRES_ACTION": ("PROCESSING", "PROCESSING", "REQUIRES_PAYMENT_METHOD", "FAILED"),
    "AUTHORIZED": ("AUTHORIZED", "SUCCEEDED"),
    "SUCCEEDED": ("SUCCEEDED",),
    "FAILED": ("FAILED", "PROCESSING"),
    "EXPIRED": ("EXPIRED", "PROCESSING"),
}
"""Where writers take a payment from where it stands; all of it is legal."""
ILLEGAL: Final = "INITIALIZED"
"""Where nothing goes but what is there."""


def opening_snapshot() -> PaymentSnapshot:
    return PaymentSnapshot(
        collection=payment_pb2.PAYMENT_STATE_INITIALIZED,
        cause=PaymentSnapshot.CAUSE_STEP,
        amounts=PaymentSnapshot.Amounts(),
    )


def next_snapshot(now: PaymentSnapshot, chance: random.Random, *, is_long: bool = False) -> PaymentSnapshot:
    """Return a snapshot that may follow, unlike any other."""
    collection = chance.choice(WALK[collection_of(now)])
    amounts = PaymentSnapshot.Amounts()
    if collection == "AUTHORIZED":
        amounts = PaymentSnapshot.Amounts(authorized_minor=TOTAL_MINOR, capturable_minor=TOTAL_MINOR)
    if collection == "SUCCEEDED":
        amounts = PaymentSnapshot.Amounts(
            authorized_minor=TOTAL_MINOR,
            captured_minor=TOTAL_MINOR,
            refund_pending_minor=chance.choice((0, 0, 0, 500)),
            refunded_minor=chance.choice((0, 0, 2_000, TOTAL_MINOR - 500)),
            disputed_open_minor=chance.choice((0, 0, 0, 7_000)),
        )
    return PaymentSnapshot(
        collection=f"PAYMENT_STATE_{collection}",  # type: ignore[arg-type]
        cause=chance.choice((PaymentSnapshot.CAUSE_STEP, PaymentSnapshot.CAUSE_OBSERVATION)),
        amounts=amounts,
        reason="x" * chance.randrange(LONG_BYTES) if is_long else "",
        attempt=chance.randrange(1, 2**31),
    )


class Writers:
    """All writers of a run, and what they know of the payments."""

    def __init__(self, world: World, stubs: Sequence[Any], chance: random.Random) -> None:
        self.attempts: list[Attempt] = []
        self.readings: list[Reading] = []
        self.payment_ids: list[str] = []
        self._world = world
        self._stubs = stubs
        self._chance = chance
        self._asked: list[pb.RecordTransitionRequest] = []
        self._stands: dict[str, tuple[int, PaymentSnapshot]] = {}
        self._long: set[str] = set()

    async def open(self, number: int, *, is_long: bool = False) -> str:
        """Open the payment with this number, and return its id."""
        payment_id = f"pay_{self._chance.randbytes(13).hex()}"
        request = pb.OpenPaymentRequest(
            request_id=self.new_id(),
            payment_id=payment_id,
            payer_id=f"payer_{number % 7}",
            seller_ids=[f"seller_{number % 3}", f"seller_{3 + number % 5}"],
            booking_ids=[f"booking_{number}"],
            client_reference=f"order {number % 11}",
            quote_id=f"quote_{number}",
            total=money_pb2.Money(amount_minor=TOTAL_MINOR, currency_code="CHF"),
            labels={"number": str(number)},
        )
        await self.settle(request, opening_snapshot(), expected=0)
        self.payment_ids.append(payment_id)
        self._stands[payment_id] = (1, opening_snapshot())
        if is_long:
            self._long.add(payment_id)
        return payment_id

    async def write(self, payment_ids: Sequence[str], chance: random.Random, *, pause_s: float, seconds: float) -> None:
        """Move payments until the world is quiet. One after the other is left alone, the last few after `seconds`.

        So that the last transition of some comes in the middle of trouble, and nothing later makes up for its loss.
        """
        loop = asyncio.get_running_loop()
        begin = loop.time()
        while not self._world.quiet.is_set():
            left_alone = int((loop.time() - begin) / seconds * len(payment_ids))
            payment_id = chance.choice(payment_ids[min(left_alone, len(payment_ids) - MOVED_TO_THE_END) :])
            await self._move(payment_id, chance)
            if chance.random() < 0.05:
                await self._read(payment_id, chance)
            await self._world.pause(chance, (0.0, 2 * pause_s))

    async def write_in_bursts(self, payment_id: str, chance: random.Random, *, pause_s: float) -> None:
        """Move one payment many times in a row, again and again, until the world is quiet."""
        while not self._world.quiet.is_set():
            for _ in range(chance.randrange(1, BURST_MAX)):
                await self._move(payment_id, chance)
            await self._world.pause(chance, (0.0, 2 * pause_s))

    async def _move(self, payment_id: str, chance: random.Random) -> None:
        expected, now = self._stands[payment_id]
        snapshot = next_snapshot(now, chance, is_long=payment_id in self._long)
        if chance.random() < 0.02:
            snapshot.collection = payment_pb2.PaymentState.Value(f"PAYMENT_STATE_{ILLEGAL}")
            snapshot.amounts.CopyFrom(PaymentSnapshot.Amounts())
        request = pb.RecordTransitionRequest(
            request_id=self.new_id(), payment_id=payment_id, expected_revision=expected, snapshot=snapshot
        )
        copies = 3 if chance.random() < 0.05 else 1
        outcomes = await asyncio.gather(
            *(self.settle(request, snapshot, expected=expected, chance=chance) for _ in range(copies))
        )
        for outcome in outcomes:
            if isinstance(outcome, Refused) and outcome.current_revision is not None:
                await self._read(payment_id, chance)
        self._asked.append(request)
        if chance.random() < 0.05:  # whatever happened since, a repeat is answered as the first was
            again = chance.choice(self._asked)
            await self.settle(again, again.snapshot, expected=again.expected_revision, chance=chance)

    async def settle(
        self,
        request: pb.OpenPaymentRequest | pb.RecordTransitionRequest,
        snapshot: PaymentSnapshot,
        *,
        expected: int,
        chance: random.Random | None = None,
        replica: int | None = None,
    ) -> Written | Refused:
        """Ask until there is an answer that counts; one replica alone, or whichever."""
        chance = chance or self._chance
        stubs = self._stubs if replica is None else [self._stubs[replica]]
        async with asyncio.timeout(SETTLED_WITHIN_S):
            while True:
                stub, asked_us = chance.choice(stubs), now_us()
                try:
                    if isinstance(request, pb.OpenPaymentRequest):
                        answer: Message = await stub.OpenPayment(request)
                    else:
                        answer = await stub.RecordTransition(request)
                except aio.AioRpcError as error:
                    outcome = _refusal(error)
                else:
                    outcome = self._written(answer)
                self.attempts.append(
                    Attempt(
                        payment_id=request.payment_id,
                        request_id=request.request_id,
                        expected_revision=expected,
                        snapshot=content(snapshot),
                        asked_us=asked_us,
                        ended_us=now_us(),
                        outcome=outcome,
                    )
                )
                self._world.told[f"writes: {_name(outcome)}"] += 1
                if not isinstance(outcome, Unknown):
                    return outcome
                await asyncio.sleep(PAUSE_S * chance.random())

    def _written(self, answer: Any) -> Written:
        payment: pb.Payment = answer.payment
        self._learn(payment)
        is_opening = isinstance(answer, pb.OpenPaymentResponse)
        return Written(
            revision=1 if is_opening else answer.transition.revision,
            transition=b"" if is_opening else self._world.kept(content(answer.transition)),
            standing=payment.revision,
            payment=self._world.kept(payment_content(payment)),
        )

    async def _read(self, payment_id: str, chance: random.Random) -> None:
        asked_us = now_us()
        try:
            answer = await chance.choice(self._stubs).GetPayment(pb.GetPaymentRequest(payment_id=payment_id))
        except aio.AioRpcError as error:
            self._world.told[f"readings that ended {error.code().name}"] += 1
            return
        self._learn(answer.payment)
        self.readings.append(
            Reading(
                payment_id=payment_id,
                asked_us=asked_us,
                answered_us=now_us(),
                revision=answer.payment.revision,
                payment=self._world.kept(payment_content(answer.payment)),
            )
        )

    def _learn(self, payment: pb.Payment) -> None:
        if payment.revision > self._stands.get(payment.payment_id, (0, None))[0]:
            self._stands[payment.payment_id] = (payment.revision, payment.snapshot)

    def new_id(self) -> str:
        raw = self._chance.randbytes(16).hex()
        return f"{raw[:8]}-{raw[8:12]}-4{raw[13:16]}-8{raw[17:20]}-{raw[20:]}"


def _refusal(error: aio.AioRpcError) -> Refused | Unknown:
    ended = ended_by(error)
    if ended.reason in NOT_YET and ended.code in ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "ABORTED"):
        return Unknown(code=ended.code, reason=ended.reason)
    return Refused(code=ended.code, reason=ended.reason, current_revision=ended.current_revision)


def _name(outcome: Written | Refused | Unknown) -> str:
    return "answered" if isinstance(outcome, Written) else f"{outcome.code} {outcome.reason}".strip()
