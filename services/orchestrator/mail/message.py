"""The mail as it is sent: headers and parts, byte for byte the same for the same letter."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from email.errors import HeaderParseError
from email.headerregistry import Address, BaseHeader, HeaderRegistry, UnstructuredHeader
from email.message import EmailMessage
from email.policy import SMTP, Policy
from email.utils import format_datetime
from typing import Final

from services.orchestrator.mail.domain import Letter, language_of
from services.orchestrator.mail.rendering import rendered
from services.orchestrator.mail.wording import plain
from services.receipts.content import shortened

ADDRESS_CHARACTERS_MAX: Final = 254
"""RFC 5321."""
SPECIALS: Final = str.maketrans(dict.fromkeys('()<>[]:;@\\,."', " "))
"""What would have to stand in quotes in a header (RFC 5322). It is left out: where a header is long, Python folds such
a name without its quotes, and what was a name is read as addresses."""
BYTES_MAX: Final = 64 * 1024
"""Ours have some 6 KB. A receipt is cut until its mail has no more; what is larger without one is a mistake."""
ENTRIES: Final = (40, 20, 10, 5, 2, 1)
"""Of each list of a receipt, the first that makes a mail of at most `BYTES_MAX`."""
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
_logger = logging.getLogger(__name__)


class AddressUnfit(Exception):
    """Nothing can be sent to this address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mail:
    """What is handed to a server."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes


def mail_of(letter: Letter) -> Mail:
    """Return the mail. Raises `AddressUnfit` where its recipient has no address that mails can be sent to.

    No mail is lost for a long receipt: it has as much of it as there is room for, and none if there is none.
    """
    sender, recipients = letter.sender.address, _fit(letter.to.addresses)
    sizes = []
    for shorter in _shorter_and_shorter(letter):
        content = _written(shorter, sender, recipients)
        if len(content) <= BYTES_MAX:
            if letter.receipt is not None and shorter.receipt is None:
                _logger.warning("the mail %s leaves without its receipt, which is too long", letter.mail_id)
            return Mail(sender=sender, recipients=recipients, content=content)
        sizes.append(len(content))
    raise ValueError(f"a mail of {sizes[-1]} bytes is a mistake")


def _shorter_and_shorter(letter: Letter) -> Iterator[Letter]:
    """Yield the letter with less and less of its receipt, and at last without."""
    if letter.receipt is not None:
        language, _ = language_of(letter.to.locale, letter.sender.locale)
        for entries_max in ENTRIES:
            yield replace(letter, receipt=shortened(letter.receipt, language, entries_max=entries_max))
    yield replace(letter, receipt=None)


def _written(letter: Letter, sender: str, recipients: Sequence[str]) -> bytes:
    said = rendered(letter)
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
    return message.as_bytes()


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
