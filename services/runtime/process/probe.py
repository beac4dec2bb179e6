"""Asks this container's own health port: `python -m services.runtime.process.probe [service]`.

Ends with 0 if the service (`readiness` unless said otherwise) is SERVING, with 1 and a line if not. Kubernetes asks the
port itself; this is the image's HEALTHCHECK.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any, Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.runtime.rpc.health import READINESS

TIMEOUT_S: Final = 3.0
"""Less than the image's HEALTHCHECK gives."""


def main(arguments: list[str], environ: Mapping[str, str]) -> str | None:
    """Return None if all is well, else what is not."""
    listen = environ.get("BATZEN_HEALTH_LISTEN")
    if not listen:
        return "BATZEN_HEALTH_LISTEN is not set: there is no health port to ask"
    host, _, port = listen.rpartition(":")
    service = arguments[0] if arguments else READINESS
    with grpc.insecure_channel(f"{'127.0.0.1' if host in ('0.0.0.0', '[::]') else host}:{port}") as channel:  # noqa: S104
        stub: Any = health_pb2_grpc.HealthStub(channel)  # its types lack Check
        request = health_pb2.HealthCheckRequest(service=service)
        try:
            answer = stub.Check(request, timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            return f"{service}: {error.code().name}"
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        return f"{service}: {health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)}"
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
