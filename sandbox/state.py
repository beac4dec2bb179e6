"""Everything one running sandbox holds. The only place that knows how its parts fit together."""

import asyncio
import hashlib
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from sandbox import checkout, hooks, radar
from sandbox.clock import Agenda, Clock
from sandbox.delivery import Delivery
from sandbox.elements import Elements, Orders
from sandbox.errors import ApiError, missing
from sandbox.faults import Faults
from sandbox.hooks import ConfiguredEndpoint
from sandbox.idempotency import IdempotencyKeys
from sandbox.router import Router
from sandbox.schema import ApiSchema
from sandbox.settings import Settings
from sandbox.world import Object, World

_CALLS_KEPT: Final = 1_000
_SAID_MAX: Final = 2_000  # characters of each


@dataclass(slots=True)
class RouteFigures:
    """Requests of one route: how many, and the seconds spent in the sandbox, delays on order included."""

    count: int = 0
    seconds: float = 0.0
    seconds_max: float = 0.0


@dataclass(slots=True, kw_only=True)
class Account:
    """One platform account, made on first use of a key of its."""

    world: World
    keys: IdempotencyKeys


@dataclass(slots=True)
class Metrics:
    """Time spent per route, so that a measurement can tell Stripe's share from the suite's; and the last calls."""

    routes: dict[str, RouteFigures] = field(default_factory=dict)
    calls: deque[tuple[str, str]] = field(default_factory=partial(deque, maxlen=_CALLS_KEPT))
    """Each with its route, and what it said: path and parameters."""

    def note(self, route: str, seconds: float, *, said: str) -> None:
        self.calls.append((route, said[:_SAID_MAX]))
        figures = self.routes.setdefault(route, RouteFigures())
        figures.count += 1
        figures.seconds += seconds
        figures.seconds_max = max(figures.seconds_max, seconds)

    def about(self, name: str) -> dict[str, int]:
        """Count the calls that name something, by route."""
        return Counter(route for route, said in self.calls if name in said)

    def clear(self) -> None:
        self.routes.clear()
        self.calls.clear()


class Sandbox:
    """The state behind the routes."""

    def __init__(
        self, settings: Settings, *, schema: ApiSchema, port: int, source: Callable[[], float] = time.time
    ) -> None:
        self.settings = settings
        self.schema = schema
        self.router = Router(schema.known)
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        self.base_url = f"http://{host}:{port}"
        self.chance = random.Random(settings.seed)
        self.clock = Clock(source)
        self.agenda = Agenda(self.clock, ran=self.note_change)
        self.faults = Faults(self.chance)
        self.delivery = self._delivery()
        self.metrics = Metrics()
        self.changed: Callable[[], None] = lambda: None  # told that something did
        self.keep: Callable[[], None] = lambda: None  # has all that changed on the disk when it returns
        self.elements = Elements()
        self.latency_s = 0.0
        self._resumed = asyncio.Event()
        self._paused = 0
        self._paused_more = asyncio.Event()
        self.accounts: dict[str, Account] = {}
        self.revoked_keys: set[str] = set()
        self.default_endpoints = self._configured_endpoints()

    def note_change(self) -> None:
        """Have whoever keeps the state know that it changed."""
        self.changed()

    def have_kept(self) -> None:
        """Have what changed kept, where somebody keeps it, before somebody else is told of it."""
        self.keep()

    def account(self, secret_key: str) -> Account:
        """Return the account of a secret or restricted key.

        It is named by what follows `sk_test_` or `rk_test_`, up to the next `_`: all keys `…_test_shop_…` are of one
        account, which has the same id in every sandbox.
        """
        name = secret_key.split("_", 3)[2]
        account = self.accounts.get(name)
        if account is not None:
            return account
        account = self.open_account(name)
        for endpoint in self.default_endpoints.values():
            hooks.register_configured(account.world, endpoint)
        return account

    def open_account(self, name: str) -> Account:
        """Add an account without anything in it."""
        account_id = f"acct_1{hashlib.sha256(name.encode()).hexdigest()[:15]}"
        self.accounts[name] = self._open(account_id)
        return self.accounts[name]

    def worlds(self) -> list[World]:
        """Return what each account has, each platform's before that of its connected accounts."""
        platforms = [account.world for account in self.accounts.values()]
        return [world for platform in platforms for world in (platform, *platform.connected.values())]

    def locate(self, object_id: str) -> tuple[World, Object]:
        """Return an object of whatever account, and that account's world; raises 404."""
        for world in self.worlds():
            found = world.find(object_id)
            if found is not None:
                return world, found
        raise missing("object", object_id, param="id", status=404)

    @contextmanager
    def pause(self) -> Iterator[asyncio.Event]:
        """Count a request as paused while inside; yields what it waits for."""
        self._paused += 1
        self._paused_more.set()
        try:
            yield self._resumed
        finally:
            self._paused -= 1

    async def until_paused(self, count: int) -> None:
        """Wait until so many requests are paused."""
        while self._paused < count:
            self._paused_more.clear()
            await self._paused_more.wait()

    def resume(self) -> None:
        """Let every paused request go on."""
        self._resumed.set()
        self._resumed = asyncio.Event()

    async def reset(self) -> None:
        """Forget every object, fault, key and figure, and go back to the settings; the clock stays where it is."""
        before, self.delivery = self.delivery, self._delivery()
        self.agenda.clear()
        self.accounts.clear()
        self.revoked_keys.clear()
        self.faults.clear()
        self.elements.orders = Orders()
        self.metrics = Metrics()
        self.latency_s = 0.0
        self.default_endpoints = self._configured_endpoints()
        self.resume()
        await before.close()

    async def close(self) -> None:
        """Give up what is under way, for good."""
        self.agenda.clear()
        await self.delivery.close()

    def _delivery(self) -> Delivery:
        return Delivery(self.settings, self.chance, keep=self.have_kept, changed=self.note_change)

    def _open(self, account_id: str) -> Account:
        world = World(
            account_id=account_id,
            settings=self.settings,
            clock=self.clock,
            agenda=self.agenda,
            chance=self.chance,
            api_version=self.schema.api_version,
            base_url=lambda: self.base_url,
            publish=self._publish,
        )
        world.followers += [checkout.follow, radar.follow, self._follow]
        return Account(world=world, keys=IdempotencyKeys(self.clock))

    def _follow(self, _world: World, _event_type: str, _obj: Object) -> None:
        self.changed()

    def _publish(self, world: World, event: Object) -> int:
        """Queue an event's deliveries; raises ApiError (500) for one that breaks the schema, if that is checked."""
        if self.settings.check_answers and (breaches := self.schema.resource_breaches(event)):
            raise ApiError(f"The sandbox's own event breaks the schema: {'; '.join(breaches)}", status=500)
        return self.delivery.publish(world, event)

    def _configured_endpoints(self) -> dict[bool, ConfiguredEndpoint]:
        """Return the endpoints that every account has, by whether they are of connected accounts' events."""
        settings = self.settings
        endpoints = {}
        if settings.webhook_url is not None:
            endpoints[False] = ConfiguredEndpoint(
                url=settings.webhook_url, secrets=settings.webhook_secrets, enabled_events=settings.webhook_events
            )
        if settings.connect_webhook_url is not None:
            endpoints[True] = ConfiguredEndpoint(
                url=settings.connect_webhook_url,
                secrets=settings.connect_webhook_secrets,
                enabled_events=settings.connect_webhook_events,
                is_connect=True,
            )
        return endpoints
