"""One Stripe account as the sandbox keeps it: its objects, ids and events. In memory; keeper.py can keep it longer."""

import random
import string
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sandbox.balance import Balance
from sandbox.cards import Card
from sandbox.clock import Agenda, Clock
from sandbox.errors import ApiError, missing
from sandbox.settings import Settings
from sandbox.shelf import Shelf

Object = dict[str, Any]

_ALPHABET = string.ascii_letters + string.digits
_PREFIX = {
    "account": "acct",
    "application_fee": "fee",
    "balance_transaction": "txn",
    "charge": "ch",
    "checkout.session": "cs_test",
    "confirmation_token": "ctoken",
    "customer": "cus",
    "dispute": "dp",
    "event": "evt",
    "fee_refund": "fr",
    "item": "li",
    "mandate": "mandate",
    "payment_intent": "pi",
    "payment_method": "pm",
    "payout": "po",
    "price": "price",
    "product": "prod",
    "radar.early_fraud_warning": "issfr",
    "refund": "re",
    "review": "prv",
    "setup_intent": "seti",
    "topup": "tu",
    "transfer": "tr",
    "transfer_reversal": "trr",
    "webhook_endpoint": "we",
}
_ID_LENGTH = 24  # characters after the prefix
_ID_LENGTH_OF = {"checkout.session": 58}
# Lists are filtered by these; without an index each list would walk every object of a long benchmark.
_INDEXED = ("payment_intent", "setup_intent", "charge", "customer", "source", "source_transaction", "transfer", "fee")
_NOTHING = Shelf()
_METADATA_KEYS_MAX = 50
_METADATA_KEY_MAX = 40  # characters, as the next
_METADATA_VALUE_MAX = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """The request an event comes from; both none for what happens by itself."""

    request_id: str | None = None
    idempotency_key: str | None = None


class World:
    """The state of one account. Operations run to their end without awaiting, so each is atomic."""

    def __init__(
        self,
        *,
        account_id: str,
        settings: Settings,
        clock: Clock,
        agenda: Agenda,
        chance: random.Random,
        api_version: str,
        base_url: Callable[[], str],
        publish: Callable[["World", Object], int],
        platform: "World | None" = None,
    ) -> None:
        """`platform` is set for what a connected account has of its own: its events go where the platform says."""
        self.account_id = account_id
        self.platform = platform
        self.connected: dict[str, World] = {}  # connected account id → what it has of its own
        self.settings = settings
        self.clock = clock
        self.agenda = agenda
        self.api_version = api_version
        self.base_url = base_url
        self.cause = Cause()
        self.cards: dict[str, Card] = {}  # payment method id → the test card behind it
        self.declining: dict[str, Object] = {}  # payment method id → the refusals ordered for it
        self.split_by_capture: dict[str, list[str]] = {}  # charge id → what each capture has to say of its split
        self.dispute_terms: dict[str, Object] = {}  # dispute id → its fee, and money that is still to move
        self.mandates: dict[str, str] = {}  # payment method id → its mandate
        self.set_up: set[str] = set()  # payment methods authenticated for off-session use
        self.used_up: set[str] = set()  # payment methods charged once without a customer, and confirmation tokens
        self.entered: dict[str, str] = {}  # confirmation token → the method that the payer entered
        self.secrets: dict[str, tuple[str, ...]] = {}  # webhook endpoint id → its signing secrets, newest first
        self.configured: set[str] = set()  # webhook endpoints that nobody registered through the API
        self.connect: set[str] = set()  # webhook endpoints that get the events of connected accounts, and no other
        self.processing_fee = {"per_mille": 29, "fixed": 30}  # what Stripe takes of a charge, in minor units
        self.pays_out_daily = False
        self.settles_in: Object = {}  # the currencies it settles in, with rates; empty: each charge in its own
        self.paid_out: dict[str, Shelf] = {}  # automatic payout id → the balance transactions in it
        self.settled: set[str] = set()  # charges whose balance transaction exists
        self.parts: dict[str, dict[str, list[Object]]] = {}  # id → field → a list shown only when it is expanded
        self.account_links: dict[str, Object] = {}  # token of an onboarding link → what it leads to
        self.intent_data: dict[str, Object] = {}  # checkout session id → what its intent will be made of
        self.balance = Balance()  # the sum of its balance transactions
        self.followers: list[Callable[[World, str, Object], None]] = []  # told of each event, after it is recorded
        self._objects: dict[str, Object] = {}
        self._by_type: dict[str, Shelf] = {}
        self._by_field: dict[tuple[str, str, str], dict[str, Object]] = {}
        self._touched: dict[str, None] = {}  # ids of what may be another than was written, in the order of their making
        self._chance = chance
        self._publish = publish

    def new_id(self, object_type: str) -> str:
        return f"{_PREFIX[object_type]}_{self.token(_ID_LENGTH_OF.get(object_type, _ID_LENGTH))}"

    def token(self, length: int) -> str:
        """Return random letters and digits."""
        return "".join(self._chance.choices(_ALPHABET, k=length))

    def add(self, obj: Object) -> Object:
        """Keep a new object and return it."""
        self.touch(obj["id"])
        self._objects[obj["id"]] = obj
        self._by_type.setdefault(obj["object"], Shelf()).add(obj)
        for field in _INDEXED:
            if value := obj.get(field):
                self._by_field.setdefault((obj["object"], field, value), {})[obj["id"]] = obj
        return obj

    def remove(self, obj: Object, *, entirely: bool = False) -> None:
        """Forget an object in lists; it can still be found by id, as a deleted one, unless it goes `entirely`."""
        self.touch(obj["id"])
        if entirely:
            del self._objects[obj["id"]]
        self._by_type[obj["object"]].remove(obj["id"])
        for field in _INDEXED:
            self._by_field.get((obj["object"], field, obj.get(field) or ""), {}).pop(obj["id"], None)

    def touch(self, object_id: str) -> None:
        """Note that an object may become another; whatever is handed out by its id or a field of it is noted anyway."""
        self._touched[object_id] = None

    @property
    def touched(self) -> list[str]:
        """The ids of what may be another than it was at `take_touched`."""
        return list(self._touched)

    def take_touched(self) -> None:
        """What was touched was written."""
        self._touched.clear()

    def peek(self, object_id: str) -> Object | None:
        """Return an object to somebody who only looks at it."""
        return self._objects.get(object_id)

    def find(self, object_id: str) -> Object | None:
        found = self._objects.get(object_id)
        if found is not None:
            self._touched[object_id] = None
        return found

    def get(self, object_type: str, object_id: str, *, param: str = "id", status: int = 404) -> Object:
        """Return an object; raises `resource_missing`, with 400 where a parameter rather than the path names it."""
        found = self.all(object_type).get(object_id)
        if found is None:
            raise missing(object_type, object_id, param=param, status=status)
        self._touched[object_id] = None
        return found

    def referred(self, object_type: str, object_id: str, *, param: str) -> Object:
        """Return an object a parameter refers to."""
        return self.get(object_type, object_id, param=param, status=400)

    def all(self, object_type: str) -> Shelf:
        """Return every object of a type, oldest first."""
        return self._by_type.get(object_type, _NOTHING)

    def everything(self) -> Iterator[Object]:
        """Yield every object ever made, oldest first: what was removed from lists too."""
        yield from self._objects.values()

    def is_listed(self, obj: Object) -> bool:
        return obj["id"] in self.all(obj["object"])

    def counts(self) -> dict[str, int]:
        """Return how many objects there are of each type."""
        return {object_type: len(objects) for object_type, objects in self._by_type.items()}

    def by_field(self, object_type: str, *, field: str, value: str) -> list[Object]:
        """Return objects whose indexed field had this value when they were added, oldest first."""
        found = self._by_field.get((object_type, field, value), {})
        self._touched.update(dict.fromkeys(found))
        return list(found.values())

    def reindex(self, obj: Object, *, field: str, before: str | None) -> None:
        """Tell the index that an indexed field of an object changed."""
        self.touch(obj["id"])
        if before is not None:
            self._by_field.get((obj["object"], field, before), {}).pop(obj["id"], None)
        if value := obj.get(field):
            self._by_field.setdefault((obj["object"], field, value), {})[obj["id"]] = obj

    def emit(self, event_type: str, obj: Object, *, previous: Object | None = None) -> None:
        """Record an event with a snapshot of `obj` as it is now, and queue its deliveries."""
        if obj["id"] in self._objects:
            self.touch(obj["id"])
        data: Object = {"object": snapshot(obj)}
        if previous is not None:
            data["previous_attributes"] = previous
        event: Object = {
            "id": self.new_id("event"),
            "object": "event",
            "api_version": self.api_version,
            "created": self.clock.seconds(),
            "data": data,
            "livemode": False,
            "pending_webhooks": 0,
            "request": {"id": self.cause.request_id, "idempotency_key": self.cause.idempotency_key},
            "type": event_type,
        }
        if self.platform is not None:
            event["account"] = self.account_id
        self.add(event)
        event["pending_webhooks"] = self._publish(self, event)
        for follow in self.followers:
            follow(self, event_type, obj)

    def connect_account(self, account_id: str) -> "World":
        """Give a connected account a place for what it has of its own: its events, its payouts."""
        world = World(
            account_id=account_id,
            settings=self.settings,
            clock=self.clock,
            agenda=self.agenda,
            chance=self._chance,
            api_version=self.api_version,
            base_url=self.base_url,
            publish=self._publish,
            platform=self,
        )
        world.followers += self.followers
        self.connected[account_id] = world
        return world

    def later(self, delay_s: float, action: Callable[[], None], *, label: str) -> None:
        """Do something by itself after a while: its events name no request."""

        def by_itself() -> None:
            before, self.cause = self.cause, Cause()
            try:
                action()
            finally:
                self.cause = before

        self.agenda.later(delay_s, by_itself, label=label)


def snapshot(value: Any) -> Any:
    """Return a copy of JSON-like data that later changes do not reach."""
    if isinstance(value, dict):
        return {key: snapshot(item) for key, item in value.items()}
    if isinstance(value, list):
        return [snapshot(item) for item in value]
    return value


def merge_metadata(current: Object, change: Object | str) -> Object:
    """Return metadata after an update: keys merge, an empty value deletes its key, "" as a whole clears everything.

    Raises ApiError (400) beyond Stripe's limits. Its words for too many keys are our own.
    """
    if isinstance(change, str):
        return {}
    for key, value in change.items():
        if len(key) > _METADATA_KEY_MAX:
            raise ApiError(
                f"Metadata keys can have up to {_METADATA_KEY_MAX} characters, but you passed in a key that is "
                f"{len(key)} characters. Invalid key: {key}",
                param="metadata",
            )
        if len(value) > _METADATA_VALUE_MAX:
            raise ApiError(
                f"Metadata values can have up to {_METADATA_VALUE_MAX} characters, but you passed in a value that is "
                f"{len(value)} characters. Invalid value: {value}",
                param=f"metadata[{key}]",
            )
    merged = {key: value for key, value in (current | change).items() if value != ""}
    if len(merged) > _METADATA_KEYS_MAX:
        raise ApiError(f"You can have up to {_METADATA_KEYS_MAX} metadata keys.", param="metadata")
    return merged
