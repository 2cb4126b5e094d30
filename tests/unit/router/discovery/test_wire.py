"""Responses that are put together by hand are the messages that protobuf would have written."""

from __future__ import annotations

from envoy.service.discovery.v3 import discovery_pb2
from hypothesis import given
from hypothesis import strategies as st

from modelrouter.router.discovery.resources import Push, Resource
from modelrouter.router.discovery.wire import encode_response

KIND = "type.googleapis.com/envoy.config.cluster.v3.Cluster"
NAMES = st.text(min_size=1, max_size=300)


@given(st.dictionaries(NAMES, st.binary(max_size=40_000), max_size=5), st.lists(NAMES, max_size=3))
def test_a_response_says_what_was_pushed(bodies: dict[str, bytes], removed: list[str]) -> None:
    resources = {name: Resource(body) for name, body in bodies.items()}
    encoded = encode_response(Push(KIND, resources, tuple(removed)), "7", "v1")
    expected = discovery_pb2.DeltaDiscoveryResponse(
        system_version_info="v1", type_url=KIND, nonce="7", removed_resources=removed
    )
    for name, resource in resources.items():
        entry = expected.resources.add(name=name, version=resource.version)
        entry.resource.type_url = KIND
        entry.resource.value = resource.body
    assert discovery_pb2.DeltaDiscoveryResponse.FromString(encoded) == expected
