"""A booking system from before: it has Stripe charge, transfer and refund by itself, and keeps records of its own.

What it did is written as `batzen import` reads it.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import httpx

Record = dict[str, Any]


def word(kind: str) -> str:
    """Return an id without digits: many in a row pass for a card number now and then."""
    return f"{kind}_{''.join(secrets.choice(string.ascii_lowercase) for _ in range(16))}"


class OldSystem:
    """Calls Stripe with the platform's key, past the suite."""

    def __init__(self, base_url: str, key: str) -> None:
        self._http = httpx.AsyncClient(base_url=base_url, headers={"authorization": f"Bearer {key}"}, timeout=20)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def pay(self, account_id: str, *, amount_minor: int = 10_000, fee_minor: int = 1_500) -> str:
        """Take money by a destination charge, and return the intent's id."""
        intent = await self._post(
            "/v1/payment_intents",
            {
                "amount": amount_minor,
                "currency": "chf",
                "confirm": "true",
                "payment_method": "pm_card_visa",
                "automatic_payment_methods[enabled]": "true",
                "automatic_payment_methods[allow_redirects]": "never",
                "transfer_data[destination]": account_id,
                "application_fee_amount": fee_minor,
            },
        )
        return str(intent["id"])

    async def refund(self, intent_id: str, amount_minor: int, *, reverses: bool = True) -> None:
        """Give money back, with or without the seller's part."""
        whole = {"reverse_transfer": "true", "refund_application_fee": "true"} if reverses else {}
        await self._post("/v1/refunds", {"payment_intent": intent_id, "amount": amount_minor, **whole})

    async def record(self, intent_id: str, *, seller_id: str, **fields: Any) -> Record:
        """Return the record of a payment, as it is at Stripe now."""
        charge = (await self._get(f"/v1/payment_intents/{intent_id}", expand="latest_charge"))["latest_charge"]
        transfer = await self._get(f"/v1/transfers/{_id(charge['transfer'])}")
        fee = await self._get(f"/v1/application_fees/{_id(charge['application_fee'])}")
        refunds = (await self._get("/v1/refunds", payment_intent=intent_id))["data"]
        platform_bears = bool(refunds) and not transfer["reversals"]["data"]
        paid = _time(charge["created"])
        ours = {
            "type": "payment",
            "record_id": word("reservation"),
            "payer_id": word("payer"),
            "currency_code": "CHF",
            "total_minor": charge["amount"],
            "history": [
                {"state": "REQUIRES_PAYMENT_METHOD", "time": paid},
                {"state": "PROCESSING", "time": paid},
                {"state": "SUCCEEDED", "time": paid},
            ],
            "booking_ids": [word("booking")],
            "lines": [
                {
                    "line_id": "lesson",
                    "seller_id": seller_id,
                    "gross_minor": charge["amount"],
                    "fee_minor": fee["amount"],
                }
            ],
            "charge": {
                "intent_id": intent_id,
                "charge_id": charge["id"],
                "captured_minor": charge["amount_captured"],
                "capture_time": paid,
                "is_destination": True,
                "method": {"payment_method_id": _id(charge["payment_method"]), "type": "card", "brand": "visa"},
                "transfers": [_movement(transfer, seller_id, transfer["reversals"]["data"])],
                "application_fees": [_movement(fee, seller_id, fee["refunds"]["data"])],
            },
            "refunds": [
                {
                    "stripe_refund_id": one["id"],
                    "amount_minor": one["amount"],
                    "create_time": _time(one["created"]),
                    "actor_id": "desk",
                    "bearer": "BEARER_PLATFORM" if platform_bears else "BEARER_SHARED",
                }
                for one in reversed(refunds)
            ],
        }
        return {**ours, **fields}

    async def _post(self, path: str, data: Mapping[str, Any]) -> Any:
        return _read(await self._http.post(path, data=dict(data)))

    async def _get(self, path: str, *, expand: str = "", **params: str) -> Any:
        more = {"expand[]": expand} if expand else {}
        return _read(await self._http.get(path, params={**params, **more}))


def _read(answer: httpx.Response) -> Any:
    assert answer.is_success, answer.text
    return answer.json()


def _movement(shown: Mapping[str, Any], seller_id: str, back: Sequence[Mapping[str, Any]]) -> Record:
    return {
        "stripe_id": shown["id"],
        "seller_id": seller_id,
        "amount_minor": shown["amount"],
        "create_time": _time(shown["created"]),
        "back": [
            {"stripe_id": one["id"], "amount_minor": one["amount"], "create_time": _time(one["created"])}
            for one in reversed(back)
        ],
    }


def _id(named: Any) -> str:
    return str(named if isinstance(named, str) else named["id"])


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def invented(number: int, *, began: datetime, seller_id: str = "seller_of_old", name: str = "") -> Record:
    """Return the record of a payment that no Stripe knows, the same for the same number: some failed, some refunded."""
    name = name or "".join(chr(ord("a") + int(digit)) for digit in f"{number:08d}")
    time = began + timedelta(minutes=number)
    at = [_time(int((time + timedelta(seconds=seconds)).timestamp())) for seconds in range(4)]
    record: Record = {
        "type": "payment",
        "record_id": f"reservation_{name}",
        "payer_id": f"payer_{name[-5:]}",
        "currency_code": "CHF",
        "total_minor": 10_000 + number % 97,
        "booking_ids": [f"booking_{name}"],
        "client_reference": f"reservation_{name}",
        "history": [
            {"state": "REQUIRES_PAYMENT_METHOD", "time": at[0]},
            {"state": "PROCESSING", "time": at[1]},
            {"state": "SUCCEEDED", "time": at[2]},
        ],
    }
    if number % 10 == 0:
        record["history"][2] = {"state": "FAILED", "time": at[2], "error": {"code": "card_declined"}}
        return record
    total_minor = record["total_minor"]
    record["lines"] = [{"line_id": "lesson", "seller_id": seller_id, "gross_minor": total_minor, "fee_minor": 1_500}]
    transfer = {"stripe_id": f"tr_{name}", "seller_id": seller_id, "amount_minor": total_minor, "create_time": at[2]}
    fee = {"stripe_id": f"fee_{name}", "seller_id": seller_id, "amount_minor": 1_500, "create_time": at[2]}
    record["charge"] = {
        "intent_id": f"pi_{name}",
        "charge_id": f"ch_{name}",
        "captured_minor": total_minor,
        "capture_time": at[2],
        "is_destination": True,
        "transfers": [transfer],
        "application_fees": [fee],
    }
    if number % 10 == 1:
        transfer["back"] = [{"stripe_id": f"trr_{name}", "amount_minor": total_minor, "create_time": at[3]}]
        fee["back"] = [{"stripe_id": f"fr_{name}", "amount_minor": 1_500, "create_time": at[3]}]
        refund = {"stripe_refund_id": f"re_{name}", "amount_minor": total_minor, "create_time": at[3]}
        record["refunds"] = [refund]
    return record
