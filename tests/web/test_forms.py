"""A form carries a request id that this front made for this session, and no other session can send it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from starlette.requests import Request
from starlette.types import Message

from services.web.failures import Refusal
from services.web.security.forms import FIELD, FIELDS_MAX, Forms
from services.web.sessions.domain import Session, key_of, new_form_key, new_id

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
FORMS = Forms()


def _session() -> Session:
    return Session(
        key=key_of(new_id()),
        form_key=new_form_key(),
        tenant_id="main",
        subject="payer-a",
        role="payer",
        payment_id=None,
        locale="en",
        auth_time=NOW,
        create_time=NOW,
        seen_time=NOW,
        expire_time=NOW + timedelta(hours=1),
    )


def _request(body: bytes, content_type: str = "application/x-www-form-urlencoded; charset=utf-8") -> Request:
    async def bodies() -> AsyncIterator[Message]:
        yield {"type": "http.request", "body": body, "more_body": False}

    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", content_type.encode())]}
    return Request(scope, bodies().__anext__)


def test_each_form_has_a_request_id_of_its_own_that_stays_the_same_however_often_it_is_sent() -> None:
    session = _session()
    first, second = FORMS.field(session), FORMS.field(session)

    assert FORMS.take(session, {FIELD: first}) == FORMS.take(session, {FIELD: first})
    assert FORMS.take(session, {FIELD: first}) != FORMS.take(session, {FIELD: second})


def test_the_session_keeps_its_forms_when_its_id_changes() -> None:
    session = _session()

    assert FORMS.take(replace(session, key=key_of(new_id())), {FIELD: FORMS.field(session)})


@pytest.mark.parametrize(
    "value",
    [
        "",
        "3f0d9c34-8f5e-4a5e-9d3e-5a3c7c2b1a00",
        FORMS.field(_session()),
        FORMS.field(_session()).upper(),
        "x" * 10_000,
    ],
    ids=["none", "unsigned", "another's", "not ours", "long"],
)
def test_a_form_that_was_not_made_for_the_session_is_refused(value: str) -> None:
    with pytest.raises(Refusal, match="FORM_UNKNOWN"):
        FORMS.take(_session(), {FIELD: value})


@pytest.mark.parametrize("purpose", ["refund pay_2", "cancel pay_1", "refund pay_"])
def test_a_form_that_is_made_for_a_purpose_is_good_for_no_other(purpose: str) -> None:
    session = _session()
    made = FORMS.field(session, purpose="refund pay_1")

    assert FORMS.take(session, {FIELD: made}, purpose="refund pay_1") == made.partition(".")[0]
    with pytest.raises(Refusal, match="FORM_UNKNOWN"):
        FORMS.take(session, {FIELD: made}, purpose=purpose)


def test_a_form_of_no_purpose_is_good_for_none_and_a_front_without_purposes_takes_all() -> None:
    session = _session()
    made = FORMS.field(session, purpose="refund pay_1")

    assert FORMS.take(session, {FIELD: made}) == made.partition(".")[0]
    assert FORMS.field(session, purpose="refund pay_1") != made
    with pytest.raises(Refusal, match="FORM_UNKNOWN"):
        FORMS.take(session, {FIELD: FORMS.field(session)}, purpose="refund pay_1")


def test_a_signature_is_good_for_its_own_request_id_alone() -> None:
    session = _session()
    request_id, _, signature = FORMS.field(session).partition(".")
    forged = f"{request_id[:-1]}{'0' if request_id[-1] != '0' else '1'}.{signature}"

    with pytest.raises(Refusal, match="FORM_UNKNOWN"):
        FORMS.take(session, {FIELD: forged})


async def test_the_fields_of_a_form_are_read_as_text() -> None:
    form = await FORMS.read(_request(b"reason=Zu+viel+belastet+%E2%80%93+zur%C3%BCck&amount=&amount=12.50"))

    assert form["reason"] == "Zu viel belastet – zurück"
    assert form.getlist("amount") == ["", "12.50"]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"{}", "application/json"),
        (b"a=1", "text/plain"),
        (b"a=%FF", "application/x-www-form-urlencoded"),
        (b"a=\xff", "application/x-www-form-urlencoded"),
        (b"&".join([b"a=1"] * (FIELDS_MAX + 1)), "application/x-www-form-urlencoded"),
    ],
    ids=["json", "text", "no text", "no ascii", "many fields"],
)
async def test_what_is_no_form_is_refused(body: bytes, content_type: str) -> None:
    with pytest.raises(Refusal, match="REQUEST_MALFORMED"):
        await FORMS.read(_request(body, content_type))
