"""Credentials, for SDS: values never show in clusters or in Envoy's `config_dump`."""

from __future__ import annotations

from modelrouter.api.router_config import SecretKey
from modelrouter.router.envoy.messages import Resource


def secret_name(reference: SecretKey) -> str:
    """The name of the SDS resource of a credential."""
    return f"{reference.secret}/{reference.key}"


def generic_secret(name: str, value: str) -> Resource:
    """The `Secret` with this value."""
    return {"name": name, "generic_secret": {"secret": {"inline_string": value}}}
