"""Whether a request that changes something was made by a page of ours. Pure.

`Sec-Fetch-Site` says it where the browser sends it (all do, over TLS and to this machine); else `Origin` has to be
ours. Without either only a program calls, which has no cookie of ours.
"""

from __future__ import annotations

from typing import Final

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


def is_ours(*, method: str, fetch_site: str | None, origin: str | None, own_origin: str, has_cookie: bool) -> bool:
    """Tell whether the request may act with the session of its cookie."""
    if method in SAFE_METHODS:
        return True
    if fetch_site is not None:
        return fetch_site == "same-origin"
    if origin is not None:
        return origin == own_origin
    return not has_cookie
