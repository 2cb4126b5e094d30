"""From a ModelPool with `vllm` to its objects in the cluster: plan, then write what differs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import structlog

from modelrouter.api.autoscaling import ScalingEngine
from modelrouter.api.manifests import Key
from modelrouter.api.operator_config import OperatorConfig
from modelrouter.api.pool import ModelPool
from modelrouter.controller.applying import Writer
from modelrouter.controller.drift import differs
from modelrouter.controller.pool_children import KEPT, PoolChildren
from modelrouter.controller.snapshot import Pool
from modelrouter.controller.store import key_of
from modelrouter.kube.errors import KubeError
from modelrouter.kube.resources import SCALED_OBJECTS, Object, Resource, resource_of
from modelrouter.plan.naming import OPERATOR
from modelrouter.plan.vllm import plan_pool_children

log = structlog.get_logger(__name__)


class Scaling(Protocol):
    """Whoever decides how many replicas an autoscaled pool has."""

    def desired(self, pool: Key) -> int | None:
        """The number to apply; None: leave it as it is."""


class PoolProblemError(Exception):
    """The objects of a pool cannot be written as it asks; the message is for people."""


class PoolObjects:
    """The objects of all pools."""

    def __init__(
        self, children: PoolChildren, writer: Writer, config: OperatorConfig, scaling: Scaling
    ) -> None:
        self._children = children
        self._writer = writer
        self._config = config
        self._scaling = scaling
        self._last: dict[tuple[Resource, Key], tuple[Object, Object]] = {}
        """By object, what was last applied and what became of it."""

    async def bring_about(self, pool: Pool) -> None:
        """Write what differs from the plan, and delete what is not planned any more.

        Raises the first of the errors, after everything else has been done; `PoolProblemError`
        where only a change of the pool or of the operator's settings helps.
        """
        if pool.model is None:
            return  # What runs, runs on.
        errors: list[KubeError] = []
        wanted: list[Object] = self._plan(pool.key, pool.model)
        problem = ""
        if _uses_keda(pool.model) and self._config.keda is None:
            problem = (
                "spec.vllm.autoscaling.engine is KEDA, which this operator was installed without; "
                "set keda.enabled=true in the values of its chart, or use BuiltIn"
            )
        for obj in wanted:
            try:
                await self._apply(obj)
            except KubeError as error:
                if error.is_passing:
                    raise
                if error.is_not_found and resource_of(obj) is SCALED_OBJECTS:
                    problem = "KEDA is not installed: there are no ScaledObjects; install it"
                    continue
                # What is wrong with one object is no reason to leave the others as they are.
                errors.append(error)
        planned = {(resource_of(obj), key_of(obj)) for obj in wanted}
        for resource, live in self._children.of(pool.key):
            if (resource, key_of(live)) in planned or resource in KEPT or not _owned(live, pool):
                continue
            log.info("deleting", kind=resource.kind, object="/".join(key_of(live)))
            await self._writer.delete(resource, live)
            self._last.pop((resource, key_of(live)), None)
        if errors:
            raise errors[0]
        if problem:
            raise PoolProblemError(problem)

    def _plan(self, key: Key, model: ModelPool) -> list[Object]:
        autoscaling = model.spec.vllm.autoscaling if model.spec.vllm is not None else None
        replicas = None
        if autoscaling is not None:
            replicas = self._scaling.desired(key)
        url = self._config.keda.url if self._config.keda else ""
        wanted = plan_pool_children(model, replicas=replicas, keda_url=url)
        return [obj for obj in wanted if resource_of(obj) in self._children.stores]

    async def _apply(self, wanted: Object) -> None:
        resource, key = resource_of(wanted), key_of(wanted)
        store = self._children.stores[resource]
        live = store.get(key)
        reason = differs(wanted, live, OPERATOR) if live is not None else "not there"
        if not reason or (live is not None and self._tried(resource, key, wanted, live)):
            return
        log.info("writing", kind=resource.kind, object="/".join(key), because=reason)
        after = await self._writer.apply(resource, wanted)
        store.put(after)
        if found := differs(wanted, after, OPERATOR):
            # The API server, or somebody who admits objects there, keeps it otherwise.
            log.warning("not taken as written", kind=resource.kind, field=found)
            self._last[resource, key] = (wanted, _essence(after))
        else:
            self._last.pop((resource, key), None)

    def _tried(self, resource: Resource, key: Key, wanted: Object, live: Mapping[str, Any]) -> bool:
        """Whether just this was applied to just that before, and it made no difference."""
        last = self._last.get((resource, key))
        return last is not None and last == (wanted, _essence(live))


def _uses_keda(model: ModelPool) -> bool:
    vllm = model.spec.vllm
    scaling = vllm.autoscaling if vllm is not None else None
    return scaling is not None and scaling.engine is ScalingEngine.KEDA


def _owned(obj: Mapping[str, Any], pool: Pool) -> bool:
    """Whether an object was made for just this pool, not for one before it or by somebody else."""
    owners = obj["metadata"].get("ownerReferences") or ()
    return any(owner.get("uid") == pool.uid and owner.get("controller") for owner in owners)


def _essence(obj: Mapping[str, Any]) -> Object:
    """An object without what changes by itself."""
    metadata = {
        k: v
        for k, v in obj["metadata"].items()
        if k not in ("resourceVersion", "managedFields", "generation")
    }
    rest = {k: v for k, v in obj.items() if k not in ("status", "metadata")}
    return {**rest, "metadata": metadata}
