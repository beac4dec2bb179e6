"""What operators do to a payment: shown before, wanted for a reason, done once, and by who may."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from batzen.cli.starting import When
from batzen.client import new_request_id
from batzen.errors import PermissionDenied
from batzen.orchestrator.v1.ops_pb2 import RESOLUTION_TRY_NOW, ResolvePaymentRequest
from batzen.orchestrator.v1.orchestrator_pb2 import CancelPaymentRequest
from batzen.status.v1.status_pb2 import GetPaymentRequest
from local.suite import Suite
from services.runtime.database.connections import plain_dsn
from tests.eventually import eventually
from tests.web.console_payments import form_of, held_late, paid, refund_form, refunds_of, reviewed, send
from tests.web.counted import Counted
from tests.web.logging_in import READER, SECOND_OPERATOR, age_log_ins, logged_in
from tests.web.shop import a_confirm, a_shop, key


async def _audit(suite: Suite, payment_id: str) -> list[str]:
    connection = await asyncpg.connect(plain_dsn(suite.owner_url("console")))
    try:
        rows = await connection.fetch("SELECT what FROM audit WHERE about = $1 ORDER BY audit_id", payment_id)
    finally:
        await connection.close()
    return [row["what"] for row in rows]


async def _forget_outcome(suite: Suite, payment_id: str) -> None:
    """Leave what a console leaves that died after it released, before what came of it was written down."""
    await _change_approval(suite, payment_id, "state = 'RELEASED'")


async def _change_approval(suite: Suite, payment_id: str, change: str) -> None:
    connection = await asyncpg.connect(plain_dsn(suite.owner_url("console")))
    try:
        await connection.execute(f"UPDATE approvals SET {change} WHERE payment_id = $1", payment_id)
    finally:
        await connection.close()


async def _count_for(suite: Suite, request_id: str, payment_id: str) -> None:
    """Count a form's id for another payment, as a front of before purposes did for who sent it there."""
    connection = await asyncpg.connect(plain_dsn(suite.owner_url("console")))
    try:
        await connection.execute(
            "INSERT INTO moved_alone VALUES ('main', $1, $2, 'operator-1', 'CHF', 100, now())", request_id, payment_id
        )
    finally:
        await connection.close()


async def _plan(suite: Suite, payment_id: str) -> asyncpg.Record:
    connection = await asyncpg.connect(plain_dsn(suite.owner_url("orchestrator")))
    try:
        return await connection.fetchrow("SELECT next_step, due_time FROM payments WHERE payment_id = $1", payment_id)
    finally:
        await connection.close()


async def _captured(suite: Suite, payment_id: str) -> int:
    async with suite.client("service", sub="shop") as shop:
        answer = await shop.status.GetPayment(GetPaymentRequest(payment_id=payment_id))
    return answer.payment.snapshot.amounts.captured_minor


async def test_a_refund_is_shown_then_done_once_however_often_its_form_is_sent(suite: Suite) -> None:
    payment_id = await paid(suite, 12_000)
    path = f"/payments/{payment_id}/refund"
    async with logged_in(suite) as browser:
        form = await refund_form(browser, payment_id, "20.00")
        both = await asyncio.gather(*(send(browser, path, form, reason="asked for it") for _ in range(2)))
        later = await send(browser, path, form, reason="asked for it")
        page = await browser.get(f"/payments/{payment_id}")

    assert {answer.status_code for answer in both} <= {303, 409}, "one of them may meet the other under way"
    assert (later.status_code, later.headers["location"]) == (303, f"/payments/{payment_id}?asked=refund")
    assert await refunds_of(suite, payment_id) == [2_000]
    assert "Partly refunded" in page.text
    assert "RefundPayment by operator_1" in page.text
    audited = await _audit(suite, payment_id)
    assert audited.index("refund.asked") < audited.index("refund.outcome")
    assert "payment.viewed" in audited


async def test_a_console_that_died_after_the_call_is_sent_the_same_form_and_makes_the_same_refund(suite: Suite) -> None:
    payment_id = await paid(suite, 5_000)
    path = f"/payments/{payment_id}/refund"
    async with logged_in(suite) as browser:
        form = await refund_form(browser, payment_id, "10.00")
        await send(browser, path, form, reason="twice")
        await suite.kill("console")
        await suite.start("console")
        again = await send(browser, path, form, reason="twice")

    assert again.status_code == 303
    assert await refunds_of(suite, payment_id) == [1_000]


@pytest.mark.web
async def test_an_outcome_that_is_not_known_is_said_and_the_same_is_sent_again(suite: Suite) -> None:
    payment_id = await paid(suite, 5_000)
    path = f"/payments/{payment_id}/refund"
    counted = await Counted.since_now(suite, "console")
    async with logged_in(suite) as browser:
        form = await refund_form(browser, payment_id, "10.00")
        await suite.kill("orchestrator")
        try:
            unknown = await send(browser, path, form, reason="a test")
        finally:
            await suite.start("orchestrator")
        repeat = form_of(unknown, path)

        async def is_answered() -> bool:
            return (await send(browser, path, repeat)).status_code == 303

        await eventually(is_answered)

    assert unknown.status_code == 503
    assert "outcome not known" in unknown.text
    assert "ipv4:" not in unknown.text
    assert await refunds_of(suite, payment_id) == [1_000]
    assert await counted.of("batzen_console_actions_total", kind="refund", outcome="unknown") >= 1


async def test_what_the_service_refuses_is_said_and_done_by_nobody(suite: Suite) -> None:
    """A page that was open before the payer paid, or an address that is typed: what is paid is not called off."""
    payment_id = await paid(suite, 5_000)
    path = f"/payments/{payment_id}/cancel"
    counted = await Counted.since_now(suite, "console")
    async with logged_in(suite) as browser:
        refused = await send(browser, path, form_of(await browser.get(path), path), reason="too late")

    assert refused.status_code == 409
    assert "not done" in refused.text
    assert "Nothing was done." in refused.text
    assert await _captured(suite, payment_id) == 5_000
    assert (await _audit(suite, payment_id))[-2:] == ["cancel.asked", "cancel.outcome"]
    assert await counted.of("batzen_console_actions_total", kind="cancel", outcome="refused") >= 1


async def test_of_two_operators_at_once_one_refunds_and_the_other_looks_again(suite: Suite) -> None:
    payment_id = await paid(suite, 5_000)
    path = f"/payments/{payment_id}/refund"
    async with logged_in(suite) as one, logged_in(suite, SECOND_OPERATOR) as other:
        forms = [await refund_form(browser, payment_id, "50.00") for browser in (one, other)]
        answers = await asyncio.gather(
            *(send(browser, path, form, reason="cancelled") for browser, form in zip((one, other), forms, strict=True))
        )

    assert sorted(answer.status_code for answer in answers) == [303, 409]
    assert await refunds_of(suite, payment_id) == [5_000]


@pytest.mark.parametrize(
    ("sent", "says"),
    [
        ({"typed": "300.00"}, "Say why."),
        ({"reason": "why"}, "Type 300.00"),
        ({"reason": "why", "typed": "30"}, "Type 300.00"),
    ],
)
async def test_without_reason_or_the_typed_amount_nothing_is_done(
    suite: Suite, large: str, sent: dict[str, str], says: str
) -> None:
    async with logged_in(suite) as browser:
        form = await refund_form(browser, large, "300.00")
        answer = await send(browser, f"/payments/{large}/refund", form, **sent)

    assert answer.status_code == 400
    assert says in answer.text
    assert await refunds_of(suite, large) == []


async def test_a_form_of_another_session_is_refused(suite: Suite, large: str) -> None:
    async with logged_in(suite) as one, logged_in(suite, SECOND_OPERATOR) as other:
        form = await refund_form(one, large, "10.00")
        answer = await send(other, f"/payments/{large}/refund", form, reason="not mine")

    assert answer.status_code == 403
    assert await refunds_of(suite, large) == []


async def test_who_proved_themselves_long_ago_logs_in_again_before_money_moves(suite: Suite, large: str) -> None:
    path = f"/payments/{large}/refund"
    async with logged_in(suite, SECOND_OPERATOR) as browser:
        form = await refund_form(browser, large, "10.00")
        await age_log_ins(suite, SECOND_OPERATOR)
        refused = await send(browser, path, form, reason="late")
        given = {"review": "1", "amount": "10.00", "why": "REASON_DUPLICATE", "bearer": "shared"}
        looked = await browser.get(path, params=given)

    assert refused.status_code == looked.status_code == 401
    assert "/login/again" in refused.text
    assert await refunds_of(suite, large) == []


async def test_a_reader_sees_no_action_and_is_refused_by_console_and_services(suite: Suite, large: str) -> None:
    path = f"/payments/{large}/refund"
    async with logged_in(suite) as operator, logged_in(suite, READER) as reader:
        form = await refund_form(operator, large, "10.00")
        page = await reader.get(f"/payments/{large}")
        looked = await reader.get(path)
        sent = await send(reader, path, form, reason="not allowed")

    assert page.status_code == 200
    assert path not in page.text
    assert looked.status_code == sent.status_code == 403
    async with suite.client("operator_readonly", sub=READER) as client:
        with pytest.raises(PermissionDenied):
            await client.orchestrator.CancelPayment(
                CancelPaymentRequest(request_id=new_request_id(), payment_id=large, reason="not allowed")
            )


async def test_above_the_limit_for_one_a_second_person_releases_it_and_never_who_asked(suite: Suite) -> None:
    payment_id = await paid(suite, 300_000)
    counted = await Counted.since_now(suite, "console")
    async with logged_in(suite) as asker, logged_in(suite, SECOND_OPERATOR) as colleague:
        form = await refund_form(asker, payment_id, "2500.00")
        asked = await send(asker, f"/payments/{payment_id}/refund", form, reason="cancelled", typed="2'500.00")
        approval = asked.headers["location"]
        own = await asker.get(approval)
        seen = await colleague.get(approval)
        release = form_of(seen, f"{approval}/release")
        stolen = await send(asker, f"{approval}/release", form_of(own, f"{approval}/decline"), typed="2500.00")
        untyped = await send(colleague, f"{approval}/release", release)
        before = await refunds_of(suite, payment_id)
        released = [await send(colleague, f"{approval}/release", release, typed="2500.00") for _ in range(2)]
        done = await colleague.get(approval)
        await _forget_outcome(suite, payment_id)
        carried_on = await send(
            colleague,
            f"{approval}/release",
            form_of(await colleague.get(approval), f"{approval}/release"),
            typed="2500.00",
        )
        done_again = await colleague.get(approval)
        await _forget_outcome(suite, payment_id)
        settled = await send(asker, f"{approval}/settle", form_of(await asker.get(approval), f"{approval}/settle"))
        found = await asker.get(approval)

    assert asked.status_code == 303
    assert "A colleague has to release it." in own.text
    assert f"{approval}/release" not in own.text
    assert "cancelled" in seen.text
    assert (stolen.status_code, untyped.status_code, before) == (409, 400, [])
    assert released[0].status_code == 303
    assert await refunds_of(suite, payment_id) == [250_000]
    assert "Done" in done.text
    assert carried_on.status_code == 303
    assert "Done" in done_again.text
    assert settled.status_code == 303
    assert "Done" in found.text
    assert await refunds_of(suite, payment_id) == [250_000]
    assert await counted.of("batzen_console_actions_total", kind="refund", outcome="done") >= 1
    assert await counted.of("batzen_console_approvals_opened_total", kind="refund") >= 1
    assert await counted.of("batzen_console_approvals_decided_total", kind="refund", decision="released") >= 1


async def test_one_wish_waits_once_and_is_released_as_it_was_seen(suite: Suite) -> None:
    payment_id = await paid(suite, 600_000, when=When.HOLD)
    path = f"/payments/{payment_id}/capture"
    async with logged_in(suite) as asker, logged_in(suite, SECOND_OPERATOR) as colleague:
        forms = [await reviewed(asker, path, amount="2500.00", rest="keep") for _ in range(2)]
        asked, twice, resent = [
            await send(asker, path, form, reason="the first part", typed="2500.00")
            for form in (forms[0], forms[1], forms[0])
        ]
        approval = asked.headers["location"]
        seen = form_of(await colleague.get(approval), f"{approval}/release")
        part = await send(asker, path, await reviewed(asker, path, amount="10.00", rest="keep"), reason="a part")
        blind = await send(colleague, f"{approval}/release", {"request_id": seen["request_id"]}, typed="2500.00")
        moved = await send(colleague, f"{approval}/release", seen, typed="2500.00")
        before = await _captured(suite, payment_id)
        released = await send(
            colleague,
            f"{approval}/release",
            form_of(await colleague.get(approval), f"{approval}/release"),
            typed="2500.00",
        )

    assert (asked.status_code, twice.status_code, part.status_code) == (303, 409, 303), twice.text
    assert "waits for a second person already" in twice.text
    assert resent.headers["location"] == approval, "the very same form is no second wish"
    assert (blind.status_code, moved.status_code, before) == (409, 409, 1_000)
    assert "The payment moved since you looked at it" in moved.text
    assert released.status_code == 303
    assert await _captured(suite, payment_id) == 251_000


async def test_what_is_above_the_limit_in_parts_waits_for_a_second_person(suite: Suite) -> None:
    payment_id = await paid(suite, 600_000)
    path = f"/payments/{payment_id}/refund"
    async with logged_in(suite) as asker:
        form = await refund_form(asker, payment_id, "1200.00")
        first, repeat = [await send(asker, path, form, reason="a part", typed="1200.00") for _ in range(2)]
        second = await send(asker, path, await refund_form(asker, payment_id, "1200.00"), reason="b", typed="1200.00")

    assert first.headers["location"] == repeat.headers["location"] == f"/payments/{payment_id}?asked=refund"
    assert second.headers["location"].startswith("/approvals/")
    assert await refunds_of(suite, payment_id) == [120_000]


async def test_the_id_of_one_form_moves_nothing_by_another_so_that_all_is_counted(suite: Suite) -> None:
    refunded, moved = await paid(suite, 50_000), []
    held = [await paid(suite, 50_000, when=When.HOLD) for _ in range(3)]
    wanted: list[tuple[str, str, dict[str, str]]] = [
        (held[0], "cancel", {}),
        (held[1], "resolve", {"way": "RESOLUTION_CANCEL"}),
        (held[2], "capture", {"amount": "500.00", "rest": "release"}),
        (refunded, "refund", {"amount": "100.00", "why": "REASON_DUPLICATE", "bearer": "shared"}),
    ]
    async with logged_in(suite) as browser:
        first = await refund_form(browser, refunded, "400.00")
        assert (await send(browser, f"/payments/{refunded}/refund", first, reason="why", typed="400.00")).is_redirect
        for payment_id, action, given in wanted[:3]:
            path = f"/payments/{payment_id}/{action}"
            form = await reviewed(browser, path, **given) | {"request_id": first["request_id"]}
            moved.append((await send(browser, path, form, reason="why", typed="500.00")).status_code)
        payment_id, action, given = wanted[3]
        form = await reviewed(browser, f"/payments/{payment_id}/{action}", **given)
        await _count_for(suite, form["request_id"].partition(".")[0], held[0])
        waits = await send(browser, f"/payments/{payment_id}/{action}", form, reason="why")

    assert moved == [403, 403, 403]
    assert waits.headers["location"].startswith("/approvals/"), "an id that is counted for another payment"
    assert await refunds_of(suite, refunded) == [40_000]
    async with suite.client("service", sub="shop") as shop:
        asked = [await shop.status.GetPayment(GetPaymentRequest(payment_id=one)) for one in held]
    assert [one.payment.snapshot.amounts.capturable_minor for one in asked] == [50_000] * 3


async def test_what_another_call_under_the_id_of_a_release_came_to_settles_nothing(suite: Suite) -> None:
    payment_id = await paid(suite, 300_000)
    async with logged_in(suite) as browser:
        form = await refund_form(browser, payment_id, "2500.00")
        asked = await send(browser, f"/payments/{payment_id}/refund", form, reason="why", typed="2500.00")
        approval = asked.headers["location"]
        request_id = approval.rpartition("/")[2]
        await _change_approval(
            suite, payment_id, f"state = 'RELEASED', decided_by = '{SECOND_OPERATOR}', decide_time = ask_time"
        )
        async with suite.client("operator", sub="operator-9") as client:
            await client.orchestrator_ops.ResolvePayment(
                ResolvePaymentRequest(
                    request_id=request_id,
                    payment_id=payment_id,
                    actor_id="operator-9",
                    reason="why",
                    resolution=RESOLUTION_TRY_NOW,
                )
            )
        settled = await send(browser, f"{approval}/settle", form_of(await browser.get(approval), f"{approval}/settle"))

    assert (settled.status_code, "No service has answered it yet" in settled.text) == (409, True)


async def test_a_release_of_which_nothing_came_expires_and_anybody_may_close_it(suite: Suite) -> None:
    payment_id = await paid(suite, 300_000)
    async with logged_in(suite) as asker, logged_in(suite, SECOND_OPERATOR) as colleague:
        form = await refund_form(asker, payment_id, "2500.00")
        asked = await send(asker, f"/payments/{payment_id}/refund", form, reason="cancelled", typed="2500.00")
        approval = asked.headers["location"]
        release = form_of(await colleague.get(approval), f"{approval}/release")
        await _change_approval(suite, payment_id, f"state = 'RELEASED', decided_by = '{SECOND_OPERATOR}'")
        await _change_approval(suite, payment_id, "decide_time = ask_time")
        page = await colleague.get(approval)
        early = await send(asker, f"{approval}/settle", form_of(await asker.get(approval), f"{approval}/settle"))
        await _change_approval(suite, payment_id, "expire_time = ask_time, decide_time = ask_time - interval '1 day'")
        late = await send(colleague, f"{approval}/release", release, typed="2500.00")
        closed = await send(asker, f"{approval}/settle", form_of(await asker.get(approval), f"{approval}/settle"))
        after = await asker.get(approval)

    assert "go back to the payer" in page.text, "what comes of it is shown to who carries it on"
    assert (early.status_code, late.status_code, closed.status_code) == (409, 409, 303)
    assert "Expired" in after.text
    assert await refunds_of(suite, payment_id) == []


async def test_a_dispute_above_the_limit_is_given_up_by_two_people(suite: Suite) -> None:
    payment_id = await paid(suite, 250_000)
    [intent] = await suite.sandbox.objects("payment_intent", **{"metadata.payment_id": payment_id})
    dispute_id = (await suite.sandbox.dispute(intent["id"]))["id"]
    path, at = f"/payments/{payment_id}/accept-dispute", f"/disputes/{dispute_id}"
    async with logged_in(suite) as asker, logged_in(suite, SECOND_OPERATOR) as colleague:

        async def is_seen() -> bool:
            return (await asker.get(at)).status_code == 200

        await eventually(is_seen)
        page = await asker.get(at)
        form = await reviewed(asker, path, dispute=dispute_id)
        silent = await send(asker, path, form, typed="2500.00")
        asked = await send(asker, path, form, reason="the course never took place", typed="2500.00")
        approval = asked.headers["location"]
        [before] = await suite.sandbox.objects("dispute", id=dispute_id)
        release = form_of(await colleague.get(approval), f"{approval}/release")
        released = await send(colleague, f"{approval}/release", release, typed="2500.00")
        await _forget_outcome(suite, payment_id)
        await send(asker, f"{approval}/settle", form_of(await asker.get(approval), f"{approval}/settle"))
        found = await asker.get(approval)

    assert path in page.text
    assert (silent.status_code, asked.status_code, released.status_code) == (400, 303, 303)
    assert approval.startswith("/approvals/")
    [after] = await suite.sandbox.objects("dispute", id=dispute_id)
    assert (before["status"], after["status"]) == ("needs_response", "lost")
    assert "Done" in found.text
    assert "accept-dispute.asked" in await _audit(suite, payment_id)


@pytest.mark.web
async def test_a_call_that_runs_is_not_told_to_have_done_nothing(suite: Suite) -> None:
    async with a_shop(suite) as front, logged_in(suite) as browser:
        later = (datetime.now(UTC) + timedelta(days=3)).isoformat()
        payment_id = (await front.start(timing="SCHEDULED", charge_time=later))["payment"]["payment_id"]
        await front.payer.post(f"/v1/payments/{payment_id}/confirm", json=a_confirm(), headers=key())
        path = f"/payments/{payment_id}/retry"
        form = form_of(await browser.get(path), path)
        await suite.kill("gateway")
        try:
            first = await send(browser, path, form, reason="now")
            again = await send(browser, path, form_of(first, path))
        finally:
            await suite.start("gateway")

        async def is_charged() -> bool:
            return await _captured(suite, payment_id) == 6_000

        await eventually(is_charged)

    assert "outcome not known" in first.text
    assert again.status_code != 409, again.text


async def test_a_refund_that_was_not_looked_at_is_not_asked_for(suite: Suite, large: str) -> None:
    before = await _audit(suite, large)
    async with logged_in(suite) as browser:
        form = await refund_form(browser, large, "11.00")
        form.pop("expected")
        answer = await send(browser, f"/payments/{large}/refund", form, reason="blind")

    assert answer.status_code == 400
    assert "refund.asked" not in (await _audit(suite, large))[len(before) :]


async def test_what_was_asked_for_may_be_withdrawn_or_declined_once(suite: Suite, large: str) -> None:
    async with logged_in(suite) as asker, logged_in(suite, SECOND_OPERATOR) as colleague:
        form = await refund_form(asker, large, "2100.00")
        asked = await send(asker, f"/payments/{large}/refund", form, reason="a mistake", typed="2100.00")
        approval = asked.headers["location"]
        release = form_of(await colleague.get(approval), f"{approval}/release")
        counted = await Counted.since_now(suite, "console")
        withdrawn = await send(asker, f"{approval}/decline", form_of(await asker.get(approval), f"{approval}/decline"))
        late = await send(colleague, f"{approval}/release", release, typed="2100.00")
        form = await refund_form(asker, large, "2200.00")
        asked = await send(asker, f"/payments/{large}/refund", form, reason="a wish", typed="2200.00")
        approval = asked.headers["location"]
        decline = form_of(await colleague.get(approval), f"{approval}/decline")
        declined, twice = [await send(colleague, f"{approval}/decline", decline) for _ in range(2)]

    assert (withdrawn.status_code, late.status_code) == (303, 409)
    assert (declined.status_code, twice.status_code) == (303, 409)
    assert await counted.of("batzen_console_approvals_decided_total", kind="refund", decision="withdrawn") >= 1
    assert await counted.of("batzen_console_approvals_decided_total", kind="refund", decision="declined") >= 1
    assert await refunds_of(suite, large) == []


async def test_a_payment_that_moved_since_it_was_looked_at_is_not_captured(suite: Suite) -> None:
    payment_id = await paid(suite, 5_000, when=When.HOLD)
    path = f"/payments/{payment_id}/capture"
    async with logged_in(suite) as one, logged_in(suite, SECOND_OPERATOR) as other:
        forms = [await reviewed(browser, path, amount="20.00", rest="keep") for browser in (one, other)]
        first = await send(one, path, forms[0], reason="the first part")
        second = await send(other, path, forms[1], reason="the first part")
        again = await send(one, path, forms[0], reason="the first part")

    assert [answer.status_code for answer in (first, second, again)] == [303, 409, 303], second.text
    assert await _captured(suite, payment_id) in (2_000, 5_000)


@pytest.fixture(scope="module")
async def large(suite: Suite) -> str:
    """A payment of which nothing is given back by any test."""
    return await paid(suite, 300_000)


async def test_to_take_the_attention_off_a_late_hold_says_that_it_stays_held_and_takes_nothing(suite: Suite) -> None:
    payment_id = await held_late(suite, 900_000)
    path = f"/payments/{payment_id}/resolve"
    async with logged_in(suite) as browser:
        page = await browser.get(path, params={"review": "1", "way": "RESOLUTION_CLEAR_ATTENTION"})
        answer = await send(browser, path, form_of(page, path), reason="seen")
    async with suite.client("service", sub="shop") as shop:
        payment = (await shop.status.GetPayment(GetPaymentRequest(payment_id=payment_id))).payment

    assert ("Stays held" in page.text, "only an operator takes it, with Capture" in page.text) == (True, True)
    assert (answer.status_code, list(payment.snapshot.attentions)) == (303, [])
    planned = await _plan(suite, payment_id)
    assert (planned["next_step"], payment.snapshot.amounts.capturable_minor) == ("WARN_HOLD", 900_000)
