"""In which language a hosted page speaks: a payer's locale as one of those that Checkout knows. Pure."""

from __future__ import annotations

from typing import Final

AUTO: Final = "auto"
"""The page goes by the browser."""

_LOCALES: Final = """bg cs da de el en en-GB es es-419 et fi fil fr fr-CA hi-IN hr hu id it ja ko lt lv ms mt nb nl pl
    pt pt-BR ro ru sk sl sv th tr vi zh zh-HK zh-TW"""
LOCALES: Final = frozenset(_LOCALES.split())
"""Checkout's own list, as Stripe's client has it for `locale`; a test holds one against the other."""

_AMERICAN_SPANISH: Final = "ar bo cl co cr cu do ec gt hn mx ni pa pe pr py sv us uy ve"
_NAMED: Final = {one.lower(): one for one in LOCALES}
_OTHERWISE: Final = {
    "hi": "hi-IN",
    "nn": "nb",  # who writes Nynorsk reads Bokmål
    "no": "nb",
    "tl": "fil",
    "zh-hant": "zh-TW",
    "zh-mo": "zh-HK",
} | {f"es-{country}": "es-419" for country in _AMERICAN_SPANISH.split()}
"""What Checkout has under another name, or its nearest."""
_SCRIPT_CHARACTERS: Final = 4
"""Of the subtag that names a script: zh-Hant-HK is zh-HK to Checkout."""


def page_locale(locale: str) -> str:
    """Return the page's locale for a payer's (`de-CH`): the same, the nearest, its language, or else the browser's."""
    subtags = [one for one in locale.replace("_", "-").lower().split("-") if one]
    without_script = [one for one in subtags if len(one) != _SCRIPT_CHARACTERS]
    for known in (subtags, without_script[:2], subtags[:2], subtags[:1]):
        tag = "-".join(known)
        found = _NAMED.get(tag) or _OTHERWISE.get(tag)
        if found is not None:
            return found
    return AUTO
