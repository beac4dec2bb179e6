"""The pages of actions in the console, in each of their states."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from services.console.actions.approving import ApprovalPage, ApprovalRow
from services.console.actions.domain import Input, Preview
from services.console.actions.kinds.refund import BEARERS, WHY
from services.console.actions.views import AskPage, Confirmation, ReviewPage
from services.console.amounts import written
from services.console.desk import Shell
from services.console.payments.shown import Badge, moment_of
from services.web.failures import Failure
from tests.web.state import State
from tests.web.states.console import NOW, PAYMENT_ID, TROUBLE, state

HERE: Final = Shell(here="approvals", operator="bert", may_act=True, form="form")
READER: Final = Shell(here="approvals", operator="ruth", may_act=False, form="form")
REQUEST_ID: Final = "0198e1f0-5f0e-7c1f-8a9d-4f6f9d0a64c2"
CHANGED: Final = Failure(
    status=409,
    code="REFUNDABLE_CHANGED",
    message="The refundable balance is CHF 95.00 now.",
    field=None,
    recoverable=True,
    retryable=False,
    retry_after=None,
    correlation_id="5f0e8c1f7a9d4f6f9d0a64c2f5b1c3d7",
)
PREVIEW: Final = Preview(
    consequences=(
        f"{written(75_000, 'CHF')} go back to the payer’s method. This cannot be undone.",
        "What sellers had of it is taken back afterwards; the payer does not wait for that.",
    ),
    lines=(
        ("The payer gets back", written(75_000, "CHF")),
        ("Refundable now", written(75_000, "CHF")),
        ("seller_1 gives back", written(63_750, "CHF")),
    ),
)
BEYOND: Final = Preview(
    consequences=PREVIEW.consequences,
    lines=PREVIEW.lines,
    warning=f"The terms of this payment give back {written(37_500, 'CHF')} until 24 Dec 2026, 12:00:00 CET. Your "
    "reason is kept as why more goes back.",
)


def ask(**errors: str) -> dict[str, object]:
    """Return what a refund asks first."""
    return {
        "page": AskPage(
            title="Refund",
            payment_id=PAYMENT_ID,
            total=written(75_000, "CHF"),
            state=Badge("Succeeded", "good"),
            path=f"/payments/{PAYMENT_ID}/refund",
            inputs=(
                Input(
                    name="amount",
                    label="Amount in CHF",
                    kind="amount",
                    value="750.00",
                    hint=f"Up to {written(75_000, 'CHF')}.",
                ),
                Input(name="why", label="Why", kind="select", value=WHY[0][0], options=WHY),
                Input(name="bearer", label="At whose cost", kind="select", value="shared", options=BEARERS),
            ),
            errors=errors,
        )
    }


def review(
    *,
    typed: bool = False,
    released: bool = False,
    preview: Preview = PREVIEW,
    errors: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, object]:
    """Return what comes of a refund."""
    return {
        "page": ReviewPage(
            title="Refund",
            button=f"Refund {written(75_000, 'CHF')}",
            payment_id=PAYMENT_ID,
            total=written(75_000, "CHF"),
            state=Badge("Succeeded", "good"),
            path=f"/payments/{PAYMENT_ID}/refund",
            preview=preview,
            hidden={"amount": "750.00"},
            form="form",
            needs=Confirmation(typed=typed, released=released),
            moved=written(75_000, "CHF"),
            typed="750.00",
            reason="",
            errors=errors,
        )
    }


def outcome(trouble: Failure, *, is_known: bool) -> dict[str, object]:
    """Return that it was not done, or that this is not known."""
    return {
        "title": "Refund",
        "payment_id": PAYMENT_ID,
        "trouble": trouble,
        "is_known": is_known,
        "action": f"/payments/{PAYMENT_ID}/refund",
        "again": {"request_id": "form", "amount": "750.00"},
    }


def row(said: Badge, **more: Any) -> ApprovalRow:
    """Return one that waits, or waited."""
    given: dict[str, Any] = {"decided_by": "", "outcome": ""} | more
    return ApprovalRow(
        request_id=REQUEST_ID,
        title="Refund",
        payment_id=PAYMENT_ID,
        amount=written(75_000, "CHF"),
        state=said,
        asked_by="anna",
        at=moment_of(NOW),
        until=moment_of(NOW),
        reason="The course was called off by the teacher.",
        **given,
    )


WAITS: Final = Badge("Waits", "busy")
ROWS: Final = (
    row(WAITS),
    row(Badge("Released, outcome not known", "warn"), decided_by="bert"),
    row(Badge("Done", "good"), decided_by="bert"),
    row(Badge("Refused", "bad"), decided_by="bert", outcome="REFUNDABLE_CHANGED"),
    row(Badge("Expired", "quiet")),
)


def approval(said: ApprovalRow, **more: Any) -> dict[str, object]:
    """Return the page of one."""
    given: dict[str, Any] = {
        "preview": PREVIEW,
        "trouble": None,
        "may_release": True,
        "may_decline": True,
        "may_settle": False,
        "seen": "4",
        "is_own": False,
        "errors": {},
    } | more
    return {"page": ApprovalPage(row=said, typed="750.00", form="form", **given)}


STATES: Final[dict[str, State]] = {
    "console-action-ask": state("actions/ask.html", ask()),
    "console-action-ask-error": state("actions/ask.html", ask(amount="It has to be above 0.")),
    "console-action-review": state("actions/review.html", review()),
    "console-action-review-typed": state("actions/review.html", review(typed=True, preview=BEYOND)),
    "console-action-review-release": state("actions/review.html", review(typed=True, released=True)),
    "console-action-review-errors": state(
        "actions/review.html",
        review(typed=True, errors={"reason": "Say why.", "typed": "Type 750.00, the amount that is moved."}),
    ),
    "console-action-refused": state("actions/outcome.html", outcome(CHANGED, is_known=True)),
    "console-action-unknown": state("actions/outcome.html", outcome(TROUBLE, is_known=False)),
    "console-approvals": state("approvals/list.html", {"rows": ROWS}, shell=HERE),
    "console-approvals-none": state("approvals/list.html", {"rows": ()}, shell=HERE),
    "console-approval": state("approvals/one.html", approval(ROWS[0]), shell=HERE),
    "console-approval-own": state("approvals/one.html", approval(ROWS[0], may_release=False, is_own=True), shell=HERE),
    "console-approval-untyped": state(
        "approvals/one.html", approval(ROWS[0], errors={"typed": "Type 750.00, the amount that is moved."}), shell=HERE
    ),
    "console-approval-trouble": state(
        "approvals/one.html", approval(ROWS[0], preview=None, trouble=CHANGED, may_release=False), shell=HERE
    ),
    "console-approval-carry-on": state(
        "approvals/one.html", approval(ROWS[1], may_decline=False, may_settle=True), shell=HERE
    ),
    "console-approval-settle": state(
        "approvals/one.html",
        approval(ROWS[1], preview=None, may_release=False, may_decline=False, may_settle=True),
        shell=HERE,
    ),
    "console-approval-refused": state(
        "approvals/one.html", approval(ROWS[3], preview=None, may_release=False, may_decline=False), shell=HERE
    ),
    "console-approval-reader": state(
        "approvals/one.html", approval(ROWS[0], may_release=False, may_decline=False), shell=READER
    ),
}
