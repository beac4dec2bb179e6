"""What a call was refused with, read from its details as a caller would, without code of the suite."""

from __future__ import annotations

from typing import NamedTuple, cast

import grpc
from google.rpc import error_details_pb2
from grpc import aio
from grpc_status import rpc_status


class Details(NamedTuple):
    """What an error carries beside its code; empty where it carries nothing."""

    reason: str
    field: str
    metadata: dict[str, str]
    domain: str


def details_of(error: aio.AioRpcError) -> Details:
    """Return the details of an error."""
    status = rpc_status.from_call(cast("grpc.Call", error))
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details if status else ():
        detail.Unpack(info) or detail.Unpack(bad)
    field = bad.field_violations[0].field if bad.field_violations else ""
    if field:  # whoever reads the sentence alone knows which field is meant, and what it has to be
        begin = f"`{field}`: must " if info.reason in ("FIELD_INVALID", "FIELD_MISSING") else f"`{field}`: "
        assert (error.details() or "").startswith(begin), error.details()
    return Details(reason=info.reason, field=field, metadata=dict(info.metadata), domain=info.domain)


def reason_of(error: aio.AioRpcError) -> str | None:
    """Return the reason of a refusal, such as QUOTE_EXPIRED; None if it has none."""
    return details_of(error).reason or None
