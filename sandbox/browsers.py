"""Which requests of browsers are taken: the stand-in checks no secrets, so no other site may have them sent or read.

A page elsewhere can make a browser post here, and a name of its own lead here. So the host that was asked for must be
this machine, and whatever says where it comes from must say: from here.
"""

from urllib.parse import urlsplit

from starlette.requests import Request

_OURS = ("127.0.0.1", "localhost", "::1")


def is_of_this_machine(request: Request) -> bool:
    """Whether the host that was asked for is this machine by a name that no other can have."""
    return urlsplit(f"//{request.headers.get('host', '')}").hostname in _OURS


def is_of_another_site(request: Request) -> bool:
    """Whether a browser says that a page of another site sent this."""
    origin = request.headers.get("origin")
    if origin is None:
        return request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
    return origin != f"http://{request.headers.get('host', '')}"


def is_of_our_page(request: Request) -> bool:
    """Whether a browser says that a page of ours sent this; every browser says where a form comes from."""
    return "origin" in request.headers and not is_of_another_site(request)
