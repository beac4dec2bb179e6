"""Forms of ours: each carries a `request_id` that this front made, and that no other session can use.

A double submit, Back and submit, and a retry carry the same `request_id`, so the services see one request. Nothing is
stored: the id is signed with a key of the session, which its cookie's successors keep.

A form that moves money is made for one purpose: half of its id is random, the other half a digest of that and of what
the form does. So an id that is copied into another form is refused there. A front that knows of no purposes takes such
an id as any other, and makes the same call by it.
"""

from __future__ import annotations

import hmac
import re
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Final, TypeAlias
from urllib.parse import parse_qsl

from starlette.datastructures import ImmutableMultiDict
from starlette.requests import Request

from services.web.failures import Refusal
from services.web.sessions.domain import Session

FIELD: Final = "request_id"
"""The name of the hidden field."""
FIELDS_MAX: Final = 100
"""Of a form; the longest of ours, a page of filters, has about 20."""
_TYPE: Final = "application/x-www-form-urlencoded"
_VALUE: Final = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.([A-Za-z0-9_-]{43})")

Form: TypeAlias = ImmutableMultiDict[str, str]


class Forms:
    """Makes the hidden field of a form, and takes it back."""

    def field(self, session: Session, *, purpose: str = "") -> str:
        """Return the value of the hidden field `request_id` of a form on a page that is made for this session.

        With a `purpose`, what it does and to what, it is good for nothing else.
        """
        request_id = str(uuid.uuid4())
        if purpose:
            request_id = _made_for(session, request_id, purpose)
        return f"{request_id}.{_signature(session, request_id)}"

    def take(self, session: Session, form: Mapping[str, str], *, purpose: str = "") -> str:
        """Return the `request_id` of a form that was sent.

        Raises:
            Refusal: FORM_UNKNOWN; the form was made for another session or another purpose, or not by us.
        """
        found = _VALUE.fullmatch(form.get(FIELD, ""))
        if found is None or not hmac.compare_digest(found[2], _signature(session, found[1])):
            raise Refusal(403, "FORM_UNKNOWN", field=FIELD)
        if purpose and not hmac.compare_digest(found[1], _made_for(session, found[1], purpose)):
            raise Refusal(403, "FORM_UNKNOWN", field=FIELD)
        return found[1]

    async def read(self, request: Request) -> Form:
        """Return the fields of a form that was sent, as text.

        Raises:
            Refusal: REQUEST_MALFORMED; it is none.
        """
        if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _TYPE:
            raise Refusal(415, "REQUEST_MALFORMED", explanation=f"A form has the type {_TYPE}.")
        body = await request.body()
        try:
            fields = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=FIELDS_MAX)
        except ValueError as error:
            raise Refusal(400, "REQUEST_MALFORMED", explanation=str(error)) from error
        return ImmutableMultiDict(fields)


def _made_for(session: Session, request_id: str, purpose: str) -> str:
    """Return the id of a purpose that begins like an id."""
    half = uuid.UUID(request_id).bytes[:8]
    digest = hmac.digest(session.form_key, purpose.encode() + b"\0" + half, "sha256")
    return str(uuid.UUID(bytes=half + digest[:8], version=4))


def _signature(session: Session, request_id: str) -> str:
    digest = hmac.digest(session.form_key, request_id.encode(), "sha256")
    return urlsafe_b64encode(digest).rstrip(b"=").decode()
