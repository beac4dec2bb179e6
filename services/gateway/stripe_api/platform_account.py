"""The Stripe account that this process's key opens: pinned to its tenant at the first start, compared at each later.

Everything a tenant has at Stripe is in one account. Under another account's key its calls would be repeated where they
were never made, found to have had no effect, and what they moved would be moved again. So nothing is sent before the
key was seen to open the account that is pinned, and then for this tenant alone.

Stripe being away does not keep a process from starting where the tenant has an account, since webhooks must be taken:
until the account could be read, whatever needs Stripe is answered STRIPE_UNAVAILABLE, and work that needs Stripe waits.
Where the tenant has none yet, nobody ever used this installation: then the process does not start, and says why.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, Final

import sqlalchemy as sa

from services.errors import ServiceError
from services.gateway.errors import StripeUnavailable
from services.gateway.stripe_api.client import Provider
from services.gateway.stripe_api.own_account import why_away
from services.runtime.database.connections import DirectConnections, make_engine, transaction
from services.runtime.process.lifecycle import StartRefused
from services.runtime.rpc import call_context
from services.runtime.work.loops import repeating

LIVE_KEYS: Final = ("sk_live_", "rk_live_")
TEST_KEYS: Final = ("sk_test_", "rk_test_")
RETRY_FIRST_S: Final = 0.5
RETRY_MAX_S: Final = 10.0
"""Between two tries to read the account while Stripe is away."""
FIRST_START_S: Final = 10.0
"""For how long a process tries to reach Stripe that no process of the tenant has ever reached: a network that a machine
is just given takes a few seconds, and who waits for the first start is to read soon what is wrong."""
LAST_TRY_MIN_S: Final = 1.0
"""What is left of that for the last try, or it would only say that there was no time for an answer."""

_logger = logging.getLogger(__name__)


class WrongAccount(StartRefused):
    """The key opens another account than the tenant's."""


class AccountTaken(StartRefused):
    """The key opens an account that is another tenant's."""


class NeverReached(StartRefused):
    """Stripe is away, and the tenant has no account yet."""


class RepinRefused(StartRefused):
    """The tenant's account cannot be changed now."""


def is_live(stripe_key: str) -> bool:
    """Whether real money moves by this key."""
    return stripe_key.startswith(LIVE_KEYS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One account in one of its two modes, which share nothing but the id."""

    account_id: str
    livemode: bool

    def __str__(self) -> str:
        return f"{self.account_id} ({'live' if self.livemode else 'test'} mode)"


class PlatformAccount:
    """Knows whether Stripe may be spoken to."""

    def __init__(
        self,
        connections: DirectConnections,
        *,
        tenant_id: str,
        livemode: bool,
        now: Callable[[], datetime],
    ) -> None:
        self._connections = connections
        self._tenant_id = tenant_id
        self._livemode = livemode
        self._now = now
        self._is_verified = False

    def require(self) -> None:
        """Return if Stripe may be spoken to for the tenant that is acted for; raise StripeUnavailable if not.

        A caller of another tenant was refused before. What work of another tenant's comes this far, by whatever fault
        of ours, had no effect and is left to the process that has the key.
        """
        if not self._is_verified:
            raise StripeUnavailable
        tenant_id = call_context.current_tenant()
        if tenant_id != self._tenant_id:
            _logger.error(
                "a call to Stripe for tenant %s was stopped: the key is that of %s", tenant_id, self._tenant_id
            )
            raise StripeUnavailable

    @asynccontextmanager
    async def verifying(self, provider: Provider) -> AsyncIterator[None]:
        """Verify the account, or go on trying while inside if Stripe or the database is away.

        Raises `WrongAccount`, `AccountTaken` or the provider's `KeyNotTaken`, and `NeverReached` where the tenant has
        no account yet; what is found only later fails the process.
        """
        await self._verify_first(provider)
        if self._is_verified:
            yield
            return
        async with repeating(
            partial(self._verified, provider),
            name="account_verification",
            every_s=RETRY_FIRST_S,
            retry_s=RETRY_FIRST_S,
            retry_max_s=RETRY_MAX_S,
            rests_first=True,
        ):
            yield

    async def _verify_first(self, provider: Provider) -> None:
        """Verify the account in one try; in several, for `FIRST_START_S`, where the tenant never had one."""
        until, rest_s = time.monotonic() + FIRST_START_S, RETRY_FIRST_S
        while True:
            try:
                await self._verify(provider, within_s=max(until - time.monotonic(), 0.0))
                return
            except StripeUnavailable as error:
                why = why_away(error)
                if await self._is_known():
                    _logger.warning("STRIPE_API_KEY could not be tried yet, %s: %s", provider.base, why)
                    return
                if time.monotonic() + rest_s + LAST_TRY_MIN_S > until:
                    raise NeverReached(
                        f"STRIPE_API_KEY could not be tried at {provider.base}: {why}; and tenant {self._tenant_id}"
                        " has no account yet that could be served meanwhile."
                    ) from error
                _logger.warning("%s is tried again: %s", provider.base, why)
            except ServiceError as error:
                _logger.warning("The account of STRIPE_API_KEY could not be looked up yet: %s", error)
                return
            await asyncio.sleep(rest_s)
            rest_s = min(2 * rest_s, RETRY_MAX_S)

    async def _is_known(self) -> bool:
        """Whether the tenant has an account, as far as we know: while the database is away it may."""
        try:
            async with self._connections.statement(None) as connection:
                return await connection.fetchval(_PINNED_TO, self._tenant_id) is not None
        except ServiceError:
            return True

    async def _verified(self, provider: Provider) -> bool:
        """Verify the account; False, since it is not asked for again."""
        await self._verify(provider)
        _logger.info("Stripe answers")
        return False

    async def verify_key(self, provider: Provider, key: str) -> None:
        """Return if a key, of our mode, opens the tenant's account, so that it may be used in the place of another.

        Raises `WrongAccount`, `AccountTaken` or the provider's `KeyNotTaken`, or a `ServiceError` if that is not known.
        """
        await self._compare(await provider.own_account_id(key))

    async def _verify(self, provider: Provider, *, within_s: float = math.inf) -> None:
        await self._compare(await provider.own_account_id(within_s=within_s))
        self._is_verified = True

    async def _compare(self, account_id: str) -> None:
        opened = Account(account_id=account_id, livemode=self._livemode)
        pinned, other_tenant_id = await self._pin(opened)
        if pinned is not None and pinned != opened:
            raise WrongAccount(
                f"STRIPE_API_KEY opens account {opened}, and tenant {self._tenant_id} is pinned to {pinned}. Use a key "
                f"of that account; or, to move the tenant, run `python -m services.gateway repin {opened.account_id}`."
            )
        if other_tenant_id is not None:
            raise AccountTaken(
                f"STRIPE_API_KEY opens account {opened}, which is that of tenant {other_tenant_id}, and BATZEN_TENANT "
                f"is {self._tenant_id}. One account is one tenant's."
            )

    async def _pin(self, opened: Account) -> tuple[Account | None, str | None]:
        """Pin the account unless the tenant has one; return what is pinned, and which other tenant has this account.

        What happens around a crash is of no matter: the pin is there or made at the next start.
        """
        async with self._connections.statement(None) as connection:
            await connection.execute(_PIN, self._tenant_id, opened.account_id, opened.livemode, self._now())
        async with self._connections.statement(None) as connection:
            rows = await connection.fetch(_PINNED, self._tenant_id, opened.account_id, opened.livemode)
        pins = {row["tenant_id"]: _account(row) for row in rows}
        others = (tenant_id for tenant_id in pins if tenant_id != self._tenant_id)
        return pins.get(self._tenant_id), next(others, None)


async def repin(owner_url: str, *, tenant_id: str, account_id: str, livemode: bool) -> str:
    """Pin a tenant to another account, and return what was changed. The tenant's processes must not be running.

    Raises `RepinRefused` while a call has no answer: it would be asked again where it was never made.
    """
    engine = make_engine(owner_url, application_name="gateway-repin")
    after = Account(account_id=account_id, livemode=livemode)
    try:
        async with transaction(engine, "account.repin") as connection:
            await connection.exec_driver_sql("LOCK TABLE stripe_accounts, calls IN SHARE ROW EXCLUSIVE MODE")
            waiting = (await connection.exec_driver_sql(_WITHOUT_ANSWER, (tenant_id,))).scalar_one()
            if waiting:
                raise RepinRefused(
                    f"{waiting} calls of tenant {tenant_id} have no answer yet; the old key settles them."
                )
            found = (await connection.exec_driver_sql(_PINNED_TO, (tenant_id,))).mappings().one_or_none()
            await connection.exec_driver_sql(_REPIN, (tenant_id, account_id, livemode))
    except sa.exc.IntegrityError as error:
        raise RepinRefused(f"Account {after} is that of another tenant.") from error
    finally:
        await engine.dispose()
    return f"Tenant {tenant_id} is pinned to {after}, before to {_account(found) if found else 'none'}."


def _account(row: Mapping[Any, Any]) -> Account:
    return Account(account_id=row["stripe_account_id"], livemode=row["livemode"])


_PIN: Final = """
    INSERT INTO stripe_accounts (tenant_id, stripe_account_id, livemode, pin_time) VALUES ($1, $2, $3, $4)
    ON CONFLICT DO NOTHING"""

_PINNED: Final = """
    SELECT tenant_id, stripe_account_id, livemode FROM stripe_accounts
    WHERE tenant_id = $1 OR (stripe_account_id = $2 AND livemode = $3)"""

_PINNED_TO: Final = "SELECT stripe_account_id, livemode FROM stripe_accounts WHERE tenant_id = $1"

_WITHOUT_ANSWER: Final = """
    SELECT count(*) FROM calls WHERE tenant_id = $1 AND state IN ('STARTED', 'UNKNOWN')"""

_REPIN: Final = """
    INSERT INTO stripe_accounts (tenant_id, stripe_account_id, livemode, pin_time) VALUES ($1, $2, $3, now())
    ON CONFLICT ON CONSTRAINT stripe_accounts_pkey
    DO UPDATE SET stripe_account_id = $2, livemode = $3, pin_time = now()"""
