"""What mails say: in four languages, as the golden files have it, whatever names and values people have."""

from __future__ import annotations

import email
import email.policy
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import UndefinedError

from batzen.orchestrator.v1 import orchestrator_pb2 as pb
from services.gateway.sellers.domain import RECEIPT_NAME_CHARACTERS_MAX
from services.orchestrator.facts.domain import FactKind
from services.orchestrator.mail.catalogue import OF_THE_PAYMENT, SHOWN, language
from services.orchestrator.mail.domain import LANGUAGES, Contact, language_of
from services.orchestrator.mail.message import BYTES_MAX, LINK_CHARACTERS_MAX, AddressUnfit, Mail, fit_address, mail_of
from services.orchestrator.mail.rendering import rendered
from services.orchestrator.mail.wording import VALUE_CHARACTERS_MAX, in_words, plain
from services.orchestrator.notifications.kinds import TELLINGS, RecipientKind
from services.receipts.content import shortened
from services.receipts.model import Fact
from tests.orchestrator.letters import (
    GOLDEN,
    SENDER,
    VALUES,
    bare,
    every_mail,
    golden,
    letter,
    paid,
    receipt_of,
)

REFUND = letter(FactKind.PAYMENT_REFUNDED, RecipientKind.PAYER)
NASTY = "<script>alert(1)</script>\r\nBcc: all@example.com\n\n{{ 7*7 }} & \"quotes\" 'too' \u202etxt \0"


class Tags(HTMLParser):
    """Every tag and attribute of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]


def test_mails_are_as_the_golden_files_have_them() -> None:
    written = {path.name: path.read_text(encoding="utf-8") for path in GOLDEN.iterdir()}
    made = golden()
    assert written.keys() == made.keys()
    assert [name for name in made if made[name] != written[name]] == [], "python -m tests.orchestrator.letters"


def test_every_language_says_the_same() -> None:
    """The same mails with the same links, values and labels; and no sentence stands there twice by mistake."""
    german = language("de")

    def values_named(*sentences: str) -> set[str]:
        text = " ".join(sentences)
        return {*re.findall(r"{{ (\w+) }}", text), *re.findall(r"{% (?:el)?if (\w+)", text)}

    for name in LANGUAGES:
        one = language(name)
        assert one.sections.keys() == german.sections.keys()
        assert one.labels.keys() == german.labels.keys()
        assert one.declines.keys() == german.declines.keys()
        assert one.dispute_reasons.keys() == german.dispute_reasons.keys()
        for key, section in one.sections.items():
            assert len(section.lines) == len(german.sections[key].lines), (name, key)
            for mine, theirs in zip(section.lines, german.sections[key].lines, strict=True):
                assert values_named(mine) == values_named(theirs), (name, key)
            if name != "de":
                assert section.lines != german.sections[key].lines, (name, key)


@pytest.mark.parametrize("locale", LANGUAGES)
def test_a_mail_does_without_what_is_not_known(locale: str) -> None:
    for kind, recipient_kind in every_mail():
        said = rendered(bare(letter(kind, recipient_kind, locale=locale)))
        assert "  " not in said.text.replace("-- \n", "")
        assert "\n\n\n\n" not in said.text
        assert "None" not in said.text
        assert "{" not in said.text
        assert "<a" not in said.html


def test_a_mail_without_its_amount_is_not_sent() -> None:
    with pytest.raises(UndefinedError):
        rendered(replace(REFUND, values={}))
    with pytest.raises(ValueError, match="invalid literal"):
        rendered(replace(REFUND, values={"amount_minor": "12.50", "currency_code": "CHF"}))


@pytest.mark.parametrize(
    ("locales", "expected"),
    [
        (("de-CH", ""), ("de", "de-CH")),
        (("de", ""), ("de", "de-CH")),
        (("en", ""), ("en", "en-GB")),
        (("EN-us", ""), ("en", "EN-us")),
        (("", "fr"), ("fr", "fr-CH")),
        (("rm-CH", "it-CH"), ("it", "it-CH")),
        (("ja", ""), ("en", "en-GB")),
        (("", ""), ("en", "en-GB")),
        (("de-XX-nonsense!", ""), ("de", "de-CH")),
        (("en-u-nu-arab", "de-CH"), ("en", "en-GB")),
        (("fr-", ""), ("fr", "fr-CH")),
        (("it-\0", ""), ("it", "it-CH")),
    ],
)
def test_the_language_is_the_recipients_else_the_senders(locales: tuple[str, str], expected: tuple[str, str]) -> None:
    assert language_of(*locales) == expected


@pytest.mark.parametrize(
    ("locale", "currency", "amount"),
    [
        ("de-CH", "CHF", "CHF\xa012’345.60"),
        ("de-DE", "EUR", "12.345,60\xa0€"),
        ("fr-CH", "CHF", "12\u202f345.60\xa0CHF"),
        ("en-US", "USD", "$12,345.60"),
        ("it-CH", "JPY", "JPY\xa01’234’560"),
        ("en-GB", "KWD", "KWD\xa01,234.560"),
        ("de-CH", "ISK", "ISK\xa01’234’560"),
    ],
)
def test_amounts_are_written_as_the_locale_does(locale: str, currency: str, amount: str) -> None:
    values = {"amount_minor": "1234560", "currency_code": currency}
    said = in_words(values, language=language("en"), locale=locale, time_zone="UTC")
    assert said["amount"] == amount


def test_times_say_whose_clock_they_are_of() -> None:
    """In summer and in winter, and across midnight; the payment's own place goes before the sender's."""
    values = {"charge_time": "2026-07-31T22:30:00+00:00"}
    german = language("de")
    said = in_words(values, language=german, locale="de-CH", time_zone="Europe/Zurich")
    assert said["charge_time"] == "1. August 2026, 00:30 (Zürich)"
    said = in_words(
        values | {"time_zone": "America/New_York"}, language=german, locale="de-CH", time_zone="Europe/Zurich"
    )
    assert said["charge_time"] == "31. Juli 2026, 18:30 (New York)"
    for unknown in ("Mars/Olympus", "../../etc/passwd"):
        said = in_words(values | {"time_zone": unknown}, language=german, locale="de-CH", time_zone="UTC")
        assert said["charge_time"] == "31. Juli 2026, 22:30 (UTC)"


@pytest.mark.parametrize("code", ["lost_card", "stolen_card", "fraudulent", "pickup_card", "do_not_honor", "new_code"])
def test_who_is_suspected_reads_what_everyone_reads(code: str) -> None:
    one = letter(FactKind.PAYMENT_FAILED, RecipientKind.PAYER)
    said = rendered(replace(one, values={**one.values, "decline_code": code}))
    assert "Your bank declined the payment and gives no reason." in said.text
    assert code not in said.text + said.html


def test_a_seller_reads_nothing_of_the_payers_method_nor_of_other_sellers_parts() -> None:
    """What a fact says of a payment is of the whole of it."""
    for kind in (one for one, recipient_kind in every_mail() if recipient_kind is RecipientKind.SELLER):
        said = rendered(letter(kind, RecipientKind.SELLER))
        assert "4242" not in said.text + said.html
        assert not (kind in OF_THE_PAYMENT and "250.00" in said.subject + said.text + said.html), kind


@pytest.mark.parametrize(
    ("outcome", "says"), [("WON", "comes back"), ("LOST", "stays"), ("CLOSED", "no more questions")]
)
def test_the_end_of_a_dispute_says_where_the_money_is(outcome: str, says: str) -> None:
    one = letter(FactKind.DISPUTE_CLOSED, RecipientKind.SELLER)
    assert says in rendered(replace(one, values={**one.values, "outcome": outcome})).text


def test_a_payer_reads_what_is_asked_of_them_and_whether_it_is_tried_again() -> None:
    one = letter(FactKind.ACTION_REQUIRED, RecipientKind.PAYER)
    assert "confirm" in rendered(one).subject
    assert "another payment method" in rendered(replace(one, values={**one.values, "action": "METHOD"})).subject
    one = letter(FactKind.PAYMENT_FAILED, RecipientKind.PAYER)
    assert "tried again on 2 December 2026" in " ".join(rendered(one).text.split())
    assert "tried again" not in rendered(replace(one, values={**one.values, "is_final": "true"})).text


@pytest.mark.parametrize("locale", ["de-XYZ", "en-u-nu-arab", "fr-", "it-äö", "de-\0", "zz", "-"])
def test_no_locale_keeps_a_mail_from_its_reader(locale: str) -> None:
    assert mail_of(replace(REFUND, to=replace(REFUND.to, locale=locale)))


@pytest.mark.parametrize("zone", ["Europe", "x" * 300, "../zone", "No/where"])
def test_times_are_of_utc_where_a_zone_is_none(zone: str) -> None:
    said = in_words({"due_time": "2026-11-29T12:05:00Z"}, language=language("en"), locale="en-GB", time_zone=zone)
    assert said["due_time"] == "29 November 2026, 12:05 (UTC)"


def test_what_people_are_called_is_no_markup() -> None:
    """Not in the page, not in the headers, and not in a template."""
    for kind, recipient_kind in every_mail():
        clean = letter(kind, recipient_kind)
        values = {
            name: value if name.endswith(("_minor", "_time")) or name == "currency_code" else NASTY
            for name, value in VALUES.get(kind, clean.values).items()
        }
        nasty = replace(
            clean,
            to=replace(clean.to, name=NASTY),
            sender=replace(SENDER, name=NASTY),
            payment_id=NASTY,
            values=values,
            receipt=None if clean.receipt is None else receipt_of(nasty_receipt(), "en"),
            link='https://a.example/"onclick="x',
        )
        said = rendered(nasty)
        page = Tags(said.html)
        assert set(page.tags) <= {
            "html", "head", "meta", "title", "style", "body", "table", "tr", "td", "p", "h1", "h2", "a", "br", "span"
        }  # fmt: skip
        assert all(link.startswith("https://") for link in page.links)
        assert "{{ 7*7 }}" in said.text
        message = email.message_from_bytes(mail_of(nasty).content, policy=email.policy.default)
        assert message["Bcc"] is None
        assert message.defects == []
        assert [one.addr_spec for one in message["To"].addresses] == ["lea@example.ch"]
        assert [one.addr_spec for one in message["From"].addresses] == [SENDER.address]


def nasty_receipt() -> pb.Receipt:
    """Return one of which everything that comes from outside is markup."""
    found = paid()
    found.session_name = found.payment.payment_id = NASTY
    party = pb.ReceiptParty(name=NASTY, address=[NASTY], vat_id=NASTY)
    found.issuer.CopyFrom(party)
    del found.sellers[:]
    found.sellers.append(party)
    found.quote.adjustments[0].coupon_code = NASTY
    return found


def text_of(mail: Mail) -> str:
    """Return what the plain part of a mail says."""
    message = email.message_from_bytes(mail.content, policy=email.policy.default)
    part = message.get_body(("plain",))
    assert part is not None
    return str(part.get_content())


def test_a_long_receipt_is_cut_and_says_how_much_more_there_is() -> None:
    one = replace(REFUND, receipt=receipt_of(paid(lines=1_000), "en"))

    assert "and 961 more, on the receipt online" in text_of(mail_of(one))
    assert len(mail_of(one).content) < BYTES_MAX


def test_no_mail_is_lost_for_a_receipt_that_is_too_long() -> None:
    """Forty lines and forty sellers with the longest of names are cut further; what is paid is said in any case."""
    found = paid(refunded_minor=100, lines=40)
    name = "Школа плавания и прыжков в воду Анны Петровой".ljust(RECEIPT_NAME_CHARACTERS_MAX, "я")
    del found.sellers[:]
    found.sellers.extend(
        pb.ReceiptParty(seller_id=f"seller_{one}", name=name, vat_id="CHE-109.322.551 MWST") for one in range(40)
    )
    one = replace(REFUND, receipt=receipt_of(found, "en"))
    said = text_of(mail_of(one))

    assert said.count(name) == 20
    assert said.count("more, on the receipt online") == 2
    assert "Paid after refunds: CHF 1,249.00" in said.replace("\N{NO-BREAK SPACE}", " ")
    assert mail_of(one) == mail_of(one)


def test_every_list_of_a_receipt_is_cut_but_for_the_sums() -> None:
    full = receipt_of(paid(refunded_minor=100), "en")
    many = [Fact(label=f"of {one}", value="CHF 1.00") for one in range(3)]
    cut = shortened(replace(full, vat=many, refunds=many, left=[*full.left[:1], *many]), "en", entries_max=1)

    assert [one.label for one in cut.vat] == ["of 0", "and 2 more, on the receipt online"]
    assert cut.refunds == cut.vat
    assert list(cut.left) == [full.left[0], *cut.vat]
    assert cut.paid == full.paid


def test_a_receipt_that_never_fits_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    full = receipt_of(paid(), "en")
    one = replace(REFUND, receipt=replace(full, seller=replace(full.seller, lines=["я" * 20_000])))

    assert mail_of(one) == mail_of(replace(REFUND, receipt=None))
    assert "leaves without its receipt" in caplog.text
    with pytest.raises(ValueError, match="is a mistake"):
        mail_of(replace(REFUND, receipt=None, link=f"https://a.example/{'a' * BYTES_MAX}"))


def test_the_receipt_in_a_mail_has_no_second_reference_and_stands_in_both_layouts() -> None:
    said = rendered(letter(FactKind.PAYMENT_RECEIVED, RecipientKind.PAYER))
    without = rendered(replace(letter(FactKind.PAYMENT_RECEIVED, RecipientKind.PAYER), receipt=None))

    for layout in (said.text, said.html):
        assert layout.count("CHE-109.322.551 MWST") == 1
        assert layout.count("Receipt number: pay_0k7w2m") == 1
        assert "Reference" not in layout
    assert "Reference: pay_0k7w2m" in without.text
    assert "Receipt" not in without.text + without.html


@settings(max_examples=60)
@given(name=st.text(max_size=300), sender=st.text(min_size=1, max_size=300), reason=st.text(max_size=300))
def test_any_text_makes_one_mail(name: str, sender: str, reason: str) -> None:
    one = letter(FactKind.DISPUTE_OPENED, RecipientKind.SELLER)
    one = replace(
        one,
        to=replace(one.to, name=name),
        sender=replace(SENDER, name=sender),
        values={**one.values, "reason": reason},
    )
    mail = mail_of(one)
    assert mail_of(one) == mail
    message = email.message_from_bytes(mail.content, policy=email.policy.default)
    assert [to.addr_spec for to in message["To"].addresses] == ["lea@example.ch"]
    assert len(message["Message-ID"].splitlines()) == 1
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]
    assert all(len(line) <= 998 for line in mail.content.split(b"\r\n"))


def test_a_mail_is_the_same_at_each_try() -> None:
    """Its id and date are the fact's; another recipient of the fact gets another mail."""
    mail = mail_of(REFUND)
    assert mail_of(replace(REFUND)) == mail
    message = email.message_from_bytes(mail.content, policy=email.policy.default)
    assert message["Message-ID"] == f"<{REFUND.mail_id}@alpenblick.example>"
    assert message["Date"].datetime == REFUND.occur_time
    assert message["From"] == "Alpenblick Yoga <hello@alpenblick.example>"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Content-Language"] == "en"
    assert replace(REFUND, recipient_id="recipient_2").mail_id != REFUND.mail_id
    assert replace(REFUND, recipient_kind=RecipientKind.SELLER).mail_id != REFUND.mail_id


def test_what_may_be_declined_says_how_and_nothing_else_does() -> None:
    def headers(url: str) -> tuple[str | None, str | None]:
        content = mail_of(replace(REFUND, unsubscribe_url=url)).content
        message = email.message_from_bytes(content, policy=email.policy.default)
        return message["List-Unsubscribe"], message["List-Unsubscribe-Post"]

    url = f"https://alpenblick.example/off?token={'t' * 200}"
    assert headers(url) == (f"<{url}>", "List-Unsubscribe=One-Click")
    assert headers("") == (None, None)
    assert headers(f"{url}{'t' * LINK_CHARACTERS_MAX}") == (None, None)


def test_the_link_stands_in_its_header_as_it_is() -> None:
    """Mail programs look for `<https://…>` there, and decode nothing."""
    url = f"https://alpenblick.example/off?t={'aA0-_' * 60}"
    assert f"\r\nList-Unsubscribe: <{url}>\r\n".encode() in mail_of(replace(REFUND, unsubscribe_url=url)).content


@pytest.mark.parametrize(
    ("address", "sent_to"),
    [
        (" lea@example.ch ", "lea@example.ch"),
        ("lea+pay@mail.example.ch", "lea+pay@mail.example.ch"),
        ("lea@zürich.example", "lea@xn--zrich-kva.example"),
    ],
)
def test_an_address_is_sent_to_in_ascii(address: str, sent_to: str) -> None:
    assert fit_address(address) == sent_to


@pytest.mark.parametrize(
    "address",
    ["", "lea", "@example.ch", "lea@", "léa@example.ch", "a@b@c", "lea@example.ch\r\nRCPT TO:<x@y.example>",
     "lea@example.ch, eve@example.ch", "lea <lea@example.ch>", f"{'a' * 250}@example.ch", "lea@exa mple.ch",
     "\\@[=", '"lea,eve"@example.ch', '"lea><"@example.ch'],
)  # fmt: skip
def test_what_is_no_address_is_sent_to_nobody(address: str) -> None:
    with pytest.raises(AddressUnfit):
        mail_of(replace(REFUND, to=Contact(addresses=(address,))))


def test_a_long_name_is_cut() -> None:
    assert plain("a" * 1000) == "a" * (VALUE_CHARACTERS_MAX - 1) + "…"
    assert plain("a\r\n\tb\u2028c  d") == "a b c d"


def test_whatever_is_told_has_a_mail() -> None:
    """A policy may have anything mailed that is told."""
    assert {(one.kind, one.recipient) for one in TELLINGS} == set(every_mail())
    assert {kind for kind, _ in every_mail()} == set(SHOWN)
