"""Who may call what: a rule against a caller."""

from __future__ import annotations

import pytest

from services.errors import PermissionDenied
from services.runtime.rpc.access import Allow, admit, check_table
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
    access = admit(OWN_PAYMENTS, who)

    assert access.own_as == own_as
    assert access.own_only == bool(own_as)


@pytest.mark.parametrize(
    "who",
    [caller(), caller("service"), caller("service", subject="pricing"), caller(subject="gateway")],
)
def test_who_is_not_named_is_refused(who: Caller) -> None:
    with pytest.raises(PermissionDenied):
        admit(OWN_PAYMENTS, who)


def test_a_person_named_like_a_service_is_no_service() -> None:
    with pytest.raises(PermissionDenied):
        admit(Allow(subjects=frozenset({"orchestrator"})), caller("payer", subject="orchestrator"))


def test_a_rule_for_nobody_or_for_an_unknown_role_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="lets nobody in"):
        Allow()
    with pytest.raises(ValueError, match="admin"):
        Allow(roles=frozenset({"admin"}))


def test_a_table_must_rule_each_method_once_and_no_other() -> None:
    check_table({"/a.A/X": ANYBODY, "/b.B/Y": ANYBODY}, methods=["/a.A/X"])
    with pytest.raises(ValueError, match=r"/a\.A/Z"):
        check_table({"/a.A/X": ANYBODY}, methods=["/a.A/X", "/a.A/Z"])
    with pytest.raises(ValueError, match=r"/a\.A/Z"):
        check_table({"/a.A/X": ANYBODY, "/a.A/Z": ANYBODY}, methods=["/a.A/X"])
