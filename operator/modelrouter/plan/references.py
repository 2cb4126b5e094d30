"""Whether what a pool refers to is there: its Service, or the Secret with its key."""

from __future__ import annotations

from modelrouter.api.pool import ModelPool, ServiceReference
from modelrouter.api.secret_reference import SecretKeyReference
from modelrouter.api.vllm import Vllm
from modelrouter.plan.facts import NamespaceFacts, SecretState
from modelrouter.plan.pools import find_port
from modelrouter.plan.verdicts import PENDING, Verdict, no, unknown, yes


def resolve(pool: ModelPool, known: NamespaceFacts) -> Verdict:
    """Whether all references of a pool lead somewhere."""
    namespace = pool.metadata.namespace
    if pool.spec.vllm is not None:
        return _resolve_secrets(namespace, pool.spec.vllm, known)
    if pool.spec.service is not None:
        return _resolve_service(namespace, pool.spec.service, known)
    provider = pool.spec.provider
    if provider is not None and provider.credentials is not None:
        return _resolve_secret(namespace, provider.credentials.secret_ref, known)
    return yes("ResolvedRefs", "the pool refers to nothing else")


def _resolve_secrets(namespace: str, vllm: Vllm, known: NamespaceFacts) -> Verdict:
    """Secrets that servers read at their start. It is no matter whether the operator may read
    them: what it may not it cannot know about."""
    waits = "Until then no new server can start"
    pending = ""
    for reference in vllm.secrets:
        name = f"Secret {namespace}/{reference.name}"
        secret = known.secrets.get(reference.name)
        if secret is None:
            pending = pending or f"{name} has not been looked up yet"
        elif secret.state is SecretState.MISSING:
            return no("SecretNotFound", f"there is no {name}; create it. {waits}")
        elif secret.state is SecretState.PRESENT and reference.key not in secret.keys:
            return no("SecretKeyNotFound", f"{name} has no key {reference.key}; add it. {waits}")
    if pending:
        return unknown(PENDING, pending)
    return yes("ResolvedRefs", "everything that the servers need is there")


def _resolve_secret(
    namespace: str, reference: SecretKeyReference, known: NamespaceFacts
) -> Verdict:
    name = f"Secret {namespace}/{reference.name}"
    waits = "Until then no request is sent to this pool"
    secret = known.secrets.get(reference.name)
    if secret is None:
        return unknown(PENDING, f"{name} has not been looked up yet")
    if secret.state is SecretState.MISSING:
        return no("SecretNotFound", f"there is no {name}; create it. {waits}")
    if secret.state is SecretState.FORBIDDEN:
        return no(
            "SecretNotReadable",
            f"the operator may not read {name}; add {reference.name} to rbac.secretNames in the "
            f"values of its chart. {waits}",
        )
    if reference.key not in secret.keys:
        return no("SecretKeyNotFound", f"{name} has no key {reference.key}; add it. {waits}")
    return yes("ResolvedRefs", f"{name} has the key {reference.key}")


def _resolve_service(namespace: str, reference: ServiceReference, known: NamespaceFacts) -> Verdict:
    name = f"Service {namespace}/{reference.name}"
    service = known.services.get(reference.name)
    if service is None:
        return no("ServiceNotFound", f"there is no {name}; create it, or correct spec.service.name")
    if service.type == "ExternalName":
        return no(
            "ServiceHasNoEndpoints",
            f"{name} is of type ExternalName and has no endpoints; use spec.provider with its URL",
        )
    if find_port(reference, service.ports) is None:
        ports = ", ".join(
            f"{port.number} ({port.name})" if port.name else str(port.number)
            for port in service.ports
        )
        return no(
            "ServicePortNotFound",
            f"{name} has no port {reference.port}; correct spec.service.port, it has: "
            f"{ports or 'none'}",
        )
    return yes("ResolvedRefs", f"{name} has the port {reference.port}")
