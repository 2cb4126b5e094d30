"""A small cluster, written down: resources, what is known of them, and the statuses they get."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import yaml
from pydantic import ValidationError

from modelrouter.api.pool import ModelPool
from modelrouter.api.problems import Problem, field_path, validation_problems
from modelrouter.api.route import ModelRoute
from modelrouter.plan.facts import (
    Counts,
    NamespaceFacts,
    Programming,
    RouterFacts,
    RouterPod,
    SecretFacts,
    SecretState,
    ServiceFacts,
    ServicePort,
    Subject,
)
from modelrouter.plan.planner import RouterPlanner
from modelrouter.plan.servers.facts import Adapter, Servers
from modelrouter.plan.servers.reading import read_server_pod
from modelrouter.plan.servers.verdict import on_the_way
from modelrouter.plan.servers.workload import read_workload
from modelrouter.plan.statuses import PoolFacts, RouteFacts, pool_status, route_status

NAMESPACE = "ai"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
STATES = {"missing": SecretState.MISSING, "forbidden": SecretState.FORBIDDEN}


class Cluster:
    """Resources of one namespace, and the state of everything around them."""

    def __init__(self, text: str) -> None:
        self.objects = []
        self.state: dict[str, Any] = {}
        for document in yaml.safe_load_all(text):
            if document["kind"] == "State":
                self.state = document
            else:
                document["metadata"]["namespace"] = NAMESPACE
                self.objects.append(document)

    def statuses(self, now: str, old: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """By `Kind/name`, the status of each resource."""
        found: dict[str, Any] = {}
        pools: dict[str, ModelPool | None] = {}
        routes: dict[str, ModelRoute] = {}
        subjects = []
        for obj in self.objects:
            subject, model = read(obj)
            subjects.append((subject, model))
            if obj["kind"] == "ModelPool":
                assert model is None or isinstance(model, ModelPool)
                pools[subject.name] = model
            elif isinstance(model, ModelRoute):
                routes[subject.name] = model
        known, routers = self.known(), self.routers()
        outcomes: dict[str, Any] = {}
        for name in {route.spec.router for route in routes.values()}:
            own = {key: route for key, route in routes.items() if route.spec.router == name}
            usable = {key: pool for key, pool in pools.items() if pool is not None}
            outcomes |= RouterPlanner().plan(own, usable, known.services).outcomes
        for unplanned in self.state.get("notPlanned", ()):
            outcomes.pop(unplanned)
        waiting = self.state.get("programming", {})
        for subject, model in subjects:
            label = f"{subject.kind}/{subject.name}"
            before = (old or {}).get(label)
            if subject.kind == "ModelPool":
                assert model is None or isinstance(model, ModelPool)
                users = {
                    route.spec.router
                    for route in routes.values()
                    if subject.name in route.spec.model_pools
                }
                using = {name: routers.get(name, RouterFacts()) for name in users}
                servers = self.servers(model) if model is not None else Servers()
                pool_facts = PoolFacts(subject, model, known, using, servers)
                found[label] = pool_status(pool_facts, before, now)
                continue
            assert model is None or isinstance(model, ModelRoute)
            router = routers.get(model.spec.router if model else "", RouterFacts())
            reason = waiting.get(subject.name, "")
            facts = RouteFacts(
                subject=subject,
                route=model,
                outcome=outcomes.get(subject.name),
                programming=Programming(not reason, reason),
                router=router,
                pools=pools,
                known=known,
                waking=self.waking(pools.values()),
            )
            found[label] = route_status(facts, before, now)
        return found

    def servers(self, pool: ModelPool) -> Servers:
        """The objects and pods of a pool, told as the API server has them, at noon."""
        told, vllm = self.state.get("servers", {}).get(pool.metadata.name), pool.spec.vllm
        if told is None or vllm is None:
            return Servers()
        phase = told.get("cache", "")
        pods = []
        for obj in told.get("pods", ()):
            obj["metadata"]["namespace"] = NAMESPACE
            pods.append(read_server_pod(obj, NOON, vllm.startup_timeout, phase))
        deployment = told.get("deployment")
        if deployment is not None:
            name = f"model-pool-{pool.metadata.name}"
            deployment["metadata"] = {"name": name, "namespace": NAMESPACE}
        return Servers(
            workload=read_workload(deployment) if deployment is not None else None,
            pods=tuple(pod for pod in pods if pod is not None),
            selector=f"modelrouter.dev/pool={pool.metadata.name}",
            problem=told.get("problem", ""),
            adapters=tuple(Adapter(**adapter) for adapter in told.get("adapters", ())),
        )

    def waking(self, pools: Iterable[ModelPool | None]) -> set[str]:
        """Pools that a request starts."""
        return {
            pool.metadata.name
            for pool in pools
            if pool is not None
            and pool.spec.vllm is not None
            and pool.spec.vllm.autoscaling is not None
            and pool.spec.vllm.autoscaling.from_zero
            and on_the_way(self.servers(pool))
        }

    def known(self) -> NamespaceFacts:
        """Secrets and Services."""
        return NamespaceFacts(
            secrets={
                name: SecretFacts(STATES[keys])
                if isinstance(keys, str)
                else SecretFacts(SecretState.PRESENT, frozenset(keys))
                for name, keys in self.state.get("secrets", {}).items()
            },
            services={
                name: ServiceFacts(
                    type=service.get("type", "ClusterIP"),
                    ports=tuple(ServicePort(*port) for port in service.get("ports", ())),
                    endpoints={
                        port: Counts(*counts)
                        for port, counts in service.get("endpoints", {}).items()
                    },
                )
                for name, service in self.state.get("services", {}).items()
            },
        )

    def routers(self) -> dict[str, RouterFacts]:
        """Routers and their pods."""
        return {
            name: RouterFacts(
                pods=tuple(
                    RouterPod(
                        name=pod["name"],
                        ready=pod.get("ready", True),
                        pools={n: Counts(*counts) for n, counts in pod.get("pools", {}).items()},
                    )
                    for pod in router.get("pods", ())
                ),
                problem=router.get("problem", ""),
            )
            for name, router in self.state.get("routers", {}).items()
        }


def read(obj: Mapping[str, Any]) -> tuple[Subject, ModelPool | ModelRoute | None]:
    """A resource as the operator reads it."""
    kind, metadata = obj["kind"], obj["metadata"]
    models: dict[str, type[ModelPool | ModelRoute]] = {
        "ModelPool": ModelPool,
        "ModelRoute": ModelRoute,
    }
    problems: tuple[Problem, ...] = ()
    model = None
    try:
        model = models[kind].model_validate(obj)
    except ValidationError as error:
        found = validation_problems(error, models[kind])
        problems = tuple(Problem(text, field=field_path(place)) for place, text in found)
    subject = Subject(
        kind, metadata["namespace"], metadata["name"], metadata.get("generation", 1), problems
    )
    return subject, model
