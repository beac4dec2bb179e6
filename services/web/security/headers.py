"""The headers of every answer, and one content security policy per kind of page. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

CSP_REPORT_PATH: Final = "/csp-reports"
HSTS: Final = "max-age=63072000; includeSubDomains"
STRIPE_SCRIPTS: Final = ("https://js.stripe.com", "https://*.js.stripe.com")
STRIPE_FRAMES: Final = (*STRIPE_SCRIPTS, "https://hooks.stripe.com")
STRIPE_CALLS: Final = ("https://api.stripe.com",)
STRIPE_PAGES: Final = ("https://checkout.stripe.com",)

PLAIN: Final[Mapping[str, str]] = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # not `no-referrer`, which makes the `Origin` of our own forms `null`
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(self)",
    "Cache-Control": "no-store",
}
"""Of every answer that names none of its own."""


class PageKind(StrEnum):
    """What a page may load and where it may lead."""

    DATA = "data"
    """No page: an answer to a program."""
    PAGE = "page"
    """Ours alone."""
    REDIRECTING = "redirecting"
    """Its forms may lead to the hosted checkout."""
    ELEMENTS = "elements"
    """Has Stripe's script and frames."""
    CONSOLE = "console"
    """As PAGE, with one place of ours that makes elements of what the server sends (`elements.js`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origins:
    """Where Stripe is, for this deployment; a stand-in has others."""

    scripts: Sequence[str] = STRIPE_SCRIPTS
    frames: Sequence[str] = STRIPE_FRAMES
    calls: Sequence[str] = STRIPE_CALLS
    pages: Sequence[str] = STRIPE_PAGES


def content_security_policy(kind: PageKind, origins: Origins) -> str:
    """Return the policy of a kind of page."""
    if kind is PageKind.DATA:
        return "default-src 'none'; frame-ancestors 'none'"
    scripts, calls, forms = ["'self'"], ["'self'"], ["'self'"]
    frames: list[str] = []
    if kind is PageKind.REDIRECTING:
        forms += origins.pages
    if kind is PageKind.ELEMENTS:
        scripts += origins.scripts
        calls += origins.calls
        frames += origins.frames
        forms += origins.pages  # where Stripe's script is blocked, the hosted page is offered
    parts = {
        "default-src": ["'none'"],
        "script-src": scripts,
        "style-src": ["'self'"],
        "font-src": ["'self'"],
        "img-src": ["'self'"],
        "connect-src": calls,
        "frame-src": frames or ["'none'"],
        "form-action": forms,
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
        "report-uri": [CSP_REPORT_PATH],
    }
    policy = "; ".join(f"{name} {' '.join(values)}" for name, values in parts.items())
    if kind is PageKind.ELEMENTS:
        return policy  # Stripe's script makes elements of text
    makers = "batzen" if kind is PageKind.CONSOLE else "'none'"
    return f"{policy}; require-trusted-types-for 'script'; trusted-types {makers}"


def headers_of(kind: PageKind, origins: Origins, *, is_secure: bool) -> dict[str, str]:
    """Return what an answer of this kind carries."""
    headers = dict(PLAIN) | {"Content-Security-Policy": content_security_policy(kind, origins)}
    if kind is PageKind.ELEMENTS:
        headers["Cross-Origin-Opener-Policy"] = "same-origin-allow-popups"  # wallets and banks open windows
        headers["Permissions-Policy"] = (
            'camera=(), geolocation=(), microphone=(), payment=(self "https://js.stripe.com")'
        )
    if is_secure:
        headers["Strict-Transport-Security"] = HSTS
    return headers
