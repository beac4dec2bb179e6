"""What a payer sees of each state, without a browser: which page, in which words, and never a success too early."""

from __future__ import annotations

import gzip
import re
from dataclasses import replace
from typing import Final

import pytest

from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from batzen.status.v1.status_pb2 import PHASE_PROCESSING, Transition
from batzen.type.v1 import payment_pb2 as states
from services.bff.api.legacy import views as legacy
from services.bff.api.modern import views
from services.bff.checkout import declines, standing, steps
from services.bff.checkout.model import Attention, Key, Outcome
from services.bff.checkout.wording import TEXTS, Wording
from services.bff.declines import PLAIN_MESSAGE
from services.bff.events.told import events_of
from services.receipts.wording import TEXTS as RECEIPT_TEXTS
from services.receipts.wording import sign_first
from services.web.assets import Assets
from services.web.pages import Pages
from services.web.texts import LANGUAGES
from tests.web import checkout_samples as samples
from tests.web.catalogues import differences
from tests.web.rendered import SERVICES
from tests.web.states.checkout import MADE, STATES

WITHOUT_FONT_MAX: Final = 30_000
"""Bytes of a page with its style and script, compressed, before Stripe's script."""
ASSETS: Final = Assets([SERVICES / "web" / "static", SERVICES / "bff" / "static"])
PAGES: Final = Pages([SERVICES / "bff" / "templates", SERVICES / "web" / "templates"], assets=ASSETS)
NO_BREAK: Final = "\N{NO-BREAK SPACE}"
SUSPECTED: Final = ("lost_card", "stolen_card", "pickup_card", "fraudulent", "merchant_blacklist")


def _heading(session: pb.PaymentSession, language: str = "en") -> str:
    shown = standing.standing(session, samples.place(language))
    return "" if shown is None else shown.page.heading


@pytest.mark.parametrize("state", [one for one in states.PaymentState.keys() if not one.endswith("UNSPECIFIED")])  # noqa: SIM118 no dict
def test_each_state_has_a_page_and_success_is_said_of_none_but_the_one(state: str) -> None:
    said = {
        language: _heading(samples.session(state.removeprefix("PAYMENT_STATE_")), language) for language in LANGUAGES
    }

    for language in LANGUAGES:
        is_success = said[language] == TEXTS.say(language, "success.heading")
        assert is_success == (state == "PAYMENT_STATE_SUCCEEDED")


def test_a_state_that_is_newer_than_the_page_is_shown_as_the_nearest_one() -> None:
    session = samples.session("PROCESSING")
    session.payment.state = 99  # type: ignore[assignment] # what a newer server may send
    session.payment.phase = PHASE_PROCESSING
    shown = standing.standing(session, samples.place())

    assert shown is not None
    assert shown.page.key is Key.PROCESSING


def test_an_outcome_that_is_not_known_says_not_to_pay_again() -> None:
    session = samples.session("PROCESSING", snapshot=samples.snapshot(reason="OUTCOME_UNKNOWN"))
    shown = standing.standing(session, samples.place())

    assert shown is not None
    assert "Do not pay again." in shown.page.lead
    assert "charged" not in shown.page.lead


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_card_that_is_lost_or_suspected_reads_exactly_like_a_plain_refusal(language: str) -> None:
    def told(code: str) -> object:
        return steps.method(samples.declined(code), (), samples.place(language)).page.notice

    assert [told(code) for code in SUSPECTED] == [told("generic_decline")] * len(SUSPECTED)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("code", [*declines.KEYS, "a_code_of_next_year"])
def test_each_decline_says_what_happened_and_whether_it_was_charged(code: str, language: str) -> None:
    notice = steps.method(samples.declined(code), (), samples.place(language)).page.notice

    assert notice is not None
    says_so = TEXTS.say(language, "decline.not_charged") in notice.text
    assert says_so == (notice.key != declines.DUPLICATE)


@pytest.mark.parametrize("state", ["REQUIRES_PAYMENT_METHOD", "FAILED", "CANCELED"])
def test_no_field_of_a_suspected_decline_differs_from_those_of_a_plain_refusal(state: str) -> None:
    value = states.PaymentState.Value(f"PAYMENT_STATE_{state}")

    def told(code: str, *, recoverable: bool) -> list[object]:
        error = states.PaymentError(
            code="card_declined", decline_code=code, message=PLAIN_MESSAGE, recoverable=recoverable
        )
        payment = samples.session(state, snapshot=samples.snapshot(last_error=error)).payment
        update = Transition(payment_id="p", state=value, snapshot=payment.snapshot)
        return [
            views.transition(update, is_service=False),
            events_of(update, is_confirmed=False),
            legacy.status(payment, "booking"),
        ]

    plain = told("generic_decline", recoverable=state != "FAILED")
    assert [told(code, recoverable=False) for code in SUSPECTED] == [plain] * len(SUSPECTED)


def test_stripes_own_code_counts_where_the_bank_gives_none() -> None:
    assert declines.key_of(code="expired_card", decline_code="") == "expired"
    assert declines.key_of(code="card_declined", decline_code="insufficient_funds") == "insufficient"


def test_the_card_that_was_declined_is_not_chosen_again_and_an_expired_one_cannot_be() -> None:
    ways = {one.value: one for one in steps.methods(samples.declined(), samples.KEPT, samples.place())}

    assert not any(one.is_chosen for one in ways.values())
    kept_choice = steps.methods(samples.declined(), samples.KEPT, samples.place(), chosen="pm_visa")
    assert not any(one.is_chosen for one in kept_choice)
    assert ways["pm_amex"].problem
    assert (
        next(
            one
            for one in steps.methods(samples.session("REQUIRES_PAYMENT_METHOD"), samples.KEPT, samples.place())
            if one.is_chosen
        ).value
        == "pm_visa"
    )


def test_what_was_chosen_before_stays_chosen() -> None:
    ways = steps.methods(samples.session("REQUIRES_PAYMENT_METHOD"), samples.KEPT, samples.place(), chosen=steps.PAGE)

    assert [one.value for one in ways if one.is_chosen] == [steps.PAGE]


def test_a_card_is_entered_in_our_page_only_where_the_tenant_wants_that_and_a_script_can_run() -> None:
    session = samples.session("REQUIRES_PAYMENT_METHOD")

    def offered(**changes: object) -> bool:
        place = replace(samples.place(), **changes)  # type: ignore[arg-type] # fields of a place
        return steps.CARD in [one.value for one in steps.methods(session, (), place)]

    assert offered()
    assert not offered(is_plain=True)
    assert not offered(tenant=replace(samples.TENANT, offers_form=False))


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_was_taken_of_a_hold_is_said_and_has_a_receipt(language: str) -> None:
    amounts = {"captured_minor": 2_000, "capturable_minor": 4_000}
    session = samples.session("AUTHORIZED", snapshot=samples.snapshot(amounts=amounts))
    shown = standing.standing(session, samples.place(language))

    assert shown is not None
    outcome: Outcome = shown.part["outcome"]  # type: ignore[assignment]
    assert TEXTS.say(language, "outcome.nothing_yet") not in outcome.next
    assert Wording(language, zone="UTC").amount(2_000, "CHF") in outcome.next
    assert standing.has_receipt(session.payment)
    assert outcome.receipt


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("state", [one for one in states.PaymentState.keys() if not one.endswith("UNSPECIFIED")])  # noqa: SIM118 no dict
def test_no_page_says_that_nothing_was_charged_while_another_try_took_money(state: str, language: str) -> None:
    snapshot = samples.snapshot(amounts={"surplus_minor": 1_234})
    session = samples.session(state.removeprefix("PAYMENT_STATE_"), snapshot=snapshot)
    place = samples.place(language)
    denials = {TEXTS.say(language, f"{key}.next") for key in ("failed", "canceled", "expired")}
    denials |= {TEXTS.say(language, key) for key in ("outcome.nothing_yet", "attention.not_charged", "outcome.again")}
    pages = [standing.standing(session, place) or steps.method(session, (), place)]
    if state.endswith("REQUIRES_PAYMENT_METHOD"):
        pages.append(steps.method(samples.declined(amounts={"surplus_minor": 1_234}), (), place))

    for shown in pages:
        html = PAGES.render(shown.template, shown.values)
        assert Wording(language, zone="UTC").amount(1_234, "CHF") in html
        assert [said for said in denials if said in html] == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_amounts_and_rates_never_break_over_two_lines(language: str) -> None:
    words = Wording(language, zone="Europe/Zurich")

    assert " " not in words.amount(123_456_789, "CHF")
    assert words.amount(-100, "CHF") in (f"−CHF{NO_BREAK}1.00", f"−1.00{NO_BREAK}CHF")
    assert sign_first("CHF-1’000.00") == f"−CHF{NO_BREAK}1’000.00"  # as a quote shows it


def test_all_languages_say_the_same_with_the_same_values_and_none_a_sharp_s() -> None:
    assert differences(TEXTS) == []
    assert differences(RECEIPT_TEXTS) == []
    for language in LANGUAGES:
        for texts in (TEXTS, RECEIPT_TEXTS):
            for key in texts.keys(language):
                said = texts.say(language, key, **dict.fromkeys(texts.placeholders(language, key), ""))
                assert "ß" not in said


@pytest.mark.parametrize("name", MADE)
def test_a_page_is_small_enough_for_a_phone_and_has_nothing_inline(name: str) -> None:
    state = STATES[f"checkout-{name}"]
    html = PAGES.render(state.template, state.values("de"))
    files = [ASSETS.named(file) for file in ("base.css", "checkout.css", "checkout.js", "card.js", "icon.svg")]
    bytes_all = len(gzip.compress(html.encode())) + sum(len(file.compressed or file.content) for file in files)

    assert bytes_all <= WITHOUT_FONT_MAX
    assert re.findall(r"<script(?![^>]*src=)|<style|style=|\son[a-z]+=", html) == []


def test_text_of_callers_is_never_markup() -> None:
    session = samples.session("SUCCEEDED", session_name="<img src=x onerror=alert(1)>")
    session.payment.booking_ids[0] = '"><script>alert(1)</script>'
    shown = standing.standing(session, samples.place())

    assert shown is not None
    html = PAGES.render(shown.template, shown.values)
    assert "<img src=x" not in html
    assert "<script>alert" not in html


def test_the_inventory_of_scripts_is_what_pages_load() -> None:
    table = (SERVICES.parent / "docs" / "checkout-page.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^\| `([a-z]+\.js)`", table, flags=re.MULTILINE))
    loaded = set()
    for state in STATES.values():
        html = PAGES.render(state.template, state.values("en"))
        loaded |= set(re.findall(r'<script[^>]* src="/static/([a-z]+)\.[0-9a-f]+\.js"', html))

    assert {f"{name}.js" for name in loaded} == listed


@pytest.mark.parametrize(
    ("redirect_url", "checkout_url", "leads_to"),
    [
        ("https://bank.example.com/3ds", "", "https://bank.example.com/3ds"),
        ("http://bank.example.com/3ds", "", ""),
        ("javascript:alert(1)", "", ""),
        ("javascript:alert(1)", "https://checkout.stripe.com/c/1", "https://checkout.stripe.com/c/1"),
        ("http://127.0.0.1:7081/3ds", "", "http://127.0.0.1:7081/3ds"),
        ("", "https://checkout.stripe.com.evil.example/c/1", ""),
        ("", "javascript:alert(1)", ""),
        ("", "https://[", ""),
    ],
)
def test_a_payer_is_sent_to_banks_and_hosted_pages_and_to_no_other_kind_of_address(
    redirect_url: str, checkout_url: str, leads_to: str
) -> None:
    session = samples.session(
        "REQUIRES_ACTION", next_action=pb.NextAction(redirect_url=redirect_url), checkout_url=checkout_url
    )
    place = samples.place(checkout_origins=("https://checkout.stripe.com", "http://127.0.0.1:7081"))

    shown = standing.attention(session, place)

    step = shown.part["attention"]
    assert isinstance(step, Attention)
    assert step.redirect_url == leads_to
    html = PAGES.render(shown.template, shown.values)
    assert "javascript:" not in html


def test_who_keeps_a_card_is_told_whose_account_keeps_it() -> None:
    session = samples.session("REQUIRES_PAYMENT_METHOD", client_secret="pi_1_secret_2")
    for language in LANGUAGES:
        shown = steps.card(session, samples.place(language))
        assert session.payment.payer_id in PAGES.render(shown.template, shown.values)
