"""What has to be true of payments after everything that went wrong: at Stripe, in status, and between the two."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import asyncpg

from batzen.orchestrator.v1 import ops_pb2
from batzen.orchestrator.v1.orchestrator_pb2 import SyncPaymentRequest
from batzen.type.v1 import diagnosis_pb2
from local.suite import Suite
from services.runtime.database.connections import plain_dsn
from tests.eventually import eventually
from tests.suite.journeys import ENDED_WITHOUT_MONEY, PAID, Traveller, stubbornly
from tests.suite.soaking import ABANDONED_AFTER_S, Claim, Player, Troubles

Object = Mapping[str, Any]

SETTLED_WITHIN_S: Final = 90.0
"""After the last trouble. What failed many times in a row is tried again after a minute."""
REPLAYED: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What status holds of one payment."""

    payment_id: str
    revision: int
    state: str
    snapshot: Object
    settled: bool
    quote: str
    """What pricing holds of its quote: REDEEMED, RELEASED, or nothing, as of one without a coupon."""
    history: Sequence[Object]
    """Revision, request id, time of record, state and snapshot of each transition, oldest first."""

    def minor(self, name: str) -> int:
        return _minor(self.snapshot, name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What Stripe holds of one payment."""

    intents: Sequence[Object]
    charges: Sequence[Object]
    """Those that succeeded."""
    refunds: Sequence[Object]
    """Those that did not fail."""


async def problems(suite: Suite, claims: Sequence[Claim]) -> list[str]:
    """Return what is wrong with the payments of those who claim something, for people; nothing if all is well."""
    payers = sorted({claim.payer_id for claim in claims})
    kept, taken = await _kept(suite, payers), await _taken(suite, payers)
    return [
        *_strays(claims, kept, taken),
        *(
            f"{claim.payment_id} (number {claim.number}, {kept[claim.payment_id].state}): {problem}"
            for claim in claims
            if claim.payment_id in kept
            for problem in _problems_of(claim, kept[claim.payment_id], taken[claim.payment_id])
        ),
        *_sums(kept, taken),
        *[problem async for problem in _lost_webhooks(suite)],
    ]


async def comes_right(suite: Suite, traveller: Traveller, player: Player, troubles: Troubles) -> None:
    """Wait until nothing is left to do, the expiry of what was abandoned included; then look at everything."""
    await troubles.end()
    with contextlib.suppress(TimeoutError):  # what was not settled by then is told below
        async with asyncio.timeout(SETTLED_WITHIN_S + ABANDONED_AFTER_S):
            await player.until_all_is_watched()
    await suite.sandbox.drain()
    await _until_nothing_is_left(traveller)

    found = await problems(suite, player.claims)
    assert found == [], "\n".join(found)
    await _all_records_agree(suite, [claim.payment_id for claim in player.claims if claim.payment_id])
    for claim in player.claims[:: max(1, len(player.claims) // REPLAYED)]:
        assert await player.replay(claim) == (claim.payment_id, "REQUEST_ID_REUSED")


async def _all_records_agree(suite: Suite, payment_ids: Sequence[str]) -> None:
    """Have the doctor look at each payment, and at Stripe: who still moves something is given a moment.

    What is at Stripe and was said by a webhook alone that was lost is read again, as the doctor advises. A transfer or
    a fee that nobody needs to know of yet is not: the daily reconciliation finds it.
    """
    left = dict.fromkeys(payment_ids, "")

    async with suite.client("operator", sub="doctor") as operator:

        async def do() -> bool:
            for payment_id in list(left):
                request = ops_pb2.DiagnosePaymentRequest(payment_id=payment_id, with_stripe=True)
                diagnosis = (await stubbornly(partial(operator.orchestrator_ops.DiagnosePayment, request))).diagnosis
                silent = [side.problem for side in diagnosis.sides if side.problem]
                wrong = [one for one in diagnosis.disagreements if not _is_unseen_movement(one)]
                if wrong or diagnosis.is_moving or silent:
                    left[payment_id] = f"{silent} {wrong}"
                    if any(one.check.startswith("STRIPE_") for one in wrong):
                        again = SyncPaymentRequest(payment_id=payment_id)
                        await stubbornly(partial(operator.orchestrator.SyncPayment, again))
                else:
                    del left[payment_id]
            return not left

        await eventually(do, within_s=SETTLED_WITHIN_S, what=lambda: f"all records agree, but {left}")


def _is_unseen_movement(one: diagnosis_pb2.Disagreement) -> bool:
    return one.check == "STRIPE_MOVEMENT" and one.sayings[0].text == "nothing"


async def _until_nothing_is_left(traveller: Traveller) -> None:
    left: list[str] = []

    async def is_quiet() -> bool:
        left[:] = await traveller.left_to_do()
        return not left

    try:
        await eventually(is_quiet, within_s=SETTLED_WITHIN_S, what="nothing is left to do")
    except AssertionError as late:
        raise AssertionError(f"{late}, but {left}") from late


def _strays(claims: Sequence[Claim], kept: Mapping[str, Kept], taken: Mapping[str, Taken]) -> Iterator[str]:
    claimed = {claim.payment_id for claim in claims}
    yield from (f"{payment_id} was acknowledged and is not in status" for payment_id in claimed - set(kept))
    yield from (f"{payment_id} is in status and was never asked for" for payment_id in set(kept) - claimed)
    yield from (f"{payment_id} is at Stripe and not in status" for payment_id in set(taken) - set(kept))


def _problems_of(claim: Claim, kept: Kept, taken: Taken) -> Iterator[str]:
    yield from _problems_at_stripe(claim, kept, taken)
    yield from _problems_of_history(claim, kept)
    if not kept.settled:
        yield "not settled"
    end = "REDEEMED" if kept.state in PAID else "RELEASED"
    if kept.quote != (end if claim.start.coupon_codes else ""):
        yield f"its quote is {kept.quote or 'open'}"
    if claim.paid and kept.state not in PAID:
        yield "said to be paid"
    if claim.canceled and not claim.late_money and kept.state != "CANCELED":
        yield "said to be called off"
    if claim.late_money and (kept.state not in PAID or not kept.snapshot.get("attentions")):
        yield "late money was not taken, or nobody was told"


def _problems_at_stripe(claim: Claim, kept: Kept, taken: Taken) -> Iterator[str]:
    if len(taken.intents) != 1:
        yield f"{len(taken.intents)} intents"
        return
    [intent] = taken.intents
    if len(taken.charges) > 1:
        yield f"{len(taken.charges)} charges"
    captured_minor = sum(charge["amount_captured"] for charge in taken.charges)
    succeeded_minor = sum(refund["amount"] for refund in taken.refunds if refund["status"] == "succeeded")
    if kept.minor("captured") != captured_minor:
        yield f"captured {captured_minor} at Stripe, {kept.minor('captured')} in status"
    if kept.minor("refunded") != succeeded_minor:
        yield f"refunded {succeeded_minor} at Stripe, {kept.minor('refunded')} in status"
    if succeeded_minor + kept.minor("refund_pending") > captured_minor:
        yield "refunded more than was captured"
    if kept.minor("surplus"):
        yield "a surplus of one attempt"
    refunds = {refund["metadata"].get("refund_id") for refund in taken.refunds}
    if refunds != claim.refund_ids or len(refunds) != len(taken.refunds):
        yield f"refunds {sorted(map(str, refunds))} at Stripe, {sorted(claim.refund_ids)} were acknowledged"
    is_right = {
        "succeeded": kept.state in PAID,
        "canceled": kept.state in ENDED_WITHOUT_MONEY,
    }.get(intent["status"], False)
    if not is_right:
        yield f"{intent['status']} at Stripe"


def _problems_of_history(claim: Claim, kept: Kept) -> Iterator[str]:
    revisions = [transition["revision"] for transition in kept.history]
    if revisions != list(range(1, kept.revision + 1)):
        yield f"revisions {revisions}, now {kept.revision}"
    if len({transition["request_id"] for transition in kept.history}) != len(kept.history):
        yield "one request wrote two transitions"
    kept_facts = {(one["revision"], str(one["request_id"]), one["record_time"]) for one in kept.history}
    if not claim.facts <= kept_facts:
        yield f"its watcher saw {claim.facts - kept_facts}, which is gone"
    if claim.revisions != revisions[: len(claim.revisions)]:
        yield f"its watcher saw {claim.revisions} of {revisions}"
    collections = [transition["snapshot"]["collection"] for transition in kept.history]
    if "SUCCEEDED" in collections and set(collections[collections.index("SUCCEEDED") :]) != {"SUCCEEDED"}:
        yield f"it went back: {collections}"
    if kept.history and (kept.history[-1]["state"], kept.history[-1]["snapshot"]) != (kept.state, kept.snapshot):
        yield "its last transition is not how it stands"
    captured = [_minor(transition["snapshot"], "captured") for transition in kept.history]
    if captured != sorted(captured):
        yield f"captured went down: {captured}"


def _sums(kept: Mapping[str, Kept], taken: Mapping[str, Taken]) -> Iterator[str]:
    received = sum(intent["amount_received"] for one in taken.values() for intent in one.intents)
    given_back = sum(refund["amount"] for one in taken.values() for refund in one.refunds)
    captured = sum(one.minor("captured") for one in kept.values())
    refunded = sum(one.minor("refunded") + one.minor("refund_pending") for one in kept.values())
    if (received, given_back) != (captured, refunded):
        yield f"Stripe took {received} and gave back {given_back}, status says {captured} and {refunded}"


async def _lost_webhooks(suite: Suite) -> Any:
    """Yield events that the gateway took with a 200 and does not hold, or did not work on."""
    connection = await asyncpg.connect(plain_dsn(suite.database_url("gateway")))
    try:
        states = dict(await connection.fetch("SELECT event_id, state FROM events"))
    finally:
        await connection.close()
    taken = {one["event"]: one["type"] for one in await suite.sandbox.deliveries() if one["outcome"] == 200}
    for event_id, event_type in taken.items():
        state = states.get(event_id, "lost")
        if state not in ("DONE", "IGNORED"):
            yield f"{event_type} {event_id} was taken and is {state}"


def _minor(snapshot: Object, name: str) -> int:
    return int(snapshot.get("amounts", {}).get(f"{name}_minor", 0))  # what is zero is left out


async def _kept(suite: Suite, payers: Sequence[str]) -> dict[str, Kept]:
    connection = await asyncpg.connect(plain_dsn(suite.database_url("status")))
    try:
        rows = await connection.fetch("SELECT * FROM payments WHERE payer_id = ANY($1)", payers)
        moves = await connection.fetch(
            "SELECT t.* FROM transitions t JOIN payments p USING (tenant_id, payment_id) WHERE payer_id = ANY($1) "
            "ORDER BY t.revision",
            payers,
        )
    finally:
        await connection.close()
    connection = await asyncpg.connect(plain_dsn(suite.database_url("pricing")))
    try:
        quotes = dict(await connection.fetch("SELECT quote_id, state FROM quote_outcomes"))
    finally:
        await connection.close()
    history = defaultdict(list)
    for move in moves:
        history[move["payment_id"]].append(
            {name: move[name] for name in ("revision", "request_id", "record_time", "state")}
            | {"snapshot": json.loads(move["snapshot"])}
        )
    return {
        row["payment_id"]: Kept(
            payment_id=row["payment_id"],
            revision=row["revision"],
            state=row["state"],
            snapshot=json.loads(row["snapshot"]),
            settled=row["settled"],
            quote=quotes.get(row["quote_id"], ""),
            history=history[row["payment_id"]],
        )
        for row in rows
    }


async def _generations(suite: Suite) -> dict[str, int]:
    """Return how often a payer's customer was begun with a new key."""
    connection = await asyncpg.connect(plain_dsn(suite.database_url("gateway")))
    try:
        return dict(await connection.fetch("SELECT payer_id, generation FROM customers"))
    finally:
        await connection.close()


async def _taken(suite: Suite, payers: Sequence[str]) -> dict[str, Taken]:
    sandbox = suite.sandbox
    customers = set()
    generations = await _generations(suite)
    for payer_id in payers:
        made = await sandbox.objects("customer", **{"metadata.payer_id": payer_id})
        # A 500 that Stripe keeps under the key hides for ever what it made: then the next generation is made.
        assert len(made) <= generations.get(payer_id, 0) + 1, f"{payer_id} has {len(made)} customers"
        customers |= {customer["id"] for customer in made}
    intents, charges, refunds = defaultdict(list), defaultdict(list), defaultdict(list)
    for charge in await sandbox.objects("charge", status="succeeded"):
        charges[charge["payment_intent"]].append(charge)
    for refund in await sandbox.objects("refund"):
        if refund["status"] not in ("failed", "canceled"):
            refunds[refund["payment_intent"]].append(refund)
    for intent in await sandbox.objects("payment_intent"):
        if intent["customer"] in customers:
            intents[intent["metadata"]["payment_id"]].append(intent)
    return defaultdict(
        lambda: Taken(intents=[], charges=[], refunds=[]),
        {
            payment_id: Taken(
                intents=found,
                charges=[charge for intent in found for charge in charges[intent["id"]]],
                refunds=[refund for intent in found for refund in refunds[intent["id"]]],
            )
            for payment_id, found in intents.items()
        },
    )
