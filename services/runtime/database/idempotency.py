"""What makes a request and its repeat one: the hash that tells their content, and work that outlives its call.

A request that changes something has a `request_id`, made by its caller before the first try. Its first run keeps the
hash of what was asked beside the id, and later its answer, or the refusal (services/shared/refusals) if that stands for
good. A repeat is answered from there; the same id with other content is refused with `RequestIdReused`.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

from google.protobuf.message import Message

from services.errors import ServiceError

T = TypeVar("T")

_logger = logging.getLogger(__name__)


def request_hash(request: Message, *excluded: str) -> bytes:
    """Return a hash of the fields that are set, but for the request id and those `excluded`, 32 bytes."""
    content = type(request)()
    content.CopyFrom(request)
    for name in ("request_id", *excluded):
        content.ClearField(name)
    return hashlib.sha256(content.SerializeToString(deterministic=True)).digest()


def detached(work: Coroutine[Any, Any, T], *, name: str) -> asyncio.Task[T]:
    """Start work that goes on when its caller disconnects; what it fails with is logged even if nobody waits for it."""
    task = asyncio.create_task(work)
    task.add_done_callback(lambda done: _log_failure(done, name))
    return task


def _log_failure(task: asyncio.Task[Any], name: str) -> None:
    if not task.cancelled() and (error := task.exception()) is not None and not isinstance(error, ServiceError):
        _logger.error("%s failed", name, exc_info=error)
