"""The access log service that Envoy streams finished requests to.

To be served next to discovery, on the same socket: `serve(path, [discovery_handler(store),
accesslog_handler(consumers)])`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import grpc
import grpc.aio

# xds-protos ships neither stubs nor a py.typed marker.
from envoy.service.accesslog.v3 import als_pb2  # type: ignore[import-untyped]

from modelrouter.router.accesslog.record import RequestRecord, read_entry

log = logging.getLogger(__name__)

SERVICE = "envoy.service.accesslog.v3.AccessLogService"
METHOD = "StreamAccessLogs"

Consumer = Callable[[RequestRecord], None]

COMPLAINT_SECONDS = 10.0
"""A consumer that fails on every record is logged this often, not a thousand times a second."""


class Intake:
    """Reads messages of log entries and gives each record to every consumer."""

    def __init__(self, consumers: Sequence[Consumer]) -> None:
        self._consumers = consumers
        self._complained_at = float("-inf")
        self.failures = 0
        """Records that could not be read, and calls of consumers that failed."""

    def take(self, message: Any) -> None:
        """Handle one `StreamAccessLogsMessage`."""
        for entry in message.http_logs.log_entry:
            # A request that still runs is logged again when it ends.
            if entry.common_properties.intermediate_log_entry:
                continue
            try:
                record = read_entry(entry)
            except Exception:
                self._complain("An access log entry could not be read")
                continue
            for consumer in self._consumers:
                try:
                    consumer(record)
                except Exception:
                    self._complain(f"{consumer!r} failed on a request record")

    def _complain(self, message: str) -> None:
        self.failures += 1
        now = time.monotonic()
        if now - self._complained_at >= COMPLAINT_SECONDS:
            self._complained_at = now
            log.exception("%s (%d failures so far)", message, self.failures)


def accesslog_handler(consumers: Sequence[Consumer]) -> grpc.GenericRpcHandler[Any, bytes]:
    """The access log service for `consumers`; the sequence may grow later."""
    intake = Intake(consumers)

    async def stream(
        messages: AsyncIterator[Any], context: grpc.aio.ServicerContext[Any, bytes]
    ) -> bytes:
        async for message in messages:
            intake.take(message)
        # The response is empty, and so are its bytes.
        return b""

    return grpc.method_handlers_generic_handler(
        SERVICE,
        {
            METHOD: grpc.stream_unary_rpc_method_handler(
                stream, request_deserializer=als_pb2.StreamAccessLogsMessage.FromString
            )
        },
    )
