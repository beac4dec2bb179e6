"""What is told of a payment follows from what its revision has and the one heard before had not: one table."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.orchestrator.facts.domain import Fact, FactKind
from services.orchestrator.facts.rules import (
    RULES,
    Revision,
    Seen,
    facts_between,
    hear,
    is_heard,
    last_heard,
    now_seen,
    reminder_time,
    upcoming_charge,
)
from services.orchestrator.notifications.kinds import NOBODY, OF_KIND, TELLINGS
from services.shared import codec

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
TOMORROW = NOW + timedelta(days=1)
NEXT_WEEK = NOW + timedelta(days=7)
LEAD = timedelta(days=3)
UNATTENDED = {"collection": "PROCESSING", "is_unattended": True}


def revision(number: int = 5, *, seen: dict[str, Any] | None = None, **changes: Any) -> Revision:
    fields: dict[str, Any] = {
        "payment_id": "pay_a",
        "revision": number,
        "record_time": NOW,
        "payer_id": "payer",
        "seller_ids": ("guide",),
        "total_minor": 1_000,
        "currency_code": "CHF",
        "seen": Seen(**(seen or {})),
    }
    return Revision(**(fields | changes))


def told(before: dict[str, Any] | None, after: dict[str, Any], **changes: Any) -> dict[FactKind, Fact]:
    """Return what follows beside that the payment moved."""
    known = None if before is None else Seen(**before)
    facts = facts_between("main", known, revision(seen=after, **changes))
    assert facts[0].kind is FactKind.PAYMENT_MOVED
    assert len({fact.fact_id for fact in facts}) == len(facts)
    return {fact.kind: fact for fact in facts[1:]}


@pytest.mark.parametrize(
    ("before", "after", "kinds"),
    [
        ({}, {"collection": "PROCESSING"}, []),
        ({"collection": "PROCESSING"}, {"collection": "SUCCEEDED", "captured_minor": 1_000}, ["PAYMENT_RECEIVED"]),
        ({"collection": "FAILED"}, {"collection": "SUCCEEDED", "captured_minor": 1_000}, ["PAYMENT_RECEIVED"]),
        ({}, {"collection": "SUCCEEDED"}, []),
        ({"collection": "SUCCEEDED"}, {"collection": "SUCCEEDED", "captured_minor": 1_000}, []),
        ({"collection": "PROCESSING"}, {"collection": "FAILED"}, ["PAYMENT_FAILED"]),
        ({"collection": "FAILED"}, {"collection": "FAILED"}, []),
        ({}, {"collection": "EXPIRED"}, ["PAYMENT_EXPIRED"]),
        ({}, {"collection": "CANCELED"}, []),
        # A payer who is there sees a decline, and what they are asked for.
        ({"collection": "PROCESSING"}, {"collection": "REQUIRES_PAYMENT_METHOD", "decline_count": 1}, []),
        ({"collection": "PROCESSING"}, {"collection": "REQUIRES_ACTION"}, []),
        # One who is not there is told.
        ({"collection": "PROCESSING"}, {"collection": "SCHEDULED", "charge_time": TOMORROW}, ["PAYMENT_SCHEDULED"]),
        (UNATTENDED, {"collection": "SCHEDULED", "decline_count": 1, "charge_time": TOMORROW}, ["PAYMENT_FAILED"]),
        (UNATTENDED, {"collection": "REQUIRES_PAYMENT_METHOD", "decline_count": 1}, ["ACTION_REQUIRED"]),
        (UNATTENDED, {"collection": "REQUIRES_ACTION"}, ["ACTION_REQUIRED"]),
        (UNATTENDED, {"collection": "FAILED", "decline_count": 1}, ["PAYMENT_FAILED"]),
        (UNATTENDED, {"collection": "PROCESSING"}, []),
        (UNATTENDED, {"collection": "REQUIRES_PAYMENT_METHOD", "recovery_count": 1}, []),
        # A charge that is moved to another time, or not.
        (
            {"collection": "SCHEDULED", "is_unattended": True, "charge_time": TOMORROW},
            {"collection": "SCHEDULED", "charge_time": NEXT_WEEK},
            ["PAYMENT_SCHEDULED"],
        ),
        (
            {"collection": "SCHEDULED", "is_unattended": True, "charge_time": TOMORROW},
            {"collection": "SCHEDULED", "charge_time": TOMORROW},
            [],
        ),
        # Refunds: told once they stand, and again if they fail.
        ({}, {"refund_pending_minor": 400}, []),
        ({"refund_pending_minor": 400}, {"refunded_minor": 400}, ["PAYMENT_REFUNDED"]),
        ({"refund_pending_minor": 400}, {}, ["REFUND_FAILED"]),
        ({"refunded_minor": 400}, {}, ["REFUND_FAILED"]),
        ({"refunded_minor": 400}, {"refund_pending_minor": 400}, ["REFUND_FAILED"]),
        ({"refund_pending_minor": 700}, {"refunded_minor": 400}, ["PAYMENT_REFUNDED", "REFUND_FAILED"]),
        ({"refunded_minor": 400}, {"refunded_minor": 400, "refund_pending_minor": 100}, []),
        # Attention, by reason.
        ({}, {"attentions": ("STUCK", "SURPLUS")}, ["ATTENTION_RAISED", "ATTENTION_RAISED"]),
        (
            {"attentions": ("STUCK",)},
            {"attentions": ("SURPLUS",)},
            ["ATTENTION_RAISED", "ATTENTION_ENDED"],
        ),
        ({"attentions": ("STUCK",)}, {"attentions": ("STUCK",)}, []),
    ],
)  # fmt: skip
def test_what_is_told(before: dict[str, Any], after: dict[str, Any], kinds: list[str]) -> None:
    facts = facts_between("main", Seen(**before), revision(seen=after))
    assert [fact.kind for fact in facts] == ["PAYMENT_MOVED", *kinds]
    assert len({fact.fact_id for fact in facts}) == len(facts)
    assert facts_between("main", Seen(**before), replace(revision(seen=after), is_imported=True)) == []


def test_amounts_of_refunds() -> None:
    """CHF 7 are on their way in two refunds, of which 4 arrive and 3 do not."""
    facts = told({"refund_pending_minor": 700}, {"refunded_minor": 400, "captured_minor": 1_000})
    refunded, failed = facts[FactKind.PAYMENT_REFUNDED].values, facts[FactKind.REFUND_FAILED].values
    assert (refunded["amount_minor"], refunded["refunded_minor"], refunded["currency_code"]) == ("400", "400", "CHF")
    assert (failed["amount_minor"], failed["stood"]) == ("300", "false")
    fallen = told({"refunded_minor": 400}, {"refund_pending_minor": 400})[FactKind.REFUND_FAILED].values
    assert (fallen["amount_minor"], fallen["stood"]) == ("400", "true")


def test_what_a_payer_has_to_do() -> None:
    asked = told(UNATTENDED, {"collection": "REQUIRES_PAYMENT_METHOD"}, error_code="authentication_required")
    assert asked[FactKind.ACTION_REQUIRED].values["action"] == "AUTHENTICATE"
    declined = told(UNATTENDED, {"collection": "REQUIRES_PAYMENT_METHOD"}, decline_code="lost_card")
    values = declined[FactKind.ACTION_REQUIRED].values
    assert (values["action"], values["decline_code"]) == ("METHOD", "lost_card")
    again = told(UNATTENDED, {"collection": "SCHEDULED", "decline_count": 1, "charge_time": TOMORROW})
    values = again[FactKind.PAYMENT_FAILED].values
    assert (values["is_final"], values["charge_time"]) == ("false", "2026-11-30T12:00:00Z")


def test_a_payer_is_away_from_when_a_method_is_kept_until_it_is_their_turn() -> None:
    seen: Seen | None = None
    away = []
    for collection in ("INITIALIZED", "PROCESSING", "SCHEDULED", "PROCESSING", "REQUIRES_PAYMENT_METHOD", "PROCESSING"):
        seen = now_seen(seen, revision(seen={"collection": collection}))
        away.append(seen.is_unattended)
    assert away == [False, False, True, True, False, False]
    assert seen is not None
    assert codec.from_json(Seen, codec.to_json(seen)) == seen


def test_what_was_heard_says_nothing_again_and_what_is_missing_is_named() -> None:
    first, second = revision(1), revision(2, seen={"attentions": ("STUCK",)})
    fourth = revision(4, seen={"collection": "SUCCEEDED", "captured_minor": 1})
    heard = hear("main", {}, [first, second, first, second])
    assert [fact.revision for fact in heard.facts] == [1, 2, 2]
    assert not heard.gaps
    known = {"pay_a": (2, second.seen)}
    assert hear("main", known, [first, second]).facts == []
    missing = hear("main", known, [second, fourth])
    assert missing.gaps == {"pay_a": 2}
    assert {fact.kind for fact in missing.facts} >= {FactKind.PAYMENT_RECEIVED, FactKind.ATTENTION_ENDED}


@pytest.mark.parametrize("number", [2, 3])
def test_what_status_was_told_again_after_it_lost_its_last_commits_is_heard(number: int) -> None:
    """Under a number that was heard: what is true now is told, and what was told before is not."""
    paid = {"collection": "SUCCEEDED", "captured_minor": 1_000}
    lost = [revision(1), revision(2, seen=paid), revision(3, seen=paid | {"attentions": ("STUCK",)})]
    known = {"pay_a": (3, hear("main", {}, lost).last["pay_a"].seen)}
    assert hear("main", known, lost).facts == []
    later = NOW + timedelta(minutes=1)
    again = revision(number, seen=paid | {"refunded_minor": 100}, record_time=later)
    heard = hear("main", known, [again])
    assert [fact.kind for fact in heard.facts if fact.kind is not FactKind.PAYMENT_MOVED] == [
        FactKind.PAYMENT_REFUNDED,
        FactKind.ATTENTION_ENDED,
    ]
    known = {"pay_a": (number, heard.last["pay_a"].seen)}
    assert is_heard(known, again)
    assert last_heard(known, replace(again, revision=number + 2)) == number
    assert last_heard({"pay_a": (5, Seen())}, again) == number - 1


def test_of_a_payment_whose_history_is_forgotten_nothing_is_told_but_how_it_stands() -> None:
    assert told(None, {"collection": "SUCCEEDED", "captured_minor": 1_000, "refunded_minor": 10}) == {}


def test_a_payer_is_reminded_of_what_was_planned_long_enough_before() -> None:
    planned = revision(seen={"collection": "SCHEDULED", "charge_time": NEXT_WEEK})
    assert reminder_time(planned, before=LEAD) == NEXT_WEEK - LEAD
    assert reminder_time(planned, before=timedelta()) is None
    assert reminder_time(revision(seen={"collection": "SCHEDULED", "charge_time": TOMORROW}), before=LEAD) is None
    assert reminder_time(revision(seen={"collection": "SCHEDULED"}), before=LEAD) is None
    assert reminder_time(revision(seen={"collection": "CANCELED", "charge_time": NEXT_WEEK}), before=LEAD) is None
    fact, later = upcoming_charge("main", planned), upcoming_charge("main", replace(planned, revision=6))
    assert fact is not None
    assert later is not None
    assert fact.fact_id == later.fact_id  # another revision with the same time is the same charge
    moved = upcoming_charge("main", revision(seen={"collection": "SCHEDULED", "charge_time": TOMORROW}))
    assert moved is not None
    assert moved.fact_id != fact.fact_id
    assert upcoming_charge("main", revision(seen={"collection": "SUCCEEDED"})) is None


@pytest.mark.parametrize("at_once", [True, False])
def test_what_else_moves_of_a_payment_does_not_undo_that_its_payer_is_reminded(at_once: bool) -> None:
    """Also where it moves right before the reminder is sent, or both are heard late."""
    seen = {"collection": "SCHEDULED", "charge_time": NEXT_WEEK}
    planned = revision(1, seen=seen)
    moved = revision(2, seen=seen | {"attentions": ("STUCK",)}, record_time=NEXT_WEEK - LEAD + timedelta(hours=1))
    if at_once:
        last = hear("main", {}, [planned, moved]).last["pay_a"]
    else:
        known = hear("main", {}, [planned]).last["pay_a"]
        last = hear("main", {"pay_a": (1, known.seen)}, [moved]).last["pay_a"]
    assert reminder_time(last, before=LEAD) == NEXT_WEEK - LEAD
    sooner = replace(moved, revision=3, seen=replace(moved.seen, charge_time=TOMORROW))  # its payer was just told
    anew = hear("main", {"pay_a": (2, last.seen)}, [sooner]).last["pay_a"]
    assert reminder_time(anew, before=LEAD) is None


def test_each_kind_is_told_to_somebody_or_said_to_be_for_nobody() -> None:
    assert {kind for kind, tellings in OF_KIND.items() if not tellings} == NOBODY
    assert len({(one.kind, one.recipient) for one in TELLINGS}) == len(TELLINGS)
    assert len({one.template for one in TELLINGS}) == len(TELLINGS)
    assert len({kind for kind, _ in RULES}) == len(RULES)
