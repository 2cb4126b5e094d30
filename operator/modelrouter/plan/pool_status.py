"""ModelPool and what is known of the cluster → its status."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from modelrouter.api.pool import ModelPool
from modelrouter.plan.facts import Counts, NamespaceFacts, RouterFacts, Subject
from modelrouter.plan.pools import find_port, service_of
from modelrouter.plan.references import resolve
from modelrouter.plan.servers.facts import Servers
from modelrouter.plan.servers.reading import POD_STARTING
from modelrouter.plan.servers.verdict import (
    ADAPTERS_LOADED,
    PODS_READY,
    SCALED_TO_ZERO,
    adapters_loaded,
    pods_ready,
)
from modelrouter.plan.verdicts import (
    ACCEPTED,
    PENDING,
    READY,
    RESOLVED_REFS,
    Verdict,
    conditions,
    listed,
    no,
    unknown,
    yes,
)


@dataclass(frozen=True, slots=True)
class PoolFacts:
    """What the status of a pool depends on."""

    subject: Subject
    pool: ModelPool | None
    """None: it cannot be read; the subject's problems say why."""
    known: NamespaceFacts = field(default_factory=NamespaceFacts)
    routers: Mapping[str, RouterFacts] = field(default_factory=dict)
    """The routers of the namespace with a route that names the pool."""
    servers: Servers = field(default_factory=Servers)
    """The objects and pods of a pool with `vllm`."""
    autoscaling: Mapping[str, Any] | None = None
    """What the built-in autoscaler has decided; None: it decides nothing."""


def pool_status(facts: PoolFacts, old: Mapping[str, Any] | None, now: str) -> dict[str, Any]:
    """The status of a pool. `old` is its present one; `now` is RFC 3339 in UTC.

    Equal facts give an equal status, whatever the time.
    """
    status: dict[str, Any] = {"observedGeneration": facts.subject.generation}
    verdicts = {}
    if facts.pool is None:
        verdicts[ACCEPTED] = invalid_spec(facts.subject)
        verdicts[RESOLVED_REFS] = unknown("InvalidSpec", "the spec cannot be read")
        verdicts[READY] = no("InvalidSpec", verdicts[ACCEPTED].message)
    else:
        status["source"] = facts.pool.spec.source
        counts = observed(facts.routers.values(), facts.subject.name)
        shown = _shown(facts.pool, facts.known, counts)
        if shown is not None:
            status["endpoints"] = {
                "ready": shown.ready,
                "total": shown.total,
                "summary": f"{shown.ready}/{shown.total}",
            }
        verdicts[ACCEPTED] = yes("Accepted", "the pool is valid")
        verdicts[RESOLVED_REFS] = resolve(facts.pool, facts.known)
        if facts.pool.spec.vllm is not None:
            workload = facts.servers.workload
            status["replicas"] = workload.replicas if workload is not None else 0
            status["selector"] = facts.servers.selector
            if facts.autoscaling is not None:
                status["autoscaling"] = dict(facts.autoscaling)
            verdicts[PODS_READY] = pods_ready(facts.servers)
            if facts.servers.adapters:
                verdicts[ADAPTERS_LOADED] = adapters_loaded(facts.servers)
        verdicts[READY] = _ready(facts, facts.pool, verdicts[RESOLVED_REFS], counts)
    before = (old or {}).get("conditions") or ()
    status["conditions"] = conditions(verdicts, facts.subject.generation, before, now)
    return status


def invalid_spec(subject: Subject) -> Verdict:
    """What is wrong with a stored resource that this version cannot read."""
    problems = [f"{p.field}: {p.message}" if p.field else p.message for p in subject.problems]
    what = listed(problems) or "it cannot be read"
    return no("InvalidSpec", f"{what}. Correct it; until then it is not used")


def observed(routers: Iterable[RouterFacts], pool: str) -> Counts | None:
    """A pool's endpoints as the pods that take requests see them; the worst view counts.

    None: no such pod has said anything about the pool.
    """
    views = [
        pod.pools[pool]
        for router in routers
        for pod in router.pods
        if pod.ready and pool in pod.pools
    ]
    if not views:
        return None
    return Counts(
        min(view.ready for view in views),
        max(view.total for view in views),
        max(view.ejected for view in views),
    )


def listed_in_cluster(pool: ModelPool, known: NamespaceFacts) -> Counts | None:
    """The endpoints of a pool's Service by its EndpointSlices. None: it has no such port."""
    reference = service_of(pool)
    service = known.services.get(reference.name) if reference is not None else None
    if reference is None or service is None:
        return None
    port = find_port(reference, service.ports)
    return service.endpoints.get(port.name, Counts(0, 0)) if port is not None else None


def _shown(pool: ModelPool, known: NamespaceFacts, counts: Counts | None) -> Counts | None:
    in_cluster = listed_in_cluster(pool, known)
    if counts is None or in_cluster is None:
        return counts or in_cluster
    # Routers are told of ready endpoints only, so they do not know how many there should be.
    return replace(counts, total=max(counts.total, in_cluster.total))


def _ready(facts: PoolFacts, pool: ModelPool, refs: Verdict, counts: Counts | None) -> Verdict:
    in_servers = _servers_ready(facts, pool, refs, counts)
    if in_servers is not None:
        return in_servers
    if refs.status == "False" and pool.spec.vllm is None:
        return refs
    in_cluster = listed_in_cluster(pool, facts.known)
    shown = _shown(pool, facts.known, counts)
    if counts is None and in_cluster is None:
        return _not_observed(facts)
    assert shown is not None
    if shown.ready == 0:
        return no("NoEndpoints", _why_none(pool, counts, in_cluster) + _ejected(shown))
    if not refs.holds and pool.spec.vllm is None:
        return refs
    pods = pods_ready(facts.servers) if pool.spec.vllm is not None else refs
    rest = f"; {pods.message}" if pods.status == "False" else ""
    unused = "" if facts.routers else "; no ModelRoute names the pool"
    message = f"{shown.ready} of {shown.total} endpoints are ready{rest}{unused}{_ejected(shown)}"
    return yes("EndpointsReady", message)


def _servers_ready(
    facts: PoolFacts, pool: ModelPool, refs: Verdict, counts: Counts | None
) -> Verdict | None:
    """What the pods of a pool say about a lack of endpoints. None: nothing, or there are some."""
    vllm = pool.spec.vllm
    if vllm is None:
        return None
    pods = pods_ready(facts.servers)
    if pods.reason == SCALED_TO_ZERO:
        if vllm.autoscaling is not None:
            return yes(SCALED_TO_ZERO, "no replica runs; the next request starts one")
        text = "spec.vllm.replicas is 0, so no request is sent here; raise it"
        return no(SCALED_TO_ZERO, text)
    shown = _shown(pool, facts.known, counts)
    if shown is not None and shown.ready > 0:
        return None
    if pods.holds and all(pod.fresh for pod in facts.servers.pods):
        return no(POD_STARTING, "the pods have just become ready, and no router has seen it yet")
    if pods.holds:
        return None
    return refs if refs.status == "False" else pods


def _ejected(counts: Counts | None) -> str:
    if counts is None or not counts.ejected:
        return ""
    number, get = (1, "it gets") if counts.ejected == 1 else (counts.ejected, "they get")
    return (
        f"; requests to {number} of them failed, so {get} none for a while; look at the servers' "
        "logs"
    )


def _not_observed(facts: PoolFacts) -> Verdict:
    if not facts.routers:
        return unknown(
            "NotUsed",
            "no router looks at the endpoints, because no ModelRoute of this namespace names the "
            "pool in spec.pools",
        )
    names = ", ".join(sorted(facts.routers))
    if not any(pod.ready for router in facts.routers.values() for pod in router.pods):
        return unknown(
            "RouterNotReady", f"nobody looks at the endpoints: no pod of router {names} is ready"
        )
    return unknown(PENDING, f"router {names} has not told yet how many endpoints are ready")


def _why_none(pool: ModelPool, counts: Counts | None, in_cluster: Counts | None) -> str:
    spec, namespace = pool.spec, pool.metadata.namespace
    reference = service_of(pool)
    check = f"answers GET {spec.probe.path} with 200" if spec.probe else "can be reached"
    if reference is not None:
        name = f"Service {namespace}/{reference.name}"
        if in_cluster is not None and in_cluster.ready and counts is not None:
            return (
                f"{in_cluster.ready} endpoints of {name} are ready, but none of them {check} from "
                "the routers; look at the servers, at spec.healthCheck and at network policies"
            )
        total = in_cluster.total if in_cluster is not None else 0
        if total == 0:
            return f"{name} has no endpoint; look at its selector, and whether its pods run"
        return f"none of {total} endpoints of {name} is ready; look at the pods behind it"
    if spec.provider is not None:
        return (
            f"{spec.provider.url} cannot be used: its name does not resolve, it fails its health "
            "check, or requests to it failed; look at the routers' logs"
        )
    total = len(spec.endpoints or ())
    return f"none of {total} endpoints {check}; look at the servers and at spec.endpoints"
