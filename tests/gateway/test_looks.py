"""What waits for Stripe is read again without a webhook; what has come to rest is not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial

import asyncpg
import pytest

from local.databases import ServiceDatabase
from sandbox.control import SandboxControl
from services.gateway.disputes.domain import Standing
from services.gateway.intents.domain import RANK, Intent
from services.gateway.mirror.reading_times import RESTS, next_look
from services.gateway.refunds.domain import Refund, RefundState
from services.runtime.database.connections import plain_dsn
from services.shared.states import IntentState
from tests.clock import Clock
from tests.eventually import eventually
from tests.gateway.conftest import Sink
from tests.gateway.samples import READ, SUCCEEDED, Payments
from tests.gateway.stubs import GatewayStubs
from tests.gateway.test_disputes import dispute, moved
from tests.gateway.test_domain import START, conclude, intent, paid, refund

CANCELED = intent(state=IntentState.CANCELED)
CONTESTED = [
    paid(disputed=True, disputes=(dispute(standing),))
    for standing in (Standing.OPEN, Standing.INQUIRY, Standing.LOST, Standing.CLOSED)
]


def rest(intents: list[Intent], refunds: list[Refund] | None = None, *, looks: int = 0) -> timedelta | None:
    return next_look(conclude(START, intents, refunds or []), intents, refunds or [], looks=looks)


@pytest.mark.parametrize(
    ("intents", "refunds"),
    [
        *(([intent(state=state)], []) for state in RANK if state not in (IntentState.SUCCEEDED, IntentState.CANCELED)),
        ([CANCELED, intent(2)], []),
        ([paid()], [refund(100, state=RefundState.PENDING)]),
        ([paid(disputed=True)], []),
        ([CONTESTED[0]], []),
        ([CONTESTED[1]], []),
        ([paid(disputes=(dispute(Standing.LOST, withdrawals=()),))], []),  # decided, and the money did not move yet
        ([paid(disputes=(dispute(Standing.CLOSED, withdrawals=(moved(-100),)),))], []),
        ([paid(notices=(("prv_1", "review.opened"),))], []),
        ([paid(1), paid(2)], []),
    ],
)
def test_whatever_waits_for_stripe_is_looked_at_again(intents: list[Intent], refunds: list[Refund]) -> None:
    rests = [rest(intents, refunds, looks=looks) for looks in (*range(8), 10_000)]

    assert rests == [*RESTS, RESTS[-1], RESTS[-1], RESTS[-1]]
    assert sorted(RESTS) == list(RESTS)
    assert RESTS[-1] <= timedelta(days=1)


@pytest.mark.parametrize(
    ("intents", "refunds"),
    [
        ([], []),
        ([intent(intent_id="")], []),  # the call that makes it is settled by itself
        ([CANCELED], []),
        ([paid()], []),
        ([paid()], [refund(100), refund(50, state=RefundState.FAILED)]),
        ([CONTESTED[2]], []),
        ([CONTESTED[3]], []),
        ([paid(1), paid(2)], [replace(refund(10_000, attempt=2), attempt=2)]),
    ],
)
def test_what_has_come_to_rest_is_left_alone(intents: list[Intent], refunds: list[Refund]) -> None:
    assert rest(intents, refunds) is None


# The gateway. A row that is due is worked on by the process; nobody sends a webhook.


class Rows:
    """The looks of a gateway, and how a test makes one due."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self.connection = connection

    async def of(self, payment_id: str) -> asyncpg.Record | None:
        """Return a payment's row, and whether it `rests` for a while."""
        return await self.connection.fetchrow(
            """SELECT *, held_until = '-infinity' AND due_time > now() + interval '1 minute' AS rests
               FROM looks WHERE payment_id = $1""",
            payment_id,
        )

    async def make_due(self, payment_id: str) -> None:
        due = "UPDATE looks SET due_time = now() - interval '1 hour' WHERE payment_id = $1"
        await self.connection.execute(due, payment_id)

    async def until(self, payment_id: str, is_so: Callable[[asyncpg.Record | None], bool]) -> asyncpg.Record | None:
        async def found() -> list[asyncpg.Record | None]:
            row = await self.of(payment_id)
            return [row] if is_so(row) else []

        [row] = await eventually(found)
        return row


@pytest.fixture
async def rows(database: ServiceDatabase) -> AsyncIterator[Rows]:
    connection = await asyncpg.connect(plain_dsn(database.owner_url))
    yield Rows(connection)
    await connection.close()


async def test_a_refund_whose_webhook_was_lost_does_not_stay_pending(
    gateway: GatewayStubs, payments: Payments, stripe: SandboxControl, delivered: Sink, rows: Rows
) -> None:
    payment_id = await payments.paid("pendingRefund")
    assert await rows.of(payment_id) is None
    await gateway.CreateRefund(payments.borne_refund_request(payment_id, 4_000))
    await stripe.settle()
    await rows.make_due(payment_id)

    heard = await delivered.hears(payment_id, lambda seen: seen.amounts.refunded_minor == 4_000)

    assert (heard.origin, heard.observation.amounts.refund_pending_minor) == ("look", 0)
    assert await rows.until(payment_id, lambda row: row is None) is None


async def test_a_payer_who_paid_in_the_browser_is_seen_without_a_webhook(
    payments: Payments, stripe: SandboxControl, delivered: Sink, rows: Rows
) -> None:
    payment_id = await payments.created()
    await stripe.succeed(await payments.intent_id(payment_id))
    await rows.make_due(payment_id)

    await delivered.hears(payment_id, lambda seen: seen.intent_state == SUCCEEDED)
    await rows.until(payment_id, lambda row: row is None)


async def test_what_has_not_changed_is_looked_at_ever_more_seldom(payments: Payments, rows: Rows, clock: Clock) -> None:
    payment_id = await payments.created()
    for looks in (1, 2, 3):
        await rows.make_due(payment_id)
        row = await rows.until(payment_id, partial(_rests_after, looks))
        assert row is not None
        wait = row["due_time"] - clock.now()
        assert RESTS[looks] - timedelta(minutes=1) < wait < RESTS[looks] * 2
        assert row["failures"] == 0


async def test_stripe_being_away_is_no_failure_of_a_look(
    payments: Payments, stripe: SandboxControl, rows: Rows
) -> None:
    payment_id = await payments.created()
    before = await rows.of(payment_id)
    assert before is not None
    await stripe.fault("server_error", route=READ, times=None, should_retry=False)
    await rows.make_due(payment_id)

    row = await rows.until(payment_id, partial(_rests_after, 0))
    assert row is not None
    assert (row["looks"], row["failures"], row["dead_time"]) == (0, 0, None)


def _rests_after(looks: int, row: asyncpg.Record | None) -> bool:
    return row is not None and row["fence"] > 0 and row["looks"] == looks and row["rests"]
