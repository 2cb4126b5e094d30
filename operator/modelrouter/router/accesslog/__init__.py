"""What became of each request, as Envoy tells it: gRPC access logs turned into records.

Records are best effort. Those that Envoy cannot deliver, while the agent is down for instance, are
lost; nothing waits for them.
"""

from modelrouter.router.accesslog.intake import accesslog_handler
from modelrouter.router.accesslog.record import RequestRecord

__all__ = ["RequestRecord", "accesslog_handler"]
