"""Requests for pools that are scaled to zero wait here until the first endpoint is ready.

```
client ─► Envoy ─► holding ┄ waits ┄► Envoy again ─► pool
                   (agent)            (on a Unix socket)
```

A request that waits is an HTTP exchange of its own between Envoy and this proxy in the agent:
`serving` takes it in, `room` counts it and says when it may go on, and `asking` sends it to a
second listener of Envoy's that nobody else can reach. There it is decided anew; health, failover,
limits, keys and names of models are Envoy's as for any other request. The answer goes back chunk
by chunk. Envoy's access log has the whole as one request, whose pool and status `outcomes` fills
in.

A client that asked for a stream gets its headers at once and a comment now and then, so that
nothing on the way takes the connection for dead; all others just wait.

Streams that are to end in an error event where they break (`brokenStreams: ErrorEvent`) come the
same way and do not wait: once an answer has begun, Envoy can only end the connection.
"""
