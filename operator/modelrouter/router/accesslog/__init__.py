"""What became of each request, as Envoy tells it: lines in a named pipe, turned into records.

A line costs a third of a gRPC access log entry, in Envoy as well as here. Records are best effort.
Those that Envoy cannot deliver, while the agent is down for instance, are lost; nothing waits for
them.
"""
