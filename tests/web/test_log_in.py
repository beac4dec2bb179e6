"""Operators log in at their issuer. A session is theirs alone: begun by their browser, new, ended by logging out."""

from __future__ import annotations

from urllib.parse import quote

import asyncpg
import httpx
import pytest

from local.suite import Suite
from services.console.login.domain import challenge_of, key_of, own_path
from services.runtime.database.connections import plain_dsn
from tests.eventually import WITHIN_S
from tests.web.counted import Counted
from tests.web.logging_in import OPERATOR, READER, SECOND_OPERATOR, console_browser, log_in, logged_in, way_back
from tests.web.shop import a_shop

COOKIE = "batzen_console"


async def test_a_log_in_opens_a_session_and_leads_where_the_person_wanted(suite: Suite) -> None:
    async with console_browser(suite) as browser:
        back = await log_in(browser, OPERATOR, path="/login?to=/logged-out%3Fa%3D1")
        again = await browser.get("/login?to=/logged-out")

    assert (back.status_code, back.headers["location"]) == (303, "/logged-out?a=1")
    cookie = next(one for one in back.headers.get_list("set-cookie") if one.startswith(f"{COOKIE}="))
    assert cookie.endswith("; Path=/; HttpOnly; SameSite=Lax")
    assert again.headers["location"] == "/logged-out", "who is logged in is not sent to the issuer"


async def test_a_log_in_begun_elsewhere_is_not_ended_here(suite: Suite) -> None:
    async with console_browser(suite) as attacker, console_browser(suite) as victim:
        address = await way_back(attacker, OPERATOR)
        counted = await Counted.since_now(suite, "console")
        refused = await victim.get(address)

    assert refused.status_code == 403
    assert "You were not logged in" in refused.text
    assert COOKIE not in victim.cookies
    assert await counted.of("batzen_console_logins_refused_total") >= 1


async def test_an_address_of_the_way_back_works_once(suite: Suite) -> None:
    async with console_browser(suite) as browser:
        address = await way_back(browser, OPERATOR)
        state = browser.cookies[f"{COOKIE}_login"]
        first = await browser.get(address)
        browser.cookies.set(f"{COOKIE}_login", state, domain="127.0.0.1")
        second = await browser.get(address)

    assert (first.status_code, second.status_code) == (303, 403)


async def test_an_id_that_was_there_before_the_log_in_opens_nothing_after_it(suite: Suite) -> None:
    async with console_browser(suite) as browser:
        browser.cookies.set(COOKIE, "planted-by-somebody", domain="127.0.0.1")
        await log_in(browser, OPERATOR)
        theirs = {one.value for one in browser.cookies.jar if one.name == COOKIE}
        async with console_browser(suite) as attacker:
            attacker.cookies.set(COOKIE, "planted-by-somebody", domain="127.0.0.1")
            sent = await attacker.get("/login")

    assert "planted-by-somebody" not in theirs
    assert "/authorize?" in sent.headers["location"]


async def test_a_cookie_taken_before_the_log_out_opens_nothing_after_it(suite: Suite) -> None:
    async with logged_in(suite) as browser, console_browser(suite) as thief:
        thief.cookies.set(COOKIE, browser.cookies[COOKIE], domain="127.0.0.1")
        assert (await thief.get("/login")).headers["location"] == "/", "the cookie is good while the session lasts"
        form = await browser.get("/me")
        out = await browser.post("/logout", data={"request_id": form.json()["request_id"]})
        after = await thief.get("/login")

    assert (out.status_code, out.headers["location"]) == (303, "/logged-out")
    assert "Max-Age=0" in out.headers["set-cookie"]
    assert "/authorize?" in after.headers["location"]


async def test_logging_out_takes_a_form_of_ones_own(suite: Suite) -> None:
    async with logged_in(suite) as browser, logged_in(suite, READER) as other:
        foreign = (await other.get("/me")).json()["request_id"]
        refused = await browser.post("/logout", data={"request_id": foreign})
        still = await browser.get("/login")

    assert refused.status_code == 403
    assert still.headers["location"] == "/"


async def test_who_cancels_or_is_nobody_is_told_so(suite: Suite) -> None:
    async with console_browser(suite) as browser:
        refused = await log_in(browser, "nobody")

    assert refused.status_code == 403
    assert "Number for questions: " in refused.text
    assert refused.headers["content-security-policy"].startswith("default-src 'none'")


async def test_the_audit_has_whom_the_issuer_knows_and_nothing_that_anybody_could_fill_it_with(suite: Suite) -> None:
    async with console_browser(suite) as browser:
        unknown = await browser.get("/login/callback?state=x&code=y")
        await browser.get("/login")
        state = browser.cookies[f"{COOKIE}_login"]
        given_up = await browser.get(f"/login/callback?state={state}&error=access_denied")
        numbers = [one.headers["x-correlation-id"] for one in (unknown, given_up)]
        connection = await asyncpg.connect(plain_dsn(suite.database_url("console")))
        try:
            address = await way_back(browser, OPERATOR)
            key = key_of(browser.cookies[f"{COOKIE}_login"])
            await connection.execute("UPDATE logins SET nonce = 'another' WHERE key = $1", key)
            numbers.append((await browser.get(address)).headers["x-correlation-id"])
            rows = await connection.fetch(
                "SELECT what, correlation_id FROM audit WHERE correlation_id = ANY($1)", numbers
            )
        finally:
            await connection.close()

    assert (unknown.status_code, given_up.status_code) == (403, 403)
    assert [tuple(row) for row in rows] == [("login_refused", numbers[2])]


async def test_a_proof_gives_the_session_a_new_id_and_a_new_time(suite: Suite) -> None:
    async with logged_in(suite) as browser:
        before, cookie = (await browser.get("/me")).json(), browser.cookies[COOKIE]
        back = await log_in(browser, OPERATOR, path="/login/again?to=/me")
        after = (await browser.get("/me")).json()

    assert back.headers["location"] == "/me"
    assert browser.cookies[COOKIE] != cookie
    assert after["authTime"] >= before["authTime"]
    assert after["subject"] == before["subject"] == OPERATOR


async def test_somebody_else_who_proves_who_they_are_gets_a_session_of_their_own(suite: Suite) -> None:
    async with logged_in(suite) as browser, console_browser(suite) as thief:
        cookie = browser.cookies[COOKIE]
        await log_in(browser, READER, path="/login/again")
        after = (await browser.get("/me")).json()
        thief.cookies.set(COOKIE, cookie, domain="127.0.0.1")
        gone = await thief.get("/me", headers={"accept": "application/json"})

    assert (after["subject"], after["role"]) == (READER, "operator_readonly")
    assert (gone.status_code, gone.json()["code"]) == (401, "LOGIN_REQUIRED")


async def test_who_logged_in_long_ago_is_asked_before_money_moves_and_comes_back(suite: Suite) -> None:
    async with a_shop(suite) as shop, logged_in(suite, SECOND_OPERATOR) as browser:
        payment_id = (await shop.start())["payment"]["payment_id"]
        path = f"/payments/{payment_id}/cancel"
        fresh = await browser.get(path)
        await aged(suite, SECOND_OPERATOR)
        asked = await browser.get(path)
        sent = await browser.post(path, data={}, headers={"referer": f"{suite.front_url('console')}{path}"})
        back = await log_in(browser, SECOND_OPERATOR, path=f"/login/again?to={path}")
        again = await browser.get(back.headers["location"])

    assert (fresh.status_code, again.status_code) == (200, 200)
    for refused in (asked, sent):
        assert refused.status_code == 401
        assert "Is it still you?" in refused.text
        assert f'href="/login/again?to={quote(path, safe="")}"' in refused.text
    assert back.headers["location"] == path


async def aged(suite: Suite, subject: str) -> None:
    """Let the last proof of a person be eleven minutes old."""
    connection = await asyncpg.connect(plain_dsn(suite.database_url("console")))
    await connection.execute(
        "UPDATE sessions SET auth_time = auth_time - interval '11 minutes' WHERE subject = $1", subject
    )
    await connection.close()


async def test_nobody_sees_anything_without_a_session(suite: Suite) -> None:
    async with console_browser(suite) as browser:
        page = await browser.get("/me?a=1")
        swapped = await browser.get(
            "/me", headers={"accept": "*/*", "hx-request": "true", "hx-current-url": "http://x.example/payments?a=b"}
        )

    assert (page.status_code, page.headers["location"]) == (303, "/login?to=%2Fme%3Fa%3D1")
    assert swapped.status_code == 401
    assert swapped.headers["hx-redirect"] == "/login?to=%2Fpayments%3Fa%3Db"


@pytest.mark.parametrize("language", ["de", "fr", "it", "en"])
async def test_the_page_after_logging_out_is_there_in_every_language(suite: Suite, language: str) -> None:
    async with httpx.AsyncClient(base_url=suite.front_url("console"), timeout=WITHIN_S) as browser:
        page = await browser.get("/logged-out", headers={"accept-language": language})

    assert page.status_code == 200
    assert f'<html lang="{language}">' in page.text
    assert 'href="/login/again"' in page.text


@pytest.mark.parametrize(
    "text",
    [
        "//evil.example", "/\\evil.example", "https://evil.example", "evil", "", "/a\r\nSet-Cookie: x=y", "/a b",
        "/" + "a" * 2001, "javascript:alert(1)", "/\t/evil.example", "/ä", "\\\\evil.example",
    ],
)  # fmt: skip
def test_what_is_no_path_of_ours_leads_to_the_first_page(text: str) -> None:
    assert own_path(text) == "/"


def test_a_path_of_ours_is_kept() -> None:
    assert own_path("/payments?state=paid&after=a%2Fb") == "/payments?state=paid&after=a%2Fb"


def test_the_challenge_is_that_of_the_standard() -> None:
    # RFC 7636, appendix B.
    challenge = challenge_of("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")
    assert challenge == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
