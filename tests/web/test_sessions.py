"""A payer's browser gets a session by a one-time code, keeps it in a cookie alone, and loses it for good."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest

from batzen.client import new_request_id
from local.suite import Suite
from services.bff.sessions.coming import is_sent_by_others
from services.bff.sessions.entering import TEXTS, left_values
from services.bff.sessions.hand_over import HandOvers
from services.bff.sessions.returning import unknown_values
from services.bff.tenants import Tenant
from services.runtime.database.connections import DirectConnections, plain_dsn
from services.web.messages import TEXTS as MESSAGE_TEXTS
from services.web.rates import PAYMENT
from services.web.security.forms import FIELD, Forms
from services.web.sessions.cookies import Cookie
from services.web.sessions.domain import OPERATOR, PER_PERSON_MAX, ROTATION_OVERLAP, Session, key_of
from services.web.sessions.store import SessionStore
from tests.conftest import Databases
from tests.eventually import WITHIN_S, eventually
from tests.web.catalogues import differences
from tests.web.rendered import SERVICES
from tests.web.shop import PAYER, Shop, a_shop, key

COOKIE = "batzen"


@pytest.fixture(scope="module")
async def shop(suite: Suite) -> AsyncIterator[Shop]:
    async with a_shop(suite) as made:
        yield made


@pytest.fixture(scope="module")
async def payment_id(shop: Shop) -> str:
    found: str = (await shop.start())["payment"]["payment_id"]
    return found


async def rows(suite: Suite, statement: str, *values: object) -> list[Any]:
    connection = await asyncpg.connect(plain_dsn(suite.database_url("bff")))
    try:
        found: list[Any] = await connection.fetch(statement, *values)
        return found
    finally:
        await connection.close()


async def session_of(suite: Suite, browser: httpx.AsyncClient) -> Session:
    async with DirectConnections(suite.database_url("bff"), application_name="test", size=1) as held:
        found = await SessionStore(held, limits=OPERATOR, now=lambda: datetime.now(UTC)).find(browser.cookies[COOKIE])
    assert found is not None
    return found


def test_all_languages_say_the_same() -> None:
    assert differences(TEXTS) == []
    assert differences(MESSAGE_TEXTS) == []


async def test_a_code_lets_one_browser_in_once_and_leads_on_without_it(shop: Shop, payment_id: str) -> None:
    url = await shop.hand_over(payment_id, locale="de-CH")
    async with shop.browser() as browser, shop.browser() as second:
        answer = await browser.get(f"{url}&next=https://evil.example/")
        again = await second.get(url)

    assert (answer.status_code, answer.headers["location"]) == (303, f"/pay/{payment_id}")
    assert answer.headers["set-cookie"].partition("; ")[2] == "Path=/; HttpOnly; SameSite=Lax"
    assert answer.headers["cache-control"] == "no-store"
    assert again.status_code == 410
    assert "set-cookie" not in again.headers
    assert "This link has expired" in again.text
    session_id = answer.cookies[COOKIE]
    kept = await rows(shop.suite, "SELECT * FROM sessions WHERE key = $1", key_of(session_id))
    assert (kept[0]["subject"], kept[0]["role"], kept[0]["payment_id"], kept[0]["locale"]) == (
        PAYER, "payer", payment_id, "de-CH",
    )  # fmt: skip
    assert session_id not in str(kept[0])
    assert await rows(shop.suite, "SELECT 1 FROM audit WHERE what = 'entered' AND about = $1", payment_id)


async def test_a_code_that_is_too_old_or_none_of_ours_lets_nobody_in(shop: Shop, payment_id: str) -> None:
    url = await shop.hand_over(payment_id)
    old = datetime.now(UTC) - timedelta(seconds=1)
    await rows(
        shop.suite, "UPDATE hand_over_codes SET expire_time = $1 WHERE key = $2", old, key_of(url.partition("code=")[2])
    )
    async with shop.browser() as browser:
        for address in (url, "/enter?code=guessed", f"/enter?code={'x' * 5_000}", "/enter"):
            answer = await browser.get(address)
            assert answer.status_code == 410
            assert not browser.cookies


async def test_what_looks_at_a_link_ahead_of_the_payer_does_not_use_it_up(shop: Shop, payment_id: str) -> None:
    url = await shop.hand_over(payment_id)
    async with shop.browser() as browser:
        ahead = await browser.get(url, headers={"sec-purpose": "prefetch;prerender"})
        answer = await browser.get(url)

    assert (ahead.status_code, answer.status_code) == (503, 303)


async def test_a_service_alone_hands_over_and_only_to_the_payer_of_the_payment(shop: Shop, payment_id: str) -> None:
    body = {"payer_id": PAYER, "payment_id": payment_id}

    assert (await shop.payer.post("/v1/hand-overs", json=body)).status_code == 403
    assert (await shop.nobody.post("/v1/hand-overs", json=body)).status_code == 401
    another = await shop.service.post("/v1/hand-overs", json=body | {"payer_id": "another_payer"})
    unknown = await shop.service.post("/v1/hand-overs", json=body | {"payment_id": f"pay_{'0' * 26}"})
    assert {(answer.status_code, answer.json()["code"]) for answer in (another, unknown)} == {
        (404, "PAYMENT_NOT_FOUND")
    }
    assert (await shop.payer.delete(f"/v1/payers/{PAYER}/sessions")).status_code == 403


async def test_the_id_of_a_session_is_never_the_browsers_to_choose(shop: Shop, payment_id: str) -> None:
    async with shop.browser() as browser:
        browser.cookies.set(COOKIE, "chosen-by-an-attacker", domain="127.0.0.1")
        await browser.get(await shop.hand_over(payment_id))
        first = list(browser.cookies.jar)[-1].value
        await browser.get(await shop.hand_over(payment_id))
        second = list(browser.cookies.jar)[-1].value
        assert len({"chosen-by-an-attacker", first, second}) == 3

        async with shop.browser() as thief:  # the session before was ended as another took its place
            thief.cookies.set(COOKIE, str(first))
            assert (await thief.get(f"/v1/payments/{payment_id}")).status_code == 401
            thief.cookies.set(COOKIE, "chosen-by-an-attacker")
            assert (await thief.get(f"/v1/payments/{payment_id}")).status_code == 401


async def test_a_cookie_that_was_stolen_is_worth_nothing_after_the_log_out(shop: Shop, payment_id: str) -> None:
    async with shop.browser(payment_id) as browser, shop.browser() as thief:
        stolen = browser.cookies[COOKIE]
        thief.cookies.set(COOKIE, stolen)
        assert (await thief.get(f"/v1/payments/{payment_id}")).status_code == 200
        session = await session_of(shop.suite, browser)

        answer = await browser.post("/leave", data={FIELD: Forms().field(session)})

        assert (answer.status_code, answer.headers["location"]) == (303, "/leave")
        assert "Max-Age=0" in answer.headers["set-cookie"]
        assert answer.headers["clear-site-data"] == '"cache", "storage"'
        assert (await thief.get(f"/v1/payments/{payment_id}")).status_code == 401
        assert "You are logged out" in (await browser.get("/leave")).text


@pytest.mark.parametrize(
    "others",
    [
        'consent={"ads":false}',
        "a=b c",
        "x[]",
        "expires=never",
        "naïve=café",
        "batzen_login=x; xbatzen=y; batzen",
        ";;=",
    ],
)
def test_cookies_of_a_parent_domain_hide_nothing(others: str) -> None:
    cookie = Cookie(name="batzen", is_secure=False)
    for sent in ([f"{others}; batzen=ours"], [f"batzen=ours; {others}"], [others, "batzen=ours"]):
        scope = {"headers": [(b"cookie", one.encode()) for one in sent]}
        assert cookie.read(scope) == "ours"
    assert cookie.read({"headers": [(b"cookie", others.encode())]}) is None


async def test_a_session_stands_beside_any_cookie(shop: Shop, payment_id: str) -> None:
    async with shop.browser(payment_id) as browser:
        own = browser.cookies["batzen"]
        browser.cookies.clear()
        answer = await browser.get(
            f"/v1/payments/{payment_id}", headers={"cookie": f'consent={{"ads":false}}; batzen={own}'}
        )

    assert answer.status_code == 200


async def test_another_payer_does_not_use_up_a_payments_tries(shop: Shop) -> None:
    payment_id = (await shop.start())["payment"]["payment_id"]
    async with shop.browser(payment_id) as payer:
        for _ in range(PAYMENT.burst + 1):
            await shop.other_payer.post(f"/v1/payments/{payment_id}/cancel", json={}, headers=key())
        answer = await payer.post(f"/v1/payments/{payment_id}/cancel", json={}, headers=key())

    assert answer.status_code == 200


async def test_a_service_alone_chooses_the_id_under_which_logs_and_audits_tell(shop: Shop, payment_id: str) -> None:
    given = {"x-correlation-id": "chosen-by-the-caller"}
    async with shop.browser(payment_id) as browser:
        ids = [
            (await asking.get(f"/v1/payments/{payment_id}", headers=given)).headers["x-correlation-id"]
            for asking in (shop.service, shop.payer, browser, shop.nobody)
        ]

    assert [one == "chosen-by-the-caller" for one in ids] == [True, False, False, False]


async def test_a_log_out_that_another_site_sends_is_refused(shop: Shop, payment_id: str) -> None:
    async with shop.browser(payment_id) as browser, shop.browser(payment_id) as other:
        foreign = Forms().field(await session_of(shop.suite, other))
        session = await session_of(shop.suite, browser)
        own = {FIELD: Forms().field(session)}
        for data, headers, status in (
            (own, {"sec-fetch-site": "cross-site"}, 403),
            (own, {"sec-fetch-site": "same-site"}, 403),
            (own, {"sec-fetch-site": "none"}, 403),
            ({FIELD: foreign}, {}, 403),
            ({FIELD: new_request_id()}, {}, 403),
            ({"other": "field"}, {}, 403),
        ):
            answer = await browser.post("/leave", data=data, headers=headers)
            assert answer.status_code == status, (data, headers)
        assert (await browser.get(f"/v1/payments/{payment_id}")).status_code == 200


async def test_the_platform_ends_all_sessions_of_a_payer(shop: Shop) -> None:
    started = await shop.start(payer={"payer_id": "leaving_payer"})
    payment_id = started["payment"]["payment_id"]
    url = await shop.hand_over(payment_id, payer_id="leaving_payer")
    async with shop.browser(payment_id, payer_id="leaving_payer") as browser, shop.browser() as late:
        assert (await browser.get(f"/v1/payments/{payment_id}")).status_code == 200

        answer = await shop.service.delete("/v1/payers/leaving_payer/sessions")

        assert answer.status_code == 204
        assert (await browser.get(f"/v1/payments/{payment_id}")).status_code == 401
        assert (await late.get(url)).status_code == 410


async def test_a_browser_that_is_let_in_as_the_platform_ends_all_sessions_is_out_as_well(shop: Shop) -> None:
    started = await shop.start(payer={"payer_id": "hasty_payer"})
    url = await shop.hand_over(started["payment"]["payment_id"], payer_id="hasty_payer")
    now = datetime.now(UTC)
    async with DirectConnections(shop.suite.database_url("bff"), application_name="test", size=1) as held:
        store = SessionStore(held, limits=OPERATOR, now=lambda: now)
        async with held.transaction("test.enter") as connection:
            found = await HandOvers(held, now=lambda: now).take_in(
                connection, url.partition("code=")[2], is_asked=False
            )
            assert found is not None
            entered = await store.open_in(
                connection, tenant_id=found.tenant_id, subject=found.payer_id, role="payer", locale=""
            )
            ending = asyncio.create_task(shop.service.delete("/v1/payers/hasty_payer/sessions"))

            async def waits() -> bool:
                asked = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%hand_over%'"
                return bool(await rows(shop.suite, asked))

            await eventually(waits)
        assert (await ending).status_code == 204
        assert await store.find(entered) is None


async def test_an_account_takes_the_place_of_another_only_if_the_payer_says_so(shop: Shop, payment_id: str) -> None:
    theirs = (await shop.start(payer={"payer_id": "another_payer"}))["payment"]["payment_id"]
    async with shop.browser(payment_id) as browser, shop.browser() as attacker:
        own = browser.cookies[COOKIE]
        url = await shop.hand_over(theirs, payer_id="another_payer")
        asked = await browser.get(url, headers={"sec-fetch-site": "cross-site"})

        assert asked.status_code == 200
        assert "set-cookie" not in asked.headers
        assert "another_payer" in asked.text
        assert PAYER in asked.text
        assert f'href="/pay/{payment_id}"' in asked.text
        assert (await browser.get(f"/v1/payments/{payment_id}")).status_code == 200
        assert (await attacker.get(url)).status_code == 410, "the address's code is used"

        code = re.search(r'name="code" value="([^"]+)"', asked.text)
        assert code is not None
        assert (await browser.get(f"/enter?code={code[1]}")).status_code == 410, "a form's code is for the form"
        for headers in ({"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}):
            assert (await browser.post("/enter", data={"code": code[1]}, headers=headers)).status_code == 403
        entered = await browser.post("/enter", data={"code": code[1]})
        again = await attacker.post("/enter", data={"code": code[1]})

        assert (entered.status_code, entered.headers["location"]) == (303, f"/pay/{theirs}")
        assert again.status_code == 410
        async with shop.browser() as before:
            before.cookies.set(COOKIE, own)
            assert (await before.get(f"/v1/payments/{payment_id}")).status_code == 401
        assert (await browser.get(f"/v1/payments/{theirs}")).status_code == 200


async def test_a_code_that_another_site_sends_is_asked_about_and_one_of_the_shop_is_not(
    shop: Shop, payment_id: str
) -> None:
    async with shop.browser() as browser:
        asked = await browser.get(
            await shop.hand_over(payment_id),
            headers={"sec-fetch-site": "cross-site", "referer": "https://evil.example/"},
        )
        assert (asked.status_code, dict(browser.cookies)) == (200, {})
        assert "Continue as" in asked.text
        one_step = await browser.get(await shop.hand_over(payment_id), headers={"sec-fetch-site": "none"})
        assert one_step.status_code == 303
        # Their own account is open already: nothing is taken from anybody.
        again = await browser.get(await shop.hand_over(payment_id), headers={"sec-fetch-site": "cross-site"})
        assert again.status_code == 303


@pytest.mark.parametrize(
    ("fetch_site", "referer", "asks"),
    [
        ("none", None, False),
        ("same-site", None, False),
        ("same-origin", None, False),
        ("cross-site", "https://shop.example/cart?x=1", False),
        ("cross-site", "https://WWW.shop.example/", False),
        ("cross-site", "https://evil.example/?https://shop.example", True),
        ("cross-site", "https://shop.example.evil.example/", True),
        ("cross-site", "http://shop.example/", True),
        ("cross-site", "https://[", True),
        ("cross-site", None, True),
        ("new-word", None, True),
        (None, "https://shop.example/", False),
        (None, "https://pay.example/leave", False),
        (None, "https://evil.example/", True),
        (None, None, True),
    ],
)
def test_who_comes_from_elsewhere_or_does_not_say_from_where_is_asked(
    fetch_site: str | None, referer: str | None, *, asks: bool
) -> None:
    tenant = Tenant(name="Shop", home="https://shop.example/bookings", return_origins=("https://www.shop.example",))
    own = "https://pay.example"
    assert is_sent_by_others(tenant, fetch_site=fetch_site, referer=referer, own_origin=own) is asks


def test_a_tenant_of_which_no_site_is_known_has_everybody_asked_who_comes_from_another_site() -> None:
    assert is_sent_by_others(Tenant(name="x"), fetch_site="cross-site", referer="", own_origin="https://pay.example")


async def test_ids_before_and_after_a_rotation_end_together_and_what_is_ended_stays_so(suite: Suite) -> None:
    now = datetime.now(UTC)
    async with DirectConnections(suite.database_url("console"), application_name="test", size=2) as held:
        store = SessionStore(held, limits=OPERATOR, now=lambda: now)
        subject = "rotating"
        first = await store.open(tenant_id="main", subject=subject, role="operator", locale="en")
        elsewhere = await store.open(tenant_id="main", subject=subject, role="operator", locale="en")
        session = await store.find(first)
        assert session is not None
        second = await store.rotate(session)
        assert second is not None
        after = await store.find(second)
        assert after is not None

        assert set(await store.end(after)) == {key_of(first), key_of(second)}

        assert [await store.find(one) for one in (first, second)] == [None, None]
        assert await store.find(elsewhere) is not None
        assert await store.rotate(after) is None
        assert [one.subject for one in [await store.find(elsewhere)] if one] == [subject]


async def test_a_log_out_waits_for_a_rotation_and_ends_what_came_of_it(suite: Suite) -> None:
    now = datetime.now(UTC)
    async with DirectConnections(suite.database_url("console"), application_name="test", size=3) as held:
        store = SessionStore(held, limits=OPERATOR, now=lambda: now)
        for _ in range(10):
            first = await store.open(tenant_id="main", subject="racing", role="operator", locale="en")
            session = await store.find(first)
            assert session is not None
            rotated, _ = await asyncio.gather(store.rotate(session), store.end(session))
            assert await store.find(first) is None
            assert rotated is None or await store.find(rotated) is None


@pytest.mark.parametrize("how", ["get", "get with words", "post"])
async def test_whoever_comes_back_from_a_bank_is_led_to_the_payment(shop: Shop, payment_id: str, how: str) -> None:
    back = f"/return/{payment_id}"
    async with shop.browser(payment_id) as browser:
        if how == "post":
            without = dict(browser.headers) | {"sec-fetch-site": "cross-site", "origin": "null"}
            async with httpx.AsyncClient(
                base_url=browser.base_url, headers=without, timeout=WITHIN_S
            ) as without_cookie:
                answer = await without_cookie.post(back, data={"PaRes": "x", "redirect_status": "succeeded"})
        else:
            query = {"redirect_status": "succeeded", "payment_intent": "pi_x"} if "words" in how else {}
            answer = await browser.get(back, params=query)
        if how != "get":
            assert (answer.status_code, answer.headers["location"]) == (303, back)
            answer = await browser.get(answer.headers["location"])

    assert (answer.status_code, answer.headers["location"]) == (303, f"/pay/{payment_id}?returned=1")


async def test_without_a_session_nothing_of_a_payment_is_shown(shop: Shop, payment_id: str) -> None:
    async with shop.browser() as browser:
        answers = [await browser.get(f"/return/{back}") for back in (payment_id, f"pay_{'0' * 26}", "cs_test_1")]

    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.text for answer in answers}) == 1
    assert payment_id not in answers[0].text
    assert "set-cookie" not in answers[0].headers


@pytest.mark.parametrize("back", ["https:%2f%2fevil.example", "..%2f..", "pay_1", "//evil.example", "%0d%0aX:1"])
async def test_a_return_leads_nowhere_else(shop: Shop, payment_id: str, back: str) -> None:
    async with shop.browser(payment_id) as browser:
        for answer in (await browser.get(f"/return/{back}"), await browser.post(f"/return/{back}")):
            assert answer.status_code == 404
            assert "location" not in answer.headers


async def test_another_payers_session_at_stripe_leads_nowhere(shop: Shop, payment_id: str) -> None:
    theirs = await shop.start(payer={"payer_id": "another_payer"}, collection="CHECKOUT")
    stripe_id = next(part for part in theirs["checkout_url"].split("/") if part.startswith("cs_")).partition("#")[0]
    async with shop.browser(payment_id) as browser:
        answer = await browser.get(f"/return/{stripe_id}")
    assert answer.status_code == 404

    async with shop.browser(theirs["payment"]["payment_id"], payer_id="another_payer") as browser:
        answer = await browser.get(f"/return/{stripe_id}")
    assert answer.headers["location"] == f"/pay/{theirs['payment']['payment_id']}?returned=1"


async def test_sessions_end_with_age_idleness_and_number_and_are_forgotten(databases: Databases) -> None:
    now = datetime(2026, 11, 29, 12, tzinfo=UTC)
    # Not the console's own: one that runs forgets by its own clock, and this would forget who is logged in there.
    database = await databases.create("sessions", migrations=SERVICES / "console" / "migrations")
    async with DirectConnections(database.runtime_url, application_name="test", size=1) as held:
        store = SessionStore(held, limits=OPERATOR, now=lambda: now)

        async def opened(subject: str) -> str:
            return await store.open(tenant_id="main", subject=subject, role="operator", locale="en")

        first = await opened("anna")
        idle, old = await opened("ida"), await opened("otto")
        assert {(await store.find(one)) is not None for one in (first, idle, old)} == {True}

        session = await store.find(first)
        assert session is not None
        rotated = await store.rotate(session)
        assert rotated is not None
        after = await store.find(rotated)
        assert after is not None
        assert (after.key, after.form_key, after.expire_time) == (
            key_of(rotated), session.form_key, session.expire_time,
        )  # fmt: skip
        assert await store.find(first) is not None  # for requests that were on their way
        now += ROTATION_OVERLAP
        assert await store.find(first) is None

        now += OPERATOR.idle - ROTATION_OVERLAP - timedelta(minutes=1)
        assert await store.find(old) is not None  # is used
        assert await store.living([key_of(idle), key_of(old), b"unknown"]) == {key_of(idle), key_of(old)}
        now += timedelta(minutes=1)
        assert await store.find(idle) is None
        assert await store.living([key_of(idle), key_of(old)]) == {key_of(old)}
        for _ in range(int(OPERATOR.absolute / OPERATOR.idle) * 2):
            now += OPERATOR.idle / 2
            found = await store.find(old)
        assert found is None
        assert await store.forget(at_most=100) == 4  # one is there twice, as it was rotated
        assert await store.forget(at_most=100) == 0

        many = [await opened("max") for _ in range(PER_PERSON_MAX + 2)]
        now += timedelta(seconds=1)
        newest = await opened("max")
        assert sum([await store.find(one) is not None for one in many]) == PER_PERSON_MAX - 1
        assert await store.find(newest) is not None
        assert len(await store.end_all("main", "max")) == PER_PERSON_MAX
        assert await store.find(newest) is None


@pytest.mark.parametrize("values", [left_values("de"), unknown_values("de")])
def test_pages_of_a_sentence_say_it_in_the_language_of_the_browser(values: dict[str, Any]) -> None:
    assert values["language"] == "de"
    assert values["message"].title
