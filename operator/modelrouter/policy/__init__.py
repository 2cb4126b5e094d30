"""Which pools serve a request, in which order, and why.

Everything here is pure: request, configuration and state come in as arguments and a decision
comes out, with no clock, no randomness and no I/O. Live traffic, replays of recorded traffic and
tests run the same code.

`request.read_request` turns a body into facts, `compiling.compile_policy` turns a `RouterConfig`
into a `Policy`, and `deciding.decide` brings the two together with what is known about the pools.
"""
