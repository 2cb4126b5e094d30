"""The only place that names Envoy's fields: pure functions from configuration to resources.

What Envoy asks the agent about a request (`lua/decide.lua`): `POST <the client's path>` with the
client's body, `x-request-id` and those of the headers that policies look at.

The agent lets the request pass with 200 and these headers:

`x-mr-plan`
    Key of a plan in the route table: chain, retries and timeouts in one word (`plans`).
`x-mr-chain`, `x-mr-idle`, `x-envoy-…`
    Instead of `x-mr-plan`, for a plan that the route table does not hold: pool names separated by
    commas, one per attempt; for streamed requests the idle timeout in milliseconds, one of those
    in the route table; and Envoy's own headers for retries and timeouts.
    `plans.routing_headers` gives the one or the other.
`x-mr-span`
    Optional: `start,end`, the offsets of the value of the body's top-level `model`, quotes
    included. Saves a scan and a Lua filter.
`x-mr-route`, `x-mr-reason`
    Given to the client as they are, and to the access log. Left out where the plan has them.
`x-mr-hash`
    Optional: what SessionHash and PrefixHash pools place the request by.

An answer with another status and `content-type: application/json` goes to the client as it is.
Anything else counts as no answer: the default chain of the body's model is used.
"""
