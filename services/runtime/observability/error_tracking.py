"""Reports of what nobody expected, by Sentry's protocol: off unless BATZEN_ERROR_TRACKING_DSN says where to.

What is reported is what is logged at ERROR with its exception. A report holds where that happened and the classes of
the errors, in which process and under which ids: what finds the lines of the log, in which the rest stands. It holds no
text of an error and no variable, which may quote what a payer sent, and nothing of the request.

A tracker that is slow, away or full loses reports, and holds up nobody: they go out from a thread, out of a queue that
ends, and no more than `REPORTS_PER_MINUTE_MAX` are made at all.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from batzen.version import build
from services.runtime.observability.metrics import Tally
from services.runtime.process.lifecycle import StartRefused
from services.runtime.process.logs import OURS
from services.runtime.rpc import call_context
from services.runtime.rpc.buckets import Bucket

if TYPE_CHECKING:
    from sentry_sdk import Client

REPORTS_PER_MINUTE_MAX: Final = 60
"""One costs about 1 ms of CPU. A bug that every call meets is known after the first."""
BURST: Final = 20.0
QUEUE_MAX: Final = 100
"""Reports that wait to be sent, about 10 KB each."""
CLOSE_S: Final = 2.0
"""What the tracker gets at the end of the process for those that wait. A part of the grace of a stop."""
NOT_REPORTED: Final = ("sentry_sdk", "urllib3", "opentelemetry")
"""Loggers of what reports: their failures would be reported to where they failed."""

DROPPED: Final = Tally()
"""Reports that were not made, since there were too many, or not taken from us."""

_logger = logging.getLogger(__name__)


@contextmanager
def tracking(dsn: str | None, *, service: str, environment: str) -> Generator[None]:
    """Report to the project that `dsn` names while inside; nothing without it. Raises `StartRefused` if it is none."""
    if dsn is None:
        yield
        return
    client = _client(dsn, environment=environment)
    handler = _Reporter(client, service=service)
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        client.close(timeout=CLOSE_S)


def _client(dsn: str, *, environment: str) -> Client:
    import sentry_sdk  # noqa: PLC0415 only where it is wanted
    from sentry_sdk.utils import BadDsn  # noqa: PLC0415

    try:
        # A client of our own and no `init`: nothing of the process is patched, nothing collected but what we report.
        return sentry_sdk.Client(
            dsn,
            release=build().version,
            environment=environment,
            server_name="",
            default_integrations=False,
            auto_enabling_integrations=False,
            include_local_variables=False,
            include_source_context=False,
            max_breadcrumbs=0,
            send_client_reports=False,
            auto_session_tracking=False,
            enable_metrics=False,
            propagate_traces=False,
            transport_queue_size=QUEUE_MAX,
        )
    except BadDsn:
        raise StartRefused("BATZEN_ERROR_TRACKING_DSN is no DSN of a project") from None


class _Reporter(logging.Handler):
    """Makes a report of a log record with an exception."""

    def __init__(self, client: Client, *, service: str) -> None:
        super().__init__(logging.ERROR)
        self._client = client
        self._service = service
        self._bucket = Bucket(rate=REPORTS_PER_MINUTE_MAX / 60, burst=BURST, now=time.monotonic())

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if error is None or record.name.startswith(NOT_REPORTED):
            return
        try:
            if self._bucket.take(now=time.monotonic()) > 0 or not self._client.capture_event(
                self._report(record, error)
            ):
                DROPPED.add()
        except Exception as failure:  # noqa: BLE001 whatever it is, the line of the log says what is to be known
            DROPPED.add()
            _logger.warning("An error could not be reported: %s", type(failure).__name__)

    def _report(self, record: logging.LogRecord, error: BaseException) -> Any:
        from sentry_sdk.utils import event_from_exception  # noqa: PLC0415 as above

        report, _ = event_from_exception(error, self._client.options)
        for one in report["exception"]["values"]:
            one["value"] = ""
        report["logger"] = record.name
        # As it stands in our code: what was put into it may be anything, and asyncio has done so before it logs.
        is_ours = record.name.partition(".")[0] in OURS
        report["logentry"] = {"message": record.msg if is_ours and isinstance(record.msg, str) else ""}
        report["tags"] = {"service": self._service, "commit": build().commit, **call_context.log_fields()}
        return report
