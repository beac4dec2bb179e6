"""Numbers under which a seller is registered for VAT: their form by country, and how they are written. Pure.

The form alone is looked at. Whether a number is given to somebody, and to whom, is known to the country's register.
"""

from __future__ import annotations

import re
from typing import Final

CHARACTERS_MAX: Final = 30
"""As it is entered, with what stands between its digits; the longest has 20 as it is written."""

_BETWEEN: Final = re.compile(r"[\s.\-/]")
_SWISS: Final = re.compile(r"CHE(\d{3})(\d{3})(\d{3})(MWST|TVA|IVA)?")
_NORWEGIAN: Final = re.compile(r"(?:NO)?(\d{9})MVA")

_FORMS: Final = {
    "AT": r"U\d{8}",
    "BE": r"[01]\d{9}",
    "BG": r"\d{9,10}",
    "CY": r"\d{8}[A-Z]",
    "CZ": r"\d{8,10}",
    "DE": r"\d{9}",
    "DK": r"\d{8}",
    "EE": r"\d{9}",
    "EL": r"\d{9}",
    "ES": r"[A-Z0-9]\d{7}[A-Z0-9]",
    "FI": r"\d{8}",
    "FR": r"[A-HJ-NP-Z0-9]{2}\d{9}",
    "GB": r"(\d{9}|\d{12}|(GD|HA)\d{3})",
    "HR": r"\d{11}",
    "HU": r"\d{8}",
    "IE": r"\d[A-Z0-9+*]\d{5}[A-Z]{1,2}",
    "IT": r"\d{11}",
    "LI": r"\d{5}",
    "LT": r"(\d{9}|\d{12})",
    "LU": r"\d{8}",
    "LV": r"\d{11}",
    "MT": r"\d{8}",
    "NL": r"\d{9}B\d{2}",
    "PL": r"\d{10}",
    "PT": r"\d{9}",
    "RO": r"\d{2,10}",
    "SE": r"\d{12}",
    "SI": r"\d{8}",
    "SK": r"\d{10}",
    "XI": r"(\d{9}|\d{12}|(GD|HA)\d{3})",
}
"""Country → what follows its prefix, without what stands between; Greece is EL, as in VIES."""


def read_vat_id(entered: str) -> str:
    """Return a number as it is written on a receipt: `CHE-123.456.788 MWST`, `DE123456789`.

    Raises ValueError with what it must be.
    """
    if len(entered) > CHARACTERS_MAX:
        raise ValueError(f"must have at most {CHARACTERS_MAX} characters")
    bare = _BETWEEN.sub("", entered).upper()
    if not bare.isascii():
        raise ValueError("must have ASCII characters alone")
    if swiss := _SWISS.fullmatch(bare):
        return "CHE-{}.{}.{} {}".format(*swiss.groups(default="MWST"))
    if norwegian := _NORWEGIAN.fullmatch(bare):
        return f"NO{norwegian[1]}MVA"
    form = _FORMS.get(bare[:2])
    if form is None:
        raise ValueError("must begin with a country of the EU, CHE, GB, LI, NO or XI")
    if not re.fullmatch(form, bare[2:]):
        raise ValueError(f"must have the form of those of {bare[:2]}")
    return bare
