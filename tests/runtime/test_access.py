"""Who may call what: a rule against a caller."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta

import pytest

from services.access import TABLE
from services.errors import PermissionDenied, ProofTooOld
from services.runtime.rpc.access import EVERYTHING, PROOF_LIFE, Allow, admit, check_table
from services.runtime.rpc.identity import Caller
from tests.runtime.echo import ANYBODY, NOW

OWN_PAYMENTS = Allow(roles=frozenset({"operator"}), own=frozenset({"payer", "seller"}), subjects=frozenset({"gateway"}))


def caller(*roles: str, subject: str = "somebody") -> Caller:
    return Caller(subject=subject, tenant_id="main", roles=frozenset(roles), expire_time=NOW)


@pytest.mark.parametrize(
    ("who", "own_as"),
    [
        (caller("operator"), set()),
        (caller("operator", "payer"), set()),
        (caller("payer"), {"payer"}),
        (caller("payer", "seller"), {"payer", "seller"}),
        (caller("service", subject="gateway"), set()),
    ],
)
def test_the_widest_of_several_roles_counts(who: Caller, own_as: set[str]) -> None:
    access = admit(OWN_PAYMENTS, who, now=NOW)

    assert access.own_as == own_as
    assert access.own_only == bool(own_as)


@pytest.mark.parametrize(
    "who",
    [caller(), caller("service"), caller("service", subject="pricing"), caller(subject="gateway")],
)
def test_who_is_not_named_is_refused(who: Caller) -> None:
    with pytest.raises(PermissionDenied):
        admit(OWN_PAYMENTS, who, now=NOW)


def test_a_person_named_like_a_service_is_no_service() -> None:
    with pytest.raises(PermissionDenied):
        admit(Allow(subjects=frozenset({"orchestrator"})), caller("payer", subject="orchestrator"), now=NOW)


def test_a_rule_for_nobody_or_for_an_unknown_role_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="lets nobody in"):
        Allow()
    with pytest.raises(ValueError, match="admin"):
        Allow(roles=frozenset({"admin"}))
    with pytest.raises(ValueError, match="may not call"):
        Allow(roles=frozenset({"service"}), proof=frozenset({"operator"}))


@pytest.mark.parametrize(
    ("age", "is_let_in"),
    [(None, True), (timedelta(0), True), (PROOF_LIFE, True), (PROOF_LIFE + timedelta(seconds=1), False)],
)
def test_who_moves_money_through_a_front_has_proved_lately_who_they_are(age: timedelta | None, is_let_in: bool) -> None:
    rule = Allow(roles=frozenset({"operator", "service"}), own=frozenset({"payer"}), proof=frozenset({"operator"}))
    operator = replace(caller("operator"), act="console", auth_time=None if age is None else NOW - age)
    payer = replace(operator, roles=frozenset({"payer"}))

    assert admit(rule, payer, now=NOW).own_as == {"payer"}
    with nullcontext() if is_let_in else pytest.raises(ProofTooOld):
        assert admit(rule, operator, now=NOW) == EVERYTHING


def test_a_table_must_rule_each_method_once_and_no_other() -> None:
    check_table({"/a.A/X": ANYBODY, "/b.B/Y": ANYBODY}, methods=["/a.A/X"])
    with pytest.raises(ValueError, match=r"/a\.A/Z"):
        check_table({"/a.A/X": ANYBODY}, methods=["/a.A/X", "/a.A/Z"])
    with pytest.raises(ValueError, match=r"/a\.A/Z"):
        check_table({"/a.A/X": ANYBODY, "/a.A/Z": ANYBODY}, methods=["/a.A/X"])


READS = ("Get", "List", "Find", "Watch", "Preview", "Diagnose")
"""How the methods begin that change nothing."""


def test_a_read_only_operator_reads_what_operators_read_and_nothing_else() -> None:
    readable = {method for method, rule in TABLE.items() if "operator_readonly" in rule.roles}
    of_operators = {method for method, rule in TABLE.items() if "operator" in rule.roles}

    assert readable == {method for method in of_operators if method.rpartition("/")[2].startswith(READS)}


def test_a_front_itself_opens_one_stream_and_owns_nothing_in_it() -> None:
    opened = {method: rule for method, rule in TABLE.items() if "front" in rule.roles | rule.own}

    assert list(opened) == ["/batzen.status.v1.StatusService/WatchMany"]
    assert all("front" not in rule.roles for rule in opened.values())


MONEY = frozenset(
    {
        "StartPayment", "CapturePayment", "RetryPayment", "ReschedulePayment", "RefundPayment", "SubmitPayment",
        "CancelPayment", "ResolvePayment", "SubmitDisputeEvidence", "AcceptDispute", "WriteOffReceivable",
    }
)  # fmt: skip
LEADS_TO_MONEY = frozenset(
    {
        "CreateOnboardingLink", "PutWebhookSubscription", "RotateWebhookSecret", "DeleteWebhookSubscription",
        "PutTaxRate", "PutFeePlan", "PutDiscount", "PutPolicy", "ErasePayer",
    }
)  # fmt: skip
"""Where payouts go, who hears of payments, what they cost, and what cannot be undone."""


def test_operators_prove_who_they_are_before_money_moves_or_may() -> None:
    asking = {method.rpartition("/")[2] for method, rule in TABLE.items() if rule.proof}

    assert asking == MONEY | LEADS_TO_MONEY
