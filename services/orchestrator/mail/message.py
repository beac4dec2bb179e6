"""The mail as it is sent: headers and parts, byte for byte the same for the same letter."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from email.errors import HeaderParseError
from email.headerregistry import Address, BaseHeader, HeaderRegistry, UnstructuredHeader
from email.message import EmailMessage
from email.policy import SMTP, Policy
from email.utils import format_datetime
from typing import Final

from services.orchestrator.mail.domain import Letter
from services.orchestrator.mail.rendering import rendered
from services.orchestrator.mail.wording import plain

ADDRESS_CHARACTERS_MAX: Final = 254
"""RFC 5321."""
SPECIALS: Final = str.maketrans(dict.fromkeys('()<>[]:;@\\,."', " "))
"""What would have to stand in quotes in a header (RFC 5322). It is left out: where a header is long, Python folds such
a name without its quotes, and what was a name is read as addresses."""
BYTES_MAX: Final = 64 * 1024
"""Ours have some 6 KB; what is larger is a mistake."""
LINK_CHARACTERS_MAX: Final = 900
"""Of a link in a header: a line has at most 998 (RFC 5322)."""


class _OnOneLine(UnstructuredHeader, BaseHeader):
    """Is written as it is. Python would write a link that is longer than a line as encoded words, which are for people:
    a mail program that looks for a link there finds none (RFC 2047, 5; RFC 2369, 2).
    """

    def fold(self, *, policy: Policy) -> str:
        """Return the line."""
        return f"{self.name}: {self}{policy.linesep}"


_HEADERS: Final = HeaderRegistry()
_HEADERS.map_to_type("list-unsubscribe", _OnOneLine)
_POLICY: Final = SMTP.clone(header_factory=_HEADERS)


class AddressUnfit(Exception):
    """Nothing can be sent to this address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """What is handed to a server."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes


def mail_of(letter: Letter) -> Mail:
    """Return the mail. Raises `AddressUnfit` where its recipient has no address that mails can be sent to."""
    said = rendered(letter)
    sender, recipients = letter.sender.address, _fit(letter.to.addresses)
    message = EmailMessage(policy=_POLICY)
    message["From"] = Address(display_name=_display_name(letter.sender.name), addr_spec=sender)
    name = _display_name(letter.to.name)
    message["To"] = [Address(display_name=name, addr_spec=one) for one in recipients]
    message["Subject"] = said.subject
    message["Date"] = format_datetime(letter.occur_time)
    message["Message-ID"] = f"<{letter.mail_id}@{sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence answers it
    if 0 < len(letter.unsubscribe_url) <= LINK_CHARACTERS_MAX:  # a longer one stands in the foot alone
        message["List-Unsubscribe"] = f"<{letter.unsubscribe_url}>"
        message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"  # RFC 8058
    message.set_content(said.text, cte="quoted-printable")
    message.add_alternative(said.html, subtype="html", cte="quoted-printable")
    message["Content-Language"] = said.language
    message.set_boundary(f"=_{letter.mail_id.hex}")
    content = message.as_bytes()
    if len(content) > BYTES_MAX:
        raise ValueError(f"a mail of {len(content)} bytes is a mistake")
    return Mail(sender=sender, recipients=recipients, content=content)


def _display_name(name: str) -> str:
    return plain(plain(name).translate(SPECIALS))


def _fit(addresses: Sequence[str]) -> tuple[str, ...]:
    """Return those that mails can be sent to; raise `AddressUnfit` where there is none."""
    fit = []
    for address in addresses:
        with suppress(AddressUnfit):
            fit.append(fit_address(address))
    if not fit:
        raise AddressUnfit
    return tuple(fit)


def fit_address(address: str) -> str:
    """Return an address as it is sent to: its domain in ASCII. Raises `AddressUnfit`."""
    local, at, domain = address.strip().rpartition("@")
    # Between quotes a local part may have what separates addresses, and some reader of a header forgets the quotes.
    if not at or not local.isascii() or '"' in local or len(address) > ADDRESS_CHARACTERS_MAX:
        raise AddressUnfit
    try:
        ascii_domain = domain.encode("idna").decode()
        fit = Address(addr_spec=f"{local}@{ascii_domain}")
    except (UnicodeError, ValueError, IndexError, AttributeError, HeaderParseError) as error:  # all are the parser's
        raise AddressUnfit from error
    if not fit.username or not fit.domain or any(one.isspace() for one in fit.addr_spec):
        raise AddressUnfit
    return fit.addr_spec
