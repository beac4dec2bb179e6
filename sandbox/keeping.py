"""The stand-in's state in a file, so that a restart forgets nothing: objects, keys, secrets and the clock.

Written soon after each change and once more at the end: a process that is killed loses what happened in the last
moments. Faults, webhook switches and figures are a run's own and are not kept. What was due later is due again, and an
event that some endpoint still waits for is delivered again, as Stripe does.
"""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

from sandbox import accounts, checkout, debits, disputes, holds, hooks, outcomes, payouts, refunds, settlement
from sandbox.banks import TEST_METHODS
from sandbox.shelf import Shelf
from sandbox.state import Sandbox
from sandbox.world import World

_FORMAT = 4
_PAUSE_PER_WRITE = 20  # a pause so many times as long as the last write took: writing takes 5 % of the time at most
_REDELIVERED_S = 3 * 86_400  # Stripe tries for three days


class Keeper:
    """Keeps one sandbox in a file. The file belongs to one process at a time."""

    def __init__(self, sandbox: Sandbox, file: Path) -> None:
        self._sandbox = sandbox
        self._file = file
        self._timer: asyncio.TimerHandle | None = None
        self._took_s = 0.0

    def read(self) -> None:
        """Take up what the file holds, if there is one; raises ValueError for a file of another kind or version."""
        if not self._file.exists():
            return
        try:
            self._take_over(json.loads(self._file.read_bytes()))
        except (ValueError, KeyError, TypeError) as mistake:
            raise ValueError(
                f"{self._file} does not hold the state of this stand-in; remove it to start anew."
            ) from mistake

    def _take_over(self, kept: dict[str, Any]) -> None:
        if (kept["format"], kept["api_version"]) != (_FORMAT, self._sandbox.schema.api_version):
            raise ValueError("another version's")
        self._sandbox.clock.advance(kept["ahead_s"])
        self._sandbox.revoked_keys.update(kept["revoked_keys"])
        for name, account in kept["accounts"].items():
            world = self._sandbox.open_account(name).world
            _restore(world, account)
            self._sandbox.accounts[name].keys.restore(account["keys"])
            _take_up(world)
            self._replace_endpoint(world)
            self._redeliver(world)
        if self._sandbox.settings.seed is not None:
            # The seed's first ids are taken.
            self._sandbox.chance.seed(f"{self._sandbox.settings.seed} {self._sandbox.clock.now()}")

    def note(self) -> None:
        """Something changed: write soon."""
        if self._timer is None:
            pause_s = self._took_s * _PAUSE_PER_WRITE
            self._timer = asyncio.get_running_loop().call_later(pause_s, self._write)

    def close(self) -> None:
        """Write what is not written yet."""
        if self._timer is not None:
            self._timer.cancel()
            self._write()

    def _write(self) -> None:
        self._timer = None
        began = time.perf_counter()
        sandbox = self._sandbox
        kept = {
            "format": _FORMAT,
            "api_version": sandbox.schema.api_version,
            "ahead_s": sandbox.clock.ahead_s,
            "revoked_keys": sorted(sandbox.revoked_keys),
            "accounts": {
                name: dump(account.world) | {"keys": account.keys.kept()} for name, account in sandbox.accounts.items()
            },
        }
        draft = self._file.with_name(f"{self._file.name}.draft")
        draft.touch(mode=0o600)  # it holds secrets of webhooks
        draft.write_text(json.dumps(kept, ensure_ascii=False, separators=(",", ":")))
        draft.replace(self._file)  # a reader finds the whole state or the one before
        self._took_s = time.perf_counter() - began

    def _replace_endpoint(self, world: World) -> None:
        """The configured endpoint is what the settings say now: address and secrets may be others."""
        if self._sandbox.default_endpoints:
            hooks.replace_configured(world, self._sandbox.default_endpoints.values())

    def _redeliver(self, world: World) -> None:
        oldest = world.clock.seconds() - _REDELIVERED_S
        for one in (world, *world.connected.values()):
            for event in list(one.all("event")):
                if event["pending_webhooks"] and event["created"] >= oldest:
                    event["pending_webhooks"] = self._sandbox.delivery.publish(one, event)


def dump(world: World) -> dict[str, Any]:
    """Return what is kept of an account, as JSON-like data."""
    names = {card: name for name, card in TEST_METHODS.items()}
    return {
        "objects": list(world.everything()),
        "removed": [obj["id"] for obj in world.everything() if not world.is_listed(obj)],
        "cards": {method_id: names[card] for method_id, card in world.cards.items()},
        "parts": [[*key, [obj["id"] for obj in rows]] for key, rows in world.parts.items()],
        "intent_data": world.intent_data,
        "account_links": world.account_links,
        "declining": world.declining,
        "split_by_capture": world.split_by_capture,
        "dispute_terms": world.dispute_terms,
        "mandates": world.mandates,
        "secrets": world.secrets,
        "configured": sorted(world.configured),
        "connect": sorted(world.connect),
        "connected": {account_id: dump(one) for account_id, one in world.connected.items()},
        "set_up": sorted(world.set_up),
        "used_up": sorted(world.used_up),
        "entered": world.entered,
        "settled": sorted(world.settled),
        "settles_in": world.settles_in,
        "processing_fee": world.processing_fee,
        "pays_out_daily": world.pays_out_daily,
        "paid_out": {payout_id: [row["id"] for row in inside] for payout_id, inside in world.paid_out.items()},
    }


def _restore(world: World, kept: dict[str, Any]) -> None:
    removed = set(kept["removed"])
    for obj in kept["objects"]:
        world.add(obj)
        if obj["id"] in removed:
            world.remove(obj)
    world.cards.update({method_id: TEST_METHODS[name] for method_id, name in kept["cards"].items()})
    for object_id, field, ids in kept["parts"]:
        world.parts[object_id, field] = [obj for each in ids if (obj := world.find(each)) is not None]
    world.intent_data.update(kept["intent_data"])
    world.account_links.update(kept["account_links"])
    world.declining.update(kept["declining"])
    world.split_by_capture.update(kept["split_by_capture"])
    world.dispute_terms.update(kept["dispute_terms"])
    world.mandates.update(kept["mandates"])
    world.secrets.update({endpoint_id: tuple(secrets) for endpoint_id, secrets in kept["secrets"].items()})
    world.configured.update(kept["configured"])
    world.connect.update(kept["connect"])
    for account_id, one in kept["connected"].items():
        _restore(world.connect_account(account_id), one)
    world.set_up.update(kept["set_up"])
    world.used_up.update(kept["used_up"])
    world.entered.update(kept["entered"])
    world.settled.update(kept["settled"])
    world.settles_in.update(kept["settles_in"])
    world.processing_fee.update(kept["processing_fee"])
    world.pays_out_daily = kept["pays_out_daily"]
    for payout_id, ids in kept["paid_out"].items():
        world.paid_out[payout_id] = Shelf(obj for each in ids if (obj := world.find(each)) is not None)
    world.balance.recount(world.all("balance_transaction"))


def _take_up(world: World) -> None:
    """Put on the agenda again what was on it."""
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
