"""From the JSON form of a message to its bytes."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.json_format import ParseDict

from modelrouter.router.envoy.messages import TYPE_PREFIX, Resource

CLUSTER = "envoy.config.cluster.v3.Cluster"
ENDPOINTS = "envoy.config.endpoint.v3.ClusterLoadAssignment"
ROUTES = "envoy.config.route.v3.RouteConfiguration"
SECRET = "envoy.extensions.transport_sockets.tls.v3.Secret"

_FILES = (
    "envoy.config.cluster.v3.cluster",
    "envoy.config.endpoint.v3.endpoint",
    "envoy.config.route.v3.route",
    "envoy.extensions.clusters.dns.v3.dns_cluster",
    "envoy.extensions.filters.http.credential_injector.v3.credential_injector",
    "envoy.extensions.filters.http.header_mutation.v3.header_mutation",
    "envoy.extensions.filters.http.lua.v3.lua",
    "envoy.extensions.filters.http.upstream_codec.v3.upstream_codec",
    "envoy.extensions.http.injected_credentials.generic.v3.generic",
    "envoy.extensions.load_balancing_policies.least_request.v3.least_request",
    "envoy.extensions.load_balancing_policies.ring_hash.v3.ring_hash",
    "envoy.extensions.load_balancing_policies.round_robin.v3.round_robin",
    "envoy.extensions.retry.host.previous_hosts.v3.previous_hosts",
    "envoy.extensions.transport_sockets.tls.v3.secret",
    "envoy.extensions.transport_sockets.tls.v3.tls",
    "envoy.extensions.upstreams.http.v3.http_protocol_options",
    "envoy.type.matcher.v3.http_inputs",
)
"""The modules of xds-protos that declare what the resources use."""

_Field = descriptor_pb2.FieldDescriptorProto

# What xds-protos 1.85 lacks of Envoy 1.40, as its binary declares it (field, number, type).
_MISSING_FIELDS: dict[str, dict[str, tuple[tuple[str, int, int, str], ...]]] = {
    "envoy/config/route/v3/route_components.proto": {
        "RetryPolicy": (("refresh_cluster_on_retry", 14, _Field.TYPE_BOOL, ""),)
    },
    "envoy/extensions/filters/http/lua/v3/lua.proto": {
        "Lua": (("filter_context", 6, _Field.TYPE_MESSAGE, ".google.protobuf.Struct"),)
    },
    "envoy/extensions/http/injected_credentials/generic/v3/generic.proto": {
        "Generic": (("header_value_prefix", 3, _Field.TYPE_STRING, ""),)
    },
}
_MISSING_IMPORTS = {
    "envoy/extensions/filters/http/lua/v3/lua.proto": "google/protobuf/struct.proto"
}


def serialized(type_name: str, resource: Resource) -> bytes:
    """The bytes of a message. Raises `google.protobuf.json_format.ParseError` if it is none."""
    pool = _descriptors()
    made = message_factory.GetMessageClass(pool.FindMessageTypeByName(type_name))()
    ParseDict(resource, made, descriptor_pool=pool)
    # Maps have no order of their own, and equal resources must have equal bytes.
    return bytes(made.SerializeToString(deterministic=True))


def type_url(type_name: str) -> str:
    """The type URL of xDS."""
    return TYPE_PREFIX + type_name


@cache
def _descriptors() -> descriptor_pool.DescriptorPool:
    """xds-protos with what Envoy 1.40 has more, apart from the process's default pool."""
    pool = descriptor_pool.DescriptorPool()
    added: set[str] = set()

    def add(file: Any) -> None:
        if file.name in added:
            return
        added.add(file.name)
        for dependency in file.dependencies:
            add(dependency)
        proto = descriptor_pb2.FileDescriptorProto()
        file.CopyToProto(proto)
        _complete(proto)
        pool.Add(proto)

    add(import_module("google.protobuf.struct_pb2").DESCRIPTOR)
    add(import_module("google.protobuf.wrappers_pb2").DESCRIPTOR)
    for name in _FILES:
        add(import_module(f"{name}_pb2").DESCRIPTOR)
    pool.Add(_priority_group())
    return pool


def _complete(file: descriptor_pb2.FileDescriptorProto) -> None:
    wanted = _MISSING_FIELDS.get(file.name, {})
    for declared in file.message_type:
        known = {field.name for field in declared.field}
        for name, number, kind, type_name in wanted.get(declared.name, ()):
            if name not in known:
                _declare(declared, name, number, kind, type_name)
    needed = _MISSING_IMPORTS.get(file.name)
    if needed and needed not in file.dependency:
        file.dependency.append(needed)


def _declare(
    message: descriptor_pb2.DescriptorProto,
    name: str,
    number: int,
    kind: int,
    type_name: str = "",
    *,
    repeated: bool = False,
) -> None:
    label = _Field.LABEL_REPEATED if repeated else _Field.LABEL_OPTIONAL
    message.field.add(
        name=name,
        number=number,
        type=kind,
        label=label,
        type_name=type_name or None,
    )


def _priority_group() -> descriptor_pb2.FileDescriptorProto:
    package = "envoy.extensions.router.cluster_specifiers.priority_group.v3"
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{package.replace('.', '/')}/priority_group.proto",
        package=package,
        syntax="proto3",
        dependency=["google/protobuf/wrappers.proto"],
    )
    weight = file.message_type.add(name="ClusterWeight")
    _declare(weight, "cluster_name", 1, _Field.TYPE_STRING)
    _declare(weight, "weight", 2, _Field.TYPE_MESSAGE, ".google.protobuf.UInt32Value")
    group = file.message_type.add(name="PriorityGroup")
    _declare(group, "name", 1, _Field.TYPE_STRING)
    _declare(group, "clusters", 2, _Field.TYPE_MESSAGE, f".{package}.ClusterWeight", repeated=True)
    specifier = file.message_type.add(name="PriorityGroupClusterSpecifier")
    _declare(
        specifier, "priority_groups", 1, _Field.TYPE_MESSAGE, f".{package}.PriorityGroup",
        repeated=True,
    )  # fmt: skip
    _declare(specifier, "override_metadata_namespace", 2, _Field.TYPE_STRING)
    return file
