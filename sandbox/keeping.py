"""What of an account is kept over a restart, as rows: one of each object with all that is known of it, one of the rest.

keeper.py writes them. What was due later is due again, and an event that some endpoint still waits for is delivered
again, as Stripe does. Faults, webhook switches and figures are a run's own and are not kept.
"""

import json
from collections.abc import Callable, Iterable
from typing import Any

from sandbox import accounts, checkout, debits, disputes, holds, outcomes, payouts, refunds, settlement
from sandbox.banks import TEST_METHODS
from sandbox.shelf import Shelf
from sandbox.world import Object, World

_TABLES = ("declining", "dispute_terms", "entered", "intent_data", "mandates", "split_by_capture")
"""Attributes of a world that say something of an object, by its id."""
_SETS = ("configured", "connect", "set_up", "settled", "used_up")
"""Attributes of a world that are ids of objects."""
_REST = ("account_links", "pays_out_daily", "processing_fee", "settles_in")
"""Attributes of a world that are of no object; all of it is a row."""
KEPT = frozenset((*_TABLES, *_SETS, *_REST, "cards", "connected", "paid_out", "parts", "secrets"))
_NAMES = {card: name for name, card in TEST_METHODS.items()}


def row(world: World, object_id: str) -> str | None:
    """Return all that is kept of an object, as text; None if there is none of this id any more."""
    obj = world.peek(object_id)
    if obj is None:
        return None
    kept: Object = {"object": obj}
    if not world.is_listed(obj):
        kept["removed"] = True
    if marks := [name for name in _SETS if object_id in getattr(world, name)]:
        kept["marks"] = marks
    kept |= {name: getattr(world, name)[object_id] for name in _TABLES if object_id in getattr(world, name)}
    if object_id in world.cards:
        kept["card"] = _NAMES[world.cards[object_id]]
    if object_id in world.secrets:
        kept["secrets"] = world.secrets[object_id]
    if object_id in world.paid_out:
        kept["paid_out"] = [inside["id"] for inside in world.paid_out[object_id]]
    if parts := world.parts.get(object_id):
        kept["parts"] = {field: [part["id"] for part in listed] for field, listed in parts.items()}
    return text(kept)


def rest(world: World) -> str:
    """Return what is kept of an account beside its objects, as text."""
    return text({name: getattr(world, name) for name in _REST})


def text(value: object) -> str:
    """Return JSON-like data as it is kept."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def restore(world: World, *, rest: str, rows: Iterable[str]) -> None:
    """Take up what `rest` and `row` returned, the rows oldest first."""
    for name, value in json.loads(rest).items():
        setattr(world, name, value)
    all_kept = [json.loads(one) for one in rows]
    for kept in all_kept:
        world.add(kept["object"])
        if "removed" in kept:
            world.remove(kept["object"])
    for kept in all_kept:
        _restore_facts(world, kept)
    world.balance.recount(world.all("balance_transaction"))


def _restore_facts(world: World, kept: dict[str, Any]) -> None:
    object_id = kept["object"]["id"]
    for name in kept.get("marks", ()):
        getattr(world, name).add(object_id)
    for name in _TABLES:
        if name in kept:
            getattr(world, name)[object_id] = kept[name]
    if "card" in kept:
        world.cards[object_id] = TEST_METHODS[kept["card"]]
    if "secrets" in kept:
        world.secrets[object_id] = tuple(kept["secrets"])
    if "paid_out" in kept:
        world.paid_out[object_id] = Shelf(_found(world, kept["paid_out"]))
    for field, ids in kept.get("parts", {}).items():
        world.parts.setdefault(object_id, {})[field] = _found(world, ids)


def _found(world: World, ids: Iterable[str]) -> list[Object]:
    return [obj for each in ids if (obj := world.find(each)) is not None]


def take_up(world: World) -> None:
    """Put on the agenda of a platform again what was on it."""
    for session in world.all("checkout.session"):
        if session["status"] == "open":
            checkout.arm(world, session)
    for intent in world.all("payment_intent"):
        holds.take_up(world, intent)
        pending = debits.pending_charge(world, intent)
        if pending is not None:
            debits.arm(world, intent, pending)
    for charge in world.all("charge"):
        settlement.take_up(world, charge)
        outcomes.take_up(world, charge)
    for refund in world.all("refund"):
        refunds.take_up(world, refund)
    for dispute in world.all("dispute"):
        disputes.take_up(world, dispute)
    for account in world.all("account"):
        accounts.take_up(world, account)
    for each in (world, *world.connected.values()):
        payouts.take_up_schedule(each)
        for payout in each.all("payout"):
            payouts.take_up(each, payout)


def redeliver(world: World, publish: Callable[[World, Object], int], *, since: float) -> None:
    """Deliver again what some endpoint still waits for, unless it is older than `since`."""
    for one in (world, *world.connected.values()):
        for event in list(one.all("event")):
            if event["pending_webhooks"] and event["created"] >= since:
                event["pending_webhooks"] = publish(one, event)
                one.touch(event["id"])
