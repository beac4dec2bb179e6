"""What the first page of the stand-in shows: what there is, newest first, and what goes wrong on order."""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from sandbox.currencies import shown
from sandbox.faults import Kind
from sandbox.shelf import Shelf
from sandbox.state import Sandbox
from sandbox.world import Object, World

ROWS_MAX = 25  # of each table; the API lists all
EXPLAINED = {
    Kind.RATE_LIMIT: "429: too many requests",
    Kind.LOCK_TIMEOUT: "429: the object is in use",
    Kind.UNAUTHORIZED: "401: the key is none",
    Kind.FORBIDDEN: "403: the key may not do this",
    Kind.UNKNOWN_ENDPOINT: "404: there is no such URL",
    Kind.MISSING: "404: there is no such object",
    Kind.INVALID: "400: the parameters are wrong",
    Kind.IN_USE: "409: the idempotency key is in use",
    Kind.SERVER_ERROR: "500: an error of Stripe's own",
    Kind.HTML: "502: a proxy's page",
    Kind.BROKEN_JSON: "200, and half of a body",
    Kind.EMPTY: "200, and no body",
    Kind.CUT_OFF: "200, and the connection ends in the body",
    Kind.TIMEOUT: "no answer; the connection stays open",
    Kind.RESET: "no answer; the connection is reset",
    Kind.SLOW: "the answer comes after some seconds",
    Kind.PAUSE: "the answer waits for “let go on”",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """The newest rows of a table, and how many there are."""

    rows: list[dict[str, Any]]
    count: int


def overview(sandbox: Sandbox) -> dict[str, Any]:
    """Return all that the page shows, as plain values."""
    return {
        "api_version": sandbox.schema.api_version,
        "now": _time(sandbox.clock.now()),
        "ahead_s": round(sandbox.clock.ahead_s),
        "keeps": sandbox.settings.state_file is not None,
        "accounts": [_account(name, world) for name, world in _platforms(sandbox)],
        "sellers": _newest(sandbox, ("account",), _seller),
        "payments": _newest(sandbox, ("payment_intent", "setup_intent"), _payment),
        "sessions": _newest(sandbox, ("checkout.session",), _session),
        "events": _newest(sandbox, ("event",), _event),
        "deliveries": _deliveries(sandbox),
        "held": sandbox.delivery.held,
        "switches": asdict(sandbox.delivery.switches),
        "latency_ms": round(sandbox.latency_s * 1000),
        "faults": sandbox.faults.listed(),
        "kinds": EXPLAINED,
    }


def _platforms(sandbox: Sandbox) -> Iterator[tuple[str, World]]:
    for name, account in sandbox.accounts.items():
        yield name, account.world


def _newest(sandbox: Sandbox, kinds: Iterable[str], row: Any) -> Listed:
    shelves = [(world, world.all(kind)) for world in sandbox.worlds() for kind in kinds]
    newest = [(obj, world) for world, shelf in shelves for obj in _last(shelf)]
    newest.sort(key=lambda found: found[0].get("created", 0), reverse=True)
    rows = [{"id": obj["id"], "created": _time(obj.get("created", 0)), **row(obj, world)} for obj, world in newest]
    return Listed(rows=rows[:ROWS_MAX], count=sum(len(shelf) for _, shelf in shelves))


def _last(shelf: Shelf) -> list[Object]:
    return list(itertools.islice(shelf.downwards(*shelf.span(None)), ROWS_MAX))


def _account(name: str, world: World) -> dict[str, Any]:
    endpoints = [endpoint["url"] for endpoint in world.all("webhook_endpoint")]
    balance = [_money(amount, currency) for currency, amount in sorted(world.balance.available.items()) if amount]
    return {
        "id": world.account_id,
        "key": f"sk_test_{name[:4]}…",
        "balance": balance,
        "objects": sum(world.counts().values()),
        "sellers": len(world.connected),
        "endpoints": endpoints,
    }


def _seller(account: Object, world: World) -> dict[str, Any]:
    due = account["requirements"]["currently_due"]
    links = [
        f"{world.base_url()}/setup/{account['id']}/{token}"
        for token, link in world.account_links.items()
        if link["account"] == account["id"] and not link["is_used"] and link["expires_at"] > world.clock.now()
    ]
    return {
        "email": account.get("email") or "",
        "charges": account["charges_enabled"],
        "payouts": account["payouts_enabled"],
        "due": due,
        "link": links[-1] if links else "",
    }


def _payment(intent: Object, world: World) -> dict[str, Any]:
    asks = intent["status"] == "requires_action"
    error = intent.get("last_payment_error") or intent.get("last_setup_error") or {}
    amount = _money(intent["amount"], intent["currency"]) if "amount" in intent else "to be kept"
    return {
        "amount": amount,
        "status": intent["status"],
        "problem": error.get("decline_code") or error.get("code") or "",
        "ours": intent["metadata"].get("payment_id", ""),
        "bank": f"{world.base_url()}/3ds/{intent['id']}?client_secret={intent['client_secret']}" if asks else "",
    }


def _session(session: Object, _world: World) -> dict[str, Any]:
    total, currency = session["amount_total"], session["currency"]
    return {
        "amount": _money(total, currency) if total is not None and currency else "to be kept",
        "status": session["status"],
        "ours": session["metadata"].get("payment_id", ""),
        "page": session["url"] if session["status"] == "open" else "",
    }


def _event(event: Object, _world: World) -> dict[str, Any]:
    return {
        "type": event["type"],
        "about": event["data"]["object"].get("id", ""),
        "account": event.get("account", ""),
        "waiting": event["pending_webhooks"],
    }


def _deliveries(sandbox: Sandbox) -> Listed:
    log = sandbox.delivery.log
    urls = {one["id"]: one["url"] for world in sandbox.worlds() for one in world.all("webhook_endpoint")}
    rows = [
        {**row, "url": urls.get(row["endpoint"], row["endpoint"]), "is_taken": _is_taken(row["outcome"])}
        for row in itertools.islice(reversed(log), ROWS_MAX)
    ]
    return Listed(rows=rows, count=len(log))


def _is_taken(outcome: int | str) -> bool:
    return isinstance(outcome, int) and 200 <= outcome < 300


def _money(amount: int, currency: str) -> str:
    return shown(amount, currency=currency).upper()


def _time(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, tz=UTC):%Y-%m-%d %H:%M:%S}"
