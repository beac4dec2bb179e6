"""What of an account, of its endpoints and of what we are told is as it has to be. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final
from urllib.parse import urlsplit

from services.gateway.settings import POLL_EVERY, POLL_EVERY_S
from services.gateway.webhooks.endpoint import CONNECT_PATH, PLATFORM_PATH
from services.gateway.webhooks.events import subscribed_types
from services.gateway.webhooks.signature import TOLERANCE_S

Object = Mapping[str, Any]
"""Something of Stripe's, as it answers."""

SECRET: Final = re.compile(r"whsec_[A-Za-z0-9+/=_-]{16,}")
SKEW_NOTED: Final = timedelta(seconds=30)
EVENTS_SHOWN_MAX: Final = 6
SELLERS: Final = "make one with `batzen sellers put`, and fill in the page of `batzen sellers link` with test data"


class State(StrEnum):
    """How something stands."""

    FINE = "fine"
    MISSING = "missing"
    """Something does not work without it."""
    NOTE = "note"
    """Worth knowing, and may be wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """How one thing stands, and what to do about it."""

    state: State
    about: str
    what: str
    do: str = ""


def of_account(account: Object) -> Iterator[Finding]:
    """Yield what the platform's own account says."""
    name = f"{account['id']}, {account.get('country') or 'no country'}, {account.get('default_currency') or '?'}"
    yield Finding(state=State.FINE, about="key", what=f"opens {name}")
    if account.get("charges_enabled") is False:
        yield Finding(
            state=State.NOTE,
            about="account",
            what="is not activated: test payments work all the same, live ones will not",
            do="activate it in Stripe's dashboard before going live",
        )
    inactive = sorted(name for name, state in (account.get("capabilities") or {}).items() if state == "inactive")
    if inactive:
        yield Finding(
            state=State.NOTE,
            about="account",
            what=f"may not use {', '.join(inactive)}",
            do="ask for it in the dashboard",
        )


def of_clock(skew: timedelta) -> Finding:
    """Return how far this machine's clock is from Stripe's."""
    seconds = abs(skew.total_seconds())
    ahead = "ahead of" if skew > timedelta() else "behind"
    if seconds > TOLERANCE_S:
        what = f"is {seconds:.0f} s {ahead} Stripe's: every webhook would be refused ({TOLERANCE_S} s at most)"
        return Finding(state=State.MISSING, about="clock", what=what, do="set this machine's clock by NTP")
    if seconds > SKEW_NOTED.total_seconds():
        what = f"is {seconds:.0f} s {ahead} Stripe's"
        return Finding(state=State.NOTE, about="clock", what=what, do="set this machine's clock by NTP")
    return Finding(state=State.FINE, about="clock", what="goes with Stripe's")


def of_sellers(accounts: Sequence[Object]) -> Finding:
    """Return whether there is a connected account that can be paid."""
    if not accounts:
        return Finding(
            state=State.MISSING,
            about="connect",
            what="there is no connected account, so no seller can be paid",
            do=f"{SELLERS}; where Stripe refuses that, sign up for Connect in the dashboard first",
        )
    payable = [one["id"] for one in accounts if (one.get("capabilities") or {}).get("transfers") == "active"]
    if not payable:
        return Finding(
            state=State.MISSING,
            about="connect",
            what=f"none of the {len(accounts)} connected accounts may be transferred to yet",
            do="fill in the page of `batzen sellers link` with test data",
        )
    what = f"{len(payable)} of the newest {len(accounts)} connected accounts can be paid, such as {payable[0]}"
    return Finding(state=State.FINE, about="connect", what=what)


def of_secrets(secrets: Collection[str], connect_secrets: Collection[str], *, api_key: str) -> Iterator[Finding]:
    """Yield what is wrong with the secrets that webhooks are signed with."""
    for about, found in (
        ("BATZEN_STRIPE_WEBHOOK_SECRETS", secrets),
        ("BATZEN_STRIPE_CONNECT_WEBHOOK_SECRETS", connect_secrets),
    ):
        if any(not SECRET.fullmatch(one) or one == api_key for one in found):
            do = "copy the signing secret of the endpoint, or what `stripe listen` prints: whsec_…"
            yield Finding(state=State.MISSING, about=about, what="has a secret that is none of Stripe's", do=do)
    if set(secrets) & set(connect_secrets):
        yield Finding(
            state=State.NOTE,
            about="BATZEN_STRIPE_CONNECT_WEBHOOK_SECRETS",
            what="has a secret of the other endpoint: right where Stripe's CLI forwards both, else not",
        )


def of_events(
    *, is_polled: str, is_listed: bool, is_sellers_listed: bool, has_secret: bool, has_connect_secret: bool
) -> Iterator[Finding]:
    """Yield how events get here."""
    if is_polled and (problem := _problem(is_polled)):
        what = f"is {is_polled!r} and {problem}: the gateway does not start"
        yield Finding(state=State.MISSING, about=POLL_EVERY, what=what, do="set it right, or leave it out")
    elif is_polled and not is_listed:
        do = "permit the restricted key to read events"
        yield Finding(state=State.MISSING, about="events", what="cannot be read by this key", do=do)
    elif is_polled and not is_sellers_listed:
        do = "permit the restricted key to read events of connected accounts too"
        yield Finding(
            state=State.MISSING, about="events", what="of sellers' accounts cannot be read by this key", do=do
        )
    elif is_polled:
        what = f"are read every {is_polled} s, those of sellers' accounts too; nothing has to lead here"
        yield Finding(state=State.FINE, about="events", what=what)
    if has_secret and not has_connect_secret and not is_polled:
        yield Finding(
            state=State.MISSING,
            about="events",
            what="of sellers' accounts do not arrive: there is no secret for them",
            do="set BATZEN_STRIPE_CONNECT_WEBHOOK_SECRETS, or BATZEN_STRIPE_POLL_EVERY_S",
        )


def _problem(polled_every_s: str) -> str:
    """Return what the gateway says of its setting; empty if it takes it."""
    try:
        POLL_EVERY_S.parse(polled_every_s)
    except ValueError as error:
        return str(error)
    return ""


def of_endpoints(endpoints: Iterable[Object], *, api_version: str, is_polled: bool) -> Iterator[Finding]:
    """Yield what is wrong with the endpoints that lead to a gateway."""
    ours = {path: [one for one in endpoints if _path(one) == path] for path in (PLATFORM_PATH, CONNECT_PATH)}
    for path, found in ours.items():
        if not found and not is_polled:
            yield Finding(
                state=State.NOTE,
                about="endpoints",
                what=f"none leads to {path}: right where Stripe's CLI forwards, else nothing arrives",
                do=f"register https://…{path} for {'connected accounts' if path == CONNECT_PATH else 'your account'}",
            )
        for one in found:
            yield from _of_endpoint(one, path, api_version=api_version)


def _of_endpoint(one: Object, path: str, *, api_version: str) -> Iterator[Finding]:
    name = f"endpoint {one['id']} ({path})"
    wanted = subscribed_types(of_accounts=path == CONNECT_PATH)
    enabled = one["enabled_events"]
    lacking = [] if "*" in enabled else [each for each in wanted if each not in enabled]
    if one.get("status") != "enabled":
        yield Finding(state=State.MISSING, about=name, what="is disabled", do="enable it in the dashboard")
    if lacking:
        more = f" and {len(lacking) - EVENTS_SHOWN_MAX} more" if len(lacking) > EVENTS_SHOWN_MAX else ""
        what = f"does not get {', '.join(lacking[:EVENTS_SHOWN_MAX])}{more}"
        do = "add the types of docs/gateway.md to it"
        yield Finding(state=State.MISSING, about=name, what=what, do=do)
    if one.get("api_version") not in (api_version, None):
        what = f"renders events at {one['api_version']}: each is read again at Stripe, which costs a call"
        yield Finding(state=State.NOTE, about=name, what=what, do=f"make it anew with API version {api_version}")
    if not lacking and one.get("status") == "enabled":
        yield Finding(state=State.FINE, about=name, what="gets what is acted on")


def of_permissions(denied: Sequence[str]) -> Finding:
    """Return whether a restricted key may read what is read."""
    if denied:
        do = "permit it in the dashboard, to read and, where docs/stripe-test-mode.md says so, to write"
        return Finding(state=State.MISSING, about="key", what=f"may not read {', '.join(denied)}", do=do)
    return Finding(state=State.FINE, about="key", what="may read all that is read")


def _path(endpoint: Object) -> str:
    return urlsplit(str(endpoint.get("url", ""))).path.rstrip("/")
