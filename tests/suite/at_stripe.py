"""Stripe itself in the place of the stand-in: `make test-stripe`, with a key of its test mode.

What a test does to the stand-in as Stripe's own side (faults, clocks, the bank's page, disputes that move) nobody can
do to Stripe: such a test needs the stand-in, and stands here with why. What anybody can do who has the key (look,
refund, cancel, confirm as a browser does) is done by calls of Stripe's API.
"""

from __future__ import annotations

import os
import secrets
import string
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Self

import stripe

from local.environments import Stripe

SWITCH: Final = "BATZEN_AT_STRIPE"
"""Set by `make test-stripe` alone: who has exported a key still has `make test` run against the stand-in."""
KEY: Final = "BATZEN_STRIPE_TEST_KEY"
BASE: Final = "BATZEN_STRIPE_TEST_BASE"
SELLER: Final = "BATZEN_STRIPE_TEST_SELLER"
LINE_MAX: Final = 160

_OWN: Final = "has a suite of its own, with a Stripe that starts empty"
_FAULTS: Final = "orders faults of Stripe"
_PAUSES: Final = "has Stripe hold an answer back"
_BANK: Final = "passes 3-D Secure, which is a page for people at Stripe"
_MOVES: Final = "has Stripe do what it does by itself, such as moving a dispute"
_WEBHOOKS: Final = "orders how webhooks come"

NEEDS_STAND_IN: Final[Mapping[str, str]] = {
    "test_alerts.py": _FAULTS,
    "test_crashes.py": _OWN,
    "test_dashboards.py": _FAULTS,
    "test_disputes.py": _MOVES,
    "test_erasure.py": _MOVES,
    "test_failover.py": _OWN,
    "test_import.py": _OWN,
    "test_notices.py": _MOVES,
    "test_secrets_rotated.py": _OWN,
    "test_soak.py": _FAULTS,
    "test_traces.py": _OWN,
    "test_two_versions.py": _OWN,
    "test_webhooks.py": _WEBHOOKS,
    "test_access.py::test_two_tenants_use_the_same_ids_and_never_meet": "has a gateway of another tenant",
    "test_gone.py::test_a_payer_whose_customer_was_deleted_at_stripe_pays_again": _WEBHOOKS,
    "test_metrics.py::test_each_figure_moves_when_what_it_counts_happens": _BANK,
    "test_outages.py::test_what_stripe_did_without_saying_so_is_done_once": _FAULTS,
    "test_outages.py::test_an_unknown_outcome_is_processing_until_stripe_says_more": _FAULTS,
    "test_outages.py::test_what_is_at_stripe_when_a_process_is_told_to_end_gets_its_answer": _PAUSES,
    "test_pooler.py::test_the_whole_suite_works_behind_session_pooling_with_its_time_outs_in_the_roles": _BANK,
    "test_repeats.py::test_start_twenty_times_at_once_is_one_payment": _PAUSES,
    "test_repeats.py::test_submit_twenty_times_at_once_is_one_charge": _PAUSES,
    "test_repeats.py::test_a_decline_twenty_times_at_once_is_one_decline": _PAUSES,
    "test_repeats.py::test_3d_secure_twenty_times_at_once_sends_the_payer_to_one_page": _PAUSES,
    "test_repeats.py::test_refund_twenty_times_at_once_is_one_refund": _PAUSES,
    "test_repeats.py::test_cancel_twenty_times_at_once_is_one_cancellation": _PAUSES,
    "test_repeats.py::test_the_same_id_with_another_body_is_refused": _PAUSES,
    "test_restores.py::test_what_changes_after_a_restore_is_not_taken_for_old": _WEBHOOKS,
    "test_rolling_restarts.py": _FAULTS,
    "test_states.py::test_a_watcher_sees_each_state_in_order[authenticated]": _BANK,
    "test_states.py::test_a_watcher_sees_each_state_in_order[authenticated in the browser]": _BANK,
    "test_states.py::test_a_watcher_sees_each_state_in_order[not authenticated]": _BANK,
    "test_states.py::test_a_watcher_sees_each_state_in_order[held until it lapsed]": _MOVES,
    "test_states.py::test_two_attempts_that_both_succeed_are_one_payment_and_a_surplus": _WEBHOOKS,
    "test_states.py::test_a_surplus_given_back_is_none_and_what_was_paid_stays_paid": _MOVES,
    "test_states.py::test_money_that_comes_after_a_payment_was_called_off_is_taken_and_shown_to_somebody": _MOVES,
    "test_states.py::test_a_total_of_nothing_succeeds_without_stripe": "counts all that Stripe has",
}
"""File, or file and test with its case → why."""

LISTS: Final = {
    "payment_intent": "/v1/payment_intents",
    "charge": "/v1/charges",
    "refund": "/v1/refunds",
    "customer": "/v1/customers",
}
"""What tests look for, and where it is listed."""
PAGES_MAX: Final = 3
"""Of 100: what a run of these tests makes is among the newest."""


def is_asked_for(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether tests/suite runs against Stripe's test mode."""
    return environ.get(SWITCH) == "1" and bool(environ.get(KEY, "").strip())


def settings(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return what the suite is told of Stripe."""
    return {"STRIPE_API_KEY": environ.get(KEY, ""), "STRIPE_API_BASE": environ.get(BASE, "")}


def seller_account_id(environ: Mapping[str, str] = os.environ) -> str:
    """Return the account at Stripe that the tests' seller has; empty: one is made."""
    return environ.get(SELLER, "").strip() if is_asked_for(environ) else ""


def new_payer_id() -> str:
    """Return a payer whom no run before had."""
    return f"payer_{''.join(secrets.choice(string.ascii_lowercase) for _ in range(16))}"


def why_stand_in(test: str, file: str) -> str:
    """Return why a test needs the stand-in; empty if it does not."""
    names = (file, f"{file}::{test}", f"{file}::{test.partition('[')[0]}")
    return next((NEEDS_STAND_IN[name] for name in names if name in NEEDS_STAND_IN), "")


def told(stats: Mapping[str, Sequence[Any]]) -> Iterator[str]:
    """Yield what a run has shown of Stripe."""
    differing = [*stats.get("failed", ()), *stats.get("error", ())]
    yield ""
    yield f"At Stripe as at the stand-in: {len(stats.get('passed', ()))} tests."
    yield f"Differs from the stand-in: {len(differing) or 'nothing'}."
    for report in differing:
        crash = getattr(report.longrepr, "reprcrash", None)
        said = crash.message if crash is not None else str(report.longrepr)
        yield f"  {report.nodeid.rpartition('/')[2]}"
        yield f"    {' '.join(said.split())[:LINE_MAX]}"
    reasons = Counter(str(report.longrepr[2]).removeprefix("Skipped: ") for report in stats.get("skipped", ()))
    yield f"Not tried: {sum(reasons.values())}."
    for reason, count in reasons.most_common():
        yield f"  {count:>4}  {reason}"


class AtStripe:
    """Stripe by its API, with the methods of the stand-in's controls that Stripe has, too."""

    def __init__(self, at: Stripe) -> None:
        self._client = stripe.StripeClient(
            at.api_key,
            base_addresses={"api": at.api_base} if at.api_base else {},
            max_network_retries=2,
            http_client=stripe.HTTPXClient(timeout=30),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} is of the stand-in alone: say so of this test in NEEDS_STAND_IN")

    async def objects(self, object_type: str, **filters: str) -> list[dict[str, Any]]:
        """Return the newest objects of a type, oldest first; filter by field: `**{"metadata.payment_id": …}`."""
        found: list[dict[str, Any]] = []
        more: dict[str, Any] = {}
        for _ in range(PAGES_MAX):
            page = await self._call("get", LISTS[object_type], limit=100, **more)
            found += page["data"]
            if not page["has_more"]:
                break
            more["starting_after"] = found[-1]["id"]
        return [one for one in reversed(found) if all(_field(one, name) == value for name, value in filters.items())]

    async def intent(self, intent_id: str) -> dict[str, Any]:
        """Return an intent as it is."""
        return await self._call("get", f"/v1/payment_intents/{intent_id}")

    async def cancel(self, intent_id: str) -> dict[str, Any]:
        """Cancel an intent, as in the dashboard."""
        return await self._call("post", f"/v1/payment_intents/{intent_id}/cancel")

    async def refund(self, intent_id: str, **params: Any) -> dict[str, Any]:
        """Give money back, as in the dashboard."""
        return await self._call("post", "/v1/refunds", payment_intent=intent_id, **params)

    async def browser_confirm(
        self, client_secret: str, *, payment_method: str, return_url: str | None = None
    ) -> dict[str, Any]:
        """Confirm an intent by no call of the suite's; return it, or what Stripe says against it."""
        params = {"payment_method": payment_method} | ({"return_url": return_url} if return_url else {})
        path = f"/v1/payment_intents/{client_secret.partition('_secret_')[0]}/confirm"
        try:
            return await self._call("post", path, **params)
        except stripe.CardError as declined:
            return {"error": {"code": declined.code, "message": declined.user_message}}

    async def _call(self, method: Any, path: str, **params: Any) -> dict[str, Any]:
        answer = await self._client.raw_request_async(method, path, **params)
        return dict(answer.data)


def _field(one: Mapping[str, Any], name: str) -> Any:
    value: Any = one
    for part in name.split("."):
        value = (value or {}).get(part)
    return value
